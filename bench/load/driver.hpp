// Driver: turns the loop, knows when to stop, and shows a line of progress: once a second on a terminal, every five seconds elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "crowd.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::bench {

// Set by SIGINT and SIGTERM: what has been measured is reported.
void catch_interrupts();
bool interrupted() noexcept;

class Driver {
 public:
  Driver(const Options& options, loop::Loop& loop, Crowd& crowd);

  // One turn. It sleeps, if it may, until something comes or `due_ns` (monotonic) is near.
  void turn(std::int64_t due_ns);
  // Turns until `done()` or `until_ns`. Returns whether it is done.
  template <class Done>
  bool run_until(std::int64_t until_ns, Done done) {
    while (!done()) {
      if (interrupted() || loop_.now_ns() >= until_ns) return done();
      turn(until_ns);
    }
    return true;
  }
  std::int64_t now_ns() const noexcept { return loop_.now_ns(); }

  // What the line says first: "500 msg/s", "connecting".
  void show(std::string what) { what_ = std::move(what); }
  void end_line();
  // The share of time that had something to do, since the last call: near 1, the load tool and not the server is the bound.
  double busy_share() noexcept;

 private:
  void on_wake() {}
  void progress(std::int64_t now_ns);

  const Options& options_;
  loop::Loop& loop_;
  Crowd& crowd_;
  loop::TimerOf<Driver, &Driver::on_wake> wake_{*this};
  std::string what_;
  bool terminal_;
  bool line_open_ = false;
  std::int64_t next_progress_ns_;
  std::int64_t busy_ns_ = 0;
  std::int64_t busy_since_ns_;
  std::int64_t shown_ns_;
  Totals shown_;
};

}  // namespace ringline::bench
