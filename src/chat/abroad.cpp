// See abroad.hpp.
#include "chat/abroad.hpp"

#include <algorithm>
#include <charconv>

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/chat/mark_text.hpp"

namespace ringline::chat {

namespace {

// What is told of a user.
constexpr std::string_view kMoved = "moved";  // he came to a host or left one
constexpr std::string_view kSessionEnded = "session_ended";
constexpr std::string_view kProfile = "profile";
constexpr std::string_view kJoined = "joined";  // "ROOM SEQ"
constexpr std::string_view kLeft = "left";      // "ROOM"
constexpr std::string_view kRead = "read";      // "ROOM EPOCH SEQ COUNT"

}  // namespace

bool Abroad::on() const noexcept { return p_.o.bus != nullptr; }

bool Abroad::hears(UserId user) const noexcept { return !on() || p_.o.bus->is_there(user); }

// What was told meanwhile is lost, and what the bus knew of who is online may be.
void Abroad::on_back() {
  p_.people.for_each([&](const HomeUser& user) { on_following(user.id()); });
  to_say_.clear();
  said_ms_ = p_.now_ms() - kSayAgainMs;
  again_ = true;
  p_.marks.on_back();
}

// Told before that is that a session has ended, perhaps.
void Abroad::on_following(UserId id) {
  HomeUser* user = p_.people.find(id);
  if (!user || user->live_sessions.empty()) return;
  user->doubted = true;
  to_check_.insert(id);
}

void Abroad::check_some() {
  if (checking_ || to_check_.empty()) return;
  std::vector<UserId> users;
  while (users.size() < kCheckedAtOnce && !to_check_.empty())
    users.push_back(to_check_.extract(to_check_.begin()).value());
  checking_ = true;
  p_.o.scope.spawn(check_sessions(std::move(users)));
}

// Connections of a session that ended unheard are closed. Without an answer it is asked again.
base::Task<void> Abroad::check_sessions(std::vector<UserId> users) {
  std::vector<SessionId> sessions;
  for (UserId id : users)
    if (const HomeUser* user = p_.people.find(id))
      sessions.insert(sessions.end(), user->live_sessions.begin(), user->live_sessions.end());
  auto ended = co_await p_.o.store.ended_sessions(std::move(sessions));
  checking_ = false;
  if (!ended) to_check_.insert(users.begin(), users.end());
  for (UserId id : users) {
    HomeUser* user = p_.people.find(id);
    if (!user) continue;
    user->doubted = to_check_.contains(id);  // again, meanwhile
    if (!ended) continue;
    const std::vector<SessionId> its(user->live_sessions.begin(), user->live_sessions.end());
    for (SessionId one : its)
      if (std::ranges::find(*ended, one) != ended->end()) p_.people.end_session_here(id, one);
  }
}

void Abroad::loaded(UserId user) {
  if (on()) p_.o.bus->follow(user);
}
void Abroad::unloaded(UserId user) {
  if (on()) p_.o.bus->unfollow(user);
}

void Abroad::changed(HomeUser& user) {
  if (!on()) return p_.people.show_presence(user);
  p_.o.scope.spawn(share(user.id(), true));
}

base::Task<void> Abroad::share(UserId id, bool tell) {
  const HomeUser* user = p_.people.find(id);
  const bool online = !user->connections.empty();
  auto others = co_await p_.o.bus->set_presence(id, online);
  HomeUser* now = p_.people.find(id);
  if (!now || online == now->connections.empty()) co_return;  // what came after tells it
  if (others) now->elsewhere = *others > 0;
  p_.people.show_presence(*now);
  if (tell && others && *others > 0) p_.o.bus->tell(id, kMoved, {});
}

// What he joined, left or read at another host while nothing was heard from there.
base::Task<void> Abroad::read_notes(UserId id) {
  auto recent = co_await p_.o.bus->recent_notes(id);
  if (!recent || !p_.people.find(id)) co_return;
  for (auto [room, is_in] : recent->memberships) {
    const auto& rooms = p_.people.find(id)->rooms;
    const bool known = std::ranges::find(rooms, room, &HomeUser::InRoom::id) != rooms.end();
    if (is_in && !known) p_.people.joined(id, room, 1);
    if (!is_in) p_.people.left(id, room);
  }
  co_await p_.marks.catch_up(id, std::move(recent->marks));
}

void Abroad::session_ended(UserId user, SessionId session) {
  if (on()) p_.o.bus->tell(user, kSessionEnded, session.text());
}

void Abroad::profile_changed(const User& user) {
  if (!on()) return;
  Writer out;
  write_user(out, user, Status::online, true);
  p_.o.bus->tell(user.id, kProfile, out.view());
}

void Abroad::joined(UserId user, RoomId room, std::uint64_t seq) {
  p_.o.bus->note_membership(user, room, true);
  p_.o.bus->tell(user, kJoined, room.text() + " " + std::to_string(seq));
}

void Abroad::left(UserId user, RoomId room) {
  p_.o.bus->note_membership(user, room, false);
  p_.o.bus->tell(user, kLeft, room.text());
}

void Abroad::read(const ReadMark& mark) {
  p_.o.bus->note_mark(mark);
  p_.o.bus->tell(mark.user, kRead, mark.room.text() + " " + mark_text(mark));
}

bool Abroad::counts(UserId id) const {
  if (!on() || p_.o.settings.rate_limit_messages == 0) return false;
  const HomeUser* user = p_.people.find(id);
  return user && user->elsewhere;
}

// Without an answer he is counted as at this host alone.
base::Task<std::uint32_t> Abroad::take_send(UserId id) {
  const base::Settings& settings = p_.o.settings;
  std::vector<std::int64_t> before;
  HomeUser* user = p_.people.find(id);
  if (user && user->sends) {
    const std::int64_t to_wall_ms = base::wall_ms() - p_.now_ms();
    for (std::int64_t at_ms : user->sends->window.times()) before.push_back(at_ms + to_wall_ms);
    user->sends->window = {};
    user->sends->last_ms = p_.now_ms();
  }
  auto wait = co_await p_.o.bus->take_send(id, settings.rate_limit_messages, settings.rate_limit_window.count(),
                                           std::move(before));
  co_return wait ? *wait : p_.people.take_send(id);
}

void Abroad::on_user(UserId id, std::string_view what, std::string_view body) {
  if (what == kMoved) {
    if (p_.people.find(id)) p_.o.scope.spawn(share(id, false));
  } else if (what == kSessionEnded) {
    if (auto session = SessionId::parse(body)) p_.people.end_session_here(id, *session);
  } else if (what == kProfile) {
    const Value* object = p_.scratch.parse(body);
    if (auto user = object ? read_user(*object) : std::nullopt) p_.people.changed_here(*user);
  } else if (what == kLeft) {
    if (auto room = RoomId::parse(body)) p_.people.left(id, *room);
  } else if (what == kJoined) {
    const auto space = body.find(' ');
    auto room = RoomId::parse(body.substr(0, space));
    std::uint64_t seq = 0;
    if (space != std::string_view::npos) std::from_chars(body.data() + space + 1, body.data() + body.size(), seq);
    if (room && seq != 0) p_.people.joined(id, *room, seq);
  } else if (what == kRead) {
    const auto space = std::min(body.find(' '), body.size());
    const auto room = RoomId::parse(body.substr(0, space));
    auto mark = room ? read_mark_text(*room, id, body.substr(std::min(space + 1, body.size()))) : std::nullopt;
    if (mark) p_.marks.heard(*mark);
  }
}

void Abroad::on_tick(std::int64_t now_ms) {
  if (!on()) return;
  check_some();
  if (to_say_.empty() && now_ms - said_ms_ >= kSayAgainMs) {
    said_ms_ = now_ms;
    p_.people.for_each([&](const HomeUser& user) {
      if (!user.connections.empty()) to_say_.push_back(user.id());
    });
  }
  for (std::size_t said = 0; said < kSaidAtOnce && !to_say_.empty(); ++said) {
    const UserId id = to_say_.back();
    to_say_.pop_back();
    if (!p_.people.find(id)) continue;
    p_.o.scope.spawn(share(id, again_));
    if (again_) p_.o.scope.spawn(read_notes(id));
  }
  if (to_say_.empty()) again_ = false;
}

}  // namespace ringline::chat
