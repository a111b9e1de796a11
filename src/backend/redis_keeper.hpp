// What keeps connections open: each has a coroutine that connects, makes ready, waits until it is lost, closes, and begins again, with pauses that grow
// while it fails. There are three kinds: for commands to a master, for subscriptions at a master, and for what a sentinel tells.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "backend/redis_connection.hpp"
#include "backend/redis_topology.hpp"

namespace ringline::backend {

class RedisKeeper : protected RedisConnection::Owner {
 public:
  RedisKeeper(RedisContext& context, const char* kind) : context_(context), connection_(context, this), kind_(kind) {}
  virtual ~RedisKeeper() { ASSERT(!running_); }
  RedisKeeper(const RedisKeeper&) = delete;
  RedisKeeper& operator=(const RedisKeeper&) = delete;

  // Runs until `stop`, and may be started again when it has ended.
  void start(base::Scope& scope);
  void stop();
  // What is open is not the right one any more, or may have a better place: it looks again, at once.
  void again(std::string_view why);

  bool running() const noexcept { return running_; }
  bool is_open() const noexcept { return connection_.is_open(); }
  // Why it could not be opened the last time; none: it could, or was not tried.
  const std::optional<base::Error>& failure() const noexcept { return failure_; }
  // Open, or being connected to for the first time, or not needed so far.
  bool is_well() const noexcept { return !running_ || !tried_ || is_open(); }
  RedisConnection& connection() noexcept { return connection_; }
  const RedisConnection& connection() const noexcept { return connection_; }

 protected:
  virtual Task<Result<void>> attempt() = 0;  // opens `connection_` and makes it ready
  virtual void on_open() = 0;                // lets it begin
  virtual void on_lost() = 0;
  virtual void on_failed() = 0;  // to open it
  void on_answer(RedisCall& call, Reply reply) override;
  void on_push(Reply) override {}

  RedisContext& context_;
  RedisConnection connection_;

 private:
  Task<void> run();
  Task<void> pause(unsigned failures);
  void note_failure(base::Error error);

  const char* kind_;
  bool running_ = false;
  bool stopping_ = false;
  bool hurry_ = false;
  bool tried_ = false;  // it was open, or could not be opened
  std::optional<base::Error> failure_;
  Wakeup hurried_{context_.loop};
};

class RedisFeed;

// What keepers ask of the client that they belong to.
class RedisHost {
 public:
  // Where the master is now.
  virtual Task<Result<RedisEndpoint>> locate(RedisEndpoint known) = 0;
  virtual void on_change() = 0;   // a connection was opened
  virtual void on_trouble() = 0;  // it was lost, or could not be opened
  // A command was answered MOVED or ASK.
  virtual void on_redirected(RedisCall& call, const Redirection& redirection) = 0;
  virtual void on_feed_open(RedisFeed& feed) = 0;
  virtual void on_feed_lost(RedisFeed& feed) = 0;
  virtual void on_feed_push(RedisFeed& feed, Reply reply) = 0;
  virtual void on_master_switched(const RedisEndpoint& to) = 0;

 protected:
  ~RedisHost() = default;
};

// For commands.
class RedisNode final : public RedisKeeper {
 public:
  RedisNode(RedisContext& context, RedisHost& host, RedisEndpoint endpoint)
      : RedisKeeper(context, "commands"), host_(host), endpoint_(std::move(endpoint)) {}

 private:
  Task<Result<void>> attempt() override;
  Task<Result<void>> check_policy();
  Task<Result<void>> load_library();
  Task<void> load_library_again();
  void on_open() override;
  void on_lost() override;
  void on_failed() override { host_.on_trouble(); }
  void on_answer(RedisCall& call, Reply reply) override;
  void on_error(RedisCall& call, Reply reply);

  RedisHost& host_;
  RedisEndpoint endpoint_;
  bool loading_ = false;
  bool policy_told_ = false;
};

// For subscriptions: what is to be said is the subscriber's.
class RedisFeed final : public RedisKeeper {
 public:
  RedisFeed(RedisContext& context, RedisHost& host, RedisEndpoint endpoint)
      : RedisKeeper(context, "subscriptions"), host_(host), endpoint_(std::move(endpoint)) {}

  // The commands that are not answered yet, by the subscriber: each is answered once a channel, or by one error.
  struct Asked {
    std::size_t channels;  // that are to be confirmed
    std::uint16_t slot;
    bool subscribe;
  };
  std::deque<Asked> asked;
  std::size_t unconfirmed = 0;  // channels of them

 private:
  Task<Result<void>> attempt() override;
  void on_open() override;
  void on_lost() override;
  void on_failed() override { host_.on_trouble(); }
  void on_push(Reply reply) override { host_.on_feed_push(*this, std::move(reply)); }

  RedisHost& host_;
  RedisEndpoint endpoint_;
};

// Hears from one sentinel after the other when the master is another.
class RedisSwitchWatch final : public RedisKeeper {
 public:
  RedisSwitchWatch(RedisContext& context, RedisHost& host) : RedisKeeper(context, "sentinel"), host_(host) {}

 private:
  Task<Result<void>> attempt() override;
  void on_open() override;
  void on_lost() override {}
  void on_failed() override {}
  void on_push(Reply reply) override;

  RedisHost& host_;
  std::size_t next_ = 0;
};

// One command to one server after the other, until one gives an answer that `accept` takes. Its errors are the last one's.
struct RedisAnswerFrom {
  Reply reply;
  RedisEndpoint server;
};
Task<Result<RedisAnswerFrom>> ask_one_of(RedisContext& context, std::vector<RedisEndpoint> servers, RedisUser user,
                                         std::vector<std::string> words, bool (*accept)(ReplyView));

// The master that the sentinels name.
Task<Result<RedisEndpoint>> ask_sentinels(RedisContext& context);

RedisUser user_of(const RedisOptions& options);
RedisUser sentinel_user_of(const RedisOptions& options);

}  // namespace ringline::backend
