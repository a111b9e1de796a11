// Several loops, each on a thread of its own, as the server runs them.
#pragma once

#include <barrier>
#include <functional>
#include <thread>

#include "ringline/loop/loop.hpp"
#include "support.hpp"

namespace ringline::loop::test {

class Cores {
 public:
  // `ready` runs on each loop's thread before its first turn, `done` after its last, while all loops still exist.
  using Step = std::function<void(Loop&)>;
  Cores(
      unsigned cores, Step ready, Step done = [](Loop&) {})
      : mailboxes_(cores),
        loops_(cores),
        built_(cores),
        started_(cores + 1),
        ended_(cores),
        ready_(std::move(ready)),
        done_(std::move(done)) {
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
    Loop loop(core, mailboxes_, open_ring());
    loops_[core] = &loop;
    built_.arrive_and_wait();
    loop.set_peers(loops_);
    ready_(loop);
    started_.arrive_and_wait();
    loop.run();
    done_(loop);
    ended_.arrive_and_wait();
  }

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
