// Shard: the chat domain of one core. It is home to a share of the rooms (it sequences them) and of the users (their rates, connections, rooms), and
// it delivers to the sessions of its own core. Everything here runs on that core's thread; what concerns another core goes there as mail.
//
// The path of a message: command() -> the sender's home (rate) -> the room's home (membership, seq, append to the log) -> commit -> mail to each core
// with members -> one encoding a protocol, flushed to every member at the end of the turn.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/ids.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/metrics.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/bus.hpp"
#include "ringline/chat/room_log.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/chat/store.hpp"
#include "ringline/chat/tokens.hpp"

namespace ringline::chat {

class Shard;

// What a shard needs from its surroundings, all on its own core.
class Surroundings {
 public:
  using ShardMail = std::move_only_function<void(Shard&)>;
  // Runs `mail` on another core's shard, in order of posting.
  virtual void post(unsigned core, ShardMail mail) = 0;
  // False: so much waits for other cores that no new commands are taken.
  virtual bool can_post() const noexcept = 0;
  // The session of a connection of this core, or null when it is gone.
  virtual Session* find(ConnectionId id) = 0;
  // Runs blocking work on a worker and resumes here. Unavailable: too much waits.
  virtual base::Task<base::Result<void>> run_blocking(std::move_only_function<void()> job) = 0;
  // Time of this turn.
  virtual std::int64_t now_ms() const noexcept = 0;

 protected:
  ~Surroundings() = default;
};

// Makes frames of events.
class Framer {
 public:
  // `offset`: for Socket.IO's connection state recovery; empty: none.
  virtual void append_event(std::string& out, Wire wire, std::string_view name, std::string_view body,
                            std::string_view offset = {}) = 0;

 protected:
  ~Framer() = default;
};

struct ShardOptions {
  unsigned host = 0;
  unsigned core = 0;
  unsigned cores = 1;
  std::uint64_t highest_id = 0;  // of all ids found on disk: new ones are later
  std::size_t tail_bytes =
      base::limits::kTailBytesMin;  // events in memory, those that the store lags behind with among them
  // Events that the store takes at once, at most. Other writes wait for them, 0.1 to 0.3 s where so many wait.
  std::size_t store_batch = 8000;
  const base::Settings& settings;
  const Tokens& tokens;
  Surroundings& around;
  RoomLog& log;
  Store& store;
  base::Metrics& metrics;
  base::Scope& scope;
  Framer& framer;
  Blobs* blobs = nullptr;            // null: this shard keeps no files
  const FileLinks* links = nullptr;  // likewise
  Bus* bus = nullptr;                // to the other hosts; null: this is the only one
};

// An answer to a command that was not asked for by a socket (REST).
struct Reply {
  bool ok = false;
  std::string body;  // JSON: the data
  base::Error error;
};

// Of one core, or added up over all.
struct ServerStats {
  std::uint64_t connections = 0;
  std::uint64_t users = 0;         // with a connection
  std::uint64_t active_users = 0;  // who sent something within the last five minutes
  std::uint64_t rooms = 0;         // in memory
  double messages_per_second = 0;  // over the last five seconds
};

// What a REST call may do.
struct RateVerdict {
  bool allowed = true;
  unsigned limit = 0;  // 0: none
  unsigned remaining = 0;
  std::uint32_t reset_s = 0;
};

class Shard final : public RoomLogListener {
 public:
  explicit Shard(ShardOptions options);
  ~Shard();

  // From connections of this core. `connect` may be called once a session; its end is Outlet::signed_in or ::refused.
  void connect(Session& session, const ReplyTag& tag, ConnectData data);
  // A command of it is about to be read: what it will need is fetched into the cache meanwhile.
  void expect(const Session& session) const noexcept;
  // `data` lives until this returns; null counts as {}. Exactly one Outlet::reply follows, unless the connection is gone.
  void command(Session& session, const ReplyTag& tag, std::string_view name, const base::json::Value* data);
  void drained(Session& session);       // the outlet has room again
  void disconnected(Session& session);  // before the session is destroyed

  // From REST, as the user of an access token.
  base::Task<Reply> call(UserCard actor, std::string name, std::string data);
  base::Task<base::Result<UserCard>> authenticate(std::string token, SessionId* session = nullptr);
  // Whether an access token is signed by us and has not expired: what can be told at once.
  bool token_holds(std::string_view token) const;
  // Counts a REST call of a user or address: rate_limit_api_writes or _reads in 60 s.
  base::Task<RateVerdict> take_rest(std::string who, bool changes);
  // All cores' statistics, by core.
  base::Task<std::vector<ServerStats>> stats();

  // From the log.
  void on_committed(std::uint64_t last) override;
  void on_failed(std::uint64_t first, std::uint64_t last) override;

  // What `ShardOptions::bus` tells.
  BusListener& bus_listener() noexcept;

  // With a bus, once after the start: what the logs of a run before hold of rooms whose home this is, per room in seq order, and what was pending (seq 0). True:
  // all of it is in this run's log, or known not to be needed. Until `recovered`, which says that those logs are gone, this run's keeps all it has.
  base::Task<bool> recover(std::vector<Event> events);
  void recovered();
  // Before the end, when nothing is asked any more: whoever waits for the bus goes.
  void end();

  // From the loop.
  static constexpr std::int64_t kTickMs = 200;
  void on_tick(std::int64_t now_ms);  // every kTickMs
  // Frames what the turn delivered and queues it on every member: call it before the connections flush, in every turn. When the next call is due at the
  // latest (rooms that are busy wait a little, to be sent several events at once); INT64_MAX: whenever.
  std::int64_t flush();
  // It is quiet: what is kept for the next use goes.
  void rest() noexcept;
  // Whether all that was sequenced is committed and in the store; hurries it there. For a clean stop: called again until it is true.
  bool all_stored();

  struct Parts;
  Parts& parts() noexcept { return *parts_; }

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace ringline::chat
