// The marker that each text begins with: ~ and 48 hex digits that say which run, room, sender and message it is and when it should have been sent.
// A receiver finds it by its first byte, which nothing else in a frame contains, and needs no JSON parser.
#pragma once

#include <array>
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
};

// Appends a text of `size` bytes: marker and filling.
void append_text(std::string& out, const Marker& marker, std::size_t size);

namespace detail {

inline constexpr std::array<std::int8_t, 256> kHexDigits = [] {
  std::array<std::int8_t, 256> digits{};
  digits.fill(-1);
  for (int i = 0; i < 10; ++i) digits[static_cast<std::size_t>('0' + i)] = static_cast<std::int8_t>(i);
  for (int i = 0; i < 6; ++i) digits[static_cast<std::size_t>('a' + i)] = static_cast<std::int8_t>(10 + i);
  return digits;
}();

// Sixteen hex digits; `bad` becomes negative if one is not.
inline std::uint64_t hex16(const char* text, int& bad) noexcept {
  std::uint64_t value = 0;
  for (int i = 0; i < 16; ++i) {
    const std::int8_t digit = kHexDigits[static_cast<unsigned char>(text[i])];
    bad |= digit;
    value = value << 4 | (static_cast<std::uint64_t>(digit) & 15);
  }
  return value;
}

}  // namespace detail

enum class Found : std::uint8_t { nothing, marker, damaged };

inline Found find_marker(std::string_view frame, Marker& out) noexcept {
  const void* at = std::memchr(frame.data(), kMarkerByte, frame.size());
  if (at == nullptr) return Found::nothing;
  const char* digits = static_cast<const char*>(at) + 1;
  if (static_cast<std::size_t>(frame.data() + frame.size() - digits) < kMarkerBytes - 1) return Found::damaged;
  int bad = 0;
  const std::uint64_t where = detail::hex16(digits, bad);
  const std::uint64_t who = detail::hex16(digits + 16, bad);
  out.intended_ns = static_cast<std::int64_t>(detail::hex16(digits + 32, bad));
  out.run = static_cast<std::uint32_t>(where >> 32);
  out.room = static_cast<std::uint32_t>(where);
  out.sender = static_cast<std::uint32_t>(who >> 32);
  out.counter = static_cast<std::uint32_t>(who);
  return bad < 0 ? Found::damaged : Found::marker;
}

}  // namespace ringline::bench
