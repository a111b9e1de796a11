// The channels of one core: what is wanted, and what servers were asked for. Changes are collected in a turn and sent at its end, many channels in one
// command; at most limits::kRedisSubscribesInFlight wait to be confirmed by a server, as its answers must fit what it keeps for us.
//
// A channel's state is what is wanted of it (`wanted`) against what was said about it to the feed that it was said to (`asked`, `feed`). Whatever
// happens to a feed or to slots only undoes `asked`; then the channel is looked at again. Channels are removed at the end of a turn only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringline/backend/redis.hpp"

namespace ringline::backend {

class RedisFeed;
struct RedisContext;

// Where the feeds are.
class RedisFeeds {
 public:
  // Of the server that owns the slot, started if it was not; null: nobody is known to.
  virtual RedisFeed* feed_of(std::uint16_t slot) = 0;
  virtual void on_slot_moved() = 0;

 protected:
  ~RedisFeeds() = default;
};

class RedisSubscriber {
 public:
  RedisSubscriber(RedisContext& context, RedisFeeds& feeds, RedisListener* listener)
      : context_(context), feeds_(feeds), listener_(listener) {}

  bool subscribe(std::string_view channel);
  void unsubscribe(std::string_view channel);
  std::size_t wanted() const noexcept { return wanted_; }
  bool has_work() const noexcept { return ready_; }  // for the end of the turn

  void set_sharded(bool sharded) noexcept { sharded_ = sharded; }
  void on_turn_end();
  void on_feed_open(RedisFeed& feed);
  void on_feed_lost(RedisFeed& feed);
  void on_push(RedisFeed& feed, Reply reply);
  void on_slots();  // there is a new map
  void stop();      // nothing is said any more

 private:
  struct Channel {
    std::string_view name;
    RedisFeed* feed = nullptr;
    std::uint32_t subscribing = 0;  // answers that are outstanding, of `feed`
    std::uint32_t leaving = 0;
    std::uint16_t slot = 0;
    bool wanted = false;
    bool asked = false;  // `feed` was told to, after all that it was told before
    bool queued = false;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>()(text); }
  };

  void queue(Channel& channel);
  void undo(Channel& channel) noexcept;
  void look_at(Channel& channel);
  void look_at_wanted(Channel& channel);
  void tell(Channel& channel, RedisFeed& feed, bool subscribe);
  void flush_batch();
  bool expects(RedisFeed& feed, bool subscribe, std::uint16_t slot);
  void on_message(RedisFeed& feed, std::string_view name, std::string_view payload);
  void on_subscribed(RedisFeed& feed, std::string_view name);
  void on_unsubscribed(RedisFeed& feed, std::string_view name);
  Channel* find(std::string_view name) noexcept;
  std::uint16_t slot_for(std::string_view name) const noexcept;
  void on_error(RedisFeed& feed, ReplyView error);
  void on_retry();

  RedisContext& context_;
  RedisFeeds& feeds_;
  RedisListener* listener_;
  bool sharded_ = false;
  bool ready_ = false;  // something is queued that can be said
  bool stopped_ = false;
  std::size_t wanted_ = 0;
  std::unordered_map<std::string, Channel, Hash, std::equal_to<>> channels_;
  std::deque<Channel*> queue_;
  // The command that is being put together: channels of one kind, one feed and, in a cluster, one slot.
  struct Batch {
    RedisFeed* feed = nullptr;
    bool subscribe = false;
    std::uint16_t slot = 0;
    std::vector<std::string_view> words;
  };
  Batch batch_;
  loop::TimerOf<RedisSubscriber, &RedisSubscriber::on_retry> retry_{*this};
};

}  // namespace ringline::backend
