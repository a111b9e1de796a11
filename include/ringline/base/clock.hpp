// The clock seam: nothing above `loop` reads a clock by itself. The simulation links another clock.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringline::base {

using Millis = std::chrono::milliseconds;

// Milliseconds since 1970, UTC. May jump either way.
std::int64_t wall_ms() noexcept;
// Nanoseconds since some start. Never goes back.
std::int64_t monotonic_ns() noexcept;
inline std::int64_t monotonic_ms() noexcept { return monotonic_ns() / 1'000'000; }

// RFC 3339 in UTC with milliseconds: 2026-01-31T23:59:59.123Z.
inline constexpr std::size_t kRfc3339Bytes = 24;
void put_rfc3339(char* to, std::int64_t wall_ms) noexcept;
std::string rfc3339(std::int64_t wall_ms);
void append_rfc3339(std::string& out, std::int64_t wall_ms);
// Only what these write: 2026-01-31T23:59:59.123Z.
std::optional<std::int64_t> parse_rfc3339(std::string_view text) noexcept;

}  // namespace ringline::base
