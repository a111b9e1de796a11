#include "hosts.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>

#include "driver.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/random.hpp"
#include "roamer.hpp"
#include "step.hpp"

namespace ringline::bench {
namespace {

using base::json::Writer;

constexpr int kWrong = 1;
constexpr int kUsage = 2;
constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kSetUpNs = 60 * kSecond;
constexpr std::int64_t kEndNs = 300 * kSecond;      // from `at rest` to `end`
constexpr std::int64_t kLookEvery = 20 * kMilli;    // at people, and at standard input
constexpr std::int64_t kJudgeEvery = 100 * kMilli;  // whether all is at rest
constexpr std::size_t kLineMax = 64;

std::int64_t ns_of(double seconds) { return static_cast<std::int64_t>(seconds * static_cast<double>(kSecond)); }
double seconds_of(std::int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kSecond); }

void say(std::string_view line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

// Lines of standard input, without waiting for them.
class Commands {
 public:
  // Empty: there is none.
  std::string next() {
    read_some();
    const std::size_t end = text_.find('\n');
    if (end == std::string::npos) return {};
    std::string line = text_.substr(0, end);
    text_.erase(0, end + 1);
    return line;
  }

 private:
  void read_some() {
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (ended_ || text_.size() > kLineMax || ::poll(&input, 1, 0) <= 0) return;
    char bytes[kLineMax];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0)
      ended_ = true;
    else
      text_.append(bytes, static_cast<std::size_t>(count));
  }
  std::string text_;
  bool ended_ = false;  // then the run goes on until its time is over
};

class HostsRun {
 public:
  HostsRun(const Options& options, loop::Loop& loop, std::vector<loop::Address> addresses)
      : options_(options),
        loop_(loop),
        people_(options, loop, std::move(addresses), static_cast<std::uint32_t>(base::random_u64())) {}

  void run() {
    if (!set_up()) return;
    chat();
    if (stopping_ && come_to_rest()) {
      if (!write_record()) return;
      say("at rest");
      const std::int64_t until_ns = base::monotonic_ns() + kEndNs;
      while (!ending_ && !interrupted() && base::monotonic_ns() < until_ns) turn();
    }
    if (restless_.empty()) come_to_rest();
    people_.witness().conclude();
  }
  void tear_down() {
    people_.close_all();
    while (!people_.all_closed() || loop_.ring().has_unsubmitted()) loop_.turn(false);
  }
  bool clean() const { return restless_.empty() && people_.witness().wrong_count() == 0; }
  void print() const;
  base::Result<void> write_json() const;
  base::Result<void> write_record() const;

 private:
  bool set_up();
  void chat();
  bool come_to_rest();
  void turn();
  void look(std::int64_t now_ns);
  void obey(std::string_view command, std::int64_t now_ns);
  void send_due(std::int64_t now_ns);
  double per_second() const {
    return sending_ns_ == 0 ? 0 : static_cast<double>(people_.witness().counts().sent) / seconds_of(sending_ns_);
  }
  void on_wake() {}

  const Options& options_;
  loop::Loop& loop_;
  Roamers people_;
  Commands commands_;
  loop::TimerOf<HostsRun, &HostsRun::on_wake> wake_{*this};
  std::int64_t looked_ns_ = 0;
  std::int64_t began_ns_ = 0;
  std::int64_t sending_ns_ = 0;
  std::uint64_t due_ = 0;      // messages, so far
  std::uint64_t skipped_ = 0;  // of these, since too much was without an answer
  Histogram lag_;
  bool stopping_ = false;
  bool ending_ = false;
  std::string restless_;
};

// A turn sleeps for a millisecond at most: messages leave late by that, and latencies, which count from when they should have left, have it in them.
void HostsRun::turn() {
  const bool sleep = !options_.busy_poll && !people_.wires().has_unsent();
  if (sleep) loop_.timers().arm(wake_, base::monotonic_ns() / kMilli + 1);
  loop_.turn(sleep);
  const std::int64_t now_ns = base::monotonic_ns();
  if (now_ns - looked_ns_ >= kLookEvery) look(now_ns);
}

void HostsRun::look(std::int64_t now_ns) {
  looked_ns_ = now_ns;
  people_.tick(now_ns);
  for (std::string line = commands_.next(); !line.empty(); line = commands_.next()) obey(line, now_ns);
}

void HostsRun::obey(std::string_view command, std::int64_t now_ns) {
  if (command == "stop" || command == "end") {
    (command == "stop" ? stopping_ : ending_) = true;
    return;
  }
  if (command == "quiet" || command == "trouble")
    people_.witness().set_quiet(command == "quiet", now_ns);
  else if (command == "forget")
    people_.witness().forget_pending();
  else if (command != "count")
    return fmt::print(stderr, "ringline-load: no such command: {}\n", command);
  const Counts& counts = people_.witness().counts();
  say(fmt::format("sent {} acked {} pending {}", counts.sent, counts.acked, counts.pending));
}

bool HostsRun::set_up() {
  const std::int64_t until_ns = base::monotonic_ns() + kSetUpNs;
  while (!people_.all_there() || !people_.all_placed()) {
    if (interrupted() || base::monotonic_ns() > until_ns) {
      restless_ = fmt::format("not everybody came in: {}", people_.last_trouble());
      return false;
    }
    turn();
  }
  std::string rooms;
  for (const std::uint64_t id : people_.rooms()) rooms += fmt::format(" {}", id);
  say("ready" + rooms);
  return true;
}

void HostsRun::chat() {
  began_ns_ = base::monotonic_ns();
  people_.witness().set_quiet(true, began_ns_);
  std::int64_t moved_ns = began_ns_;
  const std::int64_t end_ns = began_ns_ + ns_of(options_.seconds);
  std::int64_t now_ns = began_ns_;
  while (!stopping_ && !ending_ && !interrupted() && now_ns < end_ns && people_.witness().wrong_count() == 0) {
    turn();
    now_ns = base::monotonic_ns();
    send_due(now_ns);
    if (options_.move_every > 0 && now_ns - moved_ns >= ns_of(options_.move_every)) {
      moved_ns = now_ns;
      people_.move_one();
    }
  }
  sending_ns_ = now_ns - began_ns_;
}

void HostsRun::send_due(std::int64_t now_ns) {
  for (;; ++due_) {
    const std::int64_t due_ns = began_ns_ + ns_of(static_cast<double>(due_) / options_.rate);
    if (due_ns > now_ns) return;
    lag_.record(now_ns - due_ns);
    if (!people_.send(due_ns)) ++skipped_;
  }
}

// Nothing is sent any more. Where something is wrong it is not waited for what may never come.
bool HostsRun::come_to_rest() {
  const std::int64_t until_ns = base::monotonic_ns() + ns_of(options_.drain_seconds);
  std::int64_t judged_ns = 0;
  for (;;) {
    const std::int64_t now_ns = base::monotonic_ns();
    if (now_ns - judged_ns >= kJudgeEvery) {
      judged_ns = now_ns;
      restless_ = people_.unrest();
      if (restless_.empty() || people_.witness().wrong_count() > 0 || now_ns > until_ns) return restless_.empty();
    }
    turn();
  }
}

// What is reported.

std::string text_of(const Histogram& histogram) {
  const Percentiles p = percentiles_of(histogram);
  return fmt::format("p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  max {:.2f} ms  ({} measured)", p.p50_ms, p.p90_ms, p.p99_ms,
                     p.max_ms, p.count);
}

void HostsRun::print() const {
  const Witness& witness = people_.witness();
  const Counts& c = witness.counts();
  fmt::print("{} people in {} rooms at {} hosts: {:.0f} messages/s of {:.0f} for {:.1f} s\n", options_.connections,
             options_.rooms_of_all, options_.addresses.size(), per_second(), options_.rate, seconds_of(sending_ns_));
  fmt::print(
      "  sent {}  acked {}  pending {}  duplicates {}  to be sent again {}  skipped {}  arrivals {}  resumed {}  "
      "reloads {}\n",
      c.sent, c.acked, c.pending, c.duplicates, c.refused, skipped_, people_.arrivals(), c.resumed, c.reloads);
  fmt::print("  answer      {}\n", text_of(witness.all().ack));
  fmt::print("  same host   {}\n", text_of(witness.all().same_host));
  fmt::print("  other host  {}\n", text_of(witness.all().other_host));
  if (!restless_.empty()) fmt::print("NOT AT REST: {}\n", restless_);
  for (const std::string& what : witness.wrong()) fmt::print("WRONG: {}\n", what);
  if (witness.wrong_count() > witness.wrong().size())
    fmt::print("and {} more\n", witness.wrong_count() - witness.wrong().size());
}

void write_histogram(Writer& out, std::string_view key, const Histogram& histogram) {
  const Percentiles p = percentiles_of(histogram);
  out.key(key).begin_object().key("count").unsigned_integer(p.count).key("p50Ms").number(p.p50_ms);
  out.key("p90Ms").number(p.p90_ms).key("p99Ms").number(p.p99_ms).key("maxMs").number(p.max_ms).end_object();
}

void write_latencies(Writer& out, std::string_view key, const Latencies& latencies) {
  out.key(key).begin_object();
  write_histogram(out, "answer", latencies.ack);
  write_histogram(out, "sameHost", latencies.same_host);
  write_histogram(out, "otherHost", latencies.other_host);
  out.end_object();
}

base::Result<void> write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::trunc);
  file << text << '\n';
  file.close();
  if (!file) return base::fail(base::Errc::unavailable, fmt::format("cannot write {}", path));
  return {};
}

base::Result<void> HostsRun::write_json() const {
  const Witness& witness = people_.witness();
  const Counts& c = witness.counts();
  Writer out;
  out.begin_object().key("tool").string("ringline-load");
  out.key("options").begin_object().key("mode").string(name_of(options_.mode));
  out.key("hosts").unsigned_integer(options_.addresses.size()).key("people").unsigned_integer(options_.connections);
  out.key("rooms").unsigned_integer(options_.rooms_of_all).key("rate").number(options_.rate);
  out.key("seed").unsigned_integer(options_.seed).end_object();
  out.key("clean").boolean(clean()).key("interrupted").boolean(interrupted()).key("failure").string(restless_);
  out.key("seconds").number(seconds_of(sending_ns_)).key("messagesPerSecond").number(per_second());
  out.key("sent").unsigned_integer(c.sent).key("acked").unsigned_integer(c.acked);
  out.key("pending").unsigned_integer(c.pending).key("duplicates").unsigned_integer(c.duplicates);
  out.key("refused").unsigned_integer(c.refused).key("skipped").unsigned_integer(skipped_);
  out.key("events").unsigned_integer(c.events).key("arrivals").unsigned_integer(people_.arrivals());
  out.key("resumed").unsigned_integer(c.resumed).key("reloads").unsigned_integer(c.reloads);
  write_histogram(out, "late", lag_);
  write_latencies(out, "quiet", witness.quiet());
  write_latencies(out, "all", witness.all());
  out.key("lastTrouble").string(people_.last_trouble());
  out.key("wrongCount").unsigned_integer(witness.wrong_count()).key("wrong").begin_array();
  for (const std::string& what : witness.wrong()) out.string(what);
  out.end_array().end_object();
  return write_file(options_.json, out.view());
}

// What is to be found in the database: `acked CLIENT_ID ROOM ID pending|- certain|-` and `seen ROOM EPOCH SEQ ID`, a line each.
base::Result<void> HostsRun::write_record() const {
  if (options_.record.empty()) return {};
  std::string text;
  const auto to = std::back_inserter(text);
  const Witness& witness = people_.witness();
  witness.each_sent([&](const Sent& sent) {
    if (!sent.acked || sent.forgotten) return;
    fmt::format_to(to, "acked {} {} {} {} {}\n", witness.client_id(sent.marker), people_.rooms()[sent.marker.room],
                   sent.id, sent.pending ? "pending" : "-", sent.certain() ? "certain" : "-");
  });
  witness.each_seen([&](std::uint32_t room, Point at, std::uint64_t id) {
    fmt::format_to(to, "seen {} {} {} {}\n", people_.rooms()[room], at.epoch, at.seq, id);
  });
  return write_file(options_.record, text);
}

// An address is looked up once: while hosts fail nothing may wait for that.
base::Result<std::vector<loop::Address>> look_up(const std::vector<std::string>& texts) {
  std::vector<loop::Address> found;
  for (const std::string& text : texts) {
    const std::size_t colon = text.rfind(':');
    std::uint16_t port = 0;
    if (colon != std::string::npos) std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
    if (port == 0) return base::fail(base::Errc::invalid, fmt::format("--at {}: is to be HOST:PORT", text));
    auto address = loop::resolve_tcp(text.substr(0, colon), port);
    if (!address) return std::unexpected(address.error());
    found.push_back(*address);
  }
  return found;
}

}  // namespace

int run_hosts(const Options& options) {
  auto ring = loop::Ring::open({.entries = 4096, .receive_buffers = 128, .receive_buffer_bytes = 64 * 1024});
  auto addresses = look_up(options.addresses);
  if (!ring || !addresses) {
    fmt::print(stderr, "ringline-load: {}\n", !ring ? ring.error().message : addresses.error().message);
    return kUsage;
  }
  catch_interrupts();
  loop::Mailboxes mailboxes(1);
  loop::Loop loop(0, mailboxes, std::move(*ring));
  HostsRun run(options, loop, std::move(*addresses));
  run.run();
  run.tear_down();
  run.print();
  auto written = run.write_record();
  if (written && !options.json.empty()) written = run.write_json();
  if (!written) {
    fmt::print(stderr, "ringline-load: {}\n", written.error().message);
    return kUsage;
  }
  return run.clean() ? 0 : kWrong;
}

}  // namespace ringline::bench
