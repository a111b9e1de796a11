// What makes a server ready for commands and for subscriptions, and what is done about its errors. See redis_keeper.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "backend/redis_keeper.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;

// ---- For commands.

namespace {

constexpr std::string_view kSwitched = "+switch-master";

Task<Result<void>> check_server(RedisConnection& connection, std::chrono::milliseconds timeout) {
  auto hello = co_await connection.ask({"HELLO"}, timeout);
  if (!hello) co_return std::unexpected(hello.error());
  auto info = read_hello(*hello, connection.endpoint());
  if (!info) co_return std::unexpected(info.error());
  if (info->role != "master")
    co_return std::unexpected(redis_away(
        fmt::format("{} is not a master but a {}: name the master, or the sentinels (redis+sentinel://) that know it",
                    connection.endpoint().text(), info->role.empty() ? info->mode : info->role)));
  if (info->mode != "cluster") co_return Result<void>();
  // One that was just started refuses everything until it has heard of the others for a while. (A user who may not ask will see.)
  auto state = co_await connection.ask({"CLUSTER", "INFO"}, timeout);
  if (!state) co_return std::unexpected(state.error());
  if (!state->text().contains("cluster_state:fail")) co_return Result<void>();
  co_return std::unexpected(redis_away(connection.endpoint().text() + " says that its cluster is down"));
}

}  // namespace

Task<Result<void>> RedisNode::attempt() {
  auto place = co_await host_.locate(endpoint_);
  if (!place) co_return std::unexpected(place.error());
  auto done = co_await connection_.open(std::move(*place), user_of(context_.options));
  if (done) done = co_await check_server(connection_, context_.options.times.prepare);
  if (done) done = co_await check_policy();
  if (done && !context_.options.library.empty()) done = co_await load_library();
  co_return done;
}

// A user without the right to ask, and a service that renamed the command, are told of once.
Task<Result<void>> RedisNode::check_policy() {
  auto answer = co_await connection_.ask({"CONFIG", "GET", "maxmemory-policy"}, context_.options.times.prepare);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->is_error()) {
    if (!std::exchange(policy_told_, true))
      base::log::warn(
          "redis_policy_not_known",
          {{"server", connection_.endpoint().text()},
           {"why", answer->text()},
           {"do", "allow CONFIG GET (ACL: +config|get), or see to it that maxmemory-policy is noeviction"}});
    co_return Result<void>();
  }
  const std::string_view policy = (*answer)[1].text();
  if (policy == "noeviction") co_return Result<void>();
  co_return base::fail(Errc::invalid,
                       fmt::format("{} may drop what is kept in it (maxmemory-policy is {}): set maxmemory-policy "
                                   "noeviction in its configuration, or by CONFIG SET and CONFIG REWRITE",
                                   connection_.endpoint().text(), policy.empty() ? "not known" : policy));
}

// [[library_name, …, library_code, TEXT]], or nothing.
Task<Result<void>> RedisNode::load_library() {
  const std::string& library = context_.options.library;
  const std::chrono::milliseconds timeout = context_.options.times.prepare;
  auto list = co_await connection_.ask(
      {"FUNCTION", "LIST", "LIBRARYNAME", std::string(library_name(library)), "WITHCODE"}, timeout);
  if (!list) co_return std::unexpected(list.error());
  const ReplyView known = (*list)[0];
  for (std::size_t i = 0; i + 1 < known.size(); i += 2)
    if (known[i].text() == "library_code" && known[i + 1].text() == library) co_return Result<void>();
  auto loaded = co_await connection_.ask({"FUNCTION", "LOAD", "REPLACE", library}, timeout);
  if (!loaded) co_return std::unexpected(loaded.error());
  if (!loaded->is_error()) co_return Result<void>();
  co_return base::fail(
      is_passing_refusal(*loaded) ? Errc::unavailable : Errc::invalid,
      fmt::format("{} does not take the library of functions: {}", connection_.endpoint().text(), loaded->text()));
}

void RedisNode::on_open() {
  connection_.begin();
  host_.on_change();
}

void RedisNode::on_lost() {
  ++context_.losses;
  host_.on_trouble();
}

void RedisNode::on_answer(RedisCall& call, Reply reply) {
  if (reply.is_error()) return on_error(call, std::move(reply));
  connection_.finish(call, RedisFate::answered, std::move(reply));
}

void RedisNode::on_error(RedisCall& call, Reply reply) {
  const std::string_view code = reply.code();
  if (code == "MOVED" || code == "ASK") {
    if (auto to = read_redirection(reply.text(), connection_.endpoint())) return host_.on_redirected(call, *to);
  }
  if (code == "ERR" && reply.text() == "ERR Function not found" && !context_.options.library.empty()) {
    if (!std::exchange(loading_, true)) context_.scope.spawn(load_library_again());
    return connection_.finish(call, RedisFate::never_sent, std::move(reply));
  }
  if (!is_passing_refusal(reply)) return connection_.finish(call, RedisFate::answered, std::move(reply));
  const bool demoted = code == "READONLY" || code == "MASTERDOWN";
  connection_.finish(call, RedisFate::never_sent, std::move(reply));
  // Who is the master now is to be found out. After the caller was told: the others' handlers may destroy what his call is in.
  if (demoted) again("it is not the master any more");
}

// FUNCTION FLUSH, or a restore of other data.
Task<void> RedisNode::load_library_again() {
  auto loaded = co_await load_library();
  loading_ = false;
  if (!loaded) base::log::warn("redis_functions_not_loaded", {{"why", loaded.error().message}});
}

// ---- For subscriptions.

Task<Result<void>> RedisFeed::attempt() {
  auto place = co_await host_.locate(endpoint_);
  if (!place) co_return std::unexpected(place.error());
  RedisUser user = user_of(context_.options);
  user.database = 0;  // channels are of all databases
  auto done = co_await connection_.open(std::move(*place), std::move(user));
  if (done) done = co_await check_server(connection_, context_.options.times.prepare);
  co_return done;
}

void RedisFeed::on_open() {
  connection_.begin_pushes();
  host_.on_feed_open(*this);
  host_.on_change();
}

void RedisFeed::on_lost() {
  host_.on_feed_lost(*this);
  host_.on_trouble();
}

// ---- What sentinels tell.

Task<Result<void>> RedisSwitchWatch::attempt() {
  const std::vector<RedisEndpoint>& sentinels = context_.options.servers;
  RedisEndpoint next = sentinels[next_++ % sentinels.size()];
  auto opened = co_await connection_.open(std::move(next), sentinel_user_of(context_.options));
  co_return opened;
}

void RedisSwitchWatch::on_open() {
  connection_.begin_pushes();
  constexpr std::array<std::string_view, 2> kSubscribe{"SUBSCRIBE", kSwitched};
  append_command(connection_.output(), kSubscribe);
}

// [message, +switch-master, NAME OLD-IP OLD-PORT NEW-IP NEW-PORT]
void RedisSwitchWatch::on_push(Reply reply) {
  if (reply[0].text() != "message" || reply[1].text() != kSwitched) return;
  if (auto to = read_switch(reply[2].text(), context_.options.master)) host_.on_master_switched(*to);
}

}  // namespace ringline::backend
