// See rooms.hpp.
#include "chat/rooms.hpp"

#include <algorithm>
#include <charconv>

#include "chat/commands.hpp"
#include "chat/effects.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

namespace {

constexpr std::int64_t kKeyAgeMs = 24 * 3600 * 1000;  // a clientId is remembered at least so long
constexpr std::size_t kKeysLoaded = 200'000;          // of one room; with more, a new key is looked up in the store
constexpr std::int64_t kBeginEveryMs = 1000;          // a try for rooms that could not be begun
constexpr std::int64_t kPresenceEveryMs = 5000;       // room_presence of large rooms
constexpr std::int64_t kEvictAfterMs = 10 * 60 * 1000;
constexpr std::int64_t kEvictEveryMs = 30 * 1000;
constexpr std::int64_t kTailAgeMs = base::limits::kTailAge / std::chrono::milliseconds(1);
constexpr std::string_view kOnlineHere = "~online";  // between hosts: how many of a large room are at one
constexpr std::int64_t kSettleEveryMs = 60'000;      // a room with a tail is asked whether it is quiet

}  // namespace

const Tail::Entries& Tail::entries() const noexcept {
  static const Entries none;
  return entries_ ? *entries_ : none;
}

bool HomeRoom::is_changing(UserId user) const noexcept { return std::ranges::find(changing, user) != changing.end(); }

std::string room_json(Parts& p, const HomeRoom& room, UserId user) {
  static thread_local Writer out;
  out.clear();
  const HomeMember* found = room.members.find(user);
  if (!found) {
    write_room(out, room.room, room.members.size(), room.last_message.view(), nullptr);
  } else {
    const Member& member = found->member;
    MemberView view{.role = member.role, .last_delivered_seq = member.delivered_seq};
    view.last_read_seq = std::min(member.read_seq, room.room.last_seq);  // of another host it may be ahead
    view.unread = unread_of(room, member);
    write_room(out, room.room, room.members.size(), room.last_message.view(), &view);
  }
  (void)p;
  return std::string(out.view());
}

void Rooms::with(RoomId id, Waiting then) {
  if (HomeRoom* room = find(id); room && !room->opening) return then(room);
  auto& waiting = loading_[id];
  if (waiting.size() >= base::limits::kRoomCallsWaiting)
    return then(base::fail_later(Errc::unavailable, 1000, "the room is being loaded; try again"));
  waiting.push_back(std::move(then));
  if (waiting.size() == 1) p_.o.scope.spawn(load(id));
}

base::Task<void> Rooms::load(RoomId id) {
  auto stored = co_await p_.o.store.load_room(id);
  HomeRoom* room = nullptr;
  if (stored) {
    std::int64_t since = base::wall_ms() - kKeyAgeMs;
    auto keys = co_await p_.o.store.recent_client_keys(id, since, kKeysLoaded);
    room = &adopt(std::move(*stored));
    room->keys_complete = keys && keys->size() < kKeysLoaded;
    if (keys)
      for (std::uint64_t key : *keys) p_.seen.add(key ^ base::mix(id.value), base::wall_ms());
    if (p_.streams.on()) {
      room->opening = true;
      co_await p_.streams.open(id);
      room->opening = false;
    }
    if (room->is_new()) new_.push_back(id);
  }
  std::vector<Waiting> waiting = std::move(loading_[id]);
  loading_.erase(id);
  for (Waiting& then : waiting) {
    // One of them may have deleted the room.
    HomeRoom* still = find(id);
    if (still) {
      then(still);
    } else if (!stored) {
      then(std::unexpected(stored.error()));
    } else {
      then(base::fail(Errc::not_found, "no such room"));
    }
  }
}

HomeRoom& Rooms::adopt(StoredRoom stored) {
  const RoomId id = stored.room.id;
  auto [room, is_new] = rooms_.emplace(id, std::move(stored.room));
  if (!is_new) return room;  // somebody else was quicker
  for (unsigned core = 0; core < p_.o.cores; ++core) room.listeners.push_back(0);
  room.used_ms = p_.now_ms();
  fill(room, std::move(stored));
  return room;
}

void Rooms::fill(HomeRoom& room, StoredRoom stored) {
  room.next_seq = room.room.last_seq + 1;
  room.stored_seq = room.room.last_seq;
  room.members.reserve(stored.members.size());
  for (StoredMember& member : stored.members) {
    UserId user = member.member.user;
    room.members.emplace(user, HomeMember{.member = member.member, .user = UserCard::of(member.user)});
  }
  if (stored.last_message) {
    Writer out;
    write_message(out, *stored.last_message);
    room.last_message = {base::Blob::copy_of(out.view()), 0, static_cast<std::uint32_t>(out.view().size())};
    room.last_message_seq = stored.last_message->seq;
  }
  p_.marks.apply(room);
}

void Rooms::replace(HomeRoom& room, StoredRoom stored) {
  p_.ingest.forget(room.id());
  cut_tail(room, 0, UINT64_MAX);
  p_.member_lists.forget(room.id());
  base::IdMap<UserId, HomeMember> before;
  before.swap(room.members);
  room.room = std::move(stored.room);
  room.last_message = {};
  room.last_message_seq = 0;
  fill(room, std::move(stored));
  room.online_users = 0;
  for (HomeMember& member : room.members) {
    const HomeMember* was = before.find(member.id());
    if (!was) {
      tell_home(p_, room, member.id());
      continue;
    }
    member.online = was->online;
    member.elsewhere = was->elsewhere;
    if (member.online > 0) ++room.online_users;
  }
  for (const HomeMember& was : before)
    if (!room.find(was.id())) tell_home_left(p_, room, was.id());
  for (unsigned core = 0; core < room.listeners.size(); ++core)
    if (room.listeners[core] > 0)
      p_.on(core, [id = room.id(), epoch = room.room.epoch, last = room.room.last_seq](Parts& there) {
        there.delivery.reset(id, epoch, last);
      });
}

void Rooms::forget(RoomId id) {
  HomeRoom* room = find(id);
  if (!room) return;
  for (const RoomEvent& entry : room->tail.entries()) p_.o.metrics.tail_bytes -= entry.event.body.size();
  p_.o.metrics.tail_events -= room->tail.size();
  p_.member_lists.forget(id);
  p_.streams.close(id);
  rooms_.erase(id);
}

Subscription Rooms::subscribe(HomeRoom& room, const Subscribe& request) {
  Subscription result{.room = room.room.id};
  HomeMember* member = room.find(request.user);
  result.epoch = room.room.epoch;
  result.last_seq = room.room.last_seq;
  result.first_seq = room.room.last_seq + 1;
  if (!member) return result;
  result.member = true;
  result.member_count = static_cast<std::uint32_t>(room.members.size());
  result.active_ms = room.room.updated_ms;
  result.room_json = room_json(p_, room, request.user);
  if (request.from_seq != 0) {
    bool same_epoch = request.epoch == 0 || request.epoch == room.room.epoch;
    bool known = request.from_seq <= room.room.last_seq + 1;
    bool near =
        room.room.last_seq + 1 - std::min(request.from_seq, room.room.last_seq + 1) <= base::limits::kResumeEvents;
    result.complete = same_epoch && known && near;
    if (result.complete) result.first_seq = request.from_seq;
  }
  ++room.listeners[request.core];
  if (member->online++ == 0) {
    ++room.online_users;
    room.online_changed = true;
    p_.member_lists.changed(room.room.id, request.user);
  }
  room.used_ms = p_.now_ms();
  return result;
}

void Rooms::unsubscribe(RoomId id, UserId user, unsigned core) {
  HomeRoom* room = find(id);
  if (!room) return;
  --room->listeners[core];
  room->used_ms = p_.now_ms();
  HomeMember* member = room->find(user);
  // 0: he left and joined again before the mail of his old seat came; that seat was counted with the membership it belonged to.
  if (member && member->online > 0 && --member->online == 0) {
    --room->online_users;
    room->online_changed = true;
    p_.member_lists.changed(id, user);
  }
}

base::Task<Feed> Rooms::read_after(RoomId id, std::uint64_t after) {
  Feed feed{.room = id};
  HomeRoom* room = find(id);
  if (!room) co_return feed;
  room->used_ms = p_.now_ms();
  feed.epoch = room->room.epoch;
  if (after + 1 >= room->tail_first()) {
    std::size_t bytes = 0;
    for (std::size_t i = static_cast<std::size_t>(after + 1 - room->tail_first()); i < room->tail.size(); ++i) {
      const Event& event = room->tail.entries()[i].event;
      feed.events.push_back({event.seq, event.kind, event.body});
      bytes += event.body.size();
      if (feed.events.size() >= base::limits::kFeedEvents || bytes >= base::limits::kFeedBytes) break;
    }
    feed.ok = true;
    co_return feed;
  }
  auto stored = co_await p_.o.store.events_after(id, after, base::limits::kFeedEvents, room->room.epoch);
  if (!stored || stored->empty()) {
    base::log::warn("room_read_failed", {{"room", id.text()},
                                         {"after", after},
                                         {"why", stored ? "the store has no event" : stored.error().message.c_str()}});
    co_return feed;
  }
  room = find(id);
  if (!room || room->room.epoch != feed.epoch) co_return feed;
  for (StoredEvent& event : *stored) feed.events.push_back({event.seq, event.kind, base::Blob::copy_of(event.body)});
  feed.ok = true;
  co_return feed;
}

void Rooms::pass(HomeRoom& room, std::string name, std::string body) {
  if (room.streamed) p_.o.bus->pass(room.id(), name, body);
  pass_here(room, name, body);
}

void Rooms::pass_here(HomeRoom& room, const std::string& name, const std::string& body) {
  for (unsigned core = 0; core < room.listeners.size(); ++core) {
    if (room.listeners[core] == 0) continue;
    p_.on(core, [id = room.room.id, name, body](Parts& there) { there.delivery.pass(id, name, body); });
  }
}

void Rooms::pass_presence(RoomId id, const PassingState& state) {
  HomeRoom* room = find(id);
  if (!room || !room->streamed || room->members.size() > base::limits::kPresenceRoomMembers) return;
  p_.o.bus->pass(id, state.name, state.body.view());
}

void Rooms::set_elsewhere(HomeRoom& room, UserId user, bool elsewhere) {
  HomeMember* member = room.find(user);
  if (!member || member->elsewhere == elsewhere) return;
  member->elsewhere = elsewhere;
  p_.member_lists.changed(room.id(), user);
}

void Rooms::take_presence(HomeRoom& room, std::string_view body) {
  const Value* state = p_.scratch.parse(body);
  auto id = state ? base::json::find_string(*state, "userId") : std::nullopt;
  auto status = state ? base::json::find_string(*state, "status") : std::nullopt;
  auto user = id ? UserId::parse(*id) : std::nullopt;
  if (!user || !status) return;
  set_elsewhere(room, *user, *status != name_of(Status::offline));
  show_here(room, {.of = user->value, .name = "presence_changed", .body = base::Blob::copy_of(body)});
}

void Rooms::take_count(HomeRoom& room, unsigned host, std::string_view body) {
  std::uint32_t count = 0;
  std::from_chars(body.data(), body.data() + body.size(), count);
  p_.streams.set_online(room.id(), host, count);
  room.online_changed = true;
}

void Rooms::show_here(HomeRoom& room, const PassingState& state) {
  for (unsigned core = 0; core < room.listeners.size(); ++core)
    if (room.listeners[core] > 0)
      p_.on(core, [id = room.id(), state](Parts& there) { there.delivery.show(id, state); });
}

PassingState Rooms::online_count(const HomeRoom& room) {
  const std::uint32_t count = room.online_users + (room.streamed ? p_.streams.online(room.id()) : 0);
  Writer& out = p_.body;
  out.clear();
  out.begin_object().key("roomId").id(room.room.id).key("onlineCount").unsigned_integer(count);
  out.end_object();
  return {.of = room.room.id.value, .name = "room_presence", .body = base::Blob::copy_of(out.view())};
}

RoomPresence Rooms::presence(RoomId id) {
  RoomPresence seen;
  HomeRoom* room = find(id);
  if (!room) return seen;
  if (room->members.size() > base::limits::kPresenceRoomMembers) {
    seen.count.push_back(online_count(*room));
    return seen;
  }
  for (const HomeMember& member : room->members) seen.members.push_back(member.user);
  return seen;
}

void Rooms::pass_typing(HomeRoom& room, std::string_view name, UserId user, std::string_view username) {
  Writer& out = p_.body;
  out.clear();
  out.begin_object().key("roomId").id(room.room.id).key("userId").id(user);
  out.key("username").string(username).end_object();
  pass(room, std::string(name), std::string(out.view()));
}

void Rooms::start_typing(HomeRoom& room, const Person& user) {
  std::int64_t due = p_.now_ms() + base::limits::kTypingAge / std::chrono::milliseconds(1);
  for (HomeRoom::Typer& typer : room.typers) {
    if (typer.user != user.id) continue;
    typer.due_ms = due;
    return;
  }
  if (room.typers.empty()) with_typers_.push_back(room.room.id);
  room.typers.push_back({user.id, std::string(user.username()), due});
  pass_typing(room, "typing_started", user.id, user.username());
}

void Rooms::stop_typing(HomeRoom& room, UserId user) {
  auto typer = std::ranges::find(room.typers, user, &HomeRoom::Typer::user);
  if (typer == room.typers.end()) return;
  pass_typing(room, "typing_stopped", user, typer->username);
  room.typers.erase(typer);
  if (room.typers.empty()) std::erase(with_typers_, room.room.id);
}

// Drops from the tail what the store has and what nobody is likely to ask for again.
void Rooms::trim(HomeRoom& room) {
  bool tight = p_.o.metrics.tail_bytes > std::min(base::limits::kTailBytesTight, p_.o.tail_bytes / 2);
  std::size_t keep = tight ? base::limits::kTailEventsTight : base::limits::kTailEvents;
  std::int64_t old = base::wall_ms() - kTailAgeMs;
  while (room.tail.size() > keep) {
    const Event& first = room.tail.front().event;
    if (first.seq > room.stored_seq) break;
    if (!tight && first.at_ms > old && room.tail.size() <= base::limits::kResumeEvents) break;
    cut_tail(room, room.tail.size() - 1, room.stored_seq);
  }
  if (room.settling || room.tail.empty()) return;
  room.settling = true;
  settling_.push_back({room.room.id, p_.now_ms() + kSettleEveryMs});
}

// To the last `keep` events, of those up to `seq`.
void Rooms::cut_tail(HomeRoom& room, std::size_t keep, std::uint64_t seq) {
  while (room.tail.size() > keep && room.tail.front().event.seq <= seq) {
    p_.o.metrics.tail_bytes -= room.tail.front().event.body.size();
    --p_.o.metrics.tail_events;
    room.tail.pop_front();
  }
}

// A room in which something happened meanwhile is looked at again later.
void Rooms::settle_quiet(std::int64_t now_ms) {
  std::int64_t quiet_since = base::wall_ms() - kTailAgeMs;
  while (!settling_.empty() && settling_.front().due_ms <= now_ms) {
    RoomId id = settling_.front().room;
    settling_.pop_front();
    HomeRoom* room = find(id);
    if (!room || !room->settling) continue;
    if (room->room.updated_ms > quiet_since || room->stored_seq < room->room.last_seq) {
      settling_.push_back({id, now_ms + kSettleEveryMs});
      continue;
    }
    room->settling = false;
    cut_tail(*room, 0, room->stored_seq);
    room->changing.shrink_to_fit();
  }
}

// Who makes a room begins it at once. Where that failed, or the server ended in between, the room is there and its members' without their having been told:
// it is begun again until that is committed.
void Rooms::begin_new() {
  std::erase_if(new_, [&](RoomId id) {
    HomeRoom* room = find(id);
    if (!room || room->room.last_seq > 0) return true;
    if (room->is_new())
      (void)begin_room(p_, *room, [](HomeRoom&, Sequencer::Outcome) {});  // refused: the next try comes
    return false;
  });
}

void Rooms::on_tick(std::int64_t now_ms) {
  if (now_ms - began_ms_ >= kBeginEveryMs) {
    began_ms_ = now_ms;
    begin_new();
  }
  std::vector<RoomId> typing = with_typers_;
  for (RoomId id : typing) {
    HomeRoom* room = find(id);
    if (!room) {
      std::erase(with_typers_, id);
      continue;
    }
    std::vector<UserId> due;
    for (const HomeRoom::Typer& typer : room->typers)
      if (typer.due_ms <= now_ms) due.push_back(typer.user);
    for (UserId user : due) stop_typing(*room, user);
  }
  if (now_ms - presence_sent_ms_ >= kPresenceEveryMs) {
    presence_sent_ms_ = now_ms;
    for (HomeRoom& room : rooms_) {
      if (!std::exchange(room.online_changed, false)) continue;
      if (room.members.size() <= base::limits::kPresenceRoomMembers) continue;
      show_here(room, online_count(room));
      if (room.streamed) p_.o.bus->pass(room.id(), kOnlineHere, std::to_string(room.online_users));
    }
  }
  settle_quiet(now_ms);
  if (now_ms - evicted_ms_ >= kEvictEveryMs) {
    evicted_ms_ = now_ms;
    evict_idle(now_ms);
  }
}

void Rooms::evict_idle(std::int64_t now_ms) {
  std::vector<RoomId> idle;
  for (HomeRoom& room : rooms_) {
    bool heard = std::ranges::any_of(room.listeners, [](std::uint32_t count) { return count > 0; });
    bool busy = heard || room.uncommitted > 0 || room.stored_seq < room.room.last_seq || !room.typers.empty() ||
                !room.after_change.empty() || p_.streams.busy(room.id());
    if (!busy && now_ms - room.used_ms > kEvictAfterMs) idle.push_back(room.id());
  }
  for (RoomId id : idle) forget(id);
}

}  // namespace ringline::chat
