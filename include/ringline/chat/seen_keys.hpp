// SeenKeys: which keys a core has seen in the last 24 h, in fixed memory: "no" is certain, "maybe" is looked up. Two Bloom filters of 24 h each; when the
// newer one is full of time, the older is forgotten, so a key is remembered for 24 to 48 h.
//
// Blocked: a key's bits lie in one cache line. Above kKeysMax keys a day, wrong "maybes" become more and "no" stays certain: it costs look-ups, never a
// message sent twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace ringline::chat {

class SeenKeys {
 public:
  static constexpr std::int64_t kGenerationMs = 24 * 3600 * 1000;
  static constexpr std::size_t kBytes = 16 * 1024 * 1024;  // of each generation; pages that are not used cost nothing
  static constexpr std::size_t kKeysMax = 10'000'000;      // a generation holds with less than 2 % wrong "maybes"

  SeenKeys();

  bool maybe_seen(std::uint64_t key) const noexcept;
  // `now_ms`: any clock that mostly goes forward. A jump ahead makes the next generation begin, and never forgets both.
  void add(std::uint64_t key, std::int64_t now_ms);

 private:
  struct Free {
    void operator()(void* words) const noexcept;
  };
  using Filter = std::unique_ptr<std::uint64_t[], Free>;
  static Filter make();

  Filter newer_;
  Filter older_;
  std::int64_t began_ms_ = 0;
};

}  // namespace ringline::chat
