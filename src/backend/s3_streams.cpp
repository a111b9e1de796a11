// See s3_streams.hpp.
#include "backend/s3_streams.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "ringline/base/assert.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;
using base::limits::kPartBytes;

namespace {

// What stands between <name> and </name>, the first time.
std::string_view element(std::string_view xml, std::string_view name) {
  const std::string open = fmt::format("<{}>", name), close = fmt::format("</{}>", name);
  const std::size_t begin = xml.find(open);
  if (begin == std::string_view::npos) return {};
  xml.remove_prefix(begin + open.size());
  return xml.substr(0, std::min(xml.find(close), xml.size()));
}

base::Error broken(std::string why) { return base::fail(Errc::unavailable, std::move(why)).error(); }

}  // namespace

Task<Result<std::size_t>> S3Reader::read(std::span<std::byte> into) {
  if (left_ == 0) co_return std::size_t{0};
  auto got = co_await exchange_->read(into.first(std::min<std::uint64_t>(into.size(), left_)));
  if (!got) co_return std::unexpected(store_.failed("GET", got.error()));
  if (*got == 0) co_return std::unexpected(store_.failed("GET", broken("it ended too early")));
  left_ -= *got;
  if (left_ == 0) store_.succeeded();
  co_return *got;
}

Task<Result<void>> S3Writer::begin() {
  if (left_ <= kPartBytes) co_return begin_part();
  S3Request request = store_.place().request("POST", key_);
  request.query = {{"uploads", ""}};
  request.headers = {{"content-type", mime_type_}};
  auto made = co_await store_.ask(std::move(request), {}, S3Store::Speed::usual);
  if (!made) co_return std::unexpected(made.error());
  if (made->status != 200) co_return std::unexpected(store_.refused("POST ?uploads", made->status));
  upload_id_ = element(made->body, "UploadId");
  if (upload_id_.empty()) co_return std::unexpected(store_.failed("POST ?uploads", broken("it names no upload")));
  co_return begin_part();
}

Result<void> S3Writer::begin_part() {
  part_left_ = std::min(left_, kPartBytes);
  S3Request request = store_.place().request("PUT", key_);
  request.headers = {{"content-length", std::to_string(part_left_)}};
  if (upload_id_.empty()) {
    request.headers.emplace_back("content-type", mime_type_);
  } else {
    request.query = {{"partNumber", std::to_string(etags_.size() + 1)}, {"uploadId", upload_id_}};
  }
  auto begun = store_.stream(std::move(request), part_left_);
  if (!begun) return std::unexpected(begun.error());
  exchange_ = std::move(*begun);
  return {};
}

Task<Result<void>> S3Writer::write(std::span<const std::byte> bytes) {
  ASSERT(bytes.size() <= left_);
  while (!bytes.empty()) {
    if (part_left_ == 0)
      if (auto begun = begin_part(); !begun) co_return begun;
    const std::size_t now = std::min<std::uint64_t>(bytes.size(), part_left_);
    auto taken = co_await exchange_->write(bytes.first(now));
    if (!taken) co_return std::unexpected(store_.failed("PUT", taken.error()));
    if (!*taken) co_return co_await end_part();
    bytes = bytes.subspan(now);
    left_ -= now;
    part_left_ -= now;
    if (part_left_ > 0) continue;
    auto ended = co_await end_part();
    if (!ended) co_return ended;
  }
  co_return Result<void>();
}

// A part of which S3 has not taken all cannot have gone well.
Task<Result<void>> S3Writer::end_part() {
  auto status = co_await exchange_->status();
  if (!status) co_return std::unexpected(store_.failed("PUT", status.error()));
  if (*status != 200) co_return std::unexpected(store_.refused("PUT", *status));
  if (part_left_ > 0) co_return std::unexpected(store_.failed("PUT", broken("it answered before it had all")));
  etags_.emplace_back(exchange_->header("etag"));
  exchange_.reset();
  co_return Result<void>();
}

Task<Result<void>> S3Writer::finish() {
  ASSERT(left_ == 0 && !exchange_);
  if (upload_id_.empty()) {
    store_.succeeded();
    co_return Result<void>();
  }
  std::string list = "<CompleteMultipartUpload>";
  for (std::size_t i = 0; i < etags_.size(); ++i)
    list += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1, etags_[i]);
  list += "</CompleteMultipartUpload>";
  S3Request request = store_.place().request("POST", key_);
  request.query = {{"uploadId", upload_id_}};
  auto done = co_await store_.ask(std::move(request), std::move(list), S3Store::Speed::slow);
  if (!done) co_return std::unexpected(done.error());
  if (done->status != 200) co_return std::unexpected(store_.refused("POST ?uploadId", done->status));
  // It may fail after it was answered 200.
  if (!done->body.contains("CompleteMultipartUploadResult"))
    co_return std::unexpected(store_.failed("POST ?uploadId", broken("it did not put the parts together")));
  upload_id_.clear();
  co_return Result<void>();
}

Task<void> S3Writer::abandon() {
  exchange_.reset();
  if (upload_id_.empty()) co_return;
  S3Request request = store_.place().request("DELETE", key_);
  request.query = {{"uploadId", upload_id_}};
  auto aborted = co_await store_.ask(std::move(request), {}, S3Store::Speed::usual);
  if (!aborted) base::log::warn("upload_not_aborted", {{"key", key_}, {"why", aborted.error().message}});
}

}  // namespace ringline::backend
