#include "visits.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "ringline/base/clock.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kGoing = 60 * kSecond;       // for all connections to close
constexpr std::int64_t kStopping = 120 * kSecond;   // for the server to stop and start
constexpr std::int64_t kDelivering = 30 * kSecond;  // for what was missed, after everybody is back
constexpr double kFillingRate = 5'000;              // messages a second, of what is to be missed or paged through
constexpr std::string_view kStopNow = "restart the server now";
constexpr auto kKnockEvery = std::chrono::milliseconds(5);
constexpr unsigned kTurnsToSend = 4;  // a message is given to the kernel in the turn after the one that made it

double seconds_since(std::int64_t began_ns) {
  return static_cast<double>(base::monotonic_ns() - began_ns) / static_cast<double>(kSecond);
}

// `count` messages in each room.
StepResult fill_rooms(const Options& options, StepRunner& steps, unsigned count) {
  const double messages = static_cast<double>(options.rooms()) * count;
  const double rate = std::min(kFillingRate, std::max(messages, 1.0));
  return steps.run({.rate = rate, .warmup = 0, .seconds = messages / rate});
}

bool taken(const loop::Address& address) {
  auto socket = loop::socket_tcp(address);
  if (!socket) return false;
  const bool connected = ::connect(socket->value, address.get(), address.length) == 0;
  ::close(socket->value);
  return connected;
}

bool wait_for_server(const Options& options) {
  auto address = loop::resolve_tcp(options.host, options.port);
  const std::int64_t began_ns = base::monotonic_ns();
  while (address && !interrupted() && base::monotonic_ns() - began_ns < kStopping) {
    if (taken(*address)) return true;
    std::this_thread::sleep_for(kKnockEvery);
  }
  return false;
}

void all_in_again(Driver& driver, Crowd& crowd, Return& back) {
  const std::int64_t began_ns = base::monotonic_ns();
  driver.show("coming back");
  let_all_in(driver, crowd);
  back.seconds = seconds_since(began_ns);
  back.connections = crowd.joined();
  back.tried_again = crowd.tried_again();
  driver.end_line();
}

void speak_while_away(const Options& options, Driver& driver, Crowd& crowd) {
  driver.show("going");
  for (std::uint32_t i = 0; i < options.connections; ++i) {
    if (i % options.room_size >= options.senders) crowd.send_away(i);
  }
  driver.run_until(base::monotonic_ns() + kGoing, [&] { return crowd.open() <= crowd.senders(); });
  driver.show("speaking");
  const Totals before = crowd.ledger().totals();
  const std::uint64_t messages = std::uint64_t{options.rooms()} * options.missed;
  const std::int64_t began_ns = base::monotonic_ns();
  for (std::uint64_t sent = 0; sent < messages && !interrupted();) {
    const double due = kFillingRate * seconds_since(began_ns);
    for (; sent < messages && static_cast<double>(sent) < due; ++sent) crowd.send_next(base::monotonic_ns());
    driver.turn(base::monotonic_ns());
  }
  driver.run_until(base::monotonic_ns() + kDelivering, [&] {
    const Totals now = crowd.ledger().totals() - before;
    return now.answers >= now.sent && now.deliveries >= now.sent * options.senders;
  });
}

}  // namespace

void ask_pages(const Options& options, Driver& driver, Crowd& crowd, StepRunner& steps, Report& report) {
  const StepResult filled = fill_rooms(options, steps, options.missed);
  if (!filled.clean()) return finish_step(report, driver, filled);
  crowd.set_asking_history(true);
  finish_step(report, driver, steps.run({.rate = 0, .warmup = options.warmup, .seconds = options.seconds}));
}

void send_bursts(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report) {
  Bursts found;
  const auto every = static_cast<std::int64_t>(options.burst_every * static_cast<double>(kSecond));
  driver.show("one message at a time");
  for (unsigned i = 0; i < options.bursts && !interrupted() && crowd.failed() == 0; ++i) {
    const std::int64_t began_ns = base::monotonic_ns();
    const auto before = probe.ask(false);
    crowd.send_next(began_ns);
    for (unsigned turn = 0; turn < kTurnsToSend; ++turn) driver.turn(base::monotonic_ns());
    std::this_thread::sleep_for(std::chrono::nanoseconds(every / 2));
    const auto after = probe.ask(false);
    if (probe.present() && before && after) {
      const ServerUse use = *after - *before;
      std::int64_t busiest = 0;
      for (const auto& [name, ns] : use.threads_ns) busiest = std::max(busiest, ns);
      std::int64_t all = 0;
      for (const auto& [name, ns] : use.threads_ns) all += ns;
      found.busiest_ms.push_back(static_cast<double>(busiest) / 1e6);
      found.all_ms.push_back(static_cast<double>(all) / 1e6);
    }
    driver.run_until(began_ns + every, [] { return false; });
  }
  driver.end_line();
  driver.run_until(base::monotonic_ns() + kDelivering, [&] { return crowd.ledger().totals().outstanding() <= 0; });
  const Totals totals = crowd.ledger().totals();
  report.interrupted = interrupted();
  if (totals.outstanding() != 0 || totals.wrong() > 0)
    report.failure = fmt::format("{} deliveries are missing, {} are wrong", totals.outstanding(), totals.wrong());
  report.bursts = std::move(found);
}

void come_again(const Options&, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report) {
  Return back;
  driver.show("going");
  crowd.let_go(true);
  for (std::uint32_t i = 0; i < report.set_up.connections; ++i) crowd.send_away(i);
  driver.run_until(base::monotonic_ns() + kGoing, [&] { return crowd.open() == 0; });
  driver.run_until(base::monotonic_ns() + kSecond, [] { return false; });  // the server has closed them too
  crowd.let_go(false);
  const auto before = ask(probe);
  all_in_again(driver, crowd, back);
  driver.run_until(base::monotonic_ns() + kSecond / 2, [] { return false; });
  const auto after = ask(probe);
  if (before && after) back.server = *after - *before;
  if (!crowd.all_joined() && crowd.failed() == 0)
    report.failure = fmt::format("{} of {} connections came again", crowd.joined(), report.set_up.connections);
  report.interrupted = interrupted();
  report.back = back;
}

// Everybody but the senders goes, and each room is spoken in until it has `missed` events more.
void resume_all(const Options& options, Driver& driver, Crowd& crowd, Report& report) {
  crowd.let_go(true);
  const Totals before = crowd.ledger().totals();
  speak_while_away(options, driver, crowd);
  fmt::print("{}\n", kStopNow);
  std::fflush(stdout);
  driver.show("waiting for the server to stop");
  driver.run_until(base::monotonic_ns() + kStopping, [&] { return crowd.open() == 0; });
  driver.end_line();
  const std::int64_t stopped_ns = base::monotonic_ns();
  if (crowd.open() > 0 || !wait_for_server(options)) {
    report.failure = "the server was not stopped and started again";
    return;
  }
  Return back{.away_seconds = seconds_since(stopped_ns)};
  crowd.set_resuming(true);
  all_in_again(driver, crowd, back);
  driver.run_until(base::monotonic_ns() + kDelivering, [&] { return crowd.ledger().totals().outstanding() <= 0; });
  back.resumed = crowd.resumed();
  back.incomplete = crowd.incomplete();
  back.missing = crowd.ledger().totals().outstanding();
  back.all = crowd.ledger().totals() - before;
  if (!crowd.all_joined())
    report.failure = fmt::format("{} of {} connections came back", crowd.joined(), options.connections);
  report.interrupted = interrupted();
  report.back = back;
}

}  // namespace ringline::bench
