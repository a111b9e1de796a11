// What a run has found, as a table for people and as JSON for scripts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "options.hpp"
#include "ringline/base/result.hpp"
#include "step.hpp"

namespace ringline::bench {

struct SetUp {
  std::optional<ServerUse> before;  // since the server's start
  unsigned connections = 0;
  double seconds = 0;
  std::optional<ServerUse> server;  // CPU time and memory that the connections took
};

struct Idle {
  double seconds = 0;
  std::optional<ServerUse> server;  // CPU time while nothing was said; memory from before the connections until the end
};

// --storm and --resume: all connections, once more.
struct Return {
  unsigned connections = 0;
  double seconds = 0;       // from the first that was taken until the last was back
  double away_seconds = 0;  // --resume: from the end of the old connections until a connection was taken again
  unsigned tried_again = 0;
  unsigned resumed = 0;
  unsigned incomplete = 0;
  std::int64_t missing = 0;  // deliveries of what was missed
  Totals all;
  std::optional<ServerUse> server;

  bool clean() const noexcept { return incomplete == 0 && missing == 0 && all.wrong() == 0; }
};

// --burst: of each message the milliseconds of CPU that the server took until it was done with it.
struct Bursts {
  std::vector<double>
      busiest_ms;  // of the thread that had most to do: with the cores to itself, the time from commit to the last send
  std::vector<double> all_ms;
};

struct Report {
  const Options& options;
  SetUp set_up;
  std::optional<Idle> idle;
  std::optional<Return> back;
  std::optional<Bursts> bursts;
  std::vector<StepResult> steps;
  std::optional<double> highest_rate;  // --search: 0 when none was held
  std::string failure;                 // the first thing that went wrong; empty: nothing did
  bool interrupted = false;

  bool clean() const noexcept;
};

void print_step(const StepResult& step);
void print_report(const Report& report);
base::Result<void> write_json(const Report& report);

}  // namespace ringline::bench
