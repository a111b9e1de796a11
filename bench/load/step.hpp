// Step: one rate for one time, and everything that is said about it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "driver.hpp"
#include "ledger.hpp"
#include "procfs.hpp"

namespace ringline::bench {

struct Percentiles {
  std::uint64_t count = 0;
  double mean_ms = 0, p50_ms = 0, p90_ms = 0, p99_ms = 0, p999_ms = 0, max_ms = 0;
};
Percentiles percentiles_of(const Histogram& histogram);

struct StepPlan {
  double rate = 0;    // messages a second; 0: closed loop, each sender sends when it has its answer
  double warmup = 0;  // not measured: the rate rises over it
  double seconds = 0;
  bool give_up = false;  // as soon as p99 can no longer be below the bound
};

struct StepResult {
  StepPlan plan;
  double seconds = 0;  // measured
  Totals all;          // of the whole step, warm-up and draining too
  Totals measured;     // what happened in the measured time
  std::int64_t lost = 0;
  unsigned connections_lost = 0;
  unsigned came_back = 0;    // of --churn
  unsigned tried_again = 0;  // of these, were refused at first
  unsigned incomplete = 0;   // of these, were told to reload
  Percentiles latency;
  Percentiles answer;
  Percentiles lag;  // how late the load tool itself sent
  double busy_share = 0;
  std::optional<ServerUse> server;
  bool gave_up = false;
  bool interrupted = false;
  double drain_seconds = 0;

  bool clean() const noexcept { return lost == 0 && connections_lost == 0 && incomplete == 0 && all.wrong() == 0; }
  bool held(double p99_ms) const noexcept {
    return clean() && !gave_up && !interrupted && latency.count > 0 && latency.p99_ms < p99_ms;
  }
};

class StepRunner {
 public:
  StepRunner(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe);
  StepResult run(const StepPlan& plan);

 private:
  std::int64_t intended_ns(std::uint64_t message) const;
  void send_due(std::int64_t now_ns);
  void sample(std::int64_t now_ns);
  void come_and_go(std::int64_t now_ns);
  bool hopeless(std::int64_t now_ns);
  void drain(StepResult& result);
  void conclude(StepResult& result);

  const Options& options_;
  Driver& driver_;
  Crowd& crowd_;
  const ServerProbe& probe_;

  // Of the step that runs.
  StepPlan plan_;
  std::int64_t start_ns_ = 0;
  std::int64_t from_ns_ = 0;
  std::int64_t to_ns_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t messages_ = 0;  // of the whole schedule
  std::uint64_t gone_ = 0;      // of --churn
  Histogram lag_;
  enum class Phase : std::uint8_t { warmup, measured, over } phase_ = Phase::warmup;
  struct Sample {
    std::int64_t at_ns = 0;
    Totals totals;
    std::optional<ServerUse> use;
  };
  Sample take_sample(std::int64_t now_ns) const;
  Sample begin_, first_, last_;
};

}  // namespace ringline::bench
