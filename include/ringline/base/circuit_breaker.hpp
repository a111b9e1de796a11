// CircuitBreaker: whether a server that others depend on (S3, a database, a mail server) is asked at all.
//
//   closed     it is asked; so many failures in a row open the breaker
//   open       nobody waits for it: callers are told at once when to come again. The pause grows with each failed probe, with jitter, so that many hosts
//              do not come back together
//   half_open  one probe is under way, made by the breaker's owner: it may not hang on a slow client's request. It closes the breaker or opens it again
//
// One thread uses it; `state` may be read by any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace ringline::base {

class CircuitBreaker {
 public:
  enum class State : std::uint8_t { closed, half_open, open };
  struct Options {
    unsigned failures = 5;  // in a row
    std::chrono::milliseconds first_pause{500};
    std::chrono::milliseconds longest_pause{30'000};
  };

  CircuitBreaker() noexcept : CircuitBreaker(Options{}) {}
  explicit CircuitBreaker(Options options) noexcept : options_(options), pause_(options.first_pause) {}

  State state() const noexcept { return state_.load(std::memory_order_relaxed); }
  bool closed() const noexcept { return state() == State::closed; }
  // True: the pause is over, and the caller makes one probe and tells what became of it.
  bool begin_probe(std::int64_t now_ms) noexcept;
  void succeeded() noexcept;
  // `random`: any number, for the jitter.
  void failed(std::int64_t now_ms, std::uint64_t random) noexcept;
  // At the start nothing is known: as if a probe were under way.
  void begin_unknown() noexcept { state_.store(State::half_open, std::memory_order_relaxed); }
  // For who is refused: until the next probe, at least kRetryMinMs.
  std::uint32_t retry_after_ms(std::int64_t now_ms) const noexcept;

  static constexpr std::uint32_t kRetryMinMs = 1000;

 private:
  void open(std::int64_t now_ms, std::uint64_t random) noexcept;

  const Options options_;
  std::atomic<State> state_{State::closed};
  unsigned failures_ = 0;
  std::chrono::milliseconds pause_;
  std::int64_t probe_ms_ = 0;  // when the next probe may be made
};

std::string_view name_of(CircuitBreaker::State state) noexcept;

}  // namespace ringline::base
