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
  unsigned connections = 0;
  double seconds = 0;
  std::optional<ServerUse> server;  // CPU time and memory that the connections took
};

struct Idle {
  double seconds = 0;
  std::optional<ServerUse> server;  // CPU time while nothing was said; memory from before the connections until the end
};

struct Report {
  const Options& options;
  SetUp set_up;
  std::optional<Idle> idle;
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
