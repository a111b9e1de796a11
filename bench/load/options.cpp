#include "options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
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
    "  ringline-load --storm --connections 10000                    connect, sign in by token, join: the cost of "
    "coming "
    "back\n"
    "  ringline-load --resume --connections 19000                   then stop and start the server when it says so\n"
    "  ringline-load --burst --connections 10000 --room-size 10000  one message to a room of 10,000\n"
    "  ringline-load --hosts --at 10.0.0.1:3080 --at 10.0.0.2:3080 --connections 8 --seconds 60 --json found.json\n"
    "                                                               several hosts, which may go and come meanwhile\n"
    "  ringline-load --protocol socketio-peer --port 3000           a Socket.IO server: join(room), send(text) -> "
    "message(text)\n"
    "  ringline-load --profile my.json --port 3000                  any WebSocket server: bench/peers/README.md\n"
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

void add_profile(CLI::App& app, Options& o) {
  app.add_option_function<std::string>(
         "--profile",
         [&o](const std::string& file) {
           auto profile = load_profile(file);
           if (!profile) throw CLI::ValidationError("--profile", profile.error().message);
           o.profile = std::move(*profile);
           o.protocol = Protocol::profile;
           if (o.profile.answer.empty()) o.acks = false;
         },
         "A file that says how another server is spoken to: bench/peers/README.md")
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
  app.add_option(
         "--first-source", o.first_source,
         "On loopback, the source address to begin with: 127.0.0.1 + this. Tools that run at once need addresses "
         "of their own: one for each 4,000 connections")
      ->check(CLI::Range(0U, kSourcesMax))
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

void add_hosts(CLI::App& app, Options& o) {
  app.add_option("--at", o.addresses, "A host of the service, HOST:PORT; once for each")->group("--hosts");
  app.add_option("--rooms", o.rooms_of_all, "Rooms, everybody being in each")
      ->check(CLI::Range(1U, kRoomsOfAllMax))
      ->capture_default_str()
      ->group("--hosts");
  app.add_option("--move-every", o.move_every, "Seconds until somebody moves to another host without need; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group("--hosts");
  app.add_option("--seed", o.seed, "Of who goes where, and sends to which room")
      ->capture_default_str()
      ->group("--hosts");
  app.add_option("--record", o.record, "A file for what was acked and what was seen, to be compared with the database")
      ->group("--hosts");
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
  app.add_option("--warmup", o.warmup, "Time before it that is not measured, in which the rate rises from nothing")
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
  app.add_option("--churn", o.churn,
                 "Connections a second that leave, come back and resume (Ringline; these do not send)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group("Run");
  app.add_option("--missed", o.missed, "--resume: events that each room missed; --history: messages in each room")
      ->check(CLI::Range(1U, 10'000U))
      ->capture_default_str()
      ->group("Run");
  app.add_option("--bursts", o.bursts, "--burst: messages")
      ->check(CLI::Range(1U, 10'000U))
      ->capture_default_str()
      ->group("Run");
  app.add_option("--burst-every", o.burst_every, "--burst: seconds from one message to the next, half of them paused")
      ->check(CLI::Range(0.1, 60.0))
      ->capture_default_str()
      ->group("Run");
  app.add_flag("--busy-poll", o.busy_poll, "Never sleep: for a core of its own")->group("Run");
  app.add_option("--json", o.json, "Write the results to this file as well")->group("Run");
}

struct ModeFlag {
  Mode mode;
  const char* flag;
  const char* about;
};
constexpr ModeFlag kModes[] = {
    {Mode::search, "--search", "Find the highest rate that is held"},
    {Mode::idle, "--idle", "Connections only: set-up cost and memory"},
    {Mode::ack, "--ack", "Each sender sends when it has the answer to its last message"},
    {Mode::history, "--history", "Ringline: each sender asks for a page of history when it has the last one"},
    {Mode::burst, "--burst", "One message at a time, its deliveries taken after the server is done with it"},
    {Mode::storm, "--storm", "All connections once more, Ringline's with their tokens: set-up cost"},
    {Mode::resume, "--resume", "Ringline: all clients of a server that is stopped and started again come back at once"},
    {Mode::hosts, "--hosts",
     "Ringline: people at several hosts (--at), who go from one to another while --rate is sent"},
};

void add_modes(CLI::App& app, bool* chosen) {
  std::vector<CLI::Option*> flags;
  for (std::size_t i = 0; i < std::size(kModes); ++i) {
    CLI::Option* flag =
        app.add_flag(kModes[i].flag, chosen[i], kModes[i].about)->group("Mode (none: one run at --rate)");
    for (CLI::Option* other : flags) flag->excludes(other);
    flags.push_back(flag);
  }
}

// What one flag alone cannot see.
void check(Options& o) {
  const bool closed_loop = o.mode == Mode::ack || o.mode == Mode::history;
  if (closed_loop && !o.acks)
    throw CLI::ValidationError("--ack", "needs answers, and the server gives or you ask for none");
  const bool ours_only = o.mode == Mode::history || o.mode == Mode::resume || o.churn > 0;
  if (ours_only && o.protocol != Protocol::ringline)
    throw CLI::ValidationError("--history, --resume and --churn", "need --protocol ringline");
  if (o.mode == Mode::resume && o.senders == 0) o.senders = 1;
  if (o.mode == Mode::hosts && (o.addresses.empty() || o.protocol != Protocol::ringline))
    throw CLI::ValidationError("--hosts", "needs --at HOST:PORT for each host, and --protocol ringline");
  if (o.mode == Mode::hosts && o.seconds > kHostsSecondsMax)
    throw CLI::ValidationError("--seconds", fmt::format("is at most {} with --hosts", kHostsSecondsMax));
  // Who goes and comes back does not send: what he had said when he went might never have left.
  if (o.churn > 0 && o.senders == 0) o.senders = std::max(1U, o.room_size / 2);
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
    case Protocol::profile:
      return "profile";
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
    case Mode::history:
      return "history";
    case Mode::burst:
      return "burst";
    case Mode::storm:
      return "storm";
    case Mode::resume:
      return "resume";
    case Mode::hosts:
      return "hosts";
  }
  return "";
}

std::expected<Options, int> parse_options(int argc, const char* const* argv) {
  Options options;
  CLI::App app(kAbout);
  app.footer(kExamples);
  add_target(app, options);
  add_profile(app, options);
  add_crowd(app, options);
  add_run(app, options);
  add_hosts(app, options);
  bool chosen[std::size(kModes)] = {};
  add_modes(app, chosen);
  try {
    app.parse(argc, argv);
    for (std::size_t i = 0; i < std::size(kModes); ++i) {
      if (chosen[i]) options.mode = kModes[i].mode;
    }
    check(options);
  } catch (const CLI::ParseError& error) {
    return std::unexpected(app.exit(error) == 0 ? 0 : 2);
  }
  return options;
}

}  // namespace ringline::bench
