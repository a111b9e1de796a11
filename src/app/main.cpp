// ringline: settings, start-up in order (data directory, store, journals, cores), signals, watchdog, stop.
#include <fmt/format.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>
#include <vector>

#include "app/boot.hpp"
#include "app/core.hpp"
#include "app/data_commands.hpp"
#include "app/data_dir.hpp"
#include "app/dead_letters.hpp"
#include "app/offload.hpp"
#include "ringline/backend/journal_format.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/memory.hpp"
#include "ringline/base/signals.hpp"
#include "ringline/base/version.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::app {
namespace {

namespace limits = base::limits;

constexpr unsigned kWorkers = 2;
constexpr unsigned kDescriptorsOfCore =
    38;  // standard streams, listeners, segments of the journal, the ring of transfers; sockets on their way in or out
constexpr unsigned kReceiveBuffersMin = 128;
constexpr std::int64_t kWatchdogSilenceNs = 10'000'000'000;  // a core that has not answered for so long is stuck
constexpr timespec kSignalPoll{.tv_sec = 1, .tv_nsec = 0};

// A peer that is gone, and a limit on the size of files (LimitFSIZE=, ulimit -f), are errors of the write: EPIPE, EFBIG.
void ignore_write_signals() {
  for (int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN);
}

int fail(const std::string& message) {
  std::fprintf(stderr, "ringline: %s\n", message.c_str());
  base::log::stop();
  return 1;
}

// As many descriptors a table as the hard limit allows; what is refused (a container without the right) is no error.
unsigned raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  rlimit wanted{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &wanted) == 0) limit = wanted;
  return static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, 1U << 30));
}

// What each core may have of memory; rings, and the sockets between cores. More threads than processors are never all busy: they share the memory of as
// many buffers as those would have.
base::Result<void> prepare_cores(Process& process) {
  std::ranges::copy(process.store.descriptors(), std::back_inserter(process.shared));
  process.tail_bytes =
      std::max(limits::kTailBytesMin, base::usable_memory() / limits::kTailMemoryShare / process.cores);
  const unsigned share = std::bit_floor(limits::kReceiveBuffers * loop::usable_cpus() / process.cores);
  for (unsigned core = 0; core < process.cores; ++core) {
    auto ring = loop::Ring::prepare({.entries = limits::kRingEntries,
                                     .receive_buffers = std::clamp(share, kReceiveBuffersMin, limits::kReceiveBuffers),
                                     .receive_buffer_bytes = limits::kReceiveBufferBytes});
    if (!ring) return std::unexpected(ring.error());
    std::ranges::copy((*ring)->descriptors(), std::back_inserter(process.shared));
    process.rings.push_back(std::move(*ring));
  }
  auto ports = net::HandOverPorts::open(process.cores);
  if (!ports) return std::unexpected(ports.error());
  process.hand_over = std::move(*ports);
  std::ranges::copy(process.hand_over->descriptors(), std::back_inserter(process.shared));
  return {};
}

// How many connections a core may have: what its descriptors carry, or its share of CONNECTIONS_MAX.
base::Result<unsigned> connections_of_core(const Process& process, unsigned descriptors) {
  const std::size_t taken = process.shared.size() + kDescriptorsOfCore;
  if (descriptors <= taken)
    return base::fail(base::Errc::invalid,
                      fmt::format("a limit of {} descriptors is too low for {} cores, which need {} each beside their "
                                  "connections: raise it (`ulimit -n`, systemd: LimitNOFILE=)",
                                  descriptors, process.cores, taken));
  const auto fit = static_cast<unsigned>(descriptors - taken);
  const unsigned wanted = process.settings.connections_max;
  const unsigned share = wanted / process.cores + (wanted % process.cores != 0 ? 1 : 0);
  if (share > fit)
    base::log::warn(
        "connections_do_not_fit",
        {{"wanted", wanted},
         {"fit", std::uint64_t{fit} * process.cores},
         {"why", "each core's thread may open as many descriptors as RLIMIT_NOFILE says: raise it, or CORES"}});
  return wanted != 0 ? std::min(share, fit) : fit;
}

// Asks every core for a sign of life, and tells the service manager that all have given one lately.
void feed_watchdog(Process& process) {
  std::int64_t now = base::monotonic_ns();
  bool all_alive = true;
  for (unsigned core = 0; core < process.cores; ++core) {
    Process::CoreState& state = process.state[core];
    all_alive = all_alive && now - state.heard_ns.load() < kWatchdogSilenceNs;
    process.loops[core]->post(loop::make_mail([&state] { state.heard_ns.store(base::monotonic_ns()); }));
  }
  if (all_alive) sd_notify(0, "WATCHDOG=1");
}

void drain_all(Process& process) {
  process.draining = true;
  process.offload->drain();
  sd_notify(0, "STOPPING=1");
  for (unsigned core = 0; core < process.cores; ++core) {
    Core* object = process.core_objects[core];
    process.loops[core]->post(loop::make_mail([object] { object->drain(); }));
  }
}

// No id may be made with this number any more. What was acked is in the journal, and is taken in when the host is started again: with its number, if it is free
// by then.
[[noreturn]] void end_at_once(const Process& process) {
  const std::string why = fmt::format(
      "another process is host {} of the database now: this one was not heard of for too long, or DATA_DIR is a copy",
      process.host);
  base::log::error("host_number_taken", {{"number", process.host}, {"why", why}});
  std::_Exit(fail(why));
}

// Until SIGTERM or SIGINT. A second one ends the process at once: what was acked is in the journal.
void serve(Process& process) {
  const sigset_t signals = base::operators_signals();
  for (;;) {
    int signal = ::sigtimedwait(&signals, nullptr, &kSignalPoll);
    if (signal == SIGTERM || signal == SIGINT) break;
    if (signal == SIGHUP) base::log::reopen();
    if (process.store.host_taken()) end_at_once(process);
    feed_watchdog(process);
  }
  base::log::info("stopping");
  drain_all(process);
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  ::pthread_sigmask(SIG_UNBLOCK, &ending, nullptr);  // default action from now on
}

void announce_start(const Process& process, const DataDir& data) {
  std::string host =
      process.settings.host == "0.0.0.0" || process.settings.host == "::" ? "localhost" : process.settings.host;
  std::printf("Ringline %s listening on http://%s:%u\n", std::string(base::version()).c_str(), host.c_str(),
              process.port);
  std::fflush(stdout);
  if (auto written = data.write_file("port", std::to_string(process.port) + "\n"); !written)
    base::log::warn("port_not_written", {{"why", written.error().message}});
  base::log::info("started", {{"version", base::version()},
                              {"port", process.port},
                              {"cores", process.cores},
                              {"connectionsMax", std::uint64_t{process.connections_max} * process.cores}});
  sd_notify(0, "READY=1");
}

bool all_listening(const Process& process) {
  for (const Process::CoreState& core : process.state)
    if (!core.listening.load() && !process.failed) return false;
  return true;
}

int run(const base::Settings& settings, const DataDir& data) {
  auto secrets = data.jwt_secrets(settings);
  if (!secrets) return fail(secrets.error().message);
  std::optional<backend::RedisOptions> redis;
  if (settings.several_hosts()) {
    auto options = backend::redis_options(settings);
    if (!options) return fail(options.error().message);
    redis = std::move(*options);
  }
  auto store = open_database(settings, data);
  if (!store) return fail(store.error().message);
  unsigned cores = std::min(settings.cores != 0 ? settings.cores : loop::usable_cpus(), base::kCoresMax);
  auto booted = take_in_journals(settings, data, cores, **store);
  if (!booted) return fail(booted.error().message);

  JournalKeeper keeper(data.path(), std::move(booted->recovered), **store, redis ? cores : 0);
  loop::Workers workers(kWorkers, "worker", base::limits::kWorkerJobs);
  Process process(settings, cores, std::move(*secrets), workers, **store, keeper);
  process.host = (*store)->host();
  process.redis = std::move(redis);
  process.recovered = std::move(booted->events);
  process.highest_id = booted->highest_id;
  process.journals = booted->journals;
  process.started_ns = base::monotonic_ns();
  const unsigned descriptors = raise_descriptor_limit();
  if (auto prepared = prepare_cores(process); !prepared) return fail(prepared.error().message);
  auto connections = connections_of_core(process, descriptors);
  if (!connections) return fail(connections.error().message);
  process.connections_max = *connections;
  auto offload = Offload::open(settings, workers, *process.hand_over);
  if (!offload) return fail(offload.error().message);
  process.offload = offload->get();
  std::ranges::copy(process.offload->descriptors(), std::back_inserter(process.shared));
  if (const auto s3 = s3_options(settings)) process.s3_links = backend::s3_links(*s3);
  for (Process::CoreState& core : process.state) core.heard_ns = process.started_ns;

  base::block_operators_signals();
  std::vector<std::jthread> threads;
  for (unsigned core = 0; core < process.cores; ++core)
    threads.emplace_back([&process, core] { run_core(process, core); });
  while (!all_listening(process)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (!process.failed) {
    announce_start(process, data);
    serve(process);
  }
  keeper.stop();
  threads.clear();  // joins
  if (process.failed) return fail(process.failure);
  if (auto marked = backend::mark_clean_stop(data.path()); !marked)
    base::log::warn("stop_not_marked", {{"why", marked.error().message}});
  base::log::info("stopped");
  base::log::stop();
  return 0;
}

// Takes no lock and changes nothing: of a server that runs, it shows what is on disk at the moment.
int dump(const base::Settings& settings) {
  const std::string directory = backend::journal::journal_directory(settings.data_dir);
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) return fail("there is no journal in " + settings.data_dir);
  if (auto dumped = backend::dump_journal(directory, std::cout); !dumped) return fail(dumped.error().message);
  std::cout.flush();
  return std::cout ? 0 : fail("cannot write to standard output");
}

}  // namespace
}  // namespace ringline::app

int main(int argc, char** argv) {
  using namespace ringline;
  auto settings = base::load_settings(argc, argv, environ);
  if (!settings) return app::fail(settings.error().message);
  if (settings->mode == base::RunMode::done) return 0;
  if (settings->mode == base::RunMode::check_config) {
    std::puts("The configuration is good.");
    return 0;
  }
  if (settings->mode == base::RunMode::dump_journal) return app::dump(*settings);
  if (settings->mode == base::RunMode::dead_letters) return app::run_dead_letters(*settings);
  if (settings->mode != base::RunMode::serve) return app::run_data_command(*settings);
  base::give_pages_back_at_once();
  app::ignore_write_signals();
  if (auto logging = base::log::start(*settings); !logging) return app::fail(logging.error().message);
  auto data = app::DataDir::open(settings->data_dir);
  if (!data) return app::fail(data.error().message);
  return app::run(*settings, *data);
}
