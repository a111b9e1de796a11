#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "ringline/base/json.hpp"

namespace ringline::bench {
namespace {

using base::json::Writer;

double per(double amount, double count) { return count > 0 ? amount / count : 0; }
double cpu_us_per_delivery(const StepResult& step) {
  return step.server
             ? per(static_cast<double>(step.server->cpu_ns) / 1e3, static_cast<double>(step.measured.deliveries))
             : 0;
}
double cpu_us_per_message(const StepResult& step) {
  return step.server ? per(static_cast<double>(step.server->cpu_ns) / 1e3, static_cast<double>(step.measured.sent)) : 0;
}

void row(std::string_view name, const std::string& value) { fmt::print("  {:<28}{}\n", name, value); }

std::string text_of(const Percentiles& p) {
  return fmt::format("p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  p99.9 {:.2f}  max {:.2f} ms  ({} measured)", p.p50_ms,
                     p.p90_ms, p.p99_ms, p.p999_ms, p.max_ms, p.count);
}

void print_server(const StepResult& step) {
  const ServerUse& server = *step.server;
  row("server CPU",
      fmt::format("{:.2f} s ({:.0f} % of a core)  {:.2f} us a delivery  {:.1f} us a message",
                  static_cast<double>(server.cpu_ns) / 1e9, per(static_cast<double>(server.cpu_ns) / 1e7, step.seconds),
                  cpu_us_per_delivery(step), cpu_us_per_message(step)));
  for (const auto& [name, ns] : server.threads_ns) {
    if (static_cast<double>(ns) < 0.001 * step.seconds * 1e9) continue;
    row(fmt::format("  thread {}", name), fmt::format("{:.2f} s", static_cast<double>(ns) / 1e9));
  }
}

void write_percentiles(Writer& out, std::string_view key, const Percentiles& p) {
  out.key(key).begin_object();
  out.key("count")
      .unsigned_integer(p.count)
      .key("meanMs")
      .number(p.mean_ms)
      .key("p50Ms")
      .number(p.p50_ms)
      .key("p90Ms")
      .number(p.p90_ms);
  out.key("p99Ms").number(p.p99_ms).key("p999Ms").number(p.p999_ms).key("maxMs").number(p.max_ms).end_object();
}

void write_totals(Writer& out, std::string_view key, const Totals& t) {
  out.key(key).begin_object();
  out.key("sent")
      .unsigned_integer(t.sent)
      .key("expected")
      .unsigned_integer(t.expected)
      .key("deliveries")
      .unsigned_integer(t.deliveries);
  out.key("bytes").unsigned_integer(t.bytes).key("answers").unsigned_integer(t.answers).key("refused").unsigned_integer(
      t.refused);
  out.key("duplicates").unsigned_integer(t.duplicates).key("outOfOrder").unsigned_integer(t.out_of_order);
  out.key("seqGaps").unsigned_integer(t.seq_gaps).key("misdelivered").unsigned_integer(t.misdelivered);
  out.key("damaged").unsigned_integer(t.damaged).key("sampled").unsigned_integer(t.sampled).end_object();
}

void write_use(Writer& out, const std::optional<ServerUse>& use) {
  out.key("server");
  if (!use) {
    out.null();
    return;
  }
  out.begin_object().key("cpuSeconds").number(static_cast<double>(use->cpu_ns) / 1e9);
  out.key("threads").begin_object();
  for (const auto& [name, ns] : use->threads_ns) out.key(name).number(static_cast<double>(ns) / 1e9);
  out.end_object();
  out.key("residentBytes")
      .unsigned_integer(use->resident_bytes)
      .key("anonymousBytes")
      .unsigned_integer(use->anonymous_bytes)
      .end_object();
}

void write_step(Writer& out, const Report& report, const StepResult& step) {
  out.begin_object().key("rate").number(step.plan.rate).key("seconds").number(step.seconds);
  out.key("messagesPerSecond").number(per(static_cast<double>(step.measured.sent), step.seconds));
  out.key("deliveriesPerSecond").number(per(static_cast<double>(step.measured.deliveries), step.seconds));
  out.key("clean")
      .boolean(step.clean())
      .key("held")
      .boolean(step.held(report.options.p99_ms))
      .key("gaveUp")
      .boolean(step.gave_up);
  out.key("interrupted")
      .boolean(step.interrupted)
      .key("lost")
      .integer(step.lost)
      .key("connectionsLost")
      .unsigned_integer(step.connections_lost);
  out.key("cameBack").unsigned_integer(step.came_back).key("incomplete").unsigned_integer(step.incomplete);
  write_totals(out, "all", step.all);
  write_totals(out, "measured", step.measured);
  write_percentiles(out, "latency", step.latency);
  write_percentiles(out, "answer", step.answer);
  write_percentiles(out, "sendLag", step.lag);
  out.key("loadBusyShare").number(step.busy_share).key("drainSeconds").number(step.drain_seconds);
  out.key("cpuMicrosPerDelivery")
      .number(cpu_us_per_delivery(step))
      .key("cpuMicrosPerMessage")
      .number(cpu_us_per_message(step));
  write_use(out, step.server);
  out.end_object();
}

void write_back(Writer& out, const Return& back) {
  out.key("return").begin_object().key("connections").unsigned_integer(back.connections);
  out.key("seconds").number(back.seconds).key("awaySeconds").number(back.away_seconds);
  out.key("triedAgain").unsigned_integer(back.tried_again).key("resumed").unsigned_integer(back.resumed);
  out.key("incomplete").unsigned_integer(back.incomplete).key("missing").integer(back.missing);
  write_totals(out, "all", back.all);
  write_use(out, back.server);
  out.end_object();
}

void write_bursts(Writer& out, const Bursts& bursts) {
  const auto list = [&](std::string_view key, const std::vector<double>& values) {
    out.key(key).begin_array();
    for (const double value : values) out.number(value);
    out.end_array();
  };
  out.key("bursts").begin_object();
  list("busiestThreadMs", bursts.busiest_ms);
  list("allThreadsMs", bursts.all_ms);
  out.end_object();
}

void print_back(const Return& back) {
  fmt::print("\nOnce more\n");
  row("back", fmt::format("{} connections in {:.2f} s ({:.0f} a second), {} tried again", back.connections,
                          back.seconds, per(back.connections, back.seconds), back.tried_again));
  if (back.resumed > 0) {
    row("resumed",
        fmt::format("{}, {} of them told to reload; deliveries missing {}, duplicates {}, seq gaps {}, out of "
                    "order {}",
                    back.resumed, back.incomplete, back.missing, back.all.duplicates, back.all.seq_gaps,
                    back.all.out_of_order));
    row("server was away", fmt::format("{:.2f} s", back.away_seconds));
  }
  if (back.server)
    row("server CPU",
        fmt::format("{:.1f} us a connection", per(static_cast<double>(back.server->cpu_ns) / 1e3, back.connections)));
}

void write_options(Writer& out, const Options& o) {
  out.key("options").begin_object().key("mode").string(name_of(o.mode)).key("protocol").string(name_of(o.protocol));
  out.key("connections")
      .unsigned_integer(o.connections)
      .key("rooms")
      .unsigned_integer(o.rooms())
      .key("roomSize")
      .unsigned_integer(o.room_size);
  out.key("senders").unsigned_integer(o.senders).key("size").unsigned_integer(o.size).key("acks").boolean(o.acks);
  out.key("clientIds")
      .boolean(o.client_ids)
      .key("rate")
      .number(o.rate)
      .key("seconds")
      .number(o.seconds)
      .key("warmup")
      .number(o.warmup);
  out.key("p99BoundMs").number(o.p99_ms).key("busyPoll").boolean(o.busy_poll).end_object();
}

std::string per_connection(const ServerUse& use, unsigned connections) {
  return fmt::format("{:.0f} B resident, {:.0f} B of it anonymous",
                     per(static_cast<double>(use.resident_bytes), connections),
                     per(static_cast<double>(use.anonymous_bytes), connections));
}

}  // namespace

bool Report::clean() const noexcept {
  // A search goes beyond what is held: only what it ends with must be clean.
  if (options.mode == Mode::search) return failure.empty() && highest_rate.value_or(0) > 0;
  return failure.empty() && (!back || back->clean()) && std::ranges::all_of(steps, &StepResult::clean);
}

void print_step(const StepResult& step) {
  const Totals& m = step.measured;
  fmt::print("\n{}{}\n",
             step.plan.rate > 0 ? fmt::format("{:.0f} messages/s for {:.1f} s", step.plan.rate, step.seconds)
                                : fmt::format("send, answer, send for {:.1f} s", step.seconds),
             step.gave_up       ? ": given up, the bound cannot be met"
             : step.interrupted ? ": interrupted"
                                : "");
  row("throughput",
      fmt::format("{:.0f} messages/s  {:.0f} deliveries/s  {:.0f} bytes a delivery",
                  per(static_cast<double>(m.sent), step.seconds), per(static_cast<double>(m.deliveries), step.seconds),
                  per(static_cast<double>(m.bytes), static_cast<double>(m.deliveries))));
  row("latency", text_of(step.latency));
  if (step.answer.count > 0) row("answer", text_of(step.answer));
  const Totals& a = step.all;
  row("deliveries", fmt::format("{} of {} expected  lost {}  duplicates {}  out of order {}  seq gaps {}  misdelivered "
                                "{}  damaged {} (of {} parsed)",
                                a.deliveries - a.duplicates, a.expected, step.lost, a.duplicates, a.out_of_order,
                                a.seq_gaps, a.misdelivered, a.damaged, a.sampled));
  if (a.refused > 0) row("sends refused", fmt::format("{}", a.refused));
  if (step.came_back > 0)
    row("came back",
        fmt::format("{}, {} tried again, {} told to reload", step.came_back, step.tried_again, step.incomplete));
  if (step.connections_lost > 0) row("connections lost", fmt::format("{}", step.connections_lost));
  if (step.server) print_server(step);
  row("load tool", fmt::format("busy {:.0f} %  sends late by p99 {:.2f} ms, max {:.2f} ms", step.busy_share * 100,
                               step.lag.p99_ms, step.lag.max_ms));
}

void print_report(const Report& report) {
  const Options& o = report.options;
  fmt::print("\n{} connections in {} rooms of {}, texts of {} bytes, {}\n", report.set_up.connections, o.rooms(),
             o.room_size, o.size, name_of(o.protocol));
  row("set-up", fmt::format("{:.2f} s ({:.0f} a second)", report.set_up.seconds,
                            per(report.set_up.connections, report.set_up.seconds)));
  if (const auto& use = report.set_up.server) {
    row("server CPU",
        fmt::format("{:.1f} us a connection", per(static_cast<double>(use->cpu_ns) / 1e3, report.set_up.connections)));
    row("memory a connection", per_connection(*use, report.set_up.connections));
  }
  if (report.idle && report.idle->server) {
    const ServerUse& use = *report.idle->server;
    row("idle", fmt::format("{:.1f} s, {:.2f} % of a core", report.idle->seconds,
                            per(static_cast<double>(use.cpu_ns) / 1e7, report.idle->seconds)));
    row("memory a connection, idle", per_connection(use, report.set_up.connections));
  }
  if (report.back) print_back(*report.back);
  if (report.bursts && !report.bursts->busiest_ms.empty()) {
    std::vector<double> sorted = report.bursts->busiest_ms;
    std::ranges::sort(sorted);
    fmt::print("\nOne message at a time, {} of them\n", sorted.size());
    row("busiest thread", fmt::format("median {:.1f}  least {:.1f}  most {:.1f} ms of CPU a message",
                                      sorted[sorted.size() / 2], sorted.front(), sorted.back()));
  }
  if (report.highest_rate) {
    fmt::print("\nHighest rate held with p99 below {:g} ms: {:.0f} messages/s ({:.0f} deliveries/s)\n", o.p99_ms,
               *report.highest_rate, *report.highest_rate * o.connections / o.rooms());
  }
  if (report.interrupted) fmt::print("\nInterrupted: what is above was measured until then.\n");
  if (!report.failure.empty()) fmt::print("\nFAILED: {}\n", report.failure);
}

base::Result<void> write_json(const Report& report) {
  Writer out;
  out.begin_object().key("tool").string("ringline-load");
  write_options(out, report.options);
  out.key("clean")
      .boolean(report.clean())
      .key("interrupted")
      .boolean(report.interrupted)
      .key("failure")
      .string(report.failure);
  out.key("setUp")
      .begin_object()
      .key("connections")
      .unsigned_integer(report.set_up.connections)
      .key("seconds")
      .number(report.set_up.seconds);
  write_use(out, report.set_up.server);
  out.end_object();
  if (report.idle) {
    out.key("idle").begin_object().key("seconds").number(report.idle->seconds);
    write_use(out, report.idle->server);
    out.end_object();
  }
  if (report.back) write_back(out, *report.back);
  if (report.bursts) write_bursts(out, *report.bursts);
  if (report.highest_rate) out.key("highestRate").number(*report.highest_rate);
  out.key("steps").begin_array();
  for (const StepResult& step : report.steps) write_step(out, report, step);
  out.end_array().end_object();
  std::ofstream file(report.options.json, std::ios::trunc);
  file << out.view() << '\n';
  file.close();
  if (!file) return base::fail(base::Errc::unavailable, fmt::format("cannot write {}", report.options.json));
  return {};
}

}  // namespace ringline::bench
