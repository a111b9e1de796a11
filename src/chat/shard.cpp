// See shard.hpp: the doors of the shard, and its clock.
#include "ringline/chat/shard.hpp"

#include "chat/call.hpp"
#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::chat {

namespace {

constexpr std::int64_t kTokenWarningS = 60;  // token_expiring comes so long before
// What a run before had proposed to the bus when it ended may be in no log and in no store, and its ids may be ahead of the clock: a second of ids is left out.
constexpr std::uint64_t kIdsUnheard = std::uint64_t{1000} << (base::kHostBits + base::kCoreBits + base::kCounterBits);

const Value& empty_object() {
  static const rapidjson::Value kEmpty(rapidjson::kObjectType);
  return kEmpty;
}

}  // namespace

Shard::Parts::Parts(Shard& owner, ShardOptions options)
    : shard(owner),
      o(options),
      ids(options.host, options.core),
      delivery(*this),
      missed(*this),
      recovery(*this),
      marks(*this),
      rooms(*this),
      sequencer(*this),
      streams(*this),
      ingest(*this),
      people(*this),
      abroad(*this),
      guest_purge(*this),
      file_purge(*this),
      stats(*this) {}

std::int64_t Shard::Parts::base_wall_ms() noexcept { return base::wall_ms(); }

Shard::Shard(ShardOptions options) : parts_(std::make_unique<Parts>(*this, options)) {
  parts_->ids.not_before(options.highest_id + (options.bus ? kIdsUnheard : 0));
}

Shard::~Shard() = default;

void Shard::expect(const Session& session) const noexcept {
  if (session.state == Session::State::ready) parts_->people.fetch(session.user->id);
}

void Shard::command(Session& session, const ReplyTag& tag, std::string_view name, const Value* data) {
  const Command* command = find_command(name);
  auto refuse = [&](const Error& error) {
    ++parts_->o.metrics.commands_failed;
    Writer out;
    base::json::write_error(out, error);
    session.out.reply(tag, name, false, out.view());
  };
  if (session.state != Session::State::ready) return refuse(base::fail_auth("token_missing", "sign in first").error());
  if (!command) return refuse(base::fail_field("cmd", "there is no such command").error());
  Call call{.command = command,
            .actor = session.user,
            .to = {.core = parts_->o.core, .connection = session.id, .tag = tag, .waiter = nullptr, .command = command},
            .data = data ? data : &empty_object(),
            .arrived_ns = base::monotonic_ns()};
  dispatch(*parts_, call);
}

void Shard::drained(Session& session) {
  if (session.state != Session::State::ready) return;
  parts_->delivery.feed(session);
  parts_->missed.tell(session);
  parts_->marks.tell_held(session);
}

namespace {

struct CallAwaiter {
  Parts& here;
  Call& call;
  AwaitedCall& awaited;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiting) {
    call.to.waiter = &awaited;
    dispatch(here, call);
    if (awaited.reply) return false;
    awaited.waiting = waiting;
    return true;
  }
  void await_resume() const noexcept {}
};

}  // namespace

Task<Reply> Shard::call(UserCard actor, std::string name, std::string data) {
  const Command* command = find_command(name);
  if (!command || command->socket_only)
    co_return Reply{.body = {}, .error = base::fail_field("cmd", "there is no such command").error()};
  base::json::Reader reader;
  const Value* value = reader.parse(data);
  if (!value) co_return Reply{.body = {}, .error = base::fail_field("body", "must be a JSON object").error()};
  Call call{.command = command,
            .actor = actor,
            .to = {.core = parts_->o.core, .command = command},
            .data = value,
            .arrived_ns = base::monotonic_ns()};
  AwaitedCall awaited;
  CallAwaiter awaiting{*parts_, call, awaited};
  co_await awaiting;
  co_return std::move(*awaited.reply);
}

Task<Result<UserCard>> Shard::authenticate(std::string token, SessionId* session) {
  auto claims = parts_->o.tokens.verify(token, base::wall_ms());
  if (!claims) co_return std::unexpected(claims.error());
  if (!claims->user) co_return base::fail_auth("token_invalid", "this token names no user");
  if (session) *session = claims->session;
  auto asking = ask<Result<UserCard>>(
      *parts_, parts_->home(claims->user), [claims = *claims](Parts& there, Answer<Result<UserCard>> reply) {
        there.o.scope.spawn(
            [](Parts& home, UserId user, SessionId which, Answer<Result<UserCard>> answer) -> Task<void> {
              auto card = co_await home.people.check(user, which);
              answer(home, std::move(card));
            }(there, claims.user, claims.session, reply));
      });
  auto card = co_await asking;
  co_return card;
}

bool Shard::token_holds(std::string_view token) const {
  return parts_->o.tokens.verify(token, base::wall_ms()).has_value();
}

Task<RateVerdict> Shard::take_rest(std::string who, bool changes) {
  auto counting = static_cast<unsigned>(std::hash<std::string>{}(who) % parts_->o.cores);
  auto asking = ask<RateVerdict>(*parts_, counting, [who, changes](Parts& there, Answer<RateVerdict> answer) {
    answer(there, there.people.take_rest(who, changes));
  });
  RateVerdict verdict = co_await asking;
  if (!verdict.allowed) ++parts_->o.metrics.rate_limited;
  co_return verdict;
}

Task<std::vector<ServerStats>> Shard::stats() { return parts_->stats.of_all_cores(); }

BusListener& Shard::bus_listener() noexcept { return parts_->streams; }

Task<bool> Shard::recover(std::vector<Event> events) { return parts_->streams.recover_all(std::move(events)); }
void Shard::recovered() { parts_->streams.recovered(); }
void Shard::end() { parts_->streams.end(); }

void Shard::on_committed(std::uint64_t last) { parts_->sequencer.on_committed(last); }
void Shard::on_failed(std::uint64_t first, std::uint64_t last) { parts_->sequencer.on_failed(first, last); }

namespace {

// Access tokens that are about to end are announced; connections whose token has ended are closed and come back with a fresh one.
void check_tokens(Parts& p) {
  std::int64_t now_s = base::wall_ms() / 1000;
  while (!p.expiries.empty() && p.expiries.begin()->first <= now_s + kTokenWarningS) {
    auto [second, connections] = std::move(*p.expiries.begin());
    p.expiries.erase(p.expiries.begin());
    for (ConnectionId connection : connections) {
      Session* session = p.o.around.find(connection);
      if (!session || session->token_expires_ms / 1000 > second) continue;  // gone, or refreshed
      if (second <= now_s) {
        session->out.close(CloseCode::token_expired, "the access token has expired");
        continue;
      }
      Writer out;
      out.begin_object().key("expiresAt").time(session->token_expires_ms).end_object();
      session->out.send_event("token_expiring", out.view());
      p.ending[second].push_back(connection);
    }
  }
  while (!p.ending.empty() && p.ending.begin()->first <= now_s) {
    auto [second, connections] = std::move(*p.ending.begin());
    p.ending.erase(p.ending.begin());
    for (ConnectionId connection : connections) {
      Session* session = p.o.around.find(connection);
      if (session && session->token_expires_ms / 1000 <= second)
        session->out.close(CloseCode::token_expired, "the access token has expired");
    }
  }
}

}  // namespace

void Shard::on_tick(std::int64_t now_ms) {
  Parts& p = *parts_;
  p.ingest.pump(true);
  p.streams.on_tick(now_ms);
  p.rooms.on_tick(now_ms);
  p.member_lists.on_tick(now_ms);
  p.marks.on_tick(now_ms);
  p.people.on_tick(now_ms);
  p.abroad.on_tick(now_ms);
  p.guest_purge.on_tick(now_ms);
  p.file_purge.on_tick(now_ms);
  p.delivery.on_tick();
  p.recovery.on_tick();
  p.stats.on_tick(now_ms);
  check_tokens(p);
  p.o.metrics.rooms = p.rooms.count();
  p.o.metrics.users = p.people.online();
  p.o.metrics.store_lag_events = p.ingest.waiting();
}

std::int64_t Shard::flush() {
  std::int64_t again_ms = parts_->delivery.flush();
  return parts_->ingest.pump(false) ? parts_->now_ms() : again_ms;
}

void Shard::rest() noexcept {
  parts_->chunks.forget_kept();
  parts_->body.forget();
  parts_->delivery.rest();
  parts_->ingest.rest();
}

bool Shard::all_stored() {
  parts_->ingest.pump(true);
  const bool marked = parts_->marks.all_written();
  return marked && parts_->ingest.idle() && parts_->sequencer.idle();
}

}  // namespace ringline::chat
