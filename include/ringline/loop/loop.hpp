// Loop: one core's thread. Its turn:
//
//   enter (submit, wait) -> drain: enter and reap until fewer than kDrainEnough completions come, at most kDrainRounds times
//   -> mail from other cores and workers -> timers -> end-of-turn hooks, in the order they were added -> next turn
//
// The draining before the hooks (which flush) matters: with deferred task work one enter hands over some twenty completions, a part of a burst. It is
// bounded because what is taken in stays in the processor's cache only for so long: with 32 rounds, 5,000 rooms of two at 50,000 messages a second did not
// recover from a stall (90 ms a message from then on), with 8 they do.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ringline/base/metrics.hpp"
#include "ringline/base/task.hpp"
#include "ringline/loop/mailbox.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/loop/timers.hpp"

namespace ringline::loop {

// What a turn ends with. Called once a turn on the loop's thread.
class TurnHook {
 public:
  virtual void on_turn_end() = 0;
  // More is to be done at once: the next turn does not wait.
  virtual bool has_work() const noexcept { return false; }

 protected:
  ~TurnHook() = default;
};

class Loop {
 public:
  Loop(unsigned core, Mailboxes& mailboxes, std::unique_ptr<Ring> ring);
  ~Loop();

  unsigned core() const noexcept { return core_; }
  Ring& ring() noexcept { return *ring_; }
  Timers& timers() noexcept { return timers_; }
  base::Scope& scope() noexcept { return scope_; }
  base::Metrics& metrics() noexcept { return metrics_; }
  // Time as of this turn's start: cheap, and the same for all that happens in a turn.
  std::int64_t now_ns() const noexcept { return now_ns_; }
  std::int64_t now_ms() const noexcept { return now_ns_ / 1'000'000; }

  // All loops that mail is sent between, by core number. Once, before any runs; none may be destroyed while another still runs.
  void set_peers(std::span<Loop* const> peers);
  void add_hook(TurnHook& hook) { hooks_.push_back(&hook); }

  // Runs turns until `stop`. The thread that calls is the loop's. Pinning is the caller's.
  void run();
  // One turn; `wait`: may sleep until something happens or a timer is due. For tests and the simulation.
  void turn(bool wait);
  void stop() noexcept {
    stopping_ = true;
  }  // on the loop's thread; `run` returns after this turn and may be called again
  // Mail waits or a hook has work: a turn would not sleep.
  bool anything_to_do() const noexcept;

  // On the loop's thread: mail to `core` (to itself: run at once in this turn's mail phase or the next).
  void send(unsigned core, MailPtr mail);
  bool overloaded() const noexcept;  // some stash is above its limit
  // From any thread: runs on the loop in order of arrival. Takes a lock: not for cores, which have mailboxes.
  void post(MailPtr mail);
  // Resumes a coroutine on this loop, from any thread.
  void resume(std::coroutine_handle<> handle);

  // co_await loop.sleep(5s)
  auto sleep(std::chrono::milliseconds time);

 private:
  bool fall_asleep();
  std::int64_t sleep_until_ns() const noexcept;
  void drain_ring();
  void take_mail();
  bool push(unsigned core, MailPtr& mail);  // takes it if there is room
  void empty_stashes();

  unsigned core_;
  Mailboxes& mailboxes_;
  std::unique_ptr<Ring> ring_;
  std::int64_t now_ns_;
  Timers timers_;
  base::Scope scope_;
  base::Metrics metrics_;
  std::vector<Loop*> peers_;
  std::vector<TurnHook*> hooks_;
  std::vector<std::deque<MailPtr>> stashes_;  // by destination
  std::deque<MailPtr> own_mail_;
  std::mutex posted_lock_;
  std::vector<MailPtr> posted_;
  std::atomic<bool> has_posted_{false};
  bool stopping_ = false;
};

// Awaits a time on the loop it was made on.
class Sleep {
 public:
  Sleep(Loop& loop, std::int64_t due_ms) noexcept : loop_(loop), due_ms_(due_ms) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    loop_.timers().arm(timer_, due_ms_);
  }
  void await_resume() const noexcept {}

 private:
  void on_due() { waiting_.resume(); }
  Loop& loop_;
  std::int64_t due_ms_;
  std::coroutine_handle<> waiting_;
  TimerOf<Sleep, &Sleep::on_due> timer_{*this};
};
inline auto Loop::sleep(std::chrono::milliseconds time) { return Sleep(*this, now_ms() + time.count()); }

// Mail made of a callable.
template <class Function>
class MailOf final : public Mail {
 public:
  explicit MailOf(Function function) : function_(std::move(function)) {}
  void run() override { function_(); }

 private:
  Function function_;
};
template <class Function>
MailPtr make_mail(Function function) {
  return std::make_unique<MailOf<Function>>(std::move(function));
}

}  // namespace ringline::loop
