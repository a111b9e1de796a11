// What concerns the caller or another user: resume, ping, tokens, statistics, users.
#include <algorithm>

#include "chat/commands.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::chat {

using base::json::find_string;

// What a client that did not say it in `connect` has seen. Answered at once; the missed events and `resumed` follow.
void resume(Parts& p, Call& call) {
  auto points = read_resume(*call.data);
  if (!points) return answer(p, call.to, points.error());
  answer(p, call.to, "{}");
  if (Session* session = p.o.around.find(call.to.connection)) p.delivery.resume(*session, *points);
}

void ping(Parts& p, Call& call) {
  Writer& out = p.body;
  out.clear();
  out.begin_object().key("serverTime").time(base::wall_ms()).end_object();
  answer(p, call.to, out.view());
}

void refresh_token(Parts& p, Call& call) {
  auto token = find_string(*call.data, "token");
  if (!token) return answer(p, call.to, base::fail_field("token", "must be an access token").error());
  auto claims = p.o.tokens.verify(*token, base::wall_ms());
  if (!claims) return answer(p, call.to, claims.error());
  if (claims->user != call.actor->id)
    return answer(p, call.to, base::fail_auth("token_invalid", "this token is another user's").error());
  if (Session* session = p.o.around.find(call.to.connection)) {
    session->token_expires_ms = claims->expires_ms;
    p.expiries[claims->expires_ms / 1000].push_back(session->id);
  }
  answer(p, call.to, "{}");
}

void watch_stats(Parts& p, Call& call) {
  if (std::ranges::find(p.stats_watchers, call.to.connection) == p.stats_watchers.end())
    p.stats_watchers.push_back(call.to.connection);
  answer(p, call.to, "{}");
}

void unwatch_stats(Parts& p, Call& call) {
  std::erase(p.stats_watchers, call.to.connection);
  answer(p, call.to, "{}");
}

namespace {

Task<void> answer_user(Parts& p, UserId id, UserId reader, ReplyTo to) {
  using Shown = std::optional<std::pair<Status, std::int64_t>>;
  auto account = co_await p.o.store.find_account(id);
  if (!account) {
    answer(p, to,
           account.error().code == Errc::not_found ? base::fail(Errc::not_found, "no such user").error()
                                                   : account.error());
    co_return;
  }
  auto asking = ask<Shown>(p, p.home(id), [id](Parts& there, Answer<Shown> answer) {
    HomeUser* user = there.people.find(id);
    answer(there, user ? Shown({user->status, user->last_seen_ms}) : std::nullopt);
  });
  Shown shown = co_await asking;
  if (p.o.bus && (!shown || shown->first == Status::offline)) {  // he may be at another host
    std::vector<UserId> him{id};
    auto others = co_await p.o.bus->presence_of(std::move(him));
    if (others && others->front() > 0) shown = {Status::online, account->user.last_seen_ms};
  }
  if (shown) account->user.last_seen_ms = shown->second;
  Writer out;
  out.begin_object().key("user");
  write_user(out, account->user, shown ? shown->first : Status::offline, id == reader);
  out.end_object();
  answer(p, to, out.view());
}

}  // namespace

void get_user(Parts& p, Call& call) {
  auto text = find_string(*call.data, "userId");
  auto id = text ? UserId::parse(*text) : std::nullopt;
  if (!id) return answer(p, call.to, base::fail_field("userId", "must be a user's id, as a string of digits").error());
  p.o.scope.spawn(answer_user(p, *id, call.actor->id, call.to));
}

}  // namespace ringline::chat
