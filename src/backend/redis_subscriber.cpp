// See redis_subscriber.hpp.
#include "backend/redis_subscriber.hpp"

#include <algorithm>

#include "backend/redis_keeper.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

namespace {

constexpr std::int64_t kRetryMs = 1000;                                      // after a refusal
constexpr std::size_t kLooksPerTurn = 2 * limits::kRedisSubscribesInFlight;  // a core has other things to do

}  // namespace

// ---- What is wanted.

RedisSubscriber::Channel* RedisSubscriber::find(std::string_view name) noexcept {
  const auto found = channels_.find(name);
  return found == channels_.end() ? nullptr : &found->second;
}

// Without a cluster all are of one.
std::uint16_t RedisSubscriber::slot_for(std::string_view name) const noexcept { return sharded_ ? slot_of(name) : 0; }

bool RedisSubscriber::subscribe(std::string_view name) {
  Channel* channel = find(name);
  if (channel && channel->wanted) return true;
  if (stopped_ || wanted_ >= context_.options.bounds.channels || name.size() > limits::kRedisChannelBytes) return false;
  if (!channel) {
    const auto [place, made] = channels_.try_emplace(std::string(name));
    channel = &place->second;
    channel->name = place->first;
    channel->slot = slot_for(name);
  }
  channel->wanted = true;
  ++wanted_;
  queue(*channel);
  return true;
}

void RedisSubscriber::unsubscribe(std::string_view name) {
  Channel* channel = find(name);
  if (!channel || !channel->wanted) return;
  channel->wanted = false;
  --wanted_;
  queue(*channel);
}

void RedisSubscriber::queue(Channel& channel) {
  ready_ = true;
  if (std::exchange(channel.queued, true)) return;
  queue_.push_back(&channel);
}

void RedisSubscriber::stop() {
  stopped_ = true;
  ready_ = false;
  retry_.disarm();
}

// ---- What is said.

void RedisSubscriber::on_turn_end() {
  if (!std::exchange(ready_, false) || stopped_) return;
  const std::size_t before = queue_.size(), looks = std::min(before, kLooksPerTurn);
  for (std::size_t left = looks; left > 0; --left) {
    Channel& channel = *queue_.front();
    queue_.pop_front();
    channel.queued = false;
    look_at(channel);
  }
  flush_batch();
  // Those that were not looked at; unless all that were wait for a confirmation, which makes them ready.
  if (looks < before && queue_.size() < before) ready_ = true;
}

void RedisSubscriber::look_at(Channel& channel) {
  if (channel.wanted) return look_at_wanted(channel);
  if (channel.asked) {
    channel.asked = false;
    if (channel.feed->is_open()) tell(channel, *channel.feed, false);
  }
  if (channel.subscribing == 0 && channel.leaving == 0) channels_.erase(channels_.find(channel.name));
}

// One whose server is not there waits until that comes, or others own the slot.
void RedisSubscriber::look_at_wanted(Channel& channel) {
  RedisFeed* feed = feeds_.feed_of(channel.slot);
  if (!feed || !feed->is_open() || (channel.asked && channel.feed == feed)) return;
  if (feed->unconfirmed >= limits::kRedisSubscribesInFlight) {
    channel.queued = true;
    queue_.push_back(&channel);  // a confirmation makes it ready
    return;
  }
  // Who owned the slot before has dropped us, or its messages are not taken from now on.
  if (channel.feed != feed) undo(channel);
  channel.feed = feed;
  channel.asked = true;
  tell(channel, *feed, true);
}

void RedisSubscriber::tell(Channel& channel, RedisFeed& feed, bool subscribe) {
  if (batch_.feed != &feed || batch_.subscribe != subscribe || batch_.slot != channel.slot) {
    flush_batch();
    batch_.feed = &feed;
    batch_.subscribe = subscribe;
    batch_.slot = channel.slot;
    const std::string_view word = subscribe ? "SSUBSCRIBE" : "SUNSUBSCRIBE";
    batch_.words.push_back(sharded_ ? word : word.substr(1));
  }
  batch_.words.push_back(channel.name);
  ++(subscribe ? channel.subscribing : channel.leaving);
  ++feed.unconfirmed;
}

void RedisSubscriber::flush_batch() {
  if (!batch_.feed) return;
  append_command(batch_.feed->connection().output(), batch_.words);
  batch_.feed->asked.push_back(
      {.channels = batch_.words.size() - 1, .slot = batch_.slot, .subscribe = batch_.subscribe});
  batch_.feed = nullptr;
  batch_.words.clear();
}

// ---- What becomes of feeds and slots.

void RedisSubscriber::undo(Channel& channel) noexcept {
  channel.asked = false;
  channel.feed = nullptr;
  channel.subscribing = channel.leaving = 0;
}

void RedisSubscriber::on_feed_open(RedisFeed& feed) {
  feed.asked.clear();
  feed.unconfirmed = 0;
  on_slots();
}

void RedisSubscriber::on_feed_lost(RedisFeed& feed) {
  for (auto& [name, channel] : channels_) {
    if (channel.feed != &feed) continue;
    undo(channel);
    if (!channel.wanted) queue(channel);  // to be forgotten
  }
  if (listener_ && !stopped_) listener_->on_lost();
}

void RedisSubscriber::on_slots() {
  for (auto& [name, channel] : channels_) {
    channel.slot = slot_for(name);
    if (channel.wanted && !(channel.asked && channel.feed == feeds_.feed_of(channel.slot))) queue(channel);
  }
}

void RedisSubscriber::on_retry() { on_slots(); }

// ---- What is answered.

void RedisSubscriber::on_push(RedisFeed& feed, Reply reply) {
  if (reply.is_error()) return on_error(feed, reply);
  const std::string_view kind = reply[0].text(), name = reply[1].text();
  if (kind == "message" || kind == "smessage") return on_message(feed, name, reply[2].text());
  if (kind == "subscribe" || kind == "ssubscribe") return on_subscribed(feed, name);
  if (kind == "unsubscribe" || kind == "sunsubscribe") return on_unsubscribed(feed, name);
  if (kind == "pong" || reply.text() == "PONG") return;
  feed.connection().lose("it said what no subscriber expects");
}

void RedisSubscriber::on_message(RedisFeed& feed, std::string_view name, std::string_view payload) {
  ++context_.counters.messages;
  if (payload.size() > context_.options.bounds.payload_bytes) {
    ++context_.counters.dropped;
    return;
  }
  const Channel* channel = find(name);
  if (channel && channel->wanted && channel->feed == &feed && listener_) listener_->on_message(name, payload);
}

// Whether an answer of this kind is to one of our commands; then it is counted off.
bool RedisSubscriber::expects(RedisFeed& feed, bool subscribe, std::uint16_t slot) {
  if (feed.asked.empty() || feed.asked.front().subscribe != subscribe || feed.asked.front().slot != slot) return false;
  --feed.unconfirmed;
  if (--feed.asked.front().channels == 0) feed.asked.pop_front();
  if (!queue_.empty()) ready_ = true;  // there is room for more
  return true;
}

void RedisSubscriber::on_subscribed(RedisFeed& feed, std::string_view name) {
  if (!expects(feed, true, slot_for(name))) return feed.connection().lose("it confirmed what was not asked");
  Channel* channel = find(name);
  if (!channel || channel->feed != &feed) return;
  if (channel->subscribing > 0) --channel->subscribing;
  if (!channel->wanted) return queue(*channel);
  if (channel->asked && channel->subscribing == 0 && listener_) listener_->on_subscribed(channel->name);
}

// Also unasked: the slot has gone to another server.
void RedisSubscriber::on_unsubscribed(RedisFeed& feed, std::string_view name) {
  const bool ours = expects(feed, false, slot_for(name));
  Channel* channel = find(name);
  if (!channel || channel->feed != &feed) return;
  if (ours) {
    if (channel->leaving > 0) --channel->leaving;
    if (!channel->wanted) queue(*channel);
    return;
  }
  undo(*channel);
  if (!channel->wanted) queue(*channel);
  feeds_.on_slot_moved();
  context_.loop.timers().arm(retry_, context_.loop.now_ms() + kRetryMs);
}

// Of a whole command: MOVED, a cluster that is down, a user who may not. Its channels are not known by name, but are among those that wait.
void RedisSubscriber::on_error(RedisFeed& feed, ReplyView error) {
  if (feed.asked.empty()) return feed.connection().lose(error.text());
  const RedisFeed::Asked asked = feed.asked.front();
  feed.asked.pop_front();
  feed.unconfirmed -= asked.channels;
  for (auto& [name, channel] : channels_) {
    if (channel.feed != &feed || channel.slot != asked.slot || channel.subscribing + channel.leaving == 0) continue;
    undo(channel);
    if (!channel.wanted) queue(channel);
  }
  if (error.code() == "MOVED") {
    feeds_.on_slot_moved();
  } else {
    base::log::warn("redis_subscription_refused",
                    {{"server", feed.connection().endpoint().text()}, {"why", error.text()}});
  }
  context_.loop.timers().arm(retry_, context_.loop.now_ms() + kRetryMs);
}

}  // namespace ringline::backend
