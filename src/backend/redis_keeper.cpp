// See redis_keeper.hpp.
#include "backend/redis_keeper.hpp"

#include <fmt/format.h>

#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr std::int64_t kSteadyMs = 1000;  // one that was open for less has failed too

}  // namespace

RedisUser user_of(const RedisOptions& options) {
  return {.name = options.user, .password = options.password, .database = options.database};
}

RedisUser sentinel_user_of(const RedisOptions& options) {
  return {.name = options.sentinel_user, .password = options.sentinel_password};
}

// ---- Keeping one open.

void RedisKeeper::start(base::Scope& scope) {
  ASSERT(!running_);
  running_ = true;
  stopping_ = tried_ = false;
  scope.spawn(run());
}

void RedisKeeper::stop() {
  if (!running_ || stopping_) return;
  stopping_ = true;
  connection_.set_hopeful(false);
  connection_.lose("the client stops");
  hurried_.tell();
}

void RedisKeeper::again(std::string_view why) {
  hurry_ = true;
  connection_.lose(why);
  hurried_.tell();
}

void RedisKeeper::on_answer(RedisCall&, Reply) { ASSERT(false); }  // it takes no commands

Task<void> RedisKeeper::pause(unsigned failures) {
  const std::int64_t until_ms = context_.loop.now_ms() + redis_pause_ms(context_.options.times, failures);
  while (!stopping_ && !hurry_) {
    const bool told = co_await hurried_.until(until_ms);
    if (!told) co_return;
  }
}

void RedisKeeper::note_failure(base::Error error) {
  const bool known = failure_ && failure_->message == error.message;
  if (!known && !stopping_) base::log::warn("redis_not_reached", {{"for", kind_}, {"why", error.message}});
  failure_ = std::move(error);
}

Task<void> RedisKeeper::run() {
  unsigned failures = 0;
  connection_.set_hopeful(true);
  while (!stopping_) {
    hurry_ = false;
    auto opened = co_await attempt();
    tried_ = true;
    if (opened && !stopping_ && connection_.usable()) {
      failure_.reset();
      ++context_.counters.connects;
      connection_.set_hopeful(true);
      const std::int64_t began_ms = context_.loop.now_ms();
      on_open();
      co_await connection_.until_lost();
      ++context_.counters.losses;
      failures = context_.loop.now_ms() - began_ms < kSteadyMs ? failures + 1 : 0;
      if (!stopping_)
        base::log::warn("redis_connection_lost",
                        {{"for", kind_}, {"server", connection_.endpoint().text()}, {"why", connection_.why()}});
      connection_.set_hopeful(failures == 0 && !stopping_);
      on_lost();
    } else {
      ++failures;
      note_failure(opened ? redis_away(connection_.why()) : std::move(opened.error()));
      connection_.set_hopeful(false);
      on_failed();
    }
    co_await connection_.close();
    if (failures > 0) co_await pause(failures);
  }
  running_ = false;
}

// ---- Asking around.

Task<Result<RedisAnswerFrom>> ask_one_of(RedisContext& context, std::vector<RedisEndpoint> servers, RedisUser user,
                                         std::vector<std::string> words, bool (*accept)(ReplyView)) {
  base::Error last = redis_away("no server is named");
  for (std::size_t i = 0; i < servers.size() && !context.stopping; ++i) {
    RedisConnection connection(context, nullptr);
    Result<Reply> answer = std::unexpected(last);
    auto opened = co_await connection.open(servers[i], user);
    if (opened) answer = co_await connection.ask(words, context.options.times.connect);
    co_await connection.close();
    if (!opened) {
      last = std::move(opened.error());
    } else if (!answer) {
      last = std::move(answer.error());
    } else if (accept(*answer)) {
      co_return RedisAnswerFrom{.reply = std::move(*answer), .server = servers[i]};
    } else {
      last = redis_away(fmt::format("{} answers {} with {}", servers[i].text(), words.front(),
                                    answer->is_error() ? answer->text() : "what was not expected"));
    }
  }
  co_return std::unexpected(last);
}

Task<Result<RedisEndpoint>> ask_sentinels(RedisContext& context) {
  const RedisOptions& options = context.options;
  // [host, port]; nil of one that does not know the name.
  auto accept =
      +[](ReplyView reply) { return reply.size() == 2 && reply[1].integer() > 0 && reply[1].integer() < 65536; };
  auto answer = co_await ask_one_of(context, options.servers, sentinel_user_of(options),
                                    {"SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.master}, accept);
  if (!answer) {
    base::Error error = std::move(answer.error());
    error.message = fmt::format("no sentinel names the master of {}: {}", options.master, error.message);
    co_return std::unexpected(std::move(error));
  }
  const ReplyView named = answer->reply;
  co_return RedisEndpoint{.host = std::string(named[0].text()), .port = static_cast<std::uint16_t>(named[1].integer())};
}

}  // namespace ringline::backend
