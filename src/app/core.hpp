// One core: its loop, journal, shard and connections, wired together. Made, run and destroyed on its own thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "app/process.hpp"
#include "app/routes.hpp"
#include "ringline/backend/blobs.hpp"
#include "ringline/backend/journal.hpp"
#include "ringline/backend/redis_bus.hpp"
#include "ringline/base/circuit_breaker.hpp"
#include "ringline/chat/shard.hpp"
#include "ringline/net/chat_doors.hpp"
#include "ringline/net/server.hpp"

namespace ringline::app {

// The listeners: of everybody, and of operators (ADMIN_PORT).
enum class Door : std::uint8_t { everybody, admin };

struct Health {
  bool journal = true;
  bool store = true;
  bool draining = false;
  std::optional<bool> bus = std::nullopt;                        // none: this host stands alone
  std::optional<base::CircuitBreaker::State> s3 = std::nullopt;  // none: files are in DATA_DIR
  bool files() const noexcept { return !s3 || *s3 == base::CircuitBreaker::State::closed; }
};

// An HTTP door: each request is a coroutine of its core.
class HttpDoor final : public net::HttpHandler {
 public:
  HttpDoor(Core& core, Door door) noexcept : core_(core), door_(door) {}
  void handle(base::ConnectionId connection, net::HttpRequest request) override;

 private:
  static base::Task<void> answer(Core& core, Door door, base::ConnectionId connection, net::HttpRequest request);
  Core& core_;
  Door door_;
};

class Core final : private chat::Surroundings, private loop::TurnHook {
 public:
  ~Core();

  // Opens the journal; the error says why it cannot.
  static base::Result<std::unique_ptr<Core>> make(Process& process, loop::Loop& loop);
  // Connects the bus and takes in what the run before left: CoreState::begun says when that is done, as far as it can be for now.
  void begin();
  base::Result<std::uint16_t> listen(std::uint16_t port);
  base::Result<void> listen_for_admins();  // ADMIN_PORT, if it is set: on one core
  void drain();                            // SIGTERM: tells clients, keeps what is there, stops the loop

  chat::Shard& shard() noexcept { return *shard_; }
  net::Server& server(Door door) noexcept { return door == Door::admin ? *admin_ : *server_; }
  base::Scope& scope() noexcept { return loop_.scope(); }
  const base::Settings& settings() const noexcept { return process_.settings; }
  const chat::FileLinks& links() const noexcept { return process_.links(); }
  const chat::SignedLinks& signed_links() const noexcept { return process_.signed_links; }
  Health health() const noexcept;
  backend::RedisHealth redis() const { return bus_ ? bus_->health() : backend::RedisHealth(); }  // of this core
  double uptime_seconds() const noexcept;
  // The user id in an access token that verifies; empty otherwise.
  std::string subject_of(std::string_view bearer) const;
  base::Task<std::vector<base::Metrics>> all_metrics();

 private:
  Core(Process& process, loop::Loop& loop);

  // chat::Surroundings
  void post(unsigned core, ShardMail mail) override;
  bool can_post() const noexcept override { return !loop_.overloaded(); }
  chat::Session* find(chat::ConnectionId id) override;
  base::Task<base::Result<void>> run_blocking(std::move_only_function<void()> job) override;
  std::int64_t now_ms() const noexcept override { return loop_.now_ms(); }

  void on_turn_end() override;
  void on_tick();
  void tend_store();
  void note_bus();
  base::Task<void> begin_all();
  base::Task<void> wait_for_bus();
  base::Task<void> recover(bool again);
  void rest_if_quiet();
  void on_flush_due() {}  // the turn that the timer brings ends with a flush
  base::Task<void> drain_and_stop();
  base::Task<void> leave_bus();
  bool no_connections() const noexcept { return server_->empty() && (!admin_ || admin_->empty()); }

  Process& process_;
  loop::Loop& loop_;
  // The log is made before the shard that it tells.
  struct Told final : chat::RoomLogListener {
    chat::Shard* shard = nullptr;
    void on_committed(std::uint64_t last) override { shard->on_committed(last); }
    void on_failed(std::uint64_t first, std::uint64_t last) override { shard->on_failed(first, last); }
  };

  // Likewise the bus.
  struct ToldByBus final : chat::BusListener {
    chat::BusListener* shard = nullptr;
    void on_event(chat::RoomEvent event) override { shard->on_event(std::move(event)); }
    void on_passing(base::RoomId room, unsigned host, std::string_view name, std::string_view body) override {
      shard->on_passing(room, host, name, body);
    }
    void on_user(base::UserId user, std::string_view what, std::string_view body) override {
      shard->on_user(user, what, body);
    }
    void on_following(base::RoomId room) override { shard->on_following(room); }
    void on_following(base::UserId user) override { shard->on_following(user); }
    void on_lost() override { shard->on_lost(); }
    void on_away() override { shard->on_away(); }
    void on_back() override { shard->on_back(); }
  };

  net::ChatDoors doors_;
  HttpDoor http_{*this, Door::everybody};
  HttpDoor admin_http_{*this, Door::admin};
  Told told_;
  ToldByBus told_by_bus_;
  std::unique_ptr<backend::Journal> journal_;
  std::unique_ptr<backend::RedisBus> bus_;  // null: this host stands alone
  std::unique_ptr<chat::Store> store_;
  std::unique_ptr<backend::BlobsClient> blobs_;
  std::unique_ptr<chat::Shard> shard_;
  std::unique_ptr<net::Server> server_;
  std::unique_ptr<base::Settings> admin_settings_;  // with the admin listener's address
  std::unique_ptr<net::Server> admin_;              // null: another core, or no ADMIN_PORT
  bool recovered_ = false;                          // as far as it could be at the start
  // What says that a core is busy, and since when it has not changed.
  std::uint64_t busy_count_ = 0;
  std::int64_t busy_ms_ = 0;
  bool rested_ = true;
  loop::TimerOf<Core, &Core::on_tick> tick_{*this};
  loop::TimerOf<Core, &Core::on_flush_due> flush_again_{*this};
};

// The thread of one core: makes all of it, runs it, takes it down.
void run_core(Process& process, unsigned core);

}  // namespace ringline::app
