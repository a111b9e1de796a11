#include "step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr double kSecond = 1e9;
constexpr std::int64_t kLead = 10'000'000;  // from the decision to the first message
constexpr std::int64_t kDrainTurn = 20'000'000;
constexpr double kInterruptedSeconds = 2;  // of draining
constexpr double kHopelessSeconds =
    2;  // more than so many seconds of deliveries under way: the server does not keep up

std::int64_t ns_of(double seconds) { return static_cast<std::int64_t>(seconds * kSecond); }

}  // namespace

Percentiles percentiles_of(const Histogram& histogram) {
  const auto ms = [&](double share) { return static_cast<double>(histogram.percentile(share)) / 1e6; };
  return {.count = histogram.count(),
          .mean_ms = histogram.mean() / 1e6,
          .p50_ms = ms(0.5),
          .p90_ms = ms(0.9),
          .p99_ms = ms(0.99),
          .p999_ms = ms(0.999),
          .max_ms = static_cast<double>(histogram.max()) / 1e6};
}

StepRunner::StepRunner(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe)
    : options_(options), driver_(driver), crowd_(crowd), probe_(probe) {}

StepResult StepRunner::run(const StepPlan& plan) {
  StepResult result{.plan = plan};
  plan_ = plan;
  sent_ = 0;
  gone_ = 0;
  lag_.clear();
  phase_ = Phase::warmup;
  start_ns_ = base::monotonic_ns() + kLead;
  from_ns_ = start_ns_ + ns_of(plan.warmup);
  to_ns_ = from_ns_ + ns_of(plan.seconds);
  messages_ = static_cast<std::uint64_t>(plan.rate * (plan.warmup / 2 + plan.seconds));
  crowd_.ledger().set_bound(ns_of(options_.p99_ms / 1000));
  crowd_.ledger().measure(from_ns_, to_ns_);
  begin_ = take_sample(start_ns_);
  first_ = last_ = begin_;
  static_cast<void>(driver_.busy_share());
  driver_.show(plan.rate > 0 ? fmt::format("{:.0f} msg/s for {:g} s", plan.rate, plan.seconds)
                             : fmt::format("send, answer, {:g} s", plan.seconds));
  const bool closed_loop = plan.rate <= 0;
  crowd_.set_closed_loop(closed_loop);
  for (unsigned i = 0; closed_loop && i < crowd_.senders(); ++i)
    crowd_.send_from(crowd_.sender(i), base::monotonic_ns());

  while (phase_ != Phase::over) {
    const std::int64_t now_ns = base::monotonic_ns();
    send_due(now_ns);
    sample(now_ns);
    come_and_go(now_ns);
    if (interrupted()) result.interrupted = true;
    if (plan.give_up && hopeless(now_ns)) result.gave_up = true;
    if (result.interrupted || result.gave_up || crowd_.failed() > 0) break;
    std::int64_t next_ns = closed_loop || sent_ == messages_ ? to_ns_ : intended_ns(sent_);
    if (options_.churn > 0) next_ns = std::min(next_ns, now_ns + kDrainTurn);
    driver_.turn(next_ns);
  }
  crowd_.set_closed_loop(false);
  if (phase_ != Phase::over) last_ = take_sample(base::monotonic_ns());
  if (phase_ == Phase::warmup) first_ = begin_;
  drain(result);
  conclude(result);
  return result;
}

// The rate rises evenly over the warm-up: no crowd goes from nothing to everything at once. (TCP acknowledges each of the first packets after a pause by
// itself, and what that costs would otherwise all come at the start.)
std::int64_t StepRunner::intended_ns(std::uint64_t message) const {
  const double rising = plan_.rate * plan_.warmup / 2;
  const auto n = static_cast<double>(message);
  return n < rising ? start_ns_ + ns_of(std::sqrt(2 * n * plan_.warmup / plan_.rate))
                    : from_ns_ + ns_of((n - rising) / plan_.rate);
}

void StepRunner::send_due(std::int64_t now_ns) {
  while (sent_ < messages_) {
    const std::int64_t due_ns = intended_ns(sent_);
    if (due_ns > now_ns) return;
    lag_.record(now_ns - due_ns);
    crowd_.send_next(due_ns);
    ++sent_;
  }
}

void StepRunner::sample(std::int64_t now_ns) {
  if (phase_ == Phase::warmup && now_ns >= from_ns_) {
    first_ = take_sample(now_ns);
    phase_ = Phase::measured;
  }
  if (phase_ == Phase::measured && now_ns >= to_ns_) {
    last_ = take_sample(now_ns);
    phase_ = Phase::over;
  }
}

// --churn: who does not send leaves and comes back, all the time.
void StepRunner::come_and_go(std::int64_t now_ns) {
  if (options_.churn <= 0) return;
  crowd_.let_go(true);
  crowd_.set_resuming(true);
  for (; start_ns_ + ns_of(static_cast<double>(gone_) / options_.churn) <= now_ns; ++gone_) crowd_.send_next_away();
  crowd_.open_some();
}

StepRunner::Sample StepRunner::take_sample(std::int64_t now_ns) const {
  Sample sample{.at_ns = now_ns, .totals = crowd_.ledger().totals(), .use = {}};
  if (!probe_.present()) return sample;
  if (auto use = probe_.ask(false)) sample.use = *use;
  return sample;
}

// p99 of the step cannot be below the bound any more, or the server is far behind.
bool StepRunner::hopeless(std::int64_t now_ns) {
  Ledger& ledger = crowd_.ledger();
  const double fan = static_cast<double>(options_.connections) / options_.rooms();
  const double over = static_cast<double>(ledger.over(ns_of(options_.p99_ms / 1000)));
  if (over > 0.01 * plan_.rate * plan_.seconds * fan) return true;
  const auto under_way = static_cast<double>(ledger.totals().outstanding());
  return now_ns > from_ns_ && under_way > plan_.rate * fan * (options_.p99_ms / 1000 + kHopelessSeconds);
}

// Everything that was sent arrives, or the time for it ends. Who interrupts waits less, but what is under way is not called lost at once.
void StepRunner::drain(StepResult& result) {
  const std::int64_t began_ns = base::monotonic_ns();
  const auto done = [&] {
    const Totals now = crowd_.ledger().totals();
    const Totals step = now - begin_.totals;
    if (options_.churn > 0) crowd_.open_some();
    if (options_.churn > 0 && !crowd_.all_joined()) return false;
    return crowd_.failed() > 0 || (now.outstanding() <= 0 && (!options_.acks || step.answers >= step.sent));
  };
  const std::int64_t patience_ns =
      ns_of(result.interrupted ? std::min(kInterruptedSeconds, options_.drain_seconds) : options_.drain_seconds);
  while (!done() && base::monotonic_ns() - began_ns < patience_ns) driver_.turn(base::monotonic_ns() + kDrainTurn);
  result.drain_seconds = static_cast<double>(base::monotonic_ns() - began_ns) / kSecond;
}

void StepRunner::conclude(StepResult& result) {
  Ledger& ledger = crowd_.ledger();
  result.seconds = static_cast<double>(last_.at_ns - first_.at_ns) / kSecond;
  result.all = ledger.totals() - begin_.totals;
  result.measured = last_.totals - first_.totals;
  result.lost = std::max<std::int64_t>(result.all.outstanding(), 0);
  result.connections_lost = crowd_.failed() + crowd_.cut();
  result.came_back = crowd_.resumed();
  result.tried_again = crowd_.tried_again();
  result.incomplete = crowd_.incomplete();
  crowd_.let_go(false);
  result.latency = percentiles_of(ledger.latency());
  result.answer = percentiles_of(ledger.answer_latency());
  result.lag = percentiles_of(lag_);
  result.busy_share = driver_.busy_share();
  if (first_.use && last_.use) result.server = *last_.use - *first_.use;
  if (result.lost > 0) ledger.forgive();
}

}  // namespace ringline::bench
