// See redis_bus.hpp.
#include "ringline/backend/redis_bus.hpp"

#include <algorithm>
#include <charconv>

#include "backend/redis_entry.hpp"
#include "backend/redis_functions.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/mark_text.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::backend {

using base::Errc;
using base::EventId;
using base::Result;
using base::RoomId;
using base::Task;
using base::UserId;
using chat::StreamPlace;
using chat::Verdict;

namespace {

constexpr std::string_view kGlobal = "global";
constexpr std::string_view kRoomChannel = "chat:{";
constexpr std::string_view kUserChannel = "user:{";
constexpr std::string_view kReadField = ":read";
constexpr std::size_t kPartBytes = 1024 * 1024;  // put back at once, or one event
constexpr std::size_t kStoredAtOnce = 256;       // rooms: others wait meanwhile

std::string room_key(RoomId room, std::string_view what) { return "room:{" + room.text() + "}:" + std::string(what); }
std::string channel_of(RoomId room) { return std::string(kRoomChannel) + room.text() + "}"; }

// The id in a channel's name.
template <class Id>
std::optional<Id> id_of(std::string_view channel, std::string_view prefix) {
  if (!channel.starts_with(prefix) || !channel.ends_with('}')) return std::nullopt;
  return Id::parse(channel.substr(prefix.size(), channel.size() - prefix.size() - 1));
}
std::optional<RoomId> room_of(std::string_view channel) { return id_of<RoomId>(channel, kRoomChannel); }
std::optional<UserId> user_of(std::string_view channel) { return id_of<UserId>(channel, kUserChannel); }

std::string user_key(UserId user, std::string_view what) { return "user:{" + user.text() + "}:" + std::string(what); }
std::string channel_of(UserId user) { return std::string(kUserChannel) + user.text() + "}"; }

// FCALL of one room: its three keys, and room for the arguments.
std::vector<std::string> of_room(std::string function, RoomId room) {
  return {"FCALL", std::move(function), "3", room_key(room, "state"), room_key(room, "log"), room_key(room, "keys")};
}

// A function of many keys, in a cluster called for each by itself: FCALL, its name, how many keys, the keys, and `rest`.
std::vector<RedisCommand> of_keys(const char* function, const std::vector<std::string>& keys,
                                  const std::vector<std::string>& rest, bool cluster) {
  std::vector<RedisCommand> calls;
  const std::size_t at_once = cluster ? 1 : keys.size();
  for (std::size_t from = 0; from < keys.size(); from += at_once) {
    RedisCommand& call = calls.emplace_back();
    call.key = keys[from];
    call.words = {"FCALL", function, std::to_string(at_once)};
    call.words.insert(call.words.end(), keys.begin() + static_cast<std::ptrdiff_t>(from),
                      keys.begin() + static_cast<std::ptrdiff_t>(from + at_once));
    call.words.insert(call.words.end(), rest.begin(), rest.end());
  }
  return calls;
}
std::vector<std::string> states_of(const std::vector<RoomId>& rooms) {
  std::vector<std::string> keys;
  for (RoomId room : rooms) keys.push_back(room_key(room, "state"));
  return keys;
}

// In seconds: a room that nothing happens in.
std::string forgotten_after() { return std::to_string(limits::kStreamAge / std::chrono::seconds(1)); }

std::string in_one(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}
bool all_known(const std::vector<std::string>& these, const std::vector<std::string>& known) {
  return std::ranges::all_of(these,
                             [&](const std::string& one) { return std::ranges::find(known, one) != known.end(); });
}

std::uint64_t number(ReplyView view) { return static_cast<std::uint64_t>(view.integer()); }
EventId event_id(ReplyView view) { return EventId::parse(view.text()).value_or(EventId{}); }

std::unexpected<base::Error> not_understood() {
  return base::fail_later(Errc::unavailable, 1000, "Redis answers what is not understood");
}

std::unexpected<base::Error> refused(ReplyView error) {
  base::log::error("redis_refused", {{"why", error.text()}});
  return base::fail_later(Errc::unavailable, 1000, "Redis refused the call");
}

std::unexpected<base::Error> replicas_lack() {
  return base::fail_later(Errc::unavailable, 1000, "too few of Redis' replicas have it");
}

std::optional<Verdict::Kind> verdict_kind(std::string_view name) {
  using Kind = Verdict::Kind;
  static constexpr std::pair<std::string_view, Kind> kKinds[] = {
      {"taken", Kind::taken},         {"duplicate", Kind::duplicate}, {"behind", Kind::behind},
      {"differs", Kind::differs},     {"stale", Kind::stale},         {"gone", Kind::gone},
      {"new_epoch", Kind::new_epoch}, {"old_epoch", Kind::old_epoch}};
  for (auto [known, kind] : kKinds)
    if (known == name) return kind;
  return std::nullopt;
}

// Four words each; none: it is not understood.
std::vector<Verdict> read_verdicts(ReplyView reply) {
  std::vector<Verdict> verdicts;
  if (reply.size() % 4 != 0) return verdicts;
  for (std::size_t i = 0; i < reply.size(); i += 4) {
    auto kind = verdict_kind(reply[i].text());
    if (!kind) return {};
    verdicts.push_back(
        {.kind = *kind, .seq = number(reply[i + 1]), .id = event_id(reply[i + 2]), .epoch = number(reply[i + 3])});
  }
  return verdicts;
}

// Whether the event is in the stream.
bool stands(const Verdict& verdict) {
  return verdict.kind == Verdict::Kind::taken || verdict.kind == Verdict::Kind::duplicate;
}

void add_proposal(std::vector<std::string>& words, const chat::Proposal& proposal) {
  std::vector<std::string> parts = entry_parts(proposal);
  for (std::string word : {proposal.key, proposal.entry.event.actor.text(), proposal.subject.text(),
                           std::string(proposal.forced ? "1" : "0"), std::to_string(parts.size())})
    words.push_back(std::move(word));
  for (std::string& part : parts) words.push_back(std::move(part));
}

}  // namespace

RedisBus::RedisBus(loop::Loop& loop, unsigned host, chat::BusListener& listener, unsigned replicas)
    : loop_(loop),
      name_(std::to_string(host) + ":" + std::to_string(loop.core())),
      host_(std::to_string(host)),
      listener_(listener),
      replicas_(replicas) {}

RedisBus::~RedisBus() = default;

Result<std::unique_ptr<RedisBus>> RedisBus::make(loop::Loop& loop, loop::Workers& workers, RedisOptions options,
                                                 unsigned host, chat::BusListener& listener, unsigned replicas) {
  options.library = kRedisFunctions;
  std::unique_ptr<RedisBus> bus(new RedisBus(loop, host, listener, replicas));
  auto redis = Redis::make(loop, workers, std::move(options), bus.get());
  if (!redis) return std::unexpected(redis.error());
  bus->redis_ = std::move(*redis);
  return bus;
}

Task<Result<void>> RedisBus::start() {
  if (!redis_->subscribe(kGlobal)) co_return base::fail(Errc::internal, "the channel cannot be subscribed to");
  auto started = co_await redis_->start();
  co_return started;
}

Task<void> RedisBus::close() {
  constexpr std::chrono::milliseconds kStep{1};
  closing_ = true;
  co_await redis_->close();
  while (scope_.running() > 0) co_await loop_.sleep(kStep);
}

// ---- Whether it is there

void RedisBus::set_state(State state) {
  if (state == state_) return;
  const State was = std::exchange(state_, state);
  const bool told = std::exchange(partly_away_, false);
  if (state == State::away && was != State::joining && !told) listener_.on_away();
  if (state == State::putting_back) listener_.on_lost();
  if (state == State::there) listener_.on_back();
}

void RedisBus::on_tick(std::int64_t now_ms) {
  if (closing_) return;
  const bool connected = redis_->is_connected();
  if (!connected || redis_->losses() != losses_) lose_some_or_all();
  if (connected || state_ == State::there) say_alive(now_ms);
  if (!connected || busy_ || (state_ != State::away && !partly_away_)) return;
  busy_ = true;
  losses_ = redis_->losses();
  if (!partly_away_) set_state(State::joining);
  scope_.spawn(join());
}

// A server of a cluster that is lost takes its rooms away with it, the others go on. It joins anew when all can be reached again, by itself or by the replica
// that has taken over: until then it takes nothing that it was not told the reign for.
void RedisBus::lose_some_or_all() {
  if (state_ != State::there || !redis_->is_cluster() || !redis_->reaches_any()) return set_state(State::away);
  if (!std::exchange(partly_away_, true)) listener_.on_away();
}

bool RedisBus::is_there(RoomId room) const noexcept {
  return is_there() && (!redis_->is_cluster() || redis_->reaches(channel_of(room)));
}
bool RedisBus::is_there(UserId user) const noexcept {
  return is_there() && (!redis_->is_cluster() || redis_->reaches(channel_of(user)));
}

void RedisBus::say_alive(std::int64_t now_ms) {
  constexpr std::int64_t kLeaseMs = limits::kRedisHostLease / std::chrono::milliseconds(1);
  if (now_ms - said_ms_ < limits::kRedisHostEvery / std::chrono::milliseconds(1)) return;
  said_ms_ = now_ms;
  publish(kGlobal, "H " + name_);
  std::erase_if(alive_, [&](const auto& one) { return now_ms - one.second > kLeaseMs; });
}

// `done_in`: reigns in which this core has put back what it has.
Task<Result<RedisBus::Welcome>> RedisBus::hello(std::string done_in) {
  Words words{"FCALL", "ringline_hello",   "0",
              name_,   std::move(done_in), std::to_string(limits::kRedisHostLease / std::chrono::milliseconds(1))};
  for (const auto& [who, heard_ms] : alive_) words.push_back(who);
  // Each process of a cluster has its own memory, and its own answer.
  auto replies = co_await redis_->ask_all(std::move(words), limits::kBusTimeout);
  if (!replies) co_return std::unexpected(replies.error());
  Welcome welcome;
  for (const Reply& reply : *replies) {
    if (reply.is_error()) co_return refused(reply);
    const std::string_view reign = reply[1].text();
    if (reign.empty()) co_return not_understood();
    welcome.ready = welcome.ready && reply[0].text() == "ready";
    welcome.reigns.emplace_back(reign);
  }
  co_return welcome;
}

void RedisBus::enter(Reigns reigns) {
  reigns_ = there_in_ = std::move(reigns);
  const bool whole = std::exchange(partly_away_, false);
  if (whole) listener_.on_back();
  set_state(State::there);
}

// In a reign that began without this host, which was there before, what it had may be lost.
Task<void> RedisBus::join() {
  const State from = state_;  // joining; or there, partly
  auto welcome = co_await hello({});
  busy_ = false;
  if (!welcome || closing_ || state_ != from || redis_->losses() != losses_) {
    if (from == State::joining) set_state(State::away);
    co_return;
  }
  if (welcome->ready && (there_in_.empty() || all_known(welcome->reigns, there_in_)))
    co_return enter(std::move(welcome->reigns));
  reigns_ = std::move(welcome->reigns);
  if (all_known(reigns_, subscribed_in_)) co_return set_state(State::putting_back);
  subscribed_in_ = reigns_;
  redis_->subscribe_again();
  set_state(State::away);
}

void RedisBus::have_put_back() {
  if (state_ != State::putting_back || busy_) return;
  busy_ = true;
  scope_.spawn(wait_for_others());
}

Task<void> RedisBus::wait_for_others() {
  while (!closing_ && state_ == State::putting_back) {
    auto welcome = co_await hello(in_one(reigns_));
    if (state_ != State::putting_back) break;
    if (!welcome || !all_known(welcome->reigns, reigns_) || redis_->losses() != losses_) {
      set_state(State::away);
    } else if (welcome->ready) {
      enter(std::move(welcome->reigns));
    } else {
      co_await loop_.sleep(limits::kRedisHostAsk);
    }
  }
  busy_ = false;
}

// ---- Calls

// An error of Redis' is an answer that nobody expects: as none.
Task<Result<Reply>> RedisBus::call(std::string key, Words words) {
  auto reply = co_await redis_->ask(std::move(key), std::move(words), limits::kBusTimeout);
  if (reply && reply->is_error()) co_return refused(*reply);
  co_return reply;
}

Task<Result<std::vector<Reply>>> RedisBus::call_all(std::vector<RedisCommand> calls) {
  auto replies = co_await redis_->ask_many(std::move(calls), limits::kBusTimeout);
  if (!replies) co_return replies;
  for (const Reply& reply : *replies)
    if (reply.is_error()) co_return refused(reply);
  co_return replies;
}

bool RedisBus::replicas_are_short() const {
  constexpr std::int64_t kPauseMs = limits::kReplicaPause / std::chrono::milliseconds(1);
  return replicas_short_ms_ != 0 && loop_.now_ms() - replicas_short_ms_ < kPauseMs;
}

// Whether enough of them have all that was written to the server of `key` on the connection that there was when as many had been lost as `losses`: on another
// one Redis would not know what is asked about.
Task<bool> RedisBus::replicas_have(std::string key, std::uint64_t losses) {
  constexpr std::chrono::milliseconds kStep{1};
  while (waits_ >= limits::kReplicaWaits) co_await loop_.sleep(kStep);
  if (replicas_are_short() || redis_->losses() != losses) co_return false;
  ++waits_;
  Words words{"WAIT", std::to_string(replicas_), std::to_string(limits::kReplicaWait / std::chrono::milliseconds(1))};
  auto reply = co_await call(std::move(key), std::move(words));
  --waits_;
  const bool enough = reply && reply->integer() >= static_cast<std::int64_t>(replicas_);
  replicas_short_ms_ = enough ? 0 : loop_.now_ms();
  co_return enough && redis_->losses() == losses;
}

Task<Result<std::vector<Verdict>>> RedisBus::append_all(std::vector<chat::Proposal> proposals, StreamPlace known) {
  const RoomId room = proposals.front().entry.event.room;
  if (!is_there(room)) co_return base::fail_later(Errc::unavailable, 1000, "Redis is away");
  if (replicas_are_short()) co_return replicas_lack();
  const std::uint64_t losses = redis_->losses();
  Words words = of_room("ringline_append", room);
  for (std::string word :
       {std::to_string(known.epoch), std::to_string(known.seq), known.id.text(),
        std::string(redis_->is_cluster() ? "SPUBLISH" : "PUBLISH"), channel_of(room), in_one(reigns_)})
    words.push_back(std::move(word));
  for (const chat::Proposal& proposal : proposals) add_proposal(words, proposal);
  auto reply = co_await call(room_key(room, "state"), std::move(words));
  if (!reply) co_return std::unexpected(reply.error());
  if ((*reply)[0].text() == "unready") {
    if (state_ == State::there) set_state(State::away);
    co_return base::fail_later(Errc::unavailable, 1000,
                               "Redis may have lost something: the hosts put back what they have");
  }
  auto verdicts = read_verdicts(*reply);
  if (verdicts.empty() || verdicts.size() > proposals.size()) co_return not_understood();
  if (replicas_ > 0 && std::ranges::any_of(verdicts, stands)) {
    bool enough = co_await replicas_have(room_key(room, "state"), losses);
    if (!enough) co_return replicas_lack();
  }
  co_return verdicts;
}

Task<Result<chat::StreamPage>> RedisBus::read(RoomId room, std::uint64_t after) {
  Words words = of_room("ringline_read", room);
  words.push_back(std::to_string(after));
  words.push_back(std::to_string(limits::kFeedEvents));
  auto reply = co_await call(room_key(room, "state"), std::move(words));
  if (!reply) co_return std::unexpected(reply.error());
  chat::StreamPage page;
  page.last = {.epoch = number((*reply)[3]), .seq = number((*reply)[1]), .id = event_id((*reply)[2])};
  for (std::size_t i = 4; i + 1 < reply->size(); i += 2) {
    auto event = read_entry(room, number((*reply)[i]), (*reply)[i + 1].text());
    if (!event) co_return not_understood();
    page.events.push_back(std::move(*event));
  }
  co_return page;
}

Task<Result<std::vector<StreamPlace>>> RedisBus::places(std::vector<RoomId> rooms) {
  auto replies = co_await call_all(of_keys("ringline_places", states_of(rooms), {}, redis_->is_cluster()));
  if (!replies) co_return std::unexpected(replies.error());
  std::vector<StreamPlace> places;
  for (const Reply& reply : *replies)
    for (std::size_t i = 0; i + 2 < reply.size(); i += 3)
      places.push_back({.epoch = number(reply[i + 2]), .seq = number(reply[i]), .id = event_id(reply[i + 1])});
  if (places.size() != rooms.size()) co_return not_understood();
  co_return places;
}

Task<Result<void>> RedisBus::put_back(RoomId room, StreamPlace end, StreamPlace base,
                                      std::vector<chat::RoomEvent> events) {
  std::vector<std::string> entries;
  for (const chat::RoomEvent& event : events)
    entries.push_back(entry_of(event, chat::subject_of(json_, event.event), chat::key_of(json_, event)));
  std::size_t from = 0;
  do {
    std::size_t to = from;
    for (std::size_t bytes = 0; to < entries.size() && (to == from || bytes + entries[to].size() <= kPartBytes); ++to)
      bytes += entries[to].size();
    auto done = co_await put_part_back(room, end, base, std::span(entries).subspan(from, to - from));
    if (!done) co_return std::unexpected(done.error());
    if (!*done) co_return base::fail(Errc::conflict, "the room's stream ends elsewhere");
    if (to > from) end = {.epoch = base.epoch, .seq = events[to - 1].event.seq, .id = events[to - 1].event.id};
    from = to;
  } while (from < entries.size());
  co_return Result<void>();
}

// False: it ends elsewhere.
Task<Result<bool>> RedisBus::put_part_back(RoomId room, StreamPlace end, StreamPlace base,
                                           std::span<const std::string> entries) {
  Words words = of_room("ringline_put_back", room);
  for (std::string word : {std::to_string(end.seq), end.id.text(), std::to_string(base.epoch), std::to_string(base.seq),
                           base.id.text(), forgotten_after()})
    words.push_back(std::move(word));
  words.insert(words.end(), entries.begin(), entries.end());
  auto reply = co_await call(room_key(room, "state"), std::move(words));
  if (!reply) co_return std::unexpected(reply.error());
  co_return reply->integer() == 1;
}

Task<Result<void>> RedisBus::begin_epoch(RoomId room, StreamPlace base) {
  Words words = of_room("ringline_begin_epoch", room);
  for (std::string word : {std::to_string(base.epoch), std::to_string(base.seq), base.id.text(), forgotten_after()})
    words.push_back(std::move(word));
  auto reply = co_await call(room_key(room, "state"), std::move(words));
  if (!reply) co_return std::unexpected(reply.error());
  if (reply->integer() != 1) co_return base::fail(Errc::conflict, "the room is in that epoch already");
  co_return Result<void>();
}

void RedisBus::stored(std::vector<chat::StoredUpTo> rooms) {
  const std::size_t at_once = redis_->is_cluster() ? 1 : kStoredAtOnce;
  for (std::size_t from = 0; from < rooms.size(); from += at_once) {
    const std::size_t to = std::min(rooms.size(), from + at_once);
    Words words{"FCALL", "ringline_stored", std::to_string(3 * (to - from))};
    for (std::size_t i = from; i < to; ++i)
      for (std::string_view what : {"state", "log", "keys"}) words.push_back(room_key(rooms[i].room, what));
    words.push_back(std::to_string(limits::kStreamEvents));
    words.push_back(forgotten_after());
    for (std::size_t i = from; i < to; ++i)
      for (std::string word : {std::to_string(rooms[i].seq), std::to_string(rooms[i].epoch), rooms[i].id.text()})
        words.push_back(std::move(word));
    std::string key = words[3];
    scope_.spawn(send(std::move(key), std::move(words)));
  }
}

Task<Result<std::vector<chat::IngestClaim>>> RedisBus::claim_ingest(std::vector<RoomId> rooms) {
  auto replies = co_await call_all(of_keys(
      "ringline_claim", states_of(rooms), {host_, std::to_string(limits::kIngestLease.count())}, redis_->is_cluster()));
  if (!replies) co_return std::unexpected(replies.error());
  std::vector<chat::IngestClaim> claims;
  for (const Reply& reply : *replies)
    for (std::size_t i = 0; i + 3 < reply.size(); i += 4)
      claims.push_back({.ours = reply[i].integer() == 1,
                        .stored = number(reply[i + 1]),
                        .epoch = number(reply[i + 2]),
                        .id = event_id(reply[i + 3])});
  if (claims.size() != rooms.size()) co_return not_understood();
  co_return claims;
}

// What may be lost: nobody waits for the answer.
Task<void> RedisBus::send(std::string key, Words words) { (void)co_await call(std::move(key), std::move(words)); }

void RedisBus::publish(std::string_view channel, std::string payload) {
  const bool sharded = redis_->is_cluster();
  scope_.spawn(
      send(std::string(channel), {sharded ? "SPUBLISH" : "PUBLISH", std::string(channel), std::move(payload)}));
}

// ---- Channels

void RedisBus::follow(RoomId room) {
  if (!redis_->subscribe(channel_of(room))) base::log::error("room_not_followed", {{"room", room.text()}});
}
void RedisBus::unfollow(RoomId room) { redis_->unsubscribe(channel_of(room)); }

void RedisBus::pass(RoomId room, std::string_view name, std::string_view body) {
  if (!is_there()) return;
  std::string payload = "P " + host_ + " ";
  payload.append(name).append("\n").append(body);
  publish(channel_of(room), std::move(payload));
}

void RedisBus::on_subscribed(std::string_view channel) {
  if (auto room = room_of(channel)) listener_.on_following(*room);
  if (auto user = user_of(channel)) listener_.on_following(*user);
}

void RedisBus::on_message(std::string_view channel, std::string_view payload) {
  if (payload.size() < 2 || payload[1] != ' ') return;
  const std::string_view text = payload.substr(2);
  if (channel == kGlobal) {
    if (payload[0] == 'H' && text != name_) alive_.insert_or_assign(std::string(text), loop_.now_ms());
    return;
  }
  if (auto user = user_of(channel)) {
    if (payload[0] == 'U') take_user(*user, text);
    return;
  }
  auto room = room_of(channel);
  if (!room) return;
  if (payload[0] == 'E') take_event(*room, text);
  if (payload[0] == 'P') take_passing(*room, text);
}

void RedisBus::take_event(RoomId room, std::string_view text) {
  std::uint64_t seq = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seq);
  const auto digits = static_cast<std::size_t>(end - text.data());
  auto event =
      error == std::errc{} && digits < text.size() ? read_entry(room, seq, text.substr(digits + 1)) : std::nullopt;
  if (!event) return base::log::error("redis_event_not_understood", {{"room", room.text()}});
  listener_.on_event(std::move(*event));
}

void RedisBus::take_passing(RoomId room, std::string_view text) {
  const auto space = text.find(' ');
  const auto line = text.find('\n');
  if (space == std::string_view::npos || line == std::string_view::npos || space > line) return;
  unsigned host = 0;
  std::from_chars(text.data(), text.data() + space, host);
  if (text.substr(0, space) == host_) return;
  listener_.on_passing(room, host, text.substr(space + 1, line - space - 1), text.substr(line + 1));
}

// ---- Users

void RedisBus::follow(UserId user) {
  if (!redis_->subscribe(channel_of(user))) base::log::error("user_not_followed", {{"user", user.text()}});
}
void RedisBus::unfollow(UserId user) { redis_->unsubscribe(channel_of(user)); }

// "U HOST WHAT\nBODY"
void RedisBus::tell(UserId user, std::string_view what, std::string_view body) {
  std::string payload = "U " + host_ + " ";
  payload.append(what).append("\n").append(body);
  publish(channel_of(user), std::move(payload));
}

void RedisBus::take_user(UserId user, std::string_view text) {
  const auto space = text.find(' ');
  const auto line = text.find('\n');
  if (space == std::string_view::npos || line == std::string_view::npos || space > line) return;
  if (text.substr(0, space) == host_) return;
  listener_.on_user(user, text.substr(space + 1, line - space - 1), text.substr(line + 1));
}

Task<Result<unsigned>> RedisBus::set_presence(UserId user, bool online) {
  const std::string key = user_key(user, "online");
  Words words{"FCALL",
              "ringline_presence",
              "1",
              key,
              host_,
              online ? "1" : "0",
              std::to_string(limits::kPresenceAge / std::chrono::milliseconds(1))};
  auto reply = co_await call(key, std::move(words));
  if (!reply) co_return std::unexpected(reply.error());
  co_return static_cast<unsigned>(reply->integer());
}

Task<Result<std::vector<unsigned>>> RedisBus::presence_of(std::vector<UserId> users) {
  std::vector<std::string> keys;
  for (UserId user : users) keys.push_back(user_key(user, "online"));
  auto replies = co_await call_all(of_keys("ringline_presence_of", keys, {host_}, redis_->is_cluster()));
  if (!replies) co_return std::unexpected(replies.error());
  std::vector<unsigned> counts;
  for (const Reply& reply : *replies)
    for (std::size_t i = 0; i < reply.size(); ++i) counts.push_back(static_cast<unsigned>(reply[i].integer()));
  if (counts.size() != users.size()) co_return not_understood();
  co_return counts;
}

Task<Result<std::uint32_t>> RedisBus::take_send(UserId user, unsigned limit, std::int64_t window_ms,
                                                std::vector<std::int64_t> before) {
  const std::string key = user_key(user, "sends");
  Words words{"FCALL", "ringline_send", "1", key, std::to_string(limit), std::to_string(window_ms)};
  for (std::int64_t at_ms : before) words.push_back(std::to_string(at_ms));
  auto reply = co_await call(key, std::move(words));
  if (!reply) co_return std::unexpected(reply.error());
  co_return static_cast<std::uint32_t>(reply->integer());
}

void RedisBus::note_membership(UserId user, RoomId room, bool joined) {
  const std::string key = user_key(user, "rooms");
  scope_.spawn(send(key, {"HSET", key, room.text(), joined ? "1" : "0"}));
  scope_.spawn(send(key, {"EXPIRE", key, std::to_string(limits::kMembershipAge / std::chrono::seconds(1))}));
}

// Beside the memberships, under "ROOM:read".
void RedisBus::note_mark(const chat::ReadMark& mark) {
  const std::string key = user_key(mark.user, "rooms");
  scope_.spawn(send(key, {"FCALL", "ringline_note_mark", "1", key, mark.room.text() + std::string(kReadField),
                          chat::mark_text(mark), std::to_string(limits::kMembershipAge / std::chrono::seconds(1))}));
}

Task<Result<chat::UserNotes>> RedisBus::recent_notes(UserId user) {
  const std::string key = user_key(user, "rooms");
  auto reply = co_await call(key, {"HGETALL", key});
  if (!reply) co_return std::unexpected(reply.error());
  chat::UserNotes notes;
  for (std::size_t i = 0; i + 1 < reply->size(); i += 2) {
    std::string_view field = (*reply)[i].text();
    const std::string_view value = (*reply)[i + 1].text();
    const bool read = field.ends_with(kReadField);
    if (read) field.remove_suffix(kReadField.size());
    const auto room = RoomId::parse(field);
    if (!room) continue;
    if (!read) {
      notes.memberships.emplace_back(*room, value == "1");
    } else if (auto mark = chat::read_mark_text(*room, user, value)) {
      notes.marks.push_back(*mark);
    }
  }
  co_return notes;
}

}  // namespace ringline::backend
