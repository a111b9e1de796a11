// conformance-server: our network and protocol layers with the fixtures of the public suites instead of chat. See --help.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrier>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fixtures.hpp"
#include "hub.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/loop/thread.hpp"
#include "ringline/net/hand_over.hpp"
#include "ringline/net/server.hpp"

namespace ringline::conformance {
namespace {

using namespace std::chrono_literals;

struct Options {
  std::uint16_t port = 0;
  unsigned cores = 1;
  unsigned ping_interval_ms = 25'000;
  unsigned ping_timeout_ms = 20'000;
  unsigned connect_timeout_ms = 45'000;
  unsigned connect_delay_ms = 0;
  std::size_t max_payload = 1'000'000;
  double header_timeout_s = 10;
  bool recovery = false;
  bool deflate = false;
  bool echo_any = false;
};

constexpr std::string_view kAbout =
    R"(The fixtures of the public WebSocket, Engine.IO, Socket.IO and HTTP suites on Ringline's network and protocol layers.

  /ws          echoes WebSocket messages
  /engine.io/  echoes Engine.IO messages
  /socket.io/  Socket.IO namespaces /, /custom, /private (auth {token:"secret"}), and those of the JavaScript client's suite
  GET /health  200 ok            POST /echo  200 with the body

  Engine.IO and Socket.IO protocol suites:  conformance-server --port 3000 --ping-interval 300 --ping-timeout 200 --connect-timeout 1000
  The JavaScript client's own suite:        conformance-server --port 3210 --ping-interval 2000 --recovery --connect-delay 10 --deflate
  Autobahn's fuzzing client:                conformance-server --port 9001   and ws://127.0.0.1:9001/ws
  h1spec:                                   conformance-server --port 3000 --echo-any
)";

class Answers final : public net::HttpHandler {
 public:
  explicit Answers(bool echo_any) : echo_any_(echo_any) {}
  void handle(base::ConnectionId connection, net::HttpRequest request) override {
    bool echo = echo_any_ || (request.method == "POST" && request.path == "/echo");
    bool health = request.method == "GET" && request.path == "/health";
    int status = echo || health ? 200 : 404;
    std::string body = echo ? std::move(request.body) : std::string(health ? "ok" : "not found");
    server->respond(connection,
                    {.status = status, .content_type = "text/plain", .body = std::move(body), .headers = {}});
  }
  net::Server* server = nullptr;

 private:
  bool echo_any_;
};

struct Core final : loop::TurnHook {
  Core(loop::Loop& on, std::vector<Hub*>& hubs, const Options& options, const base::Settings& settings,
       net::HandOverPorts* ports)
      : loop(on),
        hub(on, hubs, options.recovery),
        doors(hub, {.connect_timeout = std::chrono::milliseconds(options.connect_timeout_ms),
                    .connect_delay = std::chrono::milliseconds(options.connect_delay_ms),
                    .payload_bytes = options.max_payload,
                    .deflate = options.deflate}),
        answers(options.echo_any),
        server(on, {.core = on.core(),
                    .settings = settings,
                    .http = answers,
                    .doors = &doors,
                    .hand_over = ports,
                    .times = {.head = std::chrono::milliseconds(static_cast<int>(options.header_timeout_s * 1000))},
                    .http_limits = {.body_bytes = options.max_payload}}) {
    answers.server = &server;
    hubs[on.core()] = &hub;
    on.add_hook(*this);
  }
  void on_turn_end() override { server.on_turn_end(); }
  static base::Task<void> end(Core& core, std::barrier<>& all_quiet) {
    core.server.stop_listening();
    core.server.kill_all();
    while (!core.server.empty() || core.loop.scope().running() > 1) co_await core.loop.sleep(1ms);
    all_quiet.arrive_and_wait();  // nobody sends mail any more
    core.loop.stop();
  }

  loop::Loop& loop;
  Hub hub;
  FixtureDoors doors;
  Answers answers;
  net::Server server;
};

template <class T>
T must(base::Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "conformance-server: %s\n", result.error().message.c_str());
  std::exit(1);
}

class Process {
 public:
  explicit Process(const Options& options)
      : options_(options),
        mailboxes_(options.cores),
        loops_(options.cores),
        hubs_(options.cores),
        cores_(options.cores),
        together_(options.cores + 1),
        quiet_(options.cores) {
    settings_.ping_interval = std::chrono::milliseconds(options.ping_interval_ms);
    settings_.ping_timeout = std::chrono::milliseconds(options.ping_timeout_ms);
    settings_.host = "127.0.0.1";
    settings_.client_origin = {"*"};
    for (unsigned core = 0; core < options.cores; ++core) {
      rings_.push_back(must(loop::Ring::prepare({.entries = base::limits::kRingEntries,
                                                 .receive_buffers = base::limits::kReceiveBuffers,
                                                 .receive_buffer_bytes = base::limits::kReceiveBufferBytes})));
      std::ranges::copy(rings_.back()->descriptors(), std::back_inserter(shared_));
    }
    if (options.cores == 1) return;
    ports_ = must(net::HandOverPorts::open(options.cores));
    std::ranges::copy(ports_->descriptors(), std::back_inserter(shared_));
  }

  void run(const sigset_t& until) {
    for (unsigned core = 0; core < options_.cores; ++core) threads_.emplace_back([this, core] { run_core(core); });
    for (int phase = 0; phase < 4; ++phase) together_.arrive_and_wait();
    std::printf("listening on http://127.0.0.1:%u\n", static_cast<unsigned>(port_));
    std::fflush(stdout);
    int signal = 0;
    sigwait(&until, &signal);
    for (Core* core : cores_)
      core->loop.post(loop::make_mail([this, core] { core->loop.scope().spawn(Core::end(*core, quiet_)); }));
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void run_core(unsigned number) {
    loop::begin_thread("core-" + std::to_string(number));
    std::unique_ptr<loop::Ring> ring = std::move(rings_[number]);
    if (!loop::unshare_descriptors(shared_) || !ring->begin()) std::abort();
    loop::Loop loop(number, mailboxes_, std::move(ring));
    loops_[number] = &loop;
    together_.arrive_and_wait();  // all loops are made
    loop.set_peers(loops_);
    {
      Core core(loop, hubs_, options_, settings_, ports_.get());
      cores_[number] = &core;
      together_.arrive_and_wait();  // all hubs are made
      if (number == 0) port_ = must(core.server.listen(options_.port));
      together_.arrive_and_wait();  // the port is known
      if (number != 0) must(core.server.listen(port_));
      together_.arrive_and_wait();
      loop.run();
    }
    quiet_.arrive_and_wait();
  }

  const Options& options_;
  base::Settings settings_;
  loop::Mailboxes mailboxes_;
  std::unique_ptr<net::HandOverPorts> ports_;
  std::vector<std::unique_ptr<loop::Ring>> rings_;
  std::vector<loop::Fd> shared_;  // in every core's table
  std::vector<loop::Loop*> loops_;
  std::vector<Hub*> hubs_;
  std::vector<Core*> cores_;
  std::barrier<> together_;
  std::barrier<> quiet_;
  std::vector<std::thread> threads_;
  std::uint16_t port_ = 0;
};

int parse(Options& options, int argc, char** argv) {
  CLI::App app{std::string(kAbout), "conformance-server"};
  app.add_option("--port", options.port, "of 127.0.0.1; 0: any free one, printed")->capture_default_str();
  app.add_option("--cores", options.cores, "event loops")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--ping-interval", options.ping_interval_ms, "ms")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--ping-timeout", options.ping_timeout_ms, "ms")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--connect-timeout", options.connect_timeout_ms, "ms, for CONNECT to come")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--connect-delay", options.connect_delay_ms, "ms, before CONNECT is answered")->capture_default_str();
  app.add_option("--max-payload", options.max_payload, "bytes of a packet, a payload, a request's body")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--header-timeout", options.header_timeout_s, "seconds, for a request's head to come")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--recovery", options.recovery, "Socket.IO's connection state recovery");
  app.add_flag("--deflate", options.deflate,
               "permessage-deflate at /engine.io/ and /socket.io/ too (/ws always has it)");
  app.add_flag("--echo-any", options.echo_any, "answer every HTTP request with its body");
  CLI11_PARSE(app, argc, argv);
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (int status = parse(options, argc, argv); status >= 0) return status;
  sigset_t stop;
  sigemptyset(&stop);
  for (int signal : {SIGTERM, SIGINT}) sigaddset(&stop, signal);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  base::Settings log;
  log.log_level = base::LogLevel::warn;
  if (auto started = base::log::start(log); !started) return 1;
  {
    Process process(options);
    process.run(stop);
  }
  base::log::stop();
  return 0;
}

}  // namespace ringline::conformance

int main(int argc, char** argv) { return ringline::conformance::main(argc, argv); }
