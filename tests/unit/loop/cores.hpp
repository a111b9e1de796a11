// Several loops, each on a thread with descriptors of its own, as the server runs them.
#pragma once

#include <algorithm>
#include <barrier>
#include <functional>
#include <iterator>
#include <thread>

#include "ringline/loop/loop.hpp"
#include "ringline/loop/thread.hpp"
#include "support.hpp"

namespace ringline::loop::test {

class Cores {
 public:
  // `ready` runs on each loop's thread before its first turn, `done` after its last, while all loops still exist. `shared`: what of the test's
  // descriptors the threads use.
  using Step = std::function<void(Loop&)>;
  Cores(
      unsigned cores, Step ready, Step done = [](Loop&) {}, std::vector<Fd> shared = {})
      : shared_(std::move(shared)),
        mailboxes_(cores),
        loops_(cores),
        built_(cores),
        started_(cores + 1),
        ended_(cores),
        ready_(std::move(ready)),
        done_(std::move(done)) {
    for (unsigned core = 0; core < cores; ++core) {
      rings_.push_back(prepare_ring());
      std::ranges::copy(rings_.back()->descriptors(), std::back_inserter(shared_));
    }
    for (unsigned core = 0; core < cores; ++core) {
      threads_.emplace_back([this, core] { run(core); });
    }
    started_.arrive_and_wait();
  }
  ~Cores() {
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  Cores(const Cores&) = delete;
  Cores& operator=(const Cores&) = delete;

  Loop& operator[](unsigned core) { return *loops_[core]; }
  void stop() {
    for (Loop* loop : loops_) {
      loop->post(make_mail([loop] { loop->stop(); }));
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void run(unsigned core) {
    std::unique_ptr<Ring> ring = std::move(rings_[core]);
    EXPECT_TRUE(unshare_descriptors(shared_).has_value());
    EXPECT_TRUE(ring->begin().has_value());
    Loop loop(core, mailboxes_, std::move(ring));
    loops_[core] = &loop;
    built_.arrive_and_wait();
    loop.set_peers(loops_);
    ready_(loop);
    started_.arrive_and_wait();
    loop.run();
    done_(loop);
    ended_.arrive_and_wait();
  }

  std::vector<Fd> shared_;
  std::vector<std::unique_ptr<Ring>> rings_;
  Mailboxes mailboxes_;
  std::vector<Loop*> loops_;
  std::barrier<> built_;
  std::barrier<> started_;
  std::barrier<> ended_;
  Step ready_;
  Step done_;
  std::vector<std::thread> threads_;
};

}  // namespace ringline::loop::test
