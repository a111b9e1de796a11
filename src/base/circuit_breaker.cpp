// See circuit_breaker.hpp.
#include "ringline/base/circuit_breaker.hpp"

#include <algorithm>

namespace ringline::base {

bool CircuitBreaker::begin_probe(std::int64_t now_ms) noexcept {
  if (state() != State::open || now_ms < probe_ms_) return false;
  state_.store(State::half_open, std::memory_order_relaxed);
  return true;
}

void CircuitBreaker::succeeded() noexcept {
  failures_ = 0;
  if (state() == State::open) return;  // an old call's answer: the probe decides
  pause_ = options_.first_pause;
  state_.store(State::closed, std::memory_order_relaxed);
}

void CircuitBreaker::failed(std::int64_t now_ms, std::uint64_t random) noexcept {
  switch (state()) {
    case State::closed:
      if (++failures_ >= options_.failures) open(now_ms, random);
      return;
    case State::half_open:
      pause_ = std::min(pause_ * 2, options_.longest_pause);
      return open(now_ms, random);
    case State::open:
      return;  // calls that were under way when it opened
  }
}

// From three quarters of the pause to five quarters.
void CircuitBreaker::open(std::int64_t now_ms, std::uint64_t random) noexcept {
  const std::int64_t half = std::max<std::int64_t>(pause_.count() / 2, 1);
  probe_ms_ = now_ms + pause_.count() - half / 2 + static_cast<std::int64_t>(random % static_cast<std::uint64_t>(half));
  failures_ = 0;
  state_.store(State::open, std::memory_order_relaxed);
}

std::uint32_t CircuitBreaker::retry_after_ms(std::int64_t now_ms) const noexcept {
  const std::int64_t left = state() == State::open ? probe_ms_ - now_ms : 0;
  return std::max(kRetryMinMs, static_cast<std::uint32_t>(std::max<std::int64_t>(left, 0)));
}

std::string_view name_of(CircuitBreaker::State state) noexcept {
  switch (state) {
    case CircuitBreaker::State::closed:
      return "closed";
    case CircuitBreaker::State::half_open:
      return "half-open";
    case CircuitBreaker::State::open:
      return "open";
  }
  return {};
}

}  // namespace ringline::base
