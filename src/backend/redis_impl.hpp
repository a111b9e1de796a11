// Redis::Impl: the servers that one core talks to, and which of them a command or a channel belongs to.
//
// What kind of thing REDIS_URL names is found out first (`run`): a server alone, the master of sentinels, or a cluster. Then there is one server, or those
// that own slots. A cluster's map of slots comes from CLUSTER SLOTS: at the start, when an answer says MOVED, when a server is lost, and from time to time.
// Servers are connected to when something is to be sent there; one that owns no slot any more is left alone for kRetireMs and then forgotten.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/redis_keeper.hpp"
#include "backend/redis_subscriber.hpp"
#include "ringline/backend/redis.hpp"

namespace ringline::backend {

struct RedisServer {
  RedisServer(RedisContext& context, RedisHost& host, RedisEndpoint place)
      : endpoint(place), node(context, host, place), feed(context, host, place) {}
  RedisEndpoint endpoint;
  RedisNode node;
  RedisFeed feed;
  bool owns_slots = false;
  std::int64_t used_ms = 0;
};

struct Redis::Impl final : RedisHost, loop::TurnHook, RedisFeeds {
 public:
  Impl(loop::Loop& loop, loop::Workers& workers, RedisOptions given, TlsContext tls, RedisListener* listener);
  ~Impl();

  Task<Result<void>> start(std::chrono::milliseconds wait);
  Task<void> close();
  bool call(RedisCall& call, std::string_view key, Words words, std::chrono::milliseconds timeout);
  bool call_at(RedisCall& call, const RedisEndpoint& place, Words words, std::chrono::milliseconds timeout);
  std::vector<RedisEndpoint> places() const;  // of the servers that have what is kept
  bool is_cluster() const noexcept { return kind_ == Kind::cluster; }
  bool is_connected() const noexcept;
  bool reaches(std::string_view key) const noexcept;
  bool reaches_any() const noexcept;
  std::uint64_t losses() const noexcept { return context_.losses; }
  void subscribe_again();
  const RedisOptions& options() const noexcept { return options_; }
  loop::Loop& loop() noexcept { return loop_; }
  RedisSubscriber& subscriber() noexcept { return subscriber_; }
  RedisHealth health() const;

 private:
  enum class Kind : std::uint8_t {
    unknown,  // not yet found out
    single,
    sentinel,
    cluster,
  };

  // loop::TurnHook
  void on_turn_end() override;
  bool has_work() const noexcept override { return subscriber_.has_work() || !flush_.empty(); }

  // RedisHost
  Task<Result<RedisEndpoint>> locate(RedisEndpoint known) override;
  void on_change() override;
  void on_trouble() override;
  void on_redirected(RedisCall& call, const Redirection& redirection) override;
  void on_feed_open(RedisFeed& feed) override { subscriber_.on_feed_open(feed); }
  void on_feed_lost(RedisFeed& feed) override { subscriber_.on_feed_lost(feed); }
  void on_feed_push(RedisFeed& feed, Reply reply) override { subscriber_.on_push(feed, std::move(reply)); }
  void on_master_switched(const RedisEndpoint& to) override;

  // RedisFeeds
  RedisFeed* feed_of(std::uint16_t slot) override;
  void on_slot_moved() override { refresh_.tell(); }

  Task<void> run();
  Task<Result<void>> find_out();
  Task<void> keep_slots();
  Task<Result<void>> read_cluster();
  void take_slots(const SlotMap& map);
  void retire();
  std::vector<RedisEndpoint> candidates() const;
  bool send(RedisCall& call, RedisServer* server, Words words, std::chrono::milliseconds timeout);
  RedisServer* find_or_add(const RedisEndpoint& endpoint);
  RedisServer* server_of(std::uint16_t slot) const noexcept;
  RedisServer* any_server() noexcept;
  const base::Error* failure() const noexcept;
  void use(RedisServer& server);

  loop::Loop& loop_;
  const RedisOptions options_;
  const TlsContext tls_;
  RedisFlush flush_;
  RedisCounters counters_;
  base::Scope scope_;
  RedisContext context_;
  base::ChunkPool chunks_;
  std::string command_;  // the one that is being made
  Kind kind_ = Kind::unknown;
  bool running_ = false;
  std::optional<base::Error> failure_;                 // of finding out, or of the map of slots
  std::vector<std::unique_ptr<RedisServer>> servers_;  // with one, or none, but in a cluster
  std::vector<RedisServer*> owners_;                   // by slot; empty: no cluster, or not known yet
  std::unique_ptr<RedisSwitchWatch> watch_;
  RedisSubscriber subscriber_;
  bool connected_ = false;
  std::int64_t since_ms_;
  Wakeup refresh_{loop_};  // of the map of slots
  Wakeup paused_{loop_};
  Wakeup changed_{loop_};  // for `start`
};

}  // namespace ringline::backend
