// One life of a host in the simulated world: its cores with the real loop, journal and chat, wired as in src/app/core.cpp.
//
// A crash: `crashed` becomes true and world.crash(true) was called; then `let_go` turns the loops until no coroutine waits any more, while nobody
// listens and nothing takes effect.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "chat_bus_sim.hpp"
#include "chat_store_sim.hpp"
#include "ringline/backend/journal.hpp"
#include "ringline/chat/shard.hpp"
#include "ringline/loop/workers.hpp"
#include "world.hpp"

namespace ringline::chat::test {

// Events as the test's connections get them: protocol, name, body, one a line.
class Lines final : public Framer {
 public:
  void append_event(std::string& out, Wire wire, std::string_view name, std::string_view body,
                    std::string_view) override {
    out.push_back(wire == Wire::plain ? 'p' : 's');
    out.append(name).append(" ").append(body).append("\n");
  }
};

struct HostOptions {
  std::string data_dir;
  unsigned cores = 1;
  std::uint64_t highest_id = 0;
  std::vector<backend::JournalStart> starts;
  unsigned store_failing_percent = 0;
  std::size_t store_batch = 8000;
  std::uint64_t segment_bytes = 64 * 1024;  // small, so that there are many
  std::size_t batch_bytes = 16 * 1024;
  BusServer* bus = nullptr;  // null: the only host
  unsigned number = 0;
  const base::Settings& settings;
  const Tokens& tokens;
};

class Host {
 public:
  Host(sim::World& world, Database& db, const bool& crashed, HostOptions options)
      : world_(world), options_(std::move(options)), mailboxes_(options_.cores) {
    for (unsigned core = 0; core < options_.cores; ++core) {
      cores_.push_back(std::make_unique<Core>(*this, core, db, crashed));
      loops_.push_back(&cores_.back()->loop);
    }
    for (const auto& core : cores_) core->loop.set_peers(loops_);
    for (const auto& core : cores_)
      if (!core->start(options_)) return;
    started_ = true;
  }

  bool started() const noexcept { return started_; }  // false: the power went meanwhile
  unsigned cores() const noexcept { return options_.cores; }
  Shard& shard(unsigned core) { return *cores_[core]->shard; }
  bool journals_healthy() const {
    return std::ranges::all_of(cores_, [](const auto& core) { return core->journal->healthy(); });
  }
  BusSim& bus(unsigned core) { return *cores_[core]->bus; }
  std::vector<loop::Loop*>& loops() noexcept { return loops_; }
  std::unordered_map<ConnectionId, Session*>& sessions() noexcept { return sessions_; }

  // After a crash. False: something waits for ever.
  bool let_go() {
    for (const auto& core : cores_) {
      core->tick.disarm();
      core->flush_again.disarm();
      if (core->shard) core->shard->end();
    }
    return world_.run_until(loops_, [this] {
      return std::ranges::all_of(loops_, [](loop::Loop* loop) { return loop->scope().running() == 0; });
    });
  }

 private:
  struct Core final : Surroundings, loop::TurnHook, RoomLogListener {
    Core(Host& of, unsigned core, Database& db, const bool& crashed)
        : host(of),
          loop(core, of.mailboxes_, sim::open_ring()),
          store(of.world_, loop, db, crashed, of.options_.store_failing_percent) {}

    bool start(const HostOptions& options) {
      backend::JournalOptions journal_options{.data_dir = options.data_dir,
                                              .core = loop.core(),
                                              .segment_bytes = options.segment_bytes,
                                              .batch_bytes = options.batch_bytes,
                                              .start = options.starts[loop.core()]};
      auto opened = backend::Journal::open(std::move(journal_options), loop, workers, *this);
      if (!opened) return false;
      journal = std::move(*opened);
      if (options.bus) bus = std::make_unique<BusSim>(host.world_, *options.bus, loop, options.number);
      shard = std::make_unique<Shard>(ShardOptions{.host = options.number,
                                                   .core = loop.core(),
                                                   .cores = options.cores,
                                                   .highest_id = options.highest_id,
                                                   .store_batch = options.store_batch,
                                                   .settings = options.settings,
                                                   .tokens = options.tokens,
                                                   .around = *this,
                                                   .log = *journal,
                                                   .store = store,
                                                   .metrics = loop.metrics(),
                                                   .scope = loop.scope(),
                                                   .framer = lines,
                                                   .bus = bus.get()});
      if (bus) bus->set_listener(shard->bus_listener());
      loop.add_hook(*this);
      loop.add_hook(*journal);
      loop.timers().arm(tick, loop.now_ms() + Shard::kTickMs);
      return true;
    }

    void post(unsigned core, ShardMail mail) override {
      Core* there = host.cores_[core].get();
      loop.send(core, loop::make_mail([there, mail = std::move(mail)]() mutable { mail(*there->shard); }));
    }
    bool can_post() const noexcept override { return !loop.overloaded(); }
    Session* find(ConnectionId id) override {
      const auto found = host.sessions_.find(id);
      return found == host.sessions_.end() ? nullptr : found->second;
    }
    Task<Result<void>> run_blocking(std::move_only_function<void()> job) override {
      job();
      co_return Result<void>{};
    }
    std::int64_t now_ms() const noexcept override { return loop.now_ms(); }

    void on_turn_end() override {
      if (const std::int64_t again_ms = shard->flush(); again_ms != INT64_MAX) loop.timers().arm(flush_again, again_ms);
    }
    void on_flush_due() {}
    void on_committed(std::uint64_t last) override { shard->on_committed(last); }
    void on_failed(std::uint64_t first, std::uint64_t last) override { shard->on_failed(first, last); }
    void on_tick() {
      shard->on_tick(loop.now_ms());
      loop.timers().arm(tick, loop.now_ms() + Shard::kTickMs);
    }

    Host& host;
    loop::Loop loop;
    Lines lines;
    StoreSim store;
    std::unique_ptr<backend::Journal> journal;
    std::unique_ptr<BusSim> bus;
    std::unique_ptr<Shard> shard;
    loop::TimerOf<Core, &Core::on_tick> tick{*this};
    loop::TimerOf<Core, &Core::on_flush_due> flush_again{*this};
    loop::Workers workers{1, "sim", 16};  // goes first: its jobs post to the loop
  };

  sim::World& world_;
  HostOptions options_;
  loop::Mailboxes mailboxes_;
  std::vector<std::unique_ptr<Core>> cores_;
  std::vector<loop::Loop*> loops_;
  std::unordered_map<ConnectionId, Session*> sessions_;
  bool started_ = false;
};

}  // namespace ringline::chat::test
