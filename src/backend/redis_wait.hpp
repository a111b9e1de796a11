// Wakeup: what one coroutine waits on that is told of changes by callbacks. It is resumed from the loop, not from within the callback, so a callback never
// finds its object gone or changed when it goes on. Being told says only that something may have changed: who waits looks again.
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "ringline/loop/loop.hpp"

namespace ringline::backend {

inline constexpr std::int64_t kNoDeadline = INT64_MAX;

class Wakeup {
 public:
  explicit Wakeup(loop::Loop& loop) noexcept : loop_(loop) {}
  ~Wakeup() { ASSERT(!waiting_); }
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // Counts also if nobody waits: the next wait ends at once then.
  void tell() {
    told_ = true;
    if (!waiting_ || resuming_) return;
    resuming_ = true;
    timer_.disarm();
    loop_.send(loop_.core(), loop::make_mail([this] { resume(); }));
  }

  class Wait {
   public:
    Wait(Wakeup& wakeup, std::int64_t deadline_ms) noexcept : wakeup_(wakeup), deadline_ms_(deadline_ms) {}
    bool await_ready() const noexcept { return wakeup_.told_; }
    void await_suspend(std::coroutine_handle<> waiting) {
      ASSERT(!wakeup_.waiting_);
      wakeup_.waiting_ = waiting;
      if (deadline_ms_ != kNoDeadline) wakeup_.loop_.timers().arm(wakeup_.timer_, deadline_ms_);
    }
    bool await_resume() const noexcept { return std::exchange(wakeup_.told_, false); }

   private:
    Wakeup& wakeup_;
    std::int64_t deadline_ms_;
  };
  // True: it was told; false: the time came first.
  Wait until(std::int64_t deadline_ms) noexcept { return {*this, deadline_ms}; }

 private:
  void resume() {
    resuming_ = false;
    std::exchange(waiting_, {}).resume();
  }

  loop::Loop& loop_;
  std::coroutine_handle<> waiting_;
  bool told_ = false;
  bool resuming_ = false;
  loop::TimerOf<Wakeup, &Wakeup::resume> timer_{*this};
};

}  // namespace ringline::backend
