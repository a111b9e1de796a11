// See s3_store.hpp. What S3 answers is judged here: an outage (5xx, 429, nothing at all) counts for the breaker; that we may not do something (401, 403) or
// that the bucket is not there is said in the log, and `unavailable` to clients as well, since nothing that they do can help.
#include "backend/s3_store.hpp"

#include <fmt/format.h>

#include <charconv>

#include "backend/s3_streams.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr unsigned kTries = 3;
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kWatchStep{250};  // how soon a pause's end is seen
constexpr int kSlowTimes = 6;
constexpr std::size_t kAnswerBytesMax = 64 * 1024;
constexpr std::size_t kSaidBytes = 200;  // of an error's text, for the log

bool is_outage(int status) noexcept { return status >= 500 || status == 429; }
bool is_fine(int status) noexcept { return status >= 200 && status < 300; }

std::uint64_t number_of(std::string_view text) noexcept {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

S3Store::S3Store(loop::Loop& loop, const S3Options& options, base::Metrics& metrics)
    : loop_(loop),
      place_(options),
      timeout_(options.timeout),
      make_bucket_(options.make_bucket),
      metrics_(metrics),
      client_(loop) {
  breaker_.begin_unknown();
  show_state();
  loop.scope().spawn(watch());
}

Task<void> S3Store::close() {
  closing_ = true;
  cut();
  while (watching_) co_await loop_.sleep(kFirstPause);
  co_await client_.close();
}

void S3Store::show_state() noexcept { metrics_.s3_breaker = static_cast<std::uint64_t>(breaker_.state()); }

void S3Store::succeeded() noexcept {
  breaker_.succeeded();
  show_state();
}

base::Error S3Store::away() const {
  return base::fail_later(Errc::unavailable, breaker_.retry_after_ms(loop_.now_ms()), "files cannot be reached")
      .error();
}

base::Error S3Store::failed(std::string_view what, const base::Error& why) {
  ++metrics_.s3_failures;
  const bool was_closed = breaker_.closed();
  breaker_.failed(loop_.now_ms(), base::random_u64());
  show_state();
  base::log::warn("s3_failed", {{"what", what}, {"why", why.message}, {"breaker", base::name_of(breaker_.state())}});
  if (was_closed && !breaker_.closed()) base::log::error("s3_away", {{"why", why.message}});
  return away();
}

base::Error S3Store::refused(std::string_view what, int status) {
  const std::string why = fmt::format("it answered {}", status);
  if (is_outage(status)) return failed(what, base::fail(Errc::unavailable, why).error());
  ++metrics_.s3_failures;
  base::log::error("s3_refused", {{"what", what}, {"status", status}, {"bucket", place_.bucket()}});
  return away();
}

// ---- Asking

std::unique_ptr<HttpExchange> S3Store::begin(S3Request request, std::string body, std::optional<std::uint64_t> bytes,
                                             std::chrono::milliseconds timeout) {
  ++metrics_.s3_requests;
  if (!bytes) request.payload_hash = sha256_hex(body);
  HttpOut out{.method = request.method,
              .url = place_.url(request),
              .headers = sign_headers(place_.who(), request, base::wall_ms()),
              .body = std::move(body),
              .stream_bytes = bytes,
              .timeout = timeout};
  return std::make_unique<HttpExchange>(client_, std::move(out));
}

Result<std::unique_ptr<HttpExchange>> S3Store::stream(S3Request request, std::optional<std::uint64_t> bytes) {
  if (!breaker_.closed()) return std::unexpected(away());
  return begin(std::move(request), {}, bytes, timeout_);
}

Task<Result<S3Answer>> S3Store::ask_once(S3Request request, std::string body, Speed speed) {
  const auto timeout = speed == Speed::slow ? timeout_ * kSlowTimes : timeout_;
  auto exchange = begin(std::move(request), std::move(body), std::nullopt, timeout);
  auto status = co_await exchange->status();
  if (!status) co_return std::unexpected(status.error());
  auto text = co_await exchange->read_all(kAnswerBytesMax);
  if (!text) co_return std::unexpected(text.error());
  co_return S3Answer{.status = *status,
                     .etag = std::string(exchange->header("etag")),
                     .length = number_of(exchange->header("content-length")),
                     .body = std::move(*text)};
}

// What took its whole time is not asked again: who waits would wait too long.
Task<Result<S3Answer>> S3Store::ask(S3Request request, std::string body, Speed speed) {
  const std::string what = request.method + " " + request.path;
  const std::int64_t until_ms = loop_.now_ms() + timeout_.count() / 2;
  std::chrono::milliseconds pause = kFirstPause;
  for (unsigned tries = 1;; ++tries) {
    if (!breaker_.closed()) co_return std::unexpected(away());
    auto answer = co_await ask_once(request, body, speed);
    if (answer && !is_outage(answer->status)) {
      succeeded();
      co_return answer;
    }
    base::Error error = answer ? refused(what, answer->status) : failed(what, answer.error());
    if (tries == kTries || closing_ || loop_.now_ms() >= until_ms) co_return std::unexpected(error);
    const auto jitter = static_cast<std::int64_t>(base::random_u64() % static_cast<std::uint64_t>(pause.count()));
    co_await loop_.sleep(pause / 2 + std::chrono::milliseconds(jitter));
    pause *= 2;
  }
}

// ---- The breaker's probes

Task<bool> S3Store::probe() {
  auto bucket = co_await ask_once(place_.request("HEAD", ""), {}, Speed::usual);
  if (bucket && bucket->status == 404 && make_bucket_) {
    std::string where;
    if (place_.who().region != "us-east-1")
      where = fmt::format(
          "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
          place_.who().region);
    bucket = co_await ask_once(place_.request("PUT", ""), std::move(where), Speed::usual);
    if (bucket && bucket->status == 409) bucket->status = 200;  // another host was quicker
    if (bucket && is_fine(bucket->status)) base::log::info("s3_bucket_made", {{"bucket", place_.bucket()}});
  }
  if (bucket && is_fine(bucket->status)) co_return true;
  const std::string why = !bucket                 ? bucket.error().message
                          : bucket->status == 404 ? "there is no such bucket: make it"
                          : bucket->status == 403
                              ? "S3_ACCESS_KEY or S3_SECRET_KEY is not right, or may not list the bucket"
                              : fmt::format("it answered {}", bucket->status);
  base::log::warn("s3_not_reached", {{"bucket", place_.bucket()}, {"why", why}});
  co_return false;
}

// Asks once at the start, and then whenever the breaker's pause is over.
Task<void> S3Store::watch() {
  co_await loop_.sleep(std::chrono::milliseconds(0));  // until its loop runs
  while (!closing_) {
    if (breaker_.state() == base::CircuitBreaker::State::half_open) {
      const bool there = co_await probe();
      there ? breaker_.succeeded() : breaker_.failed(loop_.now_ms(), base::random_u64());
      if (there) base::log::info("s3_reached", {{"bucket", place_.bucket()}});
      show_state();
    }
    co_await loop_.sleep(kWatchStep);
    if (breaker_.begin_probe(loop_.now_ms())) show_state();
  }
  watching_ = false;
}

// ---- Blobs

Task<Result<chat::BlobHead>> S3Store::look(std::string key) {
  auto head = co_await ask(place_.request("HEAD", key), {}, Speed::usual);
  if (!head) co_return std::unexpected(head.error());
  if (head->status == 404) co_return base::fail(Errc::not_found, "there is nothing");
  if (!is_fine(head->status)) co_return std::unexpected(refused("HEAD", head->status));
  chat::BlobHead found{.size = head->length, .version = head->etag, .first = {}};
  if (found.size == 0) co_return found;
  S3Request request = place_.request("GET", key);
  request.headers = {{"if-match", found.version},
                     {"range", fmt::format("bytes=0-{}", chat::BlobHead::kFirstBytes - 1)}};
  auto first = co_await ask(std::move(request), {}, Speed::usual);
  if (!first) co_return std::unexpected(first.error());
  if (first->status == 404 || first->status == 412)
    co_return base::fail(Errc::conflict, "it is being written: try again");
  if (!is_fine(first->status)) co_return std::unexpected(refused("GET", first->status));
  found.first = first->body.substr(0, chat::BlobHead::kFirstBytes);
  co_return found;
}

// `version`: only of that one. Ceph 16 overlooks the condition under the name that S3 gives it, and knows it by another.
Task<Result<S3Answer>> S3Store::copy(std::string from, std::string to, std::optional<std::string> version) {
  S3Request request = place_.request("PUT", to);
  request.headers = {{"x-amz-copy-source", place_.copy_source(from)}};
  if (version)
    for (const char* name : {"x-amz-copy-source-if-match", "x-amz-copy-if-match"})
      request.headers.emplace_back(name, *version);
  auto copied = co_await ask(std::move(request), {}, Speed::slow);
  co_return copied;
}

// Swift holds the condition of a copy against a digest of its own where the source came in parts, so there it never is met. We look before and after
// instead: what came in parts came through this server, and nobody puts it back in between unnoticed but by sending all of it again.
Task<Result<S3Answer>> S3Store::copy_parts(std::string from, std::string to, std::string version) {
  S3Answer refusal{.status = 412, .etag = {}, .body = {}};
  auto before = co_await ask(place_.request("HEAD", from), {}, Speed::usual);
  if (!before || !is_fine(before->status)) co_return before;
  if (before->etag != version) co_return refusal;
  auto copied = co_await copy(from, to, std::nullopt);
  if (!copied || !is_fine(copied->status)) co_return copied;
  auto after = co_await ask(place_.request("HEAD", from), {}, Speed::usual);
  if (!after) co_return after;
  if (after->etag != version) co_return refusal;
  co_return copied;
}

// A copy may fail after it was answered 200: its body says so.
Task<Result<void>> S3Store::accept(std::string from, std::string to, std::string version) {
  auto copied = co_await copy(from, to, version);
  const bool in_parts = version.contains('-');
  if (in_parts && copied && copied->status == 412) copied = co_await copy_parts(from, to, version);
  if (!copied) co_return std::unexpected(copied.error());
  if (copied->status == 404 || copied->status == 412)
    co_return base::fail(Errc::conflict, "it was written anew meanwhile: complete it again");
  if (!is_fine(copied->status)) co_return std::unexpected(refused("copy", copied->status));
  if (!copied->body.contains("CopyObjectResult"))
    co_return std::unexpected(
        failed("copy", base::fail(Errc::unavailable, copied->body.substr(0, kSaidBytes)).error()));
  auto removed = co_await remove(from);
  // It is where it belongs. What is left goes with the file.
  if (!removed) base::log::warn("upload_not_removed", {{"key", from}, {"why", removed.error().message}});
  co_return Result<void>();
}

Task<Result<void>> S3Store::remove(std::string key) {
  auto removed = co_await ask(place_.request("DELETE", key), {}, Speed::usual);
  if (!removed) co_return std::unexpected(removed.error());
  if (!is_fine(removed->status) && removed->status != 404)
    co_return std::unexpected(refused("DELETE", removed->status));
  co_return Result<void>();
}

Task<Result<std::unique_ptr<chat::BlobReader>>> S3Store::read(std::string key, std::uint64_t first,
                                                              std::uint64_t count) {
  ASSERT(count > 0);
  S3Request request = place_.request("GET", key);
  request.headers = {{"range", fmt::format("bytes={}-{}", first, first + count - 1)}};
  auto exchange = stream(std::move(request), std::nullopt);
  if (!exchange) co_return std::unexpected(exchange.error());
  auto status = co_await (*exchange)->status();
  if (!status) co_return std::unexpected(failed("GET", status.error()));
  if (*status == 404) co_return base::fail(Errc::not_found, "there is nothing");
  if (*status != 206) co_return std::unexpected(refused("GET", *status));
  co_return std::make_unique<S3Reader>(*this, std::move(*exchange), count);
}

Task<Result<std::unique_ptr<chat::BlobWriter>>> S3Store::write(std::string key, std::uint64_t size,
                                                               std::string mime_type) {
  ASSERT(size > 0);
  auto writer = std::make_unique<S3Writer>(*this, std::move(key), size, std::move(mime_type));
  auto begun = co_await writer->begin();
  if (!begun) co_return std::unexpected(begun.error());
  co_return std::unique_ptr<chat::BlobWriter>(std::move(writer));
}

std::unique_ptr<BlobPlace> open_s3(loop::Loop& loop, const S3Options& options, base::Metrics& metrics) {
  return std::make_unique<S3Store>(loop, options, metrics);
}

}  // namespace ringline::backend
