// The real clock. Nothing but the seam stands here, so that a simulation's own definitions keep this object out of its link.
#include "ringline/base/clock.hpp"

#include <ctime>

namespace ringline::base {
namespace {

std::int64_t read_ns(clockid_t clock) noexcept {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::int64_t wall_ms() noexcept { return read_ns(CLOCK_REALTIME) / 1'000'000; }
std::int64_t monotonic_ns() noexcept { return read_ns(CLOCK_MONOTONIC); }

}  // namespace ringline::base
