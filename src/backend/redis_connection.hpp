// One connection to a Redis server: commands in, answers in order; or, once it subscribes, what the server pushes.
//
// It is opened in steps: `open` looks the name up (on a worker), connects, signs in; then its owner asks what it wants to know (`ask`); then `begin` lets
// the commands go that came meanwhile. Each command has a place in the queue until its answer comes; a caller whose deadline has passed leaves his place
// empty. Where the count of answers is in doubt (an answer to nothing, bytes that are no RESP) the connection is dropped, not repaired.
//
// `lose` ends it at once for everybody who waits; then its owner closes it, which waits for the kernel, and may open it anew.
#pragma once

#include <string>
#include <vector>

#include "backend/redis_link.hpp"
#include "backend/redis_protocol.hpp"
#include "backend/redis_wait.hpp"
#include "ringline/backend/redis.hpp"

namespace ringline::backend {

using base::Result;
using base::Task;

// What the parts of one core's client share.
struct RedisContext {
  loop::Loop& loop;
  loop::Workers& workers;
  const RedisOptions& options;
  SSL_CTX* tls;  // null: without
  RedisFlush& flush;
  RedisCounters& counters;
  base::Scope& scope;
  bool stopping = false;
  std::uint64_t losses = 0;  // see Redis::losses
};

// `unavailable`, to be tried again.
base::Error redis_away(std::string message);
// Before the next try, after so many that failed: half of a time that grows, and a part of the other half, so that hosts which lost the same server do not
// come back together.
std::int64_t redis_pause_ms(const RedisTimes& times, unsigned failures);

struct RedisUser {
  std::string name;
  std::string password;
  unsigned database = 0;
};

class RedisConnection final : private RedisLink::Listener {
 public:
  // Who owns it.
  class Owner {
   public:
    virtual void on_answer(RedisCall& call, Reply reply) = 0;  // of a command that is not the client's own
    virtual void on_push(Reply reply) = 0;                     // once it subscribes: everything

   protected:
    ~Owner() = default;
  };
  RedisConnection(RedisContext& context, Owner* owner)
      : context_(context),
        owner_(owner),
        link_(context.loop, context.flush, context.counters, *this),
        reader_({.bytes = context.options.bounds.reply_bytes, .elements = context.options.bounds.reply_elements}) {}
  ~RedisConnection() { ASSERT(state_ == State::closed && count() == 0); }

  // ---- For its owner.
  Task<Result<void>> open(RedisEndpoint endpoint, RedisUser user);
  void begin();
  void begin_pushes();
  Task<void> until_lost();
  // False before `open` has succeeded, and once it is lost.
  bool usable() const noexcept { return state_ == State::signed_in || state_ == State::open; }
  const std::string& why() const noexcept { return why_; }  // it was lost
  void lose(std::string_view why);
  Task<void> close();
  // Whether commands may wait for it to be opened; those that do are refused when it becomes false.
  void set_hopeful(bool hopeful);

  // ---- Commands.
  bool takes(std::size_t bytes) const noexcept;
  // False: it was refused.
  [[nodiscard]] bool enqueue(RedisCall& call, std::string_view command);
  // Likewise, with ASKING before it.
  [[nodiscard]] bool enqueue_asking(RedisCall& call, std::string_view command);
  // Tells a caller whose command this connection answered.
  void finish(RedisCall& call, RedisFate fate, Reply reply);
  // Goes before all that wait for `begin`. Errors of Redis' are replies.
  Task<Result<Reply>> ask(std::vector<std::string> words, std::chrono::milliseconds timeout);
  // For a subscriber: appended to, whole commands.
  std::string& output() { return link_.output(); }

  bool is_open() const noexcept { return state_ == State::open; }
  std::size_t count() const noexcept { return waiting_.count + held_.count; }
  const RedisEndpoint& endpoint() const noexcept { return endpoint_; }

 private:
  friend class RedisCall;
  class Asking;
  enum class State : std::uint8_t {
    closed,
    opening,    // looking up, connecting, signing in
    signed_in,  // its owner asks
    open,
    lost,  // nobody waits any more; the link may still be closing
  };
  struct Place {
    RedisCall* call;  // null: nobody waits for this answer
    std::uint32_t bytes;
    std::int64_t at_ms;
  };
  // Places by number, from the oldest on, in a ring that grows.
  struct Queue {
    std::vector<Place> ring;
    std::uint64_t first = 0;
    std::size_t count = 0;
    std::size_t bytes = 0;

    Place& at(std::uint64_t number) noexcept { return ring[number & (ring.size() - 1)]; }
    std::uint64_t end() const noexcept { return first + count; }
    std::uint64_t push(Place place);
    Place pop() noexcept;
  };

  // RedisLink::Listener
  void on_link_open() override { changed_.tell(); }
  void on_link_bytes(std::span<const std::byte> bytes) override;
  void on_link_flushed() override { flushed_to_ = waiting_.end(); }
  void on_link_closed() override;

  Task<Result<std::vector<loop::Address>>> look_up(RedisEndpoint endpoint, std::int64_t deadline_ms);
  Task<Result<void>> connect(loop::Address address, std::int64_t deadline_ms);
  Task<Result<void>> sign_in(RedisUser user);
  bool goes_now(const RedisCall& call) const noexcept { return call.direct_ || state_ == State::open; }
  void add(RedisCall* call, std::string_view command, bool now);
  void take(Reply reply);
  void fail_all(Queue& queue, std::uint64_t sent_to);
  void leave(RedisCall& call) noexcept;
  void on_tick();
  base::Error unavailable(std::string_view why) const;
  base::Error refused(std::string_view what, ReplyView error) const;

  RedisContext& context_;
  Owner* owner_;  // null: nothing but `ask` is used
  RedisLink link_;
  ReplyReader reader_;
  RedisEndpoint endpoint_;
  State state_ = State::closed;
  bool hopeful_ = false;
  bool pushes_ = false;
  std::string why_;
  Queue waiting_;                  // for an answer
  Queue held_;                     // for `begin`
  std::string held_commands_;      // their bytes
  std::uint64_t flushed_to_ = 0;   // places of `waiting_` before this were given to the kernel
  std::int64_t heard_ms_ = 0;      // when the server last said something
  Wakeup changed_{context_.loop};  // the link opened or closed, or it was lost
  loop::TimerOf<RedisConnection, &RedisConnection::on_tick> tick_{*this};
};

}  // namespace ringline::backend
