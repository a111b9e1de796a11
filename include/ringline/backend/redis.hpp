// Redis: one core's client of a server, of a master that Sentinel watches over, or of a cluster. No locks, and no allocation of its own for a call: answers
// and commands are hiredis' (a few small blocks each).
//
// COMMANDS are pipelined on one connection a server: what a turn of the loop asks is sent with one write at its end, and answered in order. Each has a
// deadline, at which its caller hears; the answer that comes later is thrown away. What becomes of a command is told apart (RedisFate), since a lost
// connection does not say whether the last ones were done. A command is refused at once (`call` is false, its handler is not called) while the server is
// known to be away or more waits for it than the bounds allow: that is the circuit breaker. In a cluster a command follows its slot (MOVED, ASK).
//
// SUBSCRIPTIONS have a connection of their own (RESP2 asks for that). They are kept: after a reconnect, a failover or a move of their slot they are made
// again, and each is told when the server has confirmed it. What was published in between is lost: on_subscribed is the time to compare.
//
// A server is used once it is known to be Redis 7 or later, a master, of a cluster that is not down, and not to drop keys (maxmemory-policy noeviction),
// and once it has the functions: they are loaded where it has others or none.
//
// LIFETIMES: everything happens on the loop's thread. `close` ends it all and waits for the kernel; only then it may be destroyed, and the loop must not
// turn after that (it is a TurnHook). A RedisCall must not be destroyed while it waits: `abandon` it first.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/backend/redis_reply.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/chunk.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/base/task.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::backend {

namespace limits = base::limits;

struct RedisEndpoint {
  std::string host;
  std::uint16_t port = 6379;
  bool operator==(const RedisEndpoint&) const = default;
  std::string text() const;  // HOST:PORT
};

struct RedisTimes {
  std::chrono::milliseconds connect = limits::kRedisConnectTimeout;
  std::chrono::milliseconds prepare = limits::kRedisPrepareTimeout;
  std::chrono::milliseconds ping = limits::kRedisPingInterval;
  std::chrono::milliseconds silence = limits::kRedisSilence;
  std::chrono::milliseconds backoff_min = limits::kRedisBackoffMin;
  std::chrono::milliseconds backoff_max = limits::kRedisBackoffMax;
  std::chrono::milliseconds slots = limits::kRedisSlotsInterval;
};

struct RedisBounds {
  std::size_t calls = limits::kRedisCalls;
  std::size_t queue_bytes = limits::kRedisQueueBytes;
  std::size_t reply_bytes = limits::kRedisReplyBytes;
  std::size_t reply_elements = limits::kRedisReplyElements;
  std::size_t payload_bytes = limits::kRedisPayloadBytes;
  std::size_t channels = limits::kRedisChannels;
};

struct RedisOptions {
  std::vector<RedisEndpoint> servers;  // the server, or some of a cluster; with `master`: the sentinels
  std::string master;                  // the name that the sentinels know it by; empty: no Sentinel
  std::string user;                    // empty: Redis' default one
  std::string password;
  unsigned database = 0;
  std::string sentinel_user;
  std::string sentinel_password;
  bool tls = false;
  std::string tls_ca;           // a file; empty: those of the system
  std::string tls_certificate;  // a file with ours, for servers that ask for one, and one with its key
  std::string tls_key;
  std::string client_name = "ringline";  // as CLIENT LIST shows it
  // A library of functions ("#!lua name=…"), loaded where it is not there in just this text; empty: none.
  std::string library;
  RedisTimes times;
  RedisBounds bounds;
};

// redis://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DATABASE]: a server, or any of a cluster (which is found out);
// redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,…]/NAME[/DATABASE][?sentinel_user=…&sentinel_password=…]: sentinels, and the master's name.
// rediss and rediss+sentinel: with TLS. What is not a letter, digit or -._~ is written as %XX in names and passwords. An error does not show the URL.
base::Result<RedisOptions> read_redis_url(std::string_view url);
// Of REDIS_URL, or REDIS_HOST and what goes with it.
base::Result<RedisOptions> redis_options(const base::Settings& settings);

// What became of a command.
enum class RedisFate : std::uint8_t {
  answered,    // there is a reply; it may be an error of Redis'
  never_sent,  // it was not done: it never left, or Redis refused it as a whole for now (LOADING, READONLY, OOM, …)
  unknown,     // no answer in time, or the connection was lost: it may have been done, and may still be
};
// Error::sys of an `unavailable` of `ask`.
inline constexpr int kRedisNeverSent = 1;
inline constexpr int kRedisUnknown = 2;

class Redis;
class RedisConnection;

// One command under way. Owned by its caller, used again and again, never moved.
class RedisCall {
 public:
  using Handler = void (*)(RedisCall&, RedisFate, Reply);  // may make calls, also this one again, and destroy this one
  explicit RedisCall(Handler handler) noexcept : handler_(handler) {}
  ~RedisCall() { ASSERT(!waiting()); }
  RedisCall(const RedisCall&) = delete;
  RedisCall& operator=(const RedisCall&) = delete;

  bool waiting() const noexcept { return connection_ != nullptr; }
  // Nobody is told any more; what was sent is sent.
  void abandon() noexcept;

 private:
  friend class Redis;
  friend class RedisConnection;
  void on_deadline();
  void finish(RedisFate fate, Reply reply);

  Handler handler_;
  RedisConnection* connection_ = nullptr;  // where it waits
  std::uint64_t sequence_ = 0;             // its place there
  base::ChunkRef command_;                 // kept in a cluster: it may have to be sent elsewhere
  std::uint8_t redirects_ = 0;
  bool held_ = false;    // it waits there for the connection to be opened
  bool direct_ = false;  // of the client itself: goes before the others, and its answer is not looked into
  loop::TimerOf<RedisCall, &RedisCall::on_deadline> deadline_{*this};
};

// A call that tells a member function of its owner: `RedisCallOf<Room, &Room::on_appended> append_{*this};`
template <class Owner, void (Owner::*on_answer)(RedisFate, Reply)>
class RedisCallOf : public RedisCall {
 public:
  explicit RedisCallOf(Owner& owner) noexcept
      : RedisCall([](RedisCall& self, RedisFate fate, Reply reply) {
          (static_cast<RedisCallOf&>(self).owner_.*on_answer)(fate, std::move(reply));
        }),
        owner_(owner) {}

 private:
  Owner& owner_;
};

// Who subscribes. Its members may subscribe and unsubscribe.
class RedisListener {
 public:
  virtual void on_message(std::string_view channel, std::string_view payload) = 0;
  // The server has confirmed it: what is published from now on comes. Again after each reconnect; also twice in a row, where in doubt.
  virtual void on_subscribed(std::string_view channel) = 0;
  // A connection that subscriptions were on is gone; each of them is confirmed again later.
  virtual void on_lost() = 0;

 protected:
  ~RedisListener() = default;
};

struct RedisCounters {
  std::uint64_t calls = 0;       // taken, without the client's own
  std::uint64_t refused = 0;     // at once
  std::uint64_t failures = 0;    // taken, and not answered
  std::uint64_t timeouts = 0;    // of these: by their deadline
  std::uint64_t redirects = 0;   // MOVED and ASK followed
  std::uint64_t connects = 0;    // connections that became usable
  std::uint64_t losses = 0;      // and those of them that were lost
  std::uint64_t messages = 0;    // published ones received
  std::uint64_t dropped = 0;     // of these: too large
  std::uint64_t bytes_sent = 0;  // with TLS' own
  std::uint64_t bytes_received = 0;
};

struct RedisHealth {
  bool connected = false;     // every server that is known to be needed can be used
  std::int64_t since_ms = 0;  // that it is so, or is not so: by the loop's clock
  std::string why;            // while it is not connected
  std::size_t queued = 0;     // commands without an answer
  std::size_t channels = 0;   // subscribed to
  RedisCounters counters;
};

struct RedisCommand {
  std::string key;  // as of Redis::call
  std::vector<std::string> words;
};

class Redis {
 public:
  using Words = std::span<const std::string_view>;

  // `listener` may be null if nothing is subscribed to. Fails if what TLS needs cannot be read.
  static base::Result<std::unique_ptr<Redis>> make(loop::Loop& loop, loop::Workers& workers, RedisOptions options,
                                                   RedisListener* listener);
  ~Redis();

  // Begins to connect, and waits until it can be used. The error says why not and what to do: `invalid` if waiting longer would not help (a password that
  // is wrong, a server that may drop keys, …), else `unavailable`. It goes on trying in any case, until `close`.
  base::Task<base::Result<void>> start(std::chrono::milliseconds wait = limits::kRedisStartWait);
  // Ends all connections; every call that waits is told. Once.
  base::Task<void> close();

  // Sends a command that belongs to `key`: one key that it names, which tells the server in a cluster (empty: any server). False: it was refused, and the
  // handler will not be called.
  [[nodiscard]] bool call(RedisCall& call, std::string_view key, Words words,
                          std::chrono::milliseconds timeout = limits::kRedisTimeout);
  // The same for a coroutine. The reply may be an error of Redis'; what was not answered is `unavailable`, and `sys` says which way.
  base::Task<base::Result<Reply>> ask(std::string key, std::vector<std::string> words,
                                      std::chrono::milliseconds timeout = limits::kRedisTimeout);
  // The same for several, which are sent at once. What was not answered of any is the error.
  base::Task<base::Result<std::vector<Reply>>> ask_many(std::vector<RedisCommand> commands,
                                                        std::chrono::milliseconds timeout = limits::kRedisTimeout);
  // The same at each server that has slots (in a cluster; else at the one): for what every process keeps for itself.
  base::Task<base::Result<std::vector<Reply>>> ask_all(std::vector<std::string> words,
                                                       std::chrono::milliseconds timeout = limits::kRedisTimeout);
  // PUBLISH, in a cluster SPUBLISH. Refused too if the payload is larger than subscribers take.
  [[nodiscard]] bool publish(RedisCall& call, std::string_view channel, std::string_view payload,
                             std::chrono::milliseconds timeout = limits::kRedisTimeout);

  // Wanted until it is unsubscribed from, however often the server goes. Neither has an effect twice. False: too many channels, or too long a name.
  [[nodiscard]] bool subscribe(std::string_view channel);
  void unsubscribe(std::string_view channel);
  // All subscriptions are made once more, on other connections: nothing comes any more that was published before this.
  void subscribe_again();

  // Whether it is a cluster, where functions publish by SPUBLISH. Known once `start` has succeeded.
  bool is_cluster() const noexcept;
  bool is_connected() const noexcept;                 // as RedisHealth says
  bool reaches(std::string_view key) const noexcept;  // the server that has it, as far as was tried
  bool reaches_any() const noexcept;                  // one of the servers
  std::uint64_t losses() const noexcept;  // of connections for commands: behind each the server may be another
  RedisHealth health() const;

  struct Impl;

 private:
  explicit Redis(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringline::backend
