// See core.hpp.
#include "app/core.hpp"

#include <pthread.h>

#include <algorithm>

#include "app/content.hpp"
#include "app/offload.hpp"
#include "app/rest.hpp"
#include "ringline/backend/cached_store.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/memory.hpp"
#include "ringline/base/random.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::app {

namespace {

constexpr std::uint32_t kReconnectSpreadMs = 2000;  // clients of a stopping server come back spread over this
constexpr std::chrono::milliseconds kHearing{50};   // between telling the clients and closing them
constexpr std::chrono::milliseconds kDrainStep{5};
constexpr std::chrono::milliseconds kRecoverAgain{500};
constexpr std::chrono::milliseconds kBusLook{50};  // at the start, whether the bus is there
constexpr std::int64_t kRestAfterMs = 25'000;      // nothing was accepted, sequenced or delivered for so long

void fail_start(Process& process, const base::Error& error) {
  if (!process.failed.exchange(true)) process.failure = error.message;
}

bool all_begun(const Process& process) {
  return process.failed ||
         std::ranges::all_of(process.state, [](const Process::CoreState& core) { return core.begun.load(); });
}

}  // namespace

Core::Core(Process& process, loop::Loop& loop) : process_(process), loop_(loop), doors_(process.settings) {}

Core::~Core() = default;

base::Result<std::unique_ptr<Core>> Core::make(Process& process, loop::Loop& loop) {
  std::unique_ptr<Core> core(new Core(process, loop));
  const base::Settings& settings = process.settings;
  backend::JournalOptions options{.data_dir = settings.data_dir,
                                  .core = loop.core(),
                                  .segment_bytes = settings.journal_segment_bytes,
                                  .relaxed = settings.durability == base::Durability::relaxed,
                                  .start = process.journals[loop.core()]};
  auto journal = backend::Journal::open(std::move(options), loop, process.workers, core->told_);
  if (!journal) return std::unexpected(journal.error());
  core->journal_ = std::move(*journal);
  loop.add_hook(*core);  // before the bus: what it has to say in a turn goes out in that turn
  if (process.redis) {
    auto bus = backend::RedisBus::make(loop, process.workers, *process.redis, process.host, core->told_by_bus_,
                                       process.settings.ack_replicas);
    if (!bus) return std::unexpected(bus.error());
    core->bus_ = std::move(*bus);
  }
  core->store_ = process.store.client(loop, &process.links());
  if (core->bus_)
    core->store_ = backend::cached_store(std::move(core->store_), loop, core->bus_->redis(), settings.session_ttl);
  core->blobs_ = process.offload->client(loop);
  protocol::HttpLimits http_limits = core->doors_.http_limits();
  http_limits.streams = &streams_body;
  core->server_ = std::make_unique<net::Server>(loop, net::ServerOptions{.host = process.host,
                                                                         .core = loop.core(),
                                                                         .connections_max = process.connections_max,
                                                                         .settings = settings,
                                                                         .http = core->http_,
                                                                         .doors = &core->doors_,
                                                                         .hand_over = process.hand_over.get(),
                                                                         .http_limits = http_limits});
  core->shard_ = std::make_unique<chat::Shard>(chat::ShardOptions{.host = process.host,
                                                                  .core = loop.core(),
                                                                  .cores = process.cores,
                                                                  .highest_id = process.highest_id,
                                                                  .tail_bytes = process.tail_bytes,
                                                                  .settings = settings,
                                                                  .tokens = process.tokens,
                                                                  .around = *core,
                                                                  .log = *core->journal_,
                                                                  .store = *core->store_,
                                                                  .metrics = loop.metrics(),
                                                                  .scope = loop.scope(),
                                                                  .framer = core->doors_,
                                                                  .blobs = core->blobs_.get(),
                                                                  .links = &process.links(),
                                                                  .bus = core->bus_.get()});
  core->told_.shard = core->shard_.get();
  core->told_by_bus_.shard = &core->shard_->bus_listener();
  core->doors_.set_shard(*core->shard_);
  loop.add_hook(*core->journal_);
  loop.timers().arm(core->tick_, loop.now_ms() + chat::Shard::kTickMs);
  return core;
}

void Core::begin() { loop_.scope().spawn(begin_all()); }

// Without Redis the host starts all the same, unless waiting would not help: its own members can chat.
base::Task<void> Core::begin_all() {
  if (bus_ && !process_.failed) {
    auto started = co_await bus_->start();
    if (!started && started.error().code == base::Errc::invalid) {
      fail_start(process_, started.error());
    } else {
      if (!started) base::log::warn("redis_not_reached", {{"for", "start"}, {"why", started.error().message}});
      co_await recover(false);
      recovered_ = true;
      if (started) co_await wait_for_bus();
    }
  }
  process_.state[loop_.core()].begun.store(true);
  for (unsigned core = 0; core < process_.cores; ++core) loop_.send(core, loop::make_mail([] {}));  // they look again
}

// Who comes at once finds it there: rooms can be made. With other hosts it may have to be told first what it has lost.
base::Task<void> Core::wait_for_bus() {
  const std::int64_t until_ms = loop_.now_ms() + base::limits::kRedisStartWait / std::chrono::milliseconds(1);
  while (!bus_->is_there() && loop_.now_ms() < until_ms && !process_.draining && !process_.failed)
    co_await loop_.sleep(kBusLook);
}

// What the journals held of rooms whose home this is. Where that cannot be done now (the store is away) it is tried again, while the host is at work.
base::Task<void> Core::recover(bool again) {
  std::vector<chat::Event>& events = process_.recovered[loop_.core()];
  for (;;) {
    if (again) co_await loop_.sleep(kRecoverAgain);
    if (process_.draining || process_.failed) co_return;
    bool done = co_await shard_->recover(events);
    if (done) break;
    if (!again) co_return loop_.scope().spawn(recover(true));
  }
  std::vector<chat::Event>().swap(events);
  process_.keeper.on_recovered();
}

base::Result<std::uint16_t> Core::listen(std::uint16_t port) { return server_->listen(port); }

base::Result<void> Core::listen_for_admins() {
  const base::Settings& settings = process_.settings;
  if (!settings.admin_port) return {};
  admin_settings_ = std::make_unique<base::Settings>(settings);
  admin_settings_->host = settings.admin_host;
  admin_ = std::make_unique<net::Server>(
      loop_, net::ServerOptions{.core = loop_.core(), .settings = *admin_settings_, .http = admin_http_});
  auto port = admin_->listen(*settings.admin_port);
  if (!port) return std::unexpected(port.error());
  base::log::info("admin_listening", {{"host", settings.admin_host}, {"port", *port}});
  return {};
}

void Core::post(unsigned core, ShardMail mail) {
  Core* there = process_.core_objects[core];
  loop_.send(core, loop::make_mail([there, mail = std::move(mail)]() mutable { mail(*there->shard_); }));
}

chat::Session* Core::find(chat::ConnectionId id) { return server_->find_session(id); }

base::Task<base::Result<void>> Core::run_blocking(std::move_only_function<void()> job) {
  auto running = process_.workers.run(loop_, [job = std::move(job)]() mutable {
    job();
    return true;
  });
  auto done = co_await running;
  if (!done) co_return std::unexpected(done.error());
  co_return base::Result<void>{};
}

// Rooms are framed, then everything that is queued goes to the kernel with the journal's write: one enter.
void Core::on_turn_end() {
  if (std::int64_t again_ms = shard_->flush(); again_ms != INT64_MAX) loop_.timers().arm(flush_again_, again_ms);
  server_->on_turn_end();
  if (admin_) admin_->on_turn_end();
}

void Core::on_tick() {
  // Before what the run before left is in the rooms nothing of it could be put back where the bus has lost it.
  if (bus_ && recovered_) bus_->on_tick(loop_.now_ms());
  shard_->on_tick(loop_.now_ms());
  if (bus_) note_bus();
  process_.state[loop_.core()].journal_well.store(journal_->healthy(), std::memory_order_relaxed);
  if (loop_.core() == 0) tend_store();
  rest_if_quiet();
  loop_.timers().arm(tick_, loop_.now_ms() + chat::Shard::kTickMs);
}

void Core::note_bus() {
  const backend::RedisHealth health = bus_->health();
  process_.state[loop_.core()].bus_there.store(bus_->is_there(), std::memory_order_relaxed);
  base::Metrics& metrics = loop_.metrics();
  metrics.redis_calls = health.counters.calls;
  metrics.redis_failures = health.counters.failures + health.counters.refused;
  metrics.redis_connects = health.counters.connects;
  metrics.redis_messages = health.counters.messages;
  metrics.redis_away = bus_->is_there() ? 0 : 1;
  metrics.redis_queued = health.queued;
}

// What the store wants of us now and then: once a process.
void Core::tend_store() {
  process_.store.tend();
  loop_.metrics().text_lag_messages = process_.store.texts_waiting();
  JournalKeeper& keeper = process_.keeper;
  if (keeper.removed() && bus_)
    for (unsigned core = 0; core < process_.cores; ++core) post(core, [](chat::Shard& shard) { shard.recovered(); });
  if (keeper.begin() && !process_.workers.submit([&keeper] { keeper.run(); })) keeper.skip();
}

// The one place where memory that was needed once is given back: a crowd that comes at once needs several times what it needs when it is there.
void Core::rest_if_quiet() {
  const base::Metrics& metrics = loop_.metrics();
  const std::uint64_t dropped = metrics.events - metrics.tail_events;  // from the tails of rooms that are quiet
  const std::uint64_t count = metrics.connections_accepted + metrics.events + metrics.deliveries + dropped;
  if (count != std::exchange(busy_count_, count)) {
    busy_ms_ = loop_.now_ms();
    rested_ = false;
  }
  if (loop_.now_ms() - busy_ms_ < kRestAfterMs) return;
  server_->rest();  // again and again: heartbeats go on
  if (std::exchange(rested_, true)) return;
  doors_.rest();
  shard_->rest();
  journal_->rest();
  if (loop_.core() == 0) process_.store.rest();
  base::give_memory_back();
}

Health Core::health() const noexcept {
  Health health{.journal = true,
                .store = process_.store.healthy(),
                .draining = process_.draining.load(std::memory_order_relaxed)};
  if (const base::CircuitBreaker* breaker = process_.offload->breaker()) health.s3 = breaker->state();
  if (bus_) health.bus = true;
  for (const Process::CoreState& core : process_.state) {
    health.journal = health.journal && core.journal_well.load(std::memory_order_relaxed);
    if (bus_) health.bus = *health.bus && core.bus_there.load(std::memory_order_relaxed);
  }
  return health;
}

double Core::uptime_seconds() const noexcept {
  return static_cast<double>(base::monotonic_ns() - process_.started_ns) / 1e9;
}

std::string Core::subject_of(std::string_view bearer) const {
  auto claims = process_.tokens.verify(bearer, base::wall_ms());
  return claims ? claims->user.text() : std::string();
}

namespace {

// Awaits a copy of every core's metrics, and of the transfers'.
struct MetricsGather {
  loop::Loop& here;
  const std::vector<loop::Loop*>& loops;
  Offload& offload;
  std::vector<base::Metrics> copies{};
  base::Metrics transfers{};
  std::size_t missing = 0;
  std::coroutine_handle<> waiting{};

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting = handle;
    copies.resize(loops.size());
    missing = loops.size() + 1;
    offload.ask_metrics([this](const base::Metrics& counted) {
      here.post(loop::make_mail([this, copy = counted] {
        transfers = copy;
        if (--missing == 0) waiting.resume();
      }));
    });
    for (unsigned core = 0; core < loops.size(); ++core) {
      here.send(core, loop::make_mail([this, core] {
                  base::Metrics copy = loops[core]->metrics();
                  loops[core]->send(here.core(), loop::make_mail([this, core, copy] {
                                      copies[core] = copy;
                                      if (--missing == 0) waiting.resume();
                                    }));
                }));
    }
  }
  std::vector<base::Metrics> await_resume() { return std::move(copies); }
};

}  // namespace

base::Task<std::vector<base::Metrics>> Core::all_metrics() {
  MetricsGather gather{.here = loop_, .loops = process_.loops, .offload = *process_.offload};
  auto copies = co_await gather;
  copies.front().add(gather.transfers);  // what they count, no core does
  co_return copies;
}

void Core::drain() { loop_.scope().spawn(drain_and_stop()); }

// Clients are told and closed, what is sequenced is committed and stored; then all cores wait for each other (their mail may still be for one another)
// and stop. The time is bounded: what is not in the store by then is in the journal.
base::Task<void> Core::drain_and_stop() {
  std::int64_t deadline = loop_.now_ms() + process_.settings.drain_time.count();
  server_->stop_listening();
  if (admin_) admin_->stop_listening();
  std::uint32_t after = static_cast<std::uint32_t>(base::random_u64() % kReconnectSpreadMs);
  server_->announce("server_draining", R"({"reconnectAfterMs":)" + std::to_string(after) + "}");
  co_await loop_.sleep(kHearing);
  server_->close_all(chat::CloseCode::stopping, "the server is stopping");
  if (admin_) admin_->kill_all();
  while (loop_.now_ms() < deadline && !(no_connections() && shard_->all_stored())) co_await loop_.sleep(kDrainStep);
  bool stored = shard_->all_stored();
  server_->kill_all();
  while (!no_connections()) co_await loop_.sleep(kDrainStep);
  blobs_->cut();
  if (bus_) co_await leave_bus();
  while (loop_.scope().running() > 1)
    co_await loop_.sleep(kDrainStep);  // all but this one: what was begun for them ends
  base::log::info("core_drained", {{"stored", stored}});
  process_.state[loop_.core()].quiet.store(true);
  auto all_quiet = [this] {
    for (const Process::CoreState& core : process_.state)
      if (!core.quiet.load()) return false;
    return true;
  };
  while (!all_quiet()) co_await loop_.sleep(kDrainStep);
  tick_.disarm();
  flush_again_.disarm();
  co_await journal_->close();
  loop_.stop();
}

// What was begun with the bus (of users who went, say) has as long as a call of it may take; then nobody waits for it any more.
base::Task<void> Core::leave_bus() {
  const std::int64_t deadline = loop_.now_ms() + base::limits::kBusTimeout.count();
  while (loop_.now_ms() < deadline && loop_.scope().running() > 1) co_await loop_.sleep(kDrainStep);
  shard_->end();
  co_await bus_->close();
}

void HttpDoor::handle(base::ConnectionId connection, net::HttpRequest request) {
  core_.scope().spawn(answer(core_, door_, connection, std::move(request)));
}

base::Task<void> HttpDoor::answer(Core& core, Door door, base::ConnectionId connection, net::HttpRequest request) {
  net::HttpResponse response = co_await answer_http(core, door, std::move(request));
  core.server(door).respond(connection, std::move(response));
}

void run_core(Process& process, unsigned core) {
  base::log::set_core(core);
  loop::begin_thread("core-" + std::to_string(core));
  // More threads than processors: the scheduler places them better.
  if (process.settings.pin && process.cores <= loop::usable_cpus()) loop::pin_thread(core);
  std::unique_ptr<loop::Ring> ring = std::move(process.rings[core]);
  auto begun = loop::unshare_descriptors(process.shared);
  if (begun) begun = ring->begin();
  if (!begun) {
    fail_start(process, begun.error());
    process.together.arrive_and_wait();
    return;
  }
  loop::Loop loop(core, process.mailboxes, std::move(ring));
  process.loops[core] = &loop;
  process.together.arrive_and_wait();  // all loops are made
  if (process.failed) return;
  loop.set_peers(process.loops);
  auto made = Core::make(process, loop);
  if (!made) fail_start(process, made.error());
  process.core_objects[core] = made ? made->get() : nullptr;
  process.together.arrive_and_wait();  // all shards are there for each other's mail
  if (!made) {
    process.state[core].quiet = process.state[core].listening = true;
    process.together.arrive_and_drop();
    return;
  }
  Core& wired = **made;
  wired.begin();
  while (!all_begun(process)) loop.turn(true);
  if (!process.failed && core == 0) {
    auto port = wired.listen(process.settings.port);
    if (port) {
      process.port = *port;
    } else {
      fail_start(process, port.error());
    }
    if (auto admin = wired.listen_for_admins(); !admin) fail_start(process, admin.error());
  }
  process.together.arrive_and_wait();  // the port is known
  if (!process.failed && core != 0) {
    if (auto port = wired.listen(process.port); !port) fail_start(process, port.error());
  }
  process.together.arrive_and_wait();
  process.state[core].listening.store(true);
  if (process.failed) wired.drain();
  loop.run();
  process.together.arrive_and_wait();  // nobody sends mail any more
}

}  // namespace ringline::app
