#include "driver.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kSleepMax = 200 * kMilli;  // an interrupt is noticed by then
constexpr std::int64_t kTerminalEvery = kSecond;
constexpr std::int64_t kFileEvery = 5 * kSecond;

volatile std::sig_atomic_t interrupts = 0;

extern "C" void on_interrupt(int) {
  if (interrupts > 0) _exit(130);  // the second one means it
  interrupts = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() noexcept { return interrupts > 0; }

Driver::Driver(const Options& options, loop::Loop& loop, Crowd& crowd)
    : options_(options),
      loop_(loop),
      crowd_(crowd),
      terminal_(::isatty(STDERR_FILENO) == 1),
      next_progress_ns_(base::monotonic_ns() + (terminal_ ? kTerminalEvery : kFileEvery)),
      busy_since_ns_(base::monotonic_ns()),
      shown_ns_(busy_since_ns_) {}

void Driver::turn(std::int64_t due_ns) {
  const std::int64_t started_ns = base::monotonic_ns();
  // Timers tick in milliseconds: what is due within two is polled for, so that no message leaves late.
  const std::int64_t rest_ns = std::min(due_ns - started_ns, kSleepMax);
  // What was said since the last turn leaves at the end of this one: it must not wait for a sleep to end.
  const bool sleep = !options_.busy_poll && rest_ns > 2 * kMilli && !crowd_.wires().has_unsent();
  if (sleep) loop_.timers().arm(wake_, (started_ns + rest_ns) / kMilli - 1);
  const std::uint64_t activity = crowd_.wires().activity();
  loop_.turn(sleep);
  const std::int64_t now_ns = base::monotonic_ns();
  // Of a turn that slept only what followed the waking counts.
  if (crowd_.wires().activity() != activity)
    busy_ns_ += now_ns - (sleep ? std::max(loop_.now_ns(), started_ns) : started_ns);
  if (now_ns >= next_progress_ns_) progress(now_ns);
}

void Driver::progress(std::int64_t now_ns) {
  next_progress_ns_ = now_ns + (terminal_ ? kTerminalEvery : kFileEvery);
  const Totals now = crowd_.ledger().totals();
  const Totals since = now - shown_;
  const double seconds = static_cast<double>(now_ns - shown_ns_) / kSecond;
  shown_ = now;
  shown_ns_ = now_ns;
  const Histogram& latency = crowd_.ledger().latency();
  fmt::print(stderr,
             "{}{:<22} {:>6} connections {:>8.0f} msg/s {:>9.0f} deliveries/s {:>8} under way  p50 {:.1f} p99 {:.1f} "
             "ms  wrong {}{}",
             terminal_ ? "\r\x1b[K" : "", what_, crowd_.joined(), static_cast<double>(since.sent) / seconds,
             static_cast<double>(since.deliveries) / seconds, now.outstanding(),
             static_cast<double>(latency.percentile(0.5)) / kMilli,
             static_cast<double>(latency.percentile(0.99)) / kMilli, now.wrong(), terminal_ ? "" : "\n");
  std::fflush(stderr);
  line_open_ = terminal_;
}

void Driver::end_line() {
  if (line_open_) fmt::print(stderr, "\r\x1b[K");
  line_open_ = false;
}

double Driver::busy_share() noexcept {
  const std::int64_t now_ns = base::monotonic_ns();
  const double share =
      static_cast<double>(busy_ns_) / static_cast<double>(std::max<std::int64_t>(now_ns - busy_since_ns_, 1));
  busy_ns_ = 0;
  busy_since_ns_ = now_ns;
  return share;
}

}  // namespace ringline::bench
