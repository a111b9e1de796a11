// A call that is waited for only for a time: it goes on behind, and may be waited for again. Its owner shares it with what runs in the loop's scope; one waits
// at a time.
#pragma once

#include <chrono>
#include <coroutine>
#include <memory>
#include <optional>
#include <utility>

#include "ringline/base/assert.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

template <class T>
class PatientCall {
 public:
  static std::shared_ptr<PatientCall> begin(loop::Loop& loop, base::Task<base::Result<T>> task) {
    auto call = std::make_shared<PatientCall>();
    loop.scope().spawn(run(std::move(task), call));
    return call;
  }

  class Wait;
  // co_await gives whether the answer is there.
  Wait within(loop::Loop& loop, std::chrono::milliseconds time) { return Wait(*this, loop, time); }
  base::Result<T> take() {
    ASSERT(answer_);
    return std::move(*answer_);
  }

 private:
  static base::Task<void> run(base::Task<base::Result<T>> task, std::shared_ptr<PatientCall> call) {
    auto answer = co_await std::move(task);
    call->answer_.emplace(std::move(answer));
    if (call->waiting_) std::exchange(call->waiting_, {}).resume();
  }

  std::optional<base::Result<T>> answer_;
  std::coroutine_handle<> waiting_;
};

template <class T>
class PatientCall<T>::Wait {
 public:
  Wait(PatientCall& call, loop::Loop& loop, std::chrono::milliseconds time) noexcept
      : call_(call), loop_(loop), time_(time) {}

  bool await_ready() const noexcept { return call_.answer_.has_value(); }
  void await_suspend(std::coroutine_handle<> waiting) {
    ASSERT(!call_.waiting_);
    call_.waiting_ = waiting;
    loop_.timers().arm(timer_, loop_.now_ms() + time_.count());
  }
  bool await_resume() noexcept {
    timer_.disarm();
    return call_.answer_.has_value();
  }

 private:
  void on_due() { std::exchange(call_.waiting_, {}).resume(); }
  PatientCall& call_;
  loop::Loop& loop_;
  std::chrono::milliseconds time_;
  loop::TimerOf<Wait, &Wait::on_due> timer_{*this};
};

}  // namespace ringline::backend
