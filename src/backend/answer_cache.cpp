// See answer_cache.hpp.
#include "backend/answer_cache.hpp"

#include <functional>
#include <utility>
#include <vector>

#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Result;
using base::Task;

namespace {
constexpr std::int64_t kMinuteMs = 60'000;
}

bool AnswerCache::wants(const std::string& key) {
  const std::size_t hash = std::hash<std::string>{}(key);
  const Recent& last = recent(hash);
  const bool done = last.hash == hash && loop_.now_ms() < last.until_ms;
  return !done && writing_ < limits::kCacheWrites;
}

bool AnswerCache::take_page(std::size_t bytes) {
  if (loop_.now_ms() - minute_ms_ >= kMinuteMs) {
    minute_ms_ = loop_.now_ms();
    minute_bytes_ = 0;
  }
  if (minute_bytes_ + bytes > limits::kCachePageBytes) return false;
  minute_bytes_ += bytes;
  return true;
}

void AnswerCache::fill(std::string key, std::string_view text, std::chrono::milliseconds age, bool is_page) {
  if (text.size() > limits::kCacheValueBytes || (is_page && !take_page(text.size()))) return;
  const std::size_t hash = std::hash<std::string>{}(key);
  recent(hash) = {.hash = hash, .until_ms = loop_.now_ms() + limits::kCacheAgain.count()};
  loop_.scope().spawn(write(std::move(key), std::string(text), age, true));
}

void AnswerCache::put(std::string key, std::string_view text, std::chrono::milliseconds age) {
  if (text.size() > limits::kCacheValueBytes) return drop(std::move(key));
  if (writing_ >= 2 * limits::kCacheWrites) return;
  const std::size_t hash = std::hash<std::string>{}(key);
  if (Recent& last = recent(hash); last.hash == hash) last = {};
  loop_.scope().spawn(write(std::move(key), std::string(text), age, false));
}

Task<void> AnswerCache::write(std::string key, std::string text, std::chrono::milliseconds age, bool only_new) {
  std::vector<std::string> words{"SET", key, std::move(text), "PX", std::to_string(age.count())};
  if (only_new) words.emplace_back("NX");
  ++writing_;
  auto done = co_await redis_.ask(key, std::move(words));
  --writing_;
  // One that is not answered is counted there.
  if (done && done->is_error()) complain(key, done->text());
}

Task<Result<std::optional<std::string>>> AnswerCache::get(std::string key) {
  auto reply = co_await redis_.ask(key, {"GET", key});
  if (!reply) co_return std::unexpected(reply.error());
  if (reply->is_error()) {
    complain(key, reply->text());
    co_return base::fail(base::Errc::unavailable, "Redis refused the call");
  }
  const std::string_view text = reply->text();
  if (text.empty()) co_return std::nullopt;
  if (text.size() > limits::kCacheValueBytes) {
    complain(key, "it is too large");
    co_return std::nullopt;
  }
  co_return std::string(text);
}

void AnswerCache::complain(std::string_view key, std::string_view why) {
  if (std::exchange(complained_, true)) return;
  base::log::warn("cached_answer_not_usable", {{"key", key}, {"why", why}});
}

}  // namespace ringline::backend
