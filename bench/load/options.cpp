#include "options.hpp"

#include <CLI/CLI.hpp>
#include <map>

#include "marker.hpp"

namespace ringline::bench {
namespace {

constexpr const char* kAbout =
    "ringline-load: thousands of chat connections from one thread, each delivery checked for loss, duplicates and "
    "order.\n"
    "Messages are sent at times fixed beforehand (an open loop), and latency counts from the time at which a message "
    "should have been sent, so a\n"
    "server that stalls cannot hide it. Exit code: 0 all was delivered, once and in order; 1 something was not; 2 a "
    "flag is wrong.";

constexpr const char* kExamples =
    "Examples:\n"
    "  ringline-load --port 3080                                    500 messages/s for 10 s, 1,000 connections in 10 "
    "rooms\n"
    "  ringline-load --search --p99-ms 100 --server-pid $(pidof ringline)\n"
    "  ringline-load --idle --connections 19000 --seconds 30\n"
    "  ringline-load --ack --connections 1 --room-size 1            a send and its answer, one connection\n"
    "  ringline-load --protocol socketio-peer --port 3000           a Socket.IO server: join(room), send(text) -> "
    "message(text)\n"
    "Ringline must run with RATE_LIMIT_GUESTS=0 RATE_LIMIT_MESSAGES=0: every connection is a guest of its own.";

const std::map<std::string, Protocol> kProtocols = {
    {"ringline", Protocol::ringline}, {"socketio", Protocol::socketio}, {"socketio-peer", Protocol::socketio_peer}};

void add_target(CLI::App& app, Options& o) {
  app.add_option("--host", o.host, "Where the server is")->capture_default_str()->group("Server");
  app.add_option("--port", o.port, "Its port")->capture_default_str()->group("Server");
  app.add_option("--protocol", o.protocol,
                 "ringline (plain JSON at /ws), socketio (Ringline through Socket.IO), socketio-peer (another server)")
      ->transform(CLI::CheckedTransformer(kProtocols).description(""))
      ->group("Server");
  app.add_option("--path", o.path, "Path of the upgrade, if not the protocol's own")->group("Server");
  app.add_option("--server-pid", o.server_pids, "The server's process(es): their CPU time and memory are measured")
      ->group("Server");
  app.add_option("--join-event", o.join_event, "socketio-peer: the event that joins a room")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--send-event", o.send_event, "socketio-peer: the event that sends a text to it")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--message-event", o.message_event, "socketio-peer: the event by which it arrives")
      ->capture_default_str()
      ->group("Server");
}

void add_crowd(CLI::App& app, Options& o) {
  app.add_option("--connections", o.connections, "Connections, each a user of its own")
      ->check(CLI::Range(1U, kConnectionsMax))
      ->capture_default_str()
      ->group("Crowd");
  app.add_option("--room-size", o.room_size, "Connections in a room")
      ->check(CLI::Range(1U, kConnectionsMax))
      ->capture_default_str()
      ->group("Crowd");
  app.add_option("--senders", o.senders, "Connections of a room that send; 0: all in turn")
      ->capture_default_str()
      ->group("Crowd");
  app.add_option("--concurrency", o.concurrency, "Connections being set up at once")
      ->check(CLI::Range(1U, 4096U))
      ->capture_default_str()
      ->group("Crowd");
  app.add_option("--size", o.size, "Bytes of a message's text")
      ->check(CLI::Range(kMarkerBytes, kTextBytesMax))
      ->capture_default_str()
      ->group("Crowd");
  app.add_flag("!--no-acks", o.acks, "Do not ask for an answer to each send")->group("Crowd");
  app.add_flag("--client-ids", o.client_ids, "Ringline: give each send a clientId, so that it is idempotent")
      ->group("Crowd");
}

void add_run(CLI::App& app, Options& o) {
  const auto positive = CLI::PositiveNumber;
  app.add_option("--rate", o.rate, "Messages a second over all rooms; with --search: where to begin")
      ->check(positive)
      ->capture_default_str()
      ->group("Run");
  app.add_option("--seconds", o.seconds, "Time measured; with --search: of each step")
      ->check(positive)
      ->capture_default_str()
      ->group("Run");
  app.add_option("--warmup", o.warmup, "Time at the same rate before it that is not measured")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group("Run");
  app.add_option("--p99-ms", o.p99_ms,
                 "--search: a rate is held if p99 is below this and nothing is lost, doubled or out of order")
      ->check(positive)
      ->capture_default_str()
      ->group("Run");
  app.add_option("--precision", o.precision, "--search: ends when the bounds are this close")
      ->check(CLI::Range(0.005, 1.0))
      ->capture_default_str()
      ->group("Run");
  app.add_option("--rate-max", o.rate_max, "--search: not beyond")
      ->check(positive)
      ->capture_default_str()
      ->group("Run");
  app.add_option("--drain", o.drain_seconds,
                 "How long to wait for what is under way; what has not come by then is lost")
      ->check(positive)
      ->capture_default_str()
      ->group("Run");
  app.add_flag("--busy-poll", o.busy_poll, "Never sleep: for a core of its own")->group("Run");
  app.add_option("--json", o.json, "Write the results to this file as well")->group("Run");
}

}  // namespace

const char* name_of(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::ringline:
      return "ringline";
    case Protocol::socketio:
      return "socketio";
    case Protocol::socketio_peer:
      return "socketio-peer";
  }
  return "";
}

const char* name_of(Mode mode) noexcept {
  switch (mode) {
    case Mode::fanout:
      return "fanout";
    case Mode::search:
      return "search";
    case Mode::idle:
      return "idle";
    case Mode::ack:
      return "ack";
  }
  return "";
}

std::expected<Options, int> parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app(kAbout);
  app.footer(kExamples);
  add_target(app, options);
  add_crowd(app, options);
  add_run(app, options);
  constexpr const char* kModes = "Mode (none: one run at --rate)";
  bool search = false;
  bool idle = false;
  bool ack = false;
  CLI::Option* search_flag = app.add_flag("--search", search, "Find the highest rate that is held")->group(kModes);
  CLI::Option* idle_flag = app.add_flag("--idle", idle, "Connections only: set-up cost and memory")->group(kModes);
  CLI::Option* ack_flag =
      app.add_flag("--ack", ack, "Each sender sends when it has the answer to its last message")->group(kModes);
  search_flag->excludes(idle_flag)->excludes(ack_flag);
  idle_flag->excludes(ack_flag);
  try {
    app.parse(argc, argv);
    if (ack && !options.acks) throw CLI::ValidationError("--ack", "needs answers: leave out --no-acks");
  } catch (const CLI::ParseError& error) {
    return std::unexpected(app.exit(error) == 0 ? 0 : 2);
  }
  if (search) options.mode = Mode::search;
  if (idle) options.mode = Mode::idle;
  if (ack) options.mode = Mode::ack;
  return options;
}

}  // namespace ringline::bench
