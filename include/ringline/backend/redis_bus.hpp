// RedisBus: the Bus port on Redis, for one core. What a call does there stands in src/backend/redis_functions.hpp.
//
//   away          no connection, or it does not answer
//   joining       connected: Redis is asked whether all live hosts have put back what it may have lost
//   putting back  it lost something, or may have (it was started again, or another has taken over): this core gives what it has, and waits for the others
//   there         new events are taken
//
// After each loss of a connection it joins again: another server may answer. What is told on the subscriptions' connections is of the server as it was when
// they were made, so where something is lost they are made again, before the listener hears of it: nothing of before comes after that.
//
// Who is alive is heard on the channel `global`, where each core of each host says so every kRedisHostEvery. A host that was heard of within kRedisHostLease is waited
// for.
//
// With `replicas` what is taken counts as taken when so many replicas of Redis have it, too. Until then there is no answer, or none in time: it stands in the
// stream, and others may see it.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "ringline/backend/redis.hpp"
#include "ringline/base/json.hpp"
#include "ringline/chat/bus.hpp"

namespace ringline::backend {

class RedisBus final : public chat::Bus, private RedisListener {
 public:
  // `listener` outlives it. Fails as Redis::make does.
  static base::Result<std::unique_ptr<RedisBus>> make(loop::Loop& loop, loop::Workers& workers, RedisOptions options,
                                                      unsigned host, chat::BusListener& listener,
                                                      unsigned replicas = 0);
  ~RedisBus();

  // Waits until it can be used: see Redis::start.
  base::Task<base::Result<void>> start();
  base::Task<void> close();           // who waits for an answer has it by then
  void on_tick(std::int64_t now_ms);  // a few times a second
  RedisHealth health() const { return redis_->health(); }
  Redis& redis() noexcept { return *redis_; }  // for what else its server is asked

  bool is_there() const noexcept override {
    return state_ == State::there && (redis_->is_cluster() || redis_->losses() == losses_);
  }
  bool is_there(base::RoomId room) const noexcept override;
  bool is_there(base::UserId user) const noexcept override;
  base::Task<base::Result<std::vector<chat::Verdict>>> append_all(std::vector<chat::Proposal> proposals,
                                                                  chat::StreamPlace known) override;
  base::Task<base::Result<chat::StreamPage>> read(base::RoomId room, std::uint64_t after) override;
  base::Task<base::Result<std::vector<chat::StreamPlace>>> places(std::vector<base::RoomId> rooms) override;
  base::Task<base::Result<void>> put_back(base::RoomId room, chat::StreamPlace end, chat::StreamPlace base,
                                          std::vector<chat::RoomEvent> events) override;
  base::Task<base::Result<void>> begin_epoch(base::RoomId room, chat::StreamPlace base) override;
  void stored(std::vector<chat::StoredUpTo> rooms) override;
  base::Task<base::Result<std::vector<chat::IngestClaim>>> claim_ingest(std::vector<base::RoomId> rooms) override;
  void follow(base::RoomId room) override;
  void unfollow(base::RoomId room) override;
  void pass(base::RoomId room, std::string_view name, std::string_view body) override;
  void have_put_back() override;

  void follow(base::UserId user) override;
  void unfollow(base::UserId user) override;
  void tell(base::UserId user, std::string_view what, std::string_view body) override;
  base::Task<base::Result<unsigned>> set_presence(base::UserId user, bool online) override;
  base::Task<base::Result<std::vector<unsigned>>> presence_of(std::vector<base::UserId> users) override;
  base::Task<base::Result<std::uint32_t>> take_send(base::UserId user, unsigned limit, std::int64_t window_ms,
                                                    std::vector<std::int64_t> before) override;
  void note_membership(base::UserId user, base::RoomId room, bool joined) override;
  void note_mark(const chat::ReadMark& mark) override;
  base::Task<base::Result<chat::UserNotes>> recent_notes(base::UserId user) override;

 private:
  enum class State : std::uint8_t { away, joining, putting_back, there };
  using Words = std::vector<std::string>;

  RedisBus(loop::Loop& loop, unsigned host, chat::BusListener& listener, unsigned replicas);

  void on_message(std::string_view channel, std::string_view payload) override;
  void on_subscribed(std::string_view channel) override;
  void on_lost() override {}  // each channel is confirmed again

  base::Task<base::Result<Reply>> call(std::string key, Words words);
  base::Task<base::Result<std::vector<Reply>>> call_all(std::vector<RedisCommand> calls);
  bool replicas_are_short() const;
  base::Task<bool> replicas_have(std::string key, std::uint64_t losses);
  void set_state(State state);
  void lose_some_or_all();
  void say_alive(std::int64_t now_ms);
  base::Task<void> join();
  base::Task<void> wait_for_others();
  // Of the servers, see redis_functions.hpp.
  using Reigns = std::vector<std::string>;
  struct Welcome {
    bool ready = true;  // all of them take new events
    Reigns reigns;
  };
  base::Task<base::Result<Welcome>> hello(std::string done_in);
  void enter(Reigns reigns);
  void publish(std::string_view channel, std::string payload);
  base::Task<void> send(std::string key, Words words);
  base::Task<base::Result<bool>> put_part_back(base::RoomId room, chat::StreamPlace end, chat::StreamPlace base,
                                               std::span<const std::string> entries);
  void take_event(base::RoomId room, std::string_view text);
  void take_passing(base::RoomId room, std::string_view text);
  void take_user(base::UserId user, std::string_view text);

  loop::Loop& loop_;
  std::string name_;  // HOST:CORE
  std::string host_;
  chat::BusListener& listener_;
  unsigned replicas_;
  unsigned waits_ = 0;                  // for replicas
  std::int64_t replicas_short_ms_ = 0;  // when they last had not what they were asked for; 0: they had
  std::unique_ptr<Redis> redis_;
  base::json::Reader json_;
  State state_ = State::away;
  bool busy_ = false;         // joining, or waiting for others
  bool partly_away_ = false;  // there, but for what some servers of a cluster have; or they were away for a moment
  std::uint64_t losses_ = 0;  // of connections, when it joined
  Reigns reigns_;             // in which it joined
  Reigns there_in_;           // in which it was there last
  Reigns subscribed_in_;      // since which the subscriptions were made
  bool closing_ = false;
  std::int64_t said_ms_ = 0;
  std::map<std::string, std::int64_t, std::less<>> alive_;  // other cores of all hosts: when they were heard of last
  base::Scope scope_;
};

}  // namespace ringline::backend
