// Workers: a small pool of threads for what blocks (password hashing, SQLite, name look-up). A job runs on a worker; its waiter is resumed on the
// loop it waited on. The queue is bounded: a full one is answered `unavailable` at once.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::loop {

class Workers {
 public:
  // `name` is the threads' name in ps and gdb (at most 15 bytes).
  Workers(unsigned threads, std::string name, std::size_t jobs_max);
  ~Workers();  // runs what is queued, then joins

  // False: the queue is full.
  bool submit(std::move_only_function<void()> job);

  // co_await workers.run(loop, [] { return 42; })  ->  Result<int> (of nothing: Result<std::monostate>). The callable runs on a worker and must own
  // what it uses. The loop must outlive the pool.
  template <class Function>
  auto run(Loop& loop, Function function);

 private:
  void work();

  std::size_t jobs_max_;
  std::mutex lock_;
  std::condition_variable ready_;
  std::deque<std::move_only_function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

template <class Function>
class WorkerRun {
 public:
  using Returned = decltype(std::declval<Function&>()());
  using Value = std::conditional_t<std::is_void_v<Returned>, std::monostate, Returned>;
  WorkerRun(Workers& workers, Loop& loop, Function function)
      : workers_(workers), loop_(loop), function_(std::move(function)) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiting) {
    return workers_.submit([this, waiting] {
      if constexpr (std::is_void_v<Returned>) {
        function_();
        value_.emplace();
      } else {
        value_.emplace(function_());
      }
      loop_.resume(waiting);
    });
  }
  base::Result<Value> await_resume() {
    if (!value_) return base::fail_later(base::Errc::unavailable, 1000, "too much is waiting; try again");
    return std::move(*value_);
  }

 private:
  Workers& workers_;
  Loop& loop_;
  Function function_;
  std::optional<Value> value_;
};

template <class Function>
auto Workers::run(Loop& loop, Function function) {
  return WorkerRun<Function>(*this, loop, std::move(function));
}

}  // namespace ringline::loop
