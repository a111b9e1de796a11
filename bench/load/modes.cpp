#include "modes.hpp"

#include "visits.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string_view>
#include <thread>

#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kSetUpStall = 20 * kSecond;  // nobody came in for so long: the set-up has failed
constexpr std::int64_t kSettle = kSecond / 2;       // after the last join: what it caused arrives
constexpr double kGrowth = 2;                       // of the rate, until one is not held
constexpr unsigned kStepsMax = 40;
constexpr double kQuietAfterLoss = 1;                            // seconds
constexpr auto kAnsweringEvery = std::chrono::milliseconds(20);  // --idle: heartbeats, all that have come at once
constexpr std::string_view kAllIn = "all connections are in";    // of --idle: whoever started several waits for it

std::int64_t ns_of(double seconds) { return static_cast<std::int64_t>(seconds * static_cast<double>(kSecond)); }

}  // namespace

std::optional<ServerUse> ask(const ServerProbe& probe) {
  if (!probe.present()) return {};
  auto use = probe.ask(true);
  return use ? std::optional(*use) : std::nullopt;
}

void finish_step(Report& report, Driver& driver, StepResult result) {
  driver.end_line();
  print_step(result);
  report.interrupted = report.interrupted || result.interrupted;
  report.steps.push_back(std::move(result));
}

namespace {

// Doubles the rate until it is not held, then halves the ratio of the bounds. A rate that is not held once is tried a second time: on a shared machine
// one stall of another's must not decide.
class Search {
 public:
  Search(const Options& options, Driver& driver, Crowd& crowd, StepRunner& steps, Report& report)
      : options_(options), driver_(driver), crowd_(crowd), steps_(steps), report_(report) {}

  void run() {
    double low = 0;
    double high = 0;
    double rate = options_.rate;
    for (unsigned i = 0; i < kStepsMax && going_on(); ++i) {
      const bool held = try_rate(rate) || (going_on() && try_rate(rate));
      (held ? low : high) = rate;
      report_.highest_rate = low;
      if (high > 0 && low > 0 && high / low < 1 + options_.precision) return;
      if (high == 0 && rate >= options_.rate_max) return;
      if (rate < 1) return;
      rate = high == 0  ? std::min(rate * kGrowth, options_.rate_max)
             : low == 0 ? rate / kGrowth
                        : std::sqrt(low * high);
    }
  }

 private:
  bool going_on() const { return !report_.interrupted && crowd_.failed() == 0; }
  bool try_rate(double rate) {
    StepResult result =
        steps_.run({.rate = rate, .warmup = options_.warmup, .seconds = options_.seconds, .give_up = true});
    const bool held = result.held(options_.p99_ms);
    finish_step(report_, driver_, std::move(result));
    fmt::print("  {:<28}{}\n", "held", held ? "yes" : "no");
    driver_.run_until(base::monotonic_ns() + ns_of(kQuietAfterLoss), [] { return false; });
    return held;
  }

  const Options& options_;
  Driver& driver_;
  Crowd& crowd_;
  StepRunner& steps_;
  Report& report_;
};

void idle(const Options& options, Driver& driver, const Crowd& crowd, const ServerProbe& probe, Report& report) {
  fmt::print("{}\n", kAllIn);
  std::fflush(stdout);
  driver.show("idle");
  const auto before = ask(probe);
  const std::int64_t began_ns = base::monotonic_ns();
  while (!interrupted() && crowd.failed() == 0 && base::monotonic_ns() < began_ns + ns_of(options.seconds)) {
    driver.turn(base::monotonic_ns());
    std::this_thread::sleep_for(kAnsweringEvery);
  }
  driver.end_line();
  Idle found{.seconds = static_cast<double>(base::monotonic_ns() - began_ns) / static_cast<double>(kSecond),
             .server = ask(probe)};
  if (before && found.server && report.set_up.before) {
    // CPU time of the idling alone; memory since before there were connections.
    const ServerUse idling = *found.server - *before;
    found.server->cpu_ns = idling.cpu_ns;
    found.server->threads_ns = idling.threads_ns;
    const ServerUse grown = *found.server - *report.set_up.before;
    found.server->resident_bytes = grown.resident_bytes;
    found.server->anonymous_bytes = grown.anonymous_bytes;
  }
  report.idle = found;
  report.interrupted = interrupted();
}

}  // namespace

void let_all_in(Driver& driver, Crowd& crowd) {
  std::int64_t progress_ns = base::monotonic_ns();
  unsigned joined = 0;
  while (!crowd.all_joined() && crowd.failed() == 0 && !interrupted()) {
    crowd.open_some();
    driver.turn(base::monotonic_ns() + kSecond / 10);
    if (std::exchange(joined, crowd.joined()) != crowd.joined()) progress_ns = driver.now_ns();
    if (driver.now_ns() - progress_ns > kSetUpStall) return;
  }
}

bool set_up(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report) {
  driver.show("connecting");
  report.set_up.before = ask(probe);
  const std::int64_t began_ns = base::monotonic_ns();
  let_all_in(driver, crowd);
  report.set_up.seconds = static_cast<double>(base::monotonic_ns() - began_ns) / static_cast<double>(kSecond);
  report.set_up.connections = crowd.joined();
  driver.run_until(base::monotonic_ns() + kSettle, [&] { return crowd.failed() > 0; });
  const auto after = ask(probe);
  if (report.set_up.before && after) report.set_up.server = *after - *report.set_up.before;
  driver.end_line();
  report.interrupted = interrupted();
  if (crowd.all_joined()) return true;
  report.failure = crowd.failed() > 0
                       ? crowd.first_failure()
                       : fmt::format("{} of {} connections were set up", crowd.joined(), options.connections);
  return false;
}

void run_mode(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report) {
  StepRunner steps(options, driver, crowd, probe);
  switch (options.mode) {
    case Mode::fanout:
      finish_step(report, driver,
                  steps.run({.rate = options.rate, .warmup = options.warmup, .seconds = options.seconds}));
      break;
    case Mode::ack:
      finish_step(report, driver, steps.run({.rate = 0, .warmup = options.warmup, .seconds = options.seconds}));
      break;
    case Mode::search:
      Search(options, driver, crowd, steps, report).run();
      break;
    case Mode::idle:
      idle(options, driver, crowd, probe, report);
      break;
    case Mode::history:
      ask_pages(options, driver, crowd, steps, report);
      break;
    case Mode::burst:
      send_bursts(options, driver, crowd, probe, report);
      break;
    case Mode::storm:
      come_again(options, driver, crowd, probe, report);
      break;
    case Mode::resume:
      resume_all(options, driver, crowd, report);
      break;
    case Mode::hosts:  // has no crowd: hosts.hpp
      break;
  }
  if (report.failure.empty()) report.failure = crowd.first_failure();
}

void tear_down(loop::Loop& loop, Crowd& crowd) {
  crowd.close_all();
  while (!crowd.all_closed() || loop.ring().has_unsubmitted()) loop.turn(false);
}

}  // namespace ringline::bench
