// Bytes on their way from and to S3. See ringline/backend/blobs.hpp.
#pragma once

#include "backend/s3_store.hpp"

namespace ringline::backend {

class S3Reader final : public chat::BlobReader {
 public:
  S3Reader(S3Store& store, std::unique_ptr<HttpExchange> exchange, std::uint64_t count)
      : store_(store), exchange_(std::move(exchange)), left_(count) {}
  Task<Result<std::size_t>> read(std::span<std::byte> into) override;

 private:
  S3Store& store_;
  std::unique_ptr<HttpExchange> exchange_;
  std::uint64_t left_;
};

// One PUT, or above limits::kPartBytes a multipart upload, whose parts are sent one after the other as the bytes come.
class S3Writer final : public chat::BlobWriter {
 public:
  S3Writer(S3Store& store, std::string key, std::uint64_t size, std::string mime_type)
      : store_(store), key_(std::move(key)), mime_type_(std::move(mime_type)), left_(size) {}
  Task<Result<void>> begin();
  Task<Result<void>> write(std::span<const std::byte> bytes) override;
  Task<Result<void>> finish() override;
  Task<void> abandon() override;

 private:
  Result<void> begin_part();
  Task<Result<void>> end_part();

  S3Store& store_;
  const std::string key_;
  const std::string mime_type_;
  std::uint64_t left_;  // of all
  std::uint64_t part_left_ = 0;
  std::string upload_id_;  // empty: one PUT
  std::vector<std::string> etags_;
  std::unique_ptr<HttpExchange> exchange_;  // of the part
};

}  // namespace ringline::backend
