// The marker that each text begins with: ~ and 48 hex digits that say which run, room, sender and message it is and when it should have been sent.
// A receiver finds it by its first byte, which nothing else in a frame contains, and needs no JSON parser.
#pragma once

#include <endian.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace ringline::bench {

inline constexpr char kMarkerByte = '~';
inline constexpr std::size_t kMarkerBytes = 1 + 3 * 16;

struct Marker {
  std::uint32_t run = 0;
  std::uint32_t room = 0;
  std::uint32_t sender = 0;   // connection
  std::uint32_t counter = 0;  // of this sender, from 1
  std::int64_t intended_ns = 0;

  // One number for one message: the order of a room is a list of them.
  std::uint64_t key() const noexcept { return std::uint64_t{sender} << 32 | counter; }
  bool operator==(const Marker&) const = default;
};

// Appends a text of `size` bytes: marker and filling.
void append_text(std::string& out, const Marker& marker, std::size_t size);

namespace detail {

// Eight hex digits, eight bytes at a time: nothing else here is done as often. `bad` is not 0 any more if one is none.
inline std::uint32_t hex8(const char* text, std::uint64_t& bad) noexcept {
  constexpr std::uint64_t kEach = 0x0101010101010101;
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, text, sizeof bytes);
  bytes = be64toh(bytes);
  const std::uint64_t letter = bytes >> 6 & kEach;  // 1 in the byte of a letter
  std::uint64_t digits = (bytes & 0x0f * kEach) + 9 * letter;
  bad |= (digits + '0' * kEach + ('a' - '0' - 10) * letter) ^ bytes;  // not what it would be written as
  bad |= ((digits + 6 * kEach) >> 4 & kEach) ^ letter;                // a letter that is no digit above nine
  bad |= digits >> 4 & kEach;                                         // beyond f
  digits = (digits | digits >> 4) & 0x00ff00ff00ff00ff;
  digits = (digits | digits >> 8) & 0x0000ffff0000ffff;
  return static_cast<std::uint32_t>(digits | digits >> 16);
}
inline std::uint64_t hex16(const char* text, std::uint64_t& bad) noexcept {
  const std::uint64_t high = hex8(text, bad);
  return high << 32 | hex8(text + 8, bad);
}

}  // namespace detail

enum class Found : std::uint8_t { nothing, marker, damaged };

inline Found find_marker(std::string_view frame, Marker& out) noexcept {
  const void* at = std::memchr(frame.data(), kMarkerByte, frame.size());
  if (at == nullptr) return Found::nothing;
  const char* digits = static_cast<const char*>(at) + 1;
  if (static_cast<std::size_t>(frame.data() + frame.size() - digits) < kMarkerBytes - 1) return Found::damaged;
  std::uint64_t bad = 0;
  const std::uint64_t where = detail::hex16(digits, bad);
  const std::uint64_t who = detail::hex16(digits + 16, bad);
  out.intended_ns = static_cast<std::int64_t>(detail::hex16(digits + 32, bad));
  out.run = static_cast<std::uint32_t>(where >> 32);
  out.room = static_cast<std::uint32_t>(where);
  out.sender = static_cast<std::uint32_t>(who >> 32);
  out.counter = static_cast<std::uint32_t>(who);
  return bad != 0 ? Found::damaged : Found::marker;
}

}  // namespace ringline::bench
