// See workers.hpp. Invariant: a job that `submit` took is run, also when the pool is being destroyed.
#include "ringline/loop/workers.hpp"

#include <chrono>

#include "ringline/base/assert.hpp"
#include "ringline/base/memory.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::loop {

namespace {
// Without a job: by then what the last ones used is free, also what they gave to other threads.
constexpr std::chrono::seconds kRestAfter{3};
}  // namespace

Workers::Workers(unsigned threads, std::string name, std::size_t jobs_max) : jobs_max_(jobs_max) {
  ASSERT(threads > 0 && jobs_max > 0);
  threads_.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name] {
      begin_thread(name);
      give_way(Niceness::worker);
      work();
    });
  }
}

Workers::~Workers() {
  {
    const std::lock_guard guard(lock_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool Workers::submit(std::move_only_function<void()> job) {
  {
    const std::lock_guard guard(lock_);
    ASSERT(!stopping_);
    if (jobs_.size() >= jobs_max_) return false;
    jobs_.push_back(std::move(job));
  }
  ready_.notify_one();
  return true;
}

void Workers::work() {
  std::unique_lock guard(lock_);
  const auto has_work = [this] { return stopping_ || !jobs_.empty(); };
  for (bool rested = true;; rested = false) {
    if (!rested && !ready_.wait_for(guard, kRestAfter, has_work)) {
      guard.unlock();
      base::give_memory_back();
      guard.lock();
    }
    ready_.wait(guard, has_work);
    if (jobs_.empty()) return;
    std::move_only_function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    guard.unlock();
    job();
    job = nullptr;
    guard.lock();
  }
}

}  // namespace ringline::loop
