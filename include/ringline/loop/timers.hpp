// Timers: a hierarchical wheel with a tick of a millisecond. A Timer is a member of its owner: 40 bytes, no allocation to arm or disarm, O(1).
// A timer never fires early and at most a tick late of the loop's clock.
#pragma once

#include <array>
#include <cstdint>

namespace ringline::loop {

class Timers;

class Timer {
 public:
  using Handler = void (*)(Timer&);
  explicit Timer(Handler handler) noexcept : handler_(handler) {}
  ~Timer() { disarm(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  bool armed() const noexcept { return previous_ != nullptr; }
  std::int64_t due_ms() const noexcept { return due_ms_; }  // as it was armed last
  void disarm() noexcept;

 private:
  friend class Timers;
  Timer* next_ = nullptr;
  Timer** previous_ = nullptr;  // what points at this timer
  std::int64_t due_ms_ = 0;
  Handler handler_;
};

template <class Owner, void (Owner::*on_due)()>
class TimerOf : public Timer {
 public:
  explicit TimerOf(Owner& owner) noexcept
      : Timer([](Timer& self) { (static_cast<TimerOf&>(self).owner_.*on_due)(); }), owner_(owner) {}

 private:
  Owner& owner_;
};

class Timers {
 public:
  explicit Timers(std::int64_t now_ms) noexcept : now_ms_(now_ms) {}
  ~Timers();  // what is still armed is disarmed
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // Arms, or arms again, for `due_ms` (monotonic). A time in the past fires at the next `advance`.
  void arm(Timer& timer, std::int64_t due_ms) noexcept;
  // Fires what was due before the call, earliest first. Handlers may arm and disarm any timer, also destroy their own owner; what they arm for
  // now or before fires at the next `advance`.
  void advance(std::int64_t now_ms) noexcept;
  // When `advance` is to be called next at the latest; INT64_MAX: no timer is armed.
  std::int64_t next_due_ms() const noexcept;

 private:
  static constexpr unsigned kLevelBits = 6;
  static constexpr unsigned kLevels = 6;  // 2^36 ms: two years; what is later waits in the last slot
  static constexpr unsigned kSlots = 1U << kLevelBits;

  struct Place {
    unsigned level;
    unsigned slot;
  };
  Place place_of(std::int64_t due_ms) const noexcept;
  void place(Timer& timer) noexcept;
  bool next_slot(Place& place, std::int64_t& start_ms) const noexcept;
  Timer* take_slot(Place place) noexcept;
  void collect(Timer**& end) noexcept;

  std::int64_t now_ms_;
  Timer* firing_ = nullptr;  // what `advance` has found due and not yet fired
  std::array<std::array<Timer*, kSlots>, kLevels> wheel_{};
  std::array<std::uint64_t, kLevels> occupied_{};  // a bit a slot that may hold timers
};

}  // namespace ringline::loop
