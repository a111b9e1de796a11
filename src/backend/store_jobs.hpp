// Work for a database's threads, and how its answer comes home.
//
// A Call is made on a loop, runs on a thread of the database, and its answer goes back through the client's Door as mail. Of what it holds the loop's thread
// touches only `waiter_`, the database's thread only the rest, and the mail is what orders the two.
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "backend/sql.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

class Job {
 public:
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  virtual ~Job() = default;

  // Null: it went well; otherwise what it wrote is to be taken back. May be run again then.
  virtual Task<const base::Error*> run(Sql& db) = 0;
  virtual void lose(const base::Error& why) = 0;  // the transaction around it failed: this is the answer instead
  virtual void deliver() = 0;                     // last, once

  // On SQLite: writes in a transaction of its own, in which foreign keys are not enforced: deleting a user would look through all messages for one of his.
  bool unchecked = false;
  // Reads what a replica may answer: it says kBehind where that has less than was seen already, and is run again elsewhere.
  bool anywhere = false;
  // Is run while the database lacks what it had (Database::rewinds): what puts it right. Anything else would be answered from what was.
  bool restores = false;
};
using JobRef = std::shared_ptr<Job>;

// Not a coroutine itself: what it captured stays in the job while the task that it gives runs.
template <class T>
using Work = std::move_only_function<Task<Result<T>>(Sql&)>;

template <class T>
class JobOf : public Job {
 public:
  explicit JobOf(Work<T> work) : work_(std::move(work)) {}

  Task<const base::Error*> run(Sql& db) override {
    Task<Result<T>> work = work_(db);
    Result<T> answer = co_await std::move(work);
    answer_.emplace(std::move(answer));
    co_return answer_->has_value() ? nullptr : &answer_->error();
  }
  void lose(const base::Error& why) override { answer_.emplace(std::unexpected(why)); }

 protected:
  std::optional<Result<T>> answer_;

 private:
  Work<T> work_;
};

// The way back to a client's loop: shut when the client goes, so that no late answer is posted to a loop that is gone.
class Door {
 public:
  explicit Door(loop::Loop& loop) noexcept : loop_(&loop) {}
  void post(loop::MailPtr mail) {
    std::lock_guard guard(lock_);
    if (loop_) loop_->post(std::move(mail));
  }
  void shut() {
    std::lock_guard guard(lock_);
    loop_ = nullptr;
  }

 private:
  std::mutex lock_;
  loop::Loop* loop_;
};

template <class T>
class Wait;

template <class T>
class Call final : public JobOf<T>, public std::enable_shared_from_this<Call<T>> {
 public:
  Call(std::shared_ptr<Door> door, Work<T> work) : JobOf<T>(std::move(work)), door_(std::move(door)) {}

  void deliver() override {
    door_->post(loop::make_mail([self = this->shared_from_this()] {
      if (self->waiter_) std::exchange(self->waiter_, nullptr)->finish(std::move(*self->answer_));
    }));
  }

 private:
  friend class Wait<T>;
  std::shared_ptr<Door> door_;
  Wait<T>* waiter_ = nullptr;
};

// Suspends until the call's answer is there or its time is over.
template <class T>
class Wait {
 public:
  Wait(loop::Loop& loop, std::chrono::milliseconds timeout, Call<T>& call) noexcept
      : loop_(loop), timeout_(timeout), call_(call) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    call_.waiter_ = this;
    loop_.timers().arm(timer_, loop_.now_ms() + timeout_.count());
  }
  Result<T> await_resume() { return std::move(*answer_); }

  void finish(Result<T> answer) {
    timer_.disarm();
    answer_.emplace(std::move(answer));
    waiting_.resume();
  }

 private:
  void on_due() {
    call_.waiter_ = nullptr;
    finish(base::fail_later(base::Errc::unavailable, 1000, "the database did not answer in time"));
  }

  loop::Loop& loop_;
  std::chrono::milliseconds timeout_;
  Call<T>& call_;
  std::coroutine_handle<> waiting_;
  std::optional<Result<T>> answer_;
  loop::TimerOf<Wait, &Wait::on_due> timer_{*this};
};

}  // namespace ringline::backend
