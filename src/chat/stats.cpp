// See stats.hpp.
#include "chat/stats.hpp"

#include "chat/parts.hpp"

namespace ringline::chat {

namespace {
constexpr std::int64_t kEveryMs = 5000;
}  // namespace

ServerStats Stats::of_this_core() const {
  return {.connections = p_.o.metrics.sessions,
          .users = p_.people.online(),
          .active_users = p_.people.active(p_.now_ms()),
          .rooms = p_.rooms.count(),
          .messages_per_second = messages_per_second_};
}

base::Task<std::vector<ServerStats>> Stats::of_all_cores() {
  std::vector<ServerStats> all;
  for (unsigned core = 0; core < p_.o.cores; ++core) {
    auto asking = ask<ServerStats>(
        p_, core, [](Parts& there, Answer<ServerStats> answer) { answer(there, there.stats.of_this_core()); });
    ServerStats one = co_await asking;
    all.push_back(one);
  }
  co_return all;
}

base::Task<void> Stats::tell_watchers() {
  std::vector<ServerStats> cores = co_await of_all_cores();
  ServerStats sum;
  for (const ServerStats& core : cores) {
    sum.connections += core.connections;
    sum.users += core.users;
    sum.active_users += core.active_users;
    sum.rooms += core.rooms;
    sum.messages_per_second += core.messages_per_second;
  }
  Writer out;
  out.begin_object().key("connections").unsigned_integer(sum.connections).key("users").unsigned_integer(sum.users);
  out.key("activeUsers").unsigned_integer(sum.active_users).key("rooms").unsigned_integer(sum.rooms);
  out.key("messagesPerSecond").number(sum.messages_per_second).end_object();
  for (ConnectionId watcher : p_.stats_watchers)
    if (Session* session = p_.o.around.find(watcher)) session->out.send_event("server_stats", out.view());
}

void Stats::on_tick(std::int64_t now_ms) {
  if (now_ms - counted_ms_ < kEveryMs) return;
  std::uint64_t messages = p_.o.metrics.messages;
  double seconds = static_cast<double>(now_ms - counted_ms_) / 1000.0;
  messages_per_second_ = static_cast<double>(messages - messages_before_) / seconds;
  messages_before_ = messages;
  counted_ms_ = now_ms;
  if (!p_.stats_watchers.empty()) p_.o.scope.spawn(tell_watchers());
}

}  // namespace ringline::chat
