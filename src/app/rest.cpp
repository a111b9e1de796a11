// See rest.hpp.
#include "app/rest.hpp"

#include <algorithm>
#include <functional>
#include <optional>

#include "app/content.hpp"
#include "app/core.hpp"
#include "app/methods.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/metrics.hpp"
#include "ringline/base/version.hpp"
#include "ringline/chat/accounts.hpp"
#include "ringline/chat/first_answers.hpp"
#include "ringline/protocol/http.hpp"
#include "ringline/web/assets.hpp"

namespace ringline::app {

using base::Errc;
using base::Result;
using base::Task;
using base::json::Writer;

namespace {

// The page loads its own scripts and talks to its own host alone.
constexpr std::string_view kPolicy =
    "default-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors "
    "'none'";

net::HttpResponse json_answer(int status, std::string_view body) {
  net::HttpResponse answer;
  answer.status = status;
  answer.content_type = "application/json";
  answer.body = body;
  return answer;
}

// ---- Accounts

std::string text_of(const base::json::Value& body, std::string_view name) {
  return std::string(base::json::find_string(body, name).value_or(""));
}

Result<void> need_text(const base::json::Value& body, std::string_view name) {
  if (!base::json::find_string(body, name)) return base::fail_field(std::string(name), "must be a string");
  return {};
}

net::HttpResponse signed_in_answer(int status, const Result<chat::SignedIn>& result) {
  if (!result) return problem(result.error());
  Writer out;
  chat::write_signed_in(out, *result);
  return json_answer(status, out.view());
}

std::string bearer_of(const net::HttpRequest& question) {
  constexpr std::string_view kScheme = "Bearer ";
  return question.authorization.starts_with(kScheme) ? question.authorization.substr(kScheme.size()) : std::string();
}

struct Caller {
  chat::UserCard user;
  chat::SessionId session;
};

Task<Result<Caller>> caller_of(Core& core, std::string bearer) {
  if (bearer.empty()) co_return base::fail_auth("token_missing", "send Authorization: Bearer with an access token");
  Caller caller;
  auto card = co_await core.shard().authenticate(std::move(bearer), &caller.session);
  if (!card) co_return std::unexpected(card.error());
  caller.user = *card;
  co_return caller;
}

Task<net::HttpResponse> register_user(Core& core, net::HttpRequest question, std::string username, std::string password,
                                      std::string email) {
  chat::UserCard guest;
  if (!bearer_of(question).empty()) {
    auto caller = co_await caller_of(core, bearer_of(question));
    if (!caller) co_return problem(caller.error());
    if (!caller->user->guest)
      co_return problem({.code = Errc::conflict, .message = "you have an account already", .field = {}});
    guest = caller->user;
  }
  chat::Origin origin{.address = question.address, .user_agent = question.user_agent};
  auto result = co_await chat::register_account(core.shard().parts(), std::move(username), std::move(password),
                                                std::move(email), guest, std::move(origin));
  co_return signed_in_answer(201, result);
}

Task<net::HttpResponse> log_out(Core& core, net::HttpRequest question) {
  auto caller = co_await caller_of(core, bearer_of(question));
  if (!caller) co_return problem(caller.error());
  auto ended = co_await chat::log_out(core.shard().parts(), caller->user->id, caller->session);
  if (!ended) co_return problem(ended.error());
  co_return json_answer(204, "");
}

Task<net::HttpResponse> answer_auth(Core& core, net::HttpRequest question, std::string what) {
  if (what == "/logout") co_return co_await log_out(core, std::move(question));
  base::json::Reader reader;
  const base::json::Value* body = reader.parse(question.body.empty() ? "{}" : question.body);
  if (!body || !body->IsObject()) co_return problem(base::fail_field("body", "must be a JSON object").error());
  chat::Origin origin{.address = question.address, .user_agent = question.user_agent};
  chat::Shard::Parts& parts = core.shard().parts();
  if (what == "/guest") {
    auto result = co_await chat::make_guest(parts, text_of(*body, "name"), question.address);
    co_return signed_in_answer(201, result);
  }
  if (what == "/refresh") {
    if (auto given = need_text(*body, "refreshToken"); !given) co_return problem(given.error());
    auto result = co_await chat::refresh(parts, text_of(*body, "refreshToken"));
    co_return signed_in_answer(200, result);
  }
  for (std::string_view name : {"username", "password"})
    if (auto given = need_text(*body, name); !given) co_return problem(given.error());
  std::string username = text_of(*body, "username");
  std::string password = text_of(*body, "password");
  if (what == "/login") {
    auto result = co_await chat::log_in(parts, std::move(username), std::move(password), std::move(origin));
    co_return signed_in_answer(200, result);
  }
  std::string email = text_of(*body, "email");
  co_return co_await register_user(core, std::move(question), std::move(username), std::move(password),
                                   std::move(email));
}

// ---- Commands

std::string made_location(const Route& route, std::string_view body) {
  base::json::Reader reader;
  const base::json::Value* data = reader.parse(body);
  if (!data || !data->IsObject() || data->MemberCount() == 0) return {};
  auto id = base::json::find_string(data->MemberBegin()->value, "id");
  return id ? std::string(kApi) + "/" + std::string(route.location) + std::string(*id) : std::string();
}

void add_rate_headers(net::HttpResponse& answer, const chat::RateVerdict& verdict) {
  if (verdict.limit == 0) return;
  answer.headers.emplace_back("RateLimit-Limit", std::to_string(verdict.limit));
  answer.headers.emplace_back("RateLimit-Remaining", std::to_string(verdict.remaining));
  answer.headers.emplace_back("RateLimit-Reset", std::to_string(verdict.reset_s));
}

Task<net::HttpResponse> run_command(Core& core, const Route& route, chat::UserCard user, std::string data) {
  chat::Reply reply = co_await core.shard().call(std::move(user), std::string(route.command), std::move(data));
  if (!reply.ok) co_return problem(reply.error);
  net::HttpResponse answer = json_answer(route.status, reply.body);
  if (!route.location.empty()) answer.headers.emplace_back("Location", made_location(route, reply.body));
  co_return answer;
}

// What was decided stays decided. What was not tried (bad data, too much, too often) or failed may be otherwise when it is repeated: that is what the
// key is for.
bool is_decided(int status) { return status < 400 || status == 403 || status == 404 || status == 409; }

net::HttpResponse answer_from(const chat::FirstAnswer& first) {
  net::HttpResponse answer = json_answer(first.status, first.body);
  if (first.status >= 400) answer.content_type = "application/problem+json";
  if (!first.location.empty()) answer.headers.emplace_back("Location", first.location);
  return answer;
}

chat::FirstAnswer first_from(const net::HttpResponse& answer) {
  auto location = std::ranges::find(answer.headers, "Location", &std::pair<std::string, std::string>::first);
  return {.status = answer.status,
          .body = answer.body,
          .location = location == answer.headers.end() ? std::string() : location->second};
}

// Runs the command if nobody has run it under this path and key; else answers as the first was answered.
Task<net::HttpResponse> run_once(Core& core, const Route& route, chat::UserCard user, std::string data,
                                 net::HttpRequest question) {
  using Verdict = chat::FirstAnswers::Verdict;
  if (question.idempotency_key.size() > chat::FirstAnswers::kKeyBytes)
    co_return problem(base::fail_field("Idempotency-Key", "is too long").error());
  chat::Shard::Parts& parts = core.shard().parts();
  chat::UserId who = user->id;
  std::string name = question.path + "\n" + question.idempotency_key;
  // Two bodies of one hash would be the user's own, made to deceive himself.
  std::uint64_t body = std::hash<std::string>{}(data);
  chat::FirstAnswers::Claim claim = co_await chat::claim_answer(parts, who, name, body);
  switch (claim.verdict) {
    case Verdict::run:
      break;
    case Verdict::kept:
      co_return answer_from(claim.answer);
    case Verdict::other_body:
      co_return problem({.code = Errc::conflict, .message = "this Idempotency-Key had another body", .field = {}});
    case Verdict::busy:
      co_return problem(base::fail_later(Errc::unavailable, 1000, "the same request is running; try again").error());
  }
  net::HttpResponse answer = co_await run_command(core, route, std::move(user), std::move(data));
  std::optional<chat::FirstAnswer> first;
  if (is_decided(answer.status)) first = first_from(answer);
  chat::keep_answer(parts, who, std::move(name), std::move(first));
  co_return answer;
}

Task<net::HttpResponse> answer_command(Core& core, net::HttpRequest question, std::string path) {
  RouteMatch match = match_route(question.method, path);
  ASSERT(match.route != nullptr);
  auto caller = co_await caller_of(core, bearer_of(question));
  if (!caller) co_return problem(caller.error());
  auto data = command_data(question, match);
  if (!data) co_return problem(data.error());
  // A message's key is its clientId, which is remembered longer and past a restart. Signing in is not in this table: tokens are kept nowhere.
  bool once = question.method == "POST" && !question.idempotency_key.empty() && match.route->command != "send_message";
  if (!once) co_return co_await run_command(core, *match.route, caller->user, std::move(*data));
  co_return co_await run_once(core, *match.route, caller->user, std::move(*data), std::move(question));
}

// Bytes of a file: for who has a token, or a link.
Task<net::HttpResponse> answer_bytes(Core& core, net::HttpRequest question, base::FileId id) {
  const bool anybody = question.method != "PUT" && question.authorization.empty();  // may see avatars
  if (is_signed(question) || anybody) co_return co_await answer_content(core, std::move(question), id, {});
  auto caller = co_await caller_of(core, bearer_of(question));
  if (!caller) co_return problem(caller.error());
  co_return co_await answer_content(core, std::move(question), id, caller->user);
}

Task<net::HttpResponse> answer_api(Core& core, Door door, net::HttpRequest question) {
  std::string path = question.path.substr(kApi.size());
  bool reads = question.method == "GET" || question.method == "HEAD";
  std::string who = bearer_of(question).empty() ? question.address : core.subject_of(bearer_of(question));
  chat::RateVerdict verdict = co_await core.shard().take_rest(who.empty() ? question.address : who, !reads);
  if (!verdict.allowed) {
    net::HttpResponse limited = problem({.code = Errc::rate_limited,
                                         .message = "too many requests; wait a little",
                                         .field = {},
                                         .retry_after_ms = verdict.reset_s * 1000});
    add_rate_headers(limited, verdict);
    co_return limited;
  }
  net::HttpResponse answer;
  std::string allowed = allowed_methods(core, door, question);
  if (allowed.empty()) {
    answer = not_there();
  } else if (!takes(allowed, question.method)) {
    answer = wrong_method(std::move(allowed));
  } else if (path.starts_with("/auth/")) {
    answer = co_await answer_auth(core, std::move(question), path.substr(5));
  } else if (const auto file = content_of(path)) {
    answer = co_await answer_bytes(core, std::move(question), *file);
  } else {
    answer = co_await answer_command(core, std::move(question), path);
  }
  add_rate_headers(answer, verdict);
  co_return answer;
}

// ---- For operators

Task<net::HttpResponse> answer_stats(Core& core) {
  std::vector<chat::ServerStats> cores = co_await core.shard().stats();
  Writer out;
  chat::ServerStats sum;
  for (const chat::ServerStats& one : cores) {
    sum.connections += one.connections;
    sum.users += one.users;
    sum.rooms += one.rooms;
    sum.messages_per_second += one.messages_per_second;
  }
  out.begin_object().key("connections").unsigned_integer(sum.connections).key("users").unsigned_integer(sum.users);
  out.key("rooms").unsigned_integer(sum.rooms).key("namespaces").begin_array().string("/").end_array();
  out.key("messagesPerSecond").number(sum.messages_per_second).key("cores").begin_array();
  for (const chat::ServerStats& one : cores) {
    out.begin_object().key("connections").unsigned_integer(one.connections).key("users").unsigned_integer(one.users);
    out.key("rooms").unsigned_integer(one.rooms).key("messagesPerSecond").number(one.messages_per_second).end_object();
  }
  out.end_array().end_object();
  co_return json_answer(200, out.view());
}

void write_components(Writer& out, const Health& health) {
  auto state = [](bool well) { return std::string_view(well ? "ok" : "failing"); };
  out.key("components").begin_object().key("journal").string(state(health.journal));
  out.key("store").string(state(health.store)).key("files").string(state(health.files()));
  if (health.bus) out.key("redis").string(state(*health.bus));
  out.end_object();
  if (health.s3) out.key("breakers").begin_object().key("s3").string(base::name_of(*health.s3)).end_object();
}

// Of the core that answers.
void write_redis(Writer& out, const backend::RedisHealth& health) {
  out.key("redis").begin_object().key("connected").boolean(health.connected);
  if (!health.connected) out.key("why").string(health.why);
  out.key("queued").unsigned_integer(health.queued).key("channels").unsigned_integer(health.channels).end_object();
}

net::HttpResponse health(Core& core) {
  Health health = core.health();
  bool well = health.journal && health.store && health.files() && health.bus.value_or(true);
  Writer out;
  out.begin_object().key("status").string(well ? "ok" : "degraded").key("timestamp").time(base::wall_ms());
  out.key("uptime").number(core.uptime_seconds()).key("version").string(base::version());
  write_components(out, health);
  out.end_object();
  return json_answer(well ? 200 : 503, out.view());
}

// `?verbose` says how each part is; whether traffic is taken does not depend on files, the store or Redis.
net::HttpResponse ready(Core& core, bool verbose) {
  Health health = core.health();
  const bool ready = !health.draining && health.journal;
  std::string_view status = ready ? "ready" : "draining";
  if (!health.draining && !health.journal) status = "the journal cannot be written: see the log";
  Writer out;
  out.begin_object().key("status").string(status);
  if (verbose) write_components(out, health);
  if (verbose && health.bus) write_redis(out, core.redis());
  out.end_object();
  return json_answer(ready ? 200 : 503, out.view());
}

Task<net::HttpResponse> answer_metrics(Core& core) {
  std::vector<base::Metrics> cores = co_await core.all_metrics();
  net::HttpResponse answer;
  answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
  answer.body = base::render_prometheus(cores, core.uptime_seconds());
  co_return answer;
}

net::HttpResponse asset_answer(const web::Asset& asset, const net::HttpRequest& question) {
  net::HttpResponse answer;
  bool zipped = !asset.gzip.empty() && protocol::wants_gzip(question.accept_encoding);
  std::string_view etag = zipped ? asset.gzip_etag : asset.etag;
  answer.content_type = asset.content_type;
  answer.headers.emplace_back("ETag", std::string(etag));
  answer.headers.emplace_back("Cache-Control", std::string(asset.cache_control));
  answer.headers.emplace_back("Content-Security-Policy", std::string(kPolicy));
  if (!asset.gzip.empty()) answer.headers.emplace_back("Vary", "Accept-Encoding");
  if (protocol::names_etag(question.if_none_match, etag)) {
    answer.status = 304;
    return answer;
  }
  if (zipped) answer.headers.emplace_back("Content-Encoding", "gzip");
  answer.body = zipped ? asset.gzip : asset.bytes;
  return answer;
}

using Pair = std::pair<std::string, std::string>;

Task<net::HttpResponse> route_http(Core& core, Door door, net::HttpRequest question) {
  const std::string& path = question.path;
  if (door == Door::everybody && path.starts_with(std::string(kApi) + "/"))
    co_return co_await answer_api(core, door, std::move(question));
  std::string allowed = allowed_methods(core, door, question);
  if (allowed.empty()) co_return not_there();
  if (!takes(allowed, question.method)) co_return wrong_method(std::move(allowed));
  if (path == "/health") co_return health(core);
  if (path == "/livez") co_return json_answer(200, R"({"status":"alive"})");
  if (path == "/readyz")
    co_return ready(core, std::ranges::find(question.query, "verbose", &Pair::first) != question.query.end());
  if (path == "/api/socket/stats") co_return co_await answer_stats(core);
  if (path == "/metrics") co_return co_await answer_metrics(core);
  co_return asset_answer(*web::find_asset(path), question);
}

}  // namespace

Task<net::HttpResponse> answer_http(Core& core, Door door, net::HttpRequest question) {
  std::string origin = question.origin;
  bool allowed = !origin.empty() && net::origin_allowed(core.settings(), origin, question.host);
  net::HttpResponse answer;
  if (question.method == "OPTIONS") {
    answer = answer_options(core, door, question, allowed);
  } else {
    answer = co_await route_http(core, door, std::move(question));
  }
  if (allowed) {
    answer.headers.emplace_back("Access-Control-Allow-Origin", origin);
    answer.headers.emplace_back("Access-Control-Expose-Headers",
                                "Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset");
  }
  // Also where no Origin came: a cache must not give that answer to a page of another origin.
  answer.headers.emplace_back("Vary", "Origin");
  answer.headers.emplace_back("X-Content-Type-Options", "nosniff");
  bool cached = std::ranges::any_of(answer.headers, [](const auto& field) { return field.first == "Cache-Control"; });
  if (!cached) answer.headers.emplace_back("Cache-Control", "no-store");  // tokens, messages, the state of now
  co_return answer;
}

}  // namespace ringline::app
