// The map of slots of a cluster, and the servers that it names. See redis_impl.hpp.
#include <algorithm>

#include "backend/redis_impl.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

namespace {

constexpr std::int64_t kRetireMs = 60'000;
constexpr std::int64_t kRetryMs = 1000;

}  // namespace

// Those that answer now first, then all that are known, then those that REDIS_URL names.
std::vector<RedisEndpoint> Redis::Impl::candidates() const {
  constexpr std::size_t kMost = 8;  // a round of those that are gone takes its time
  std::vector<RedisEndpoint> all;
  auto add = [&all](const RedisEndpoint& one) {
    if (all.size() < kMost && std::ranges::find(all, one) == all.end()) all.push_back(one);
  };
  for (const auto& server : servers_)
    if (server->node.is_open()) add(server->endpoint);
  for (const RedisEndpoint& seed : options_.servers) add(seed);
  for (const auto& server : servers_) add(server->endpoint);
  return all;
}

Task<Result<void>> Redis::Impl::read_cluster() {
  auto accept = +[](ReplyView reply) { return reply.size() > 0; };
  auto answer = co_await ask_one_of(context_, candidates(), user_of(options_), {"CLUSTER", "SLOTS"}, accept);
  if (!answer) co_return std::unexpected(answer.error());
  const auto map = read_slots(answer->reply, answer->server);
  if (!map)
    co_return std::unexpected(redis_away(answer->server.text() + " does not say which servers have which slots"));
  take_slots(*map);
  co_return Result<void>();
}

// Until the end: when it is told to, when the time has come, and soon again when it could not be read.
Task<void> Redis::Impl::keep_slots() {
  subscriber_.set_sharded(true);
  subscriber_.on_slots();
  // One is connected to at once: it says whether we may use it.
  if (!servers_.empty()) use(*servers_.front());
  while (!context_.stopping) {
    const std::int64_t next_ms = failure_ ? kRetryMs : options_.times.slots.count();
    co_await refresh_.until(loop_.now_ms() + next_ms);
    if (context_.stopping) break;
    auto read = co_await read_cluster();
    if (context_.stopping) break;
    if (read) {
      failure_.reset();
      retire();
      subscriber_.on_slots();
    } else {
      if (!failure_) base::log::warn("redis_slots_not_known", {{"why", read.error().message}});
      // What is known may still be right, and is used.
      if (!is_connected()) failure_ = std::move(read.error());
    }
    on_change();
    co_await paused_.until(loop_.now_ms() + limits::kRedisSlotsPause.count());
  }
}

void Redis::Impl::take_slots(const SlotMap& map) {
  for (const auto& server : servers_) server->owns_slots = false;
  std::vector<RedisServer*> masters;
  for (const RedisEndpoint& endpoint : map.masters) {
    RedisServer* server = find_or_add(endpoint);
    if (server) {
      server->owns_slots = true;
      server->used_ms = loop_.now_ms();
    }
    masters.push_back(server);
  }
  owners_.resize(kRedisSlots);
  for (unsigned slot = 0; slot < kRedisSlots; ++slot)
    owners_[slot] = map.owner[slot] == SlotMap::kNobody ? nullptr : masters[map.owner[slot]];
}

// Null: there are too many.
RedisServer* Redis::Impl::find_or_add(const RedisEndpoint& endpoint) {
  const auto known = std::ranges::find_if(servers_, [&](const auto& one) { return one->endpoint == endpoint; });
  if (known != servers_.end()) return known->get();
  if (servers_.size() >= 2 * limits::kRedisServers) return nullptr;
  return servers_.emplace_back(std::make_unique<RedisServer>(context_, *this, endpoint)).get();
}

// Those without a slot, and without a redirected command of late.
void Redis::Impl::retire() {
  const std::int64_t before_ms = loop_.now_ms() - kRetireMs;
  for (const auto& server : servers_) {
    if (server->owns_slots || server->used_ms > before_ms) continue;
    server->node.stop();
    server->feed.stop();
  }
  std::erase_if(servers_, [&](const auto& server) {
    return !server->owns_slots && server->used_ms <= before_ms && !server->node.running() && !server->feed.running();
  });
}

RedisFeed* Redis::Impl::feed_of(std::uint16_t slot) {
  RedisServer* server = server_of(slot);
  if (!server || context_.stopping) return nullptr;
  if (!server->feed.running()) server->feed.start(scope_);
  return &server->feed;
}

}  // namespace ringline::backend
