// Ids: 63-bit, time-ordered, made by a core without asking anybody.
//
//   41 bits milliseconds since 2020-01-01 | 8 bits host | 6 bits core | 8 bits counter
//
// The counter running over borrows from the next millisecond, and the clock going back changes nothing: an id is always greater than
// the last one of its maker. So any id says where it was made, and a connection id where its socket lives.
#pragma once

#include <charconv>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ringline::base {

inline constexpr unsigned kHostBits = 8;
inline constexpr unsigned kCoreBits = 6;
inline constexpr unsigned kCounterBits = 8;
inline constexpr unsigned kCoresMax = 1U << kCoreBits;
inline constexpr std::int64_t kIdEpochMs = 1'577'836'800'000;  // 2020-01-01T00:00:00Z

template <class Tag>
struct Id {
  std::uint64_t value = 0;  // 0: none

  constexpr auto operator<=>(const Id&) const = default;
  constexpr explicit operator bool() const noexcept { return value != 0; }
  constexpr unsigned host() const noexcept {
    return static_cast<unsigned>(value >> (kCoreBits + kCounterBits)) & ((1U << kHostBits) - 1);
  }
  constexpr unsigned core() const noexcept { return static_cast<unsigned>(value >> kCounterBits) & (kCoresMax - 1); }
  std::string text() const { return std::to_string(value); }

  // Decimal digits only, no sign, no leading zero, within 63 bits.
  static std::optional<Id> parse(std::string_view text) noexcept {
    if (text.empty() || text.size() > 19 || text.front() == '0') return std::nullopt;
    Id id;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id.value);
    if (error != std::errc{} || end != text.data() + text.size() || id.value >> 63 != 0) return std::nullopt;
    return id;
  }
};

using UserId = Id<struct UserTag>;
using RoomId = Id<struct RoomTag>;
using EventId = Id<struct EventTag>;  // of a room event; a message's id is its message_created's
using SessionId = Id<struct SessionTag>;
using FileId = Id<struct FileTag>;
using ConnectionId = Id<struct ConnectionTag>;

// Spreads ids whose low bits are not random. (Finalizer of SplitMix64, Steele et al. 2014.)
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// The core that is home to an id.
template <class Tag>
constexpr unsigned home_core(Id<Tag> id, unsigned cores) noexcept {
  return static_cast<unsigned>(mix(id.value) % cores);
}

// Makes ids for one core of one host. Not thread-safe: each core has its own.
class IdMaker {
 public:
  IdMaker(unsigned host, unsigned core) noexcept : place_((host << kCoreBits) | core) {}

  // `wall_ms`: milliseconds since 1970.
  std::uint64_t next(std::int64_t wall_ms) noexcept {
    auto ticks = static_cast<std::uint64_t>(wall_ms > kIdEpochMs ? wall_ms - kIdEpochMs : 0) << kCounterBits;
    last_ticks_ = ticks > last_ticks_ ? ticks : last_ticks_ + 1;
    return ((last_ticks_ >> kCounterBits) << (kHostBits + kCoreBits + kCounterBits)) |
           (static_cast<std::uint64_t>(place_) << kCounterBits) | (last_ticks_ & ((1U << kCounterBits) - 1));
  }
  // Ids from now on are greater than `value` in time: called at start with the highest id found on disk.
  void not_before(std::uint64_t value) noexcept {
    auto ticks = ((value >> (kHostBits + kCoreBits + kCounterBits)) + 1) << kCounterBits;
    if (ticks > last_ticks_) last_ticks_ = ticks;
  }

 private:
  unsigned place_;
  std::uint64_t last_ticks_ = 0;
};

// The wall-clock milliseconds at which an id was made.
constexpr std::int64_t made_at_ms(std::uint64_t id) noexcept {
  return static_cast<std::int64_t>(id >> (kHostBits + kCoreBits + kCounterBits)) + kIdEpochMs;
}

}  // namespace ringline::base

template <class Tag>
struct std::hash<ringline::base::Id<Tag>> {
  std::size_t operator()(ringline::base::Id<Tag> id) const noexcept {
    return static_cast<std::size_t>(ringline::base::mix(id.value));
  }
};
