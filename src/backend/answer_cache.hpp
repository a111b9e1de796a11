// Texts under keys in Redis, each for a time: what CachedStore keeps answers in. Nobody waits for what is written, and what would be too much is not written.
//
// An empty text is a mark: it says that something changed, keeps answers from being filled in under its key, and is as nothing to who asks.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "ringline/backend/redis.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/task.hpp"

namespace ringline::backend {

class AnswerCache {
 public:
  AnswerCache(loop::Loop& loop, Redis& redis) noexcept : loop_(loop), redis_(redis) {}
  ~AnswerCache() { ASSERT(writing_ == 0); }

  // Whether `fill` would be of use: not too much is under way, and that was not done a moment ago.
  bool wants(const std::string& key);
  // An answer: only where nothing is. `is_page`: one of those that may be many.
  void fill(std::string key, std::string_view text, std::chrono::milliseconds age, bool is_page);
  // A change: whatever is there.
  void put(std::string key, std::string_view text, std::chrono::milliseconds age);
  void drop(std::string key) { put(std::move(key), {}, limits::kCacheSettle); }

  // Nothing: it is not there, or a mark is. An error: Redis did not say.
  base::Task<base::Result<std::optional<std::string>>> get(std::string key);
  // What is there is not what it should be: it is as nothing, and said once.
  void complain(std::string_view key, std::string_view why);

 private:
  struct Recent {
    std::size_t hash = 0;
    std::int64_t until_ms = 0;
  };
  Recent& recent(std::size_t hash) noexcept { return recent_[hash % recent_.size()]; }
  bool take_page(std::size_t bytes);
  base::Task<void> write(std::string key, std::string text, std::chrono::milliseconds age, bool only_new);

  loop::Loop& loop_;
  Redis& redis_;
  std::size_t writing_ = 0;
  std::array<Recent, limits::kCacheRecent> recent_{};  // by hash: a later one takes the place of an earlier
  std::int64_t minute_ms_ = 0;                         // when it began
  std::size_t minute_bytes_ = 0;                       // of pages, in it
  bool complained_ = false;
};

}  // namespace ringline::backend
