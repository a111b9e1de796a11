// The S3 of one process, on the loop of the thread of transfers. See ringline/backend/blobs.hpp.
//
// Invariant: while the breaker is not closed, nobody but the watch asks anything, so nobody waits for a server that is away.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/http_client.hpp"
#include "backend/s3_place.hpp"
#include "ringline/backend/blobs.hpp"
#include "ringline/base/circuit_breaker.hpp"

namespace ringline::backend {

struct S3Answer {
  int status = 0;
  std::string etag;
  std::uint64_t length = 0;  // Content-Length
  std::string body;
};

class S3Store final : public BlobPlace {
 public:
  S3Store(loop::Loop& loop, const S3Options& options, base::Metrics& metrics);

  void cut() override { client_.cut(); }
  Task<void> close() override;
  const base::CircuitBreaker* breaker() const noexcept override { return &breaker_; }

  Task<Result<chat::BlobHead>> look(std::string key) override;
  Task<Result<void>> accept(std::string from, std::string to, std::string version) override;
  Task<Result<void>> remove(std::string key) override;
  Task<Result<std::unique_ptr<chat::BlobReader>>> read(std::string key, std::uint64_t first,
                                                       std::uint64_t count) override;
  Task<Result<std::unique_ptr<chat::BlobWriter>>> write(std::string key, std::uint64_t size,
                                                        std::string mime_type) override;

  // ---- For its readers and writers.
  enum class Speed : std::uint8_t { usual, slow };  // slow: S3 moves bytes before it answers
  // Answered, whatever it says; asked again where that may help.
  Task<Result<S3Answer>> ask(S3Request request, std::string body, Speed speed);
  // Under way, with a body that is streamed; asked once.
  Result<std::unique_ptr<HttpExchange>> stream(S3Request request, std::optional<std::uint64_t> bytes);
  const S3Place& place() const noexcept { return place_; }
  // What became of a stream.
  void succeeded() noexcept;
  base::Error failed(std::string_view what, const base::Error& why);
  base::Error refused(std::string_view what, int status);

 private:
  Task<Result<S3Answer>> copy(std::string from, std::string to, std::optional<std::string> version);
  Task<Result<S3Answer>> copy_parts(std::string from, std::string to, std::string version);
  Task<Result<S3Answer>> ask_once(S3Request request, std::string body, Speed speed);
  std::unique_ptr<HttpExchange> begin(S3Request request, std::string body, std::optional<std::uint64_t> bytes,
                                      std::chrono::milliseconds timeout);
  Task<void> watch();
  Task<bool> probe();
  base::Error away() const;
  void show_state() noexcept;

  loop::Loop& loop_;
  const S3Place place_;
  const std::chrono::milliseconds timeout_;
  const bool make_bucket_;
  base::Metrics& metrics_;
  HttpClient client_;
  base::CircuitBreaker breaker_;
  bool closing_ = false;
  bool watching_ = true;
};

}  // namespace ringline::backend
