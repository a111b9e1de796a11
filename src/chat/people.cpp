// See people.hpp.
#include "chat/people.hpp"

#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::chat {

namespace {

constexpr std::int64_t kKeepOfflineMs = 60 * 1000;  // a user without connections stays loaded
constexpr std::int64_t kActiveMs = 5 * 60 * 1000;
constexpr std::int64_t kSweepEveryMs = 10 * 1000;
constexpr std::int64_t kPresenceEveryMs = 1000;  // at most one presence_changed a user
constexpr std::int64_t kGuestWindowMs = 60 * 1000;
constexpr std::int64_t kRestWindowMs = 60 * 1000;
constexpr std::size_t kUserCallsWaiting = 1024;

}  // namespace

std::uint32_t RateWindow::take(std::int64_t now_ms, unsigned limit, std::int64_t window_ms) {
  if (times_.size() < limit) {
    times_.push_back(now_ms);
    return 0;
  }
  std::int64_t free_at = times_[oldest_] + window_ms;
  if (free_at > now_ms) return static_cast<std::uint32_t>(free_at - now_ms);
  times_[oldest_] = now_ms;
  oldest_ = (oldest_ + 1) % times_.size();
  return 0;
}

bool RateWindow::empty_at(std::int64_t now_ms, std::int64_t window_ms) const noexcept {
  if (times_.empty()) return true;
  std::int64_t newest = times_[(oldest_ + times_.size() - 1) % times_.size()];
  return newest + window_ms <= now_ms;
}

namespace {

std::uint32_t seconds(std::int64_t ms) noexcept { return static_cast<std::uint32_t>(ms / 1000); }

}  // namespace

void People::introduce(const User& user, SessionId session) {
  auto [home, is_new] = users_.emplace(user.id, user.id);
  if (is_new) {
    home.card = UserCard::of(user);
    home.last_seen_ms = user.last_seen_ms;
    home.idle_since_s = seconds(p_.now_ms());
    p_.abroad.loaded(user.id);
  }
  if (session) home.live_sessions.push_back(session);
}

void People::with(UserId id, Waiting then) {
  if (HomeUser* user = find(id)) return then(user);
  auto& waiting = loading_[id];
  if (waiting.size() >= kUserCallsWaiting)
    return then(base::fail_later(Errc::unavailable, 1000, "the account is being loaded; try again"));
  waiting.push_back(std::move(then));
  if (waiting.size() == 1) p_.o.scope.spawn(load(id));
}

// What the logs hold of his memberships is asked for before the store is: an event that moves from one to the other in between is then seen at least once.
base::Task<void> People::load(UserId id) {
  using Changes = std::vector<std::pair<RoomId, bool>>;
  changed_while_loading_[id].clear();
  p_.abroad.loaded(id);  // what is told from now on is heard
  Changes changes;
  for (unsigned core = 0; core < p_.o.cores; ++core) {
    auto asking = ask<Changes>(
        p_, core, [id](Parts& there, Answer<Changes> answer) { answer(there, there.ingest.memberships_of(id)); });
    Changes more = co_await asking;
    changes.insert(changes.end(), more.begin(), more.end());
  }
  auto account = co_await p_.o.store.find_account(id);
  if (!account) {
    finish_load(id, std::unexpected(account.error()));
    co_return;
  }
  auto rooms = co_await p_.o.store.rooms_of(id);
  if (!rooms) {
    finish_load(id, std::unexpected(rooms.error()));
    co_return;
  }
  if (p_.abroad.on()) {
    auto recent = co_await p_.o.bus->recent_notes(id);
    if (recent) changes.insert(changes.end(), recent->memberships.begin(), recent->memberships.end());
    std::vector<ReadMark> noted;
    if (recent) noted = std::move(recent->marks);
    co_await p_.marks.catch_up(id, std::move(noted));
  }
  introduce(account->user, SessionId{});
  HomeUser& user = *find(id);
  user.banned = account->banned;
  for (RoomId room : *rooms) user.rooms.push_back({room});
  Changes& later = changed_while_loading_[id];
  changes.insert(changes.end(), later.begin(), later.end());
  for (auto [room, is_in] : changes) {
    user.rooms.erase_if([&](const HomeUser::InRoom& in) { return in.id == room; });
    if (is_in) user.rooms.push_back({room});
  }
  finish_load(id, &user);
}

void People::finish_load(UserId id, base::Result<HomeUser*> user) {
  if (!find(id)) p_.abroad.unloaded(id);
  changed_while_loading_.erase(id);
  std::vector<Waiting> waiting = std::move(loading_[id]);
  loading_.erase(id);
  for (Waiting& then : waiting) then(user);
}

namespace {

// Awaits the user's being in memory, on his home core.
struct Loaded {
  People& people;
  UserId id;
  std::optional<base::Result<HomeUser*>> user;
  std::coroutine_handle<> waiting;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    people.with(id, [this](base::Result<HomeUser*> loaded) {
      user = loaded;
      if (waiting) waiting.resume();
    });
    if (user) return false;
    waiting = handle;
    return true;
  }
  base::Result<HomeUser*> await_resume() const { return *user; }
};

}  // namespace

base::Task<base::Result<UserCard>> People::check(UserId id, SessionId session) {
  Loaded loading{*this, id, {}, {}};
  auto user = co_await loading;
  if (!user && user.error().code == Errc::not_found)
    co_return base::fail_auth("token_invalid", "the account of this token does not exist");
  if (!user) co_return std::unexpected(user.error());
  (*user)->idle_since_s = seconds(p_.now_ms());
  if ((*user)->banned) co_return base::fail_auth("banned", "this account is banned");
  bool alive = !session || std::ranges::find((*user)->live_sessions, session) != (*user)->live_sessions.end();
  if (alive && !(*user)->doubted && p_.abroad.hears(id)) co_return (*user)->card;
  auto stored = co_await p_.o.store.find_session(session);
  if (!stored && stored.error().code != Errc::not_found) co_return std::unexpected(stored.error());
  HomeUser* again = find(id);
  if (!stored || stored->user != id || !again)
    co_return base::fail_auth("session_ended", "this session has ended; sign in again");
  if (std::ranges::find(again->live_sessions, session) == again->live_sessions.end())
    again->live_sessions.push_back(session);
  co_return again->card;
}

std::optional<CloseCode> close_code_of(const Error& error) noexcept {
  if (error.reason == "token_expired") return CloseCode::token_expired;
  if (error.reason == "token_invalid") return CloseCode::token_invalid;
  if (error.reason == "session_ended") return CloseCode::session_ended;
  if (error.reason == "banned") return CloseCode::banned;
  return std::nullopt;  // it may try again
}

base::Task<Admission> People::admit(UserId id, SessionId session, ConnectionId connection) {
  Admission admission;
  auto card = co_await check(id, session);
  if (!card) {
    admission.error = card.error();
    admission.close = close_code_of(card.error());
    co_return admission;
  }
  HomeUser& user = *find(id);
  unsigned limit = p_.o.settings.connections_per_user;
  if (limit != 0 && user.connections.size() >= limit) {
    admission.error = base::fail_later(Errc::rate_limited, 60'000, "too many connections of this user").error();
    admission.close = CloseCode::too_many_connections;
    co_return admission;
  }
  user.connections.push_back(connection);
  if (user.connections.size() == 1) {
    ++online_;
    user.status = Status::online;
    p_.abroad.changed(user);
  }
  admission.card = user.card;
  for (const HomeUser::InRoom& in : user.rooms) admission.rooms.push_back(in.id);
  co_return admission;
}

void People::leave(UserId id, ConnectionId connection) {
  HomeUser* user = find(id);
  if (!user || user->connections.erase(connection) == 0) return;
  if (!user->connections.empty()) return;
  --online_;
  user->status = Status::offline;
  user->last_seen_ms = base::wall_ms();
  user->idle_since_s = seconds(p_.now_ms());
  p_.abroad.changed(*user);
}

void People::end_session(UserId id, SessionId session) {
  end_session_here(id, session);
  p_.abroad.session_ended(id, session);
}

void People::end_session_here(UserId id, SessionId session) {
  HomeUser* user = find(id);
  if (!user) return;
  user->live_sessions.erase(session);
  for (ConnectionId connection : user->connections) {
    p_.on(connection.core(), [connection, session](Parts& there) {
      Session* ended = there.o.around.find(connection);
      if (ended && ended->session == session) ended->out.close(CloseCode::session_ended, "this session has ended");
    });
  }
}

void People::changed(const User& changed) {
  changed_here(changed);
  p_.abroad.profile_changed(changed);
}

void People::changed_here(const User& changed) {
  HomeUser* user = find(changed.id);
  if (!user) return;
  user->card = UserCard::of(changed);
  for (ConnectionId connection : user->connections) {
    p_.on(connection.core(), [connection, card = user->card](Parts& there) {
      Session* session = there.o.around.find(connection);
      if (session && session->state == Session::State::ready) session->user = card;
    });
  }
  for (const HomeUser::InRoom& in : user->rooms) {
    p_.on(p_.home(in.id), [room = in.id, card = user->card](Parts& there) {
      HomeRoom* loaded = there.rooms.find(room);
      HomeMember* member = loaded ? loaded->find(card->id) : nullptr;
      if (!member) return;
      member->user = card;
      there.member_lists.changed(room, card->id);
    });
  }
}

std::uint32_t People::take_send(UserId id) {
  HomeUser* user = find(id);
  if (!user) return 0;  // signing in loaded him, and keeps him a minute after his last call
  if (!user->sends) user->sends = std::make_unique<Sends>();
  user->sends->last_ms = p_.now_ms();
  const base::Settings& settings = p_.o.settings;
  if (settings.rate_limit_messages == 0) return 0;
  return user->sends->window.take(p_.now_ms(), settings.rate_limit_messages, settings.rate_limit_window.count());
}

std::uint32_t People::take_guest(const std::string& address) {
  return guests_[address].take(p_.now_ms(), p_.o.settings.rate_limit_guests, kGuestWindowMs);
}

RateVerdict People::take_rest(const std::string& who, bool changes) {
  unsigned limit = changes ? p_.o.settings.rate_limit_api_writes : p_.o.settings.rate_limit_api_reads;
  if (limit == 0) return {};
  std::int64_t now = p_.now_ms();
  RestWindow& window = rest_[who + (changes ? "+" : "-")];
  if (now - window.began_ms >= kRestWindowMs) window = {.began_ms = now};
  RateVerdict verdict{.limit = limit};
  verdict.allowed = window.calls < limit;
  if (verdict.allowed) ++window.calls;
  verdict.remaining = limit - window.calls;
  verdict.reset_s = static_cast<std::uint32_t>((window.began_ms + kRestWindowMs - now + 999) / 1000);
  return verdict;
}

void People::joined(UserId id, RoomId room, std::uint64_t from_seq) {
  if (auto loading = changed_while_loading_.find(id); loading != changed_while_loading_.end())
    loading->second.emplace_back(room, true);
  HomeUser* user = find(id);
  if (!user) return;
  if (std::ranges::find(user->rooms, room, &HomeUser::InRoom::id) == user->rooms.end())
    user->rooms.push_back({room, from_seq});
  for (ConnectionId connection : user->connections) {
    p_.on(connection.core(),
          [connection, id, room, from_seq](Parts& there) { there.delivery.hear(connection, id, room, from_seq); });
  }
}

void People::left(UserId id, RoomId room) {
  if (auto loading = changed_while_loading_.find(id); loading != changed_while_loading_.end())
    loading->second.emplace_back(room, false);
  if (HomeUser* user = find(id)) user->rooms.erase_if([&](const HomeUser::InRoom& in) { return in.id == room; });
}

void People::hear_all(UserId id, ConnectionId connection) {
  HomeUser* user = find(id);
  if (!user) return;
  p_.on(connection.core(), [id, connection, rooms = user->rooms](Parts& there) {
    for (const HomeUser::InRoom& in : rooms) there.delivery.hear(connection, id, in.id, in.joined_seq);
  });
}

PassingState People::presence(UserId user, Status status, std::int64_t last_seen_ms) {
  Writer& out = p_.body;
  out.clear();
  out.begin_object().key("userId").id(user).key("status").string(name_of(status));
  out.key("lastSeen").time(last_seen_ms).end_object();
  return {.of = user.value, .name = "presence_changed", .body = base::Blob::copy_of(out.view())};
}

PassingState People::presence(const HomeUser& user) {
  const Status status = user.status == Status::offline && user.elsewhere ? Status::online : user.status;
  return presence(user.id(), status, user.last_seen_ms);
}

// Who is not in memory has been away for a while.
std::vector<PassingState> People::presence_of(const std::vector<UserCard>& cards) {
  std::vector<PassingState> states;
  for (const UserCard& card : cards) {
    const HomeUser* user = find(card->id);
    states.push_back(user ? presence(*user) : presence(card->id, Status::offline, card->last_seen_ms));
  }
  return states;
}

void People::show_presence(HomeUser& user) {
  if (user.told != HomeUser::Told::no) {
    user.told = HomeUser::Told::due;
    return;
  }
  user.told = HomeUser::Told::just_now;
  told_.emplace_back(p_.now_ms(), user.card->id);
  PassingState state = presence(user);
  for (unsigned core = 0; core < p_.o.cores; ++core) {
    p_.on(core, [rooms = user.rooms, state](Parts& there) {
      for (const HomeUser::InRoom& in : rooms) {
        LocalRoom* local = there.delivery.find(in.id);
        if (local && local->member_count <= base::limits::kPresenceRoomMembers) there.delivery.show(in.id, state);
      }
    });
  }
  if (!p_.abroad.on()) return;
  for (const HomeUser::InRoom& in : user.rooms)
    p_.on(p_.home(in.id), [id = in.id, state](Parts& there) { there.rooms.pass_presence(id, state); });
}

std::size_t People::active(std::int64_t now_ms) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      users_, [&](const HomeUser& user) { return user.sends && now_ms - user.sends->last_ms < kActiveMs; }));
}

void People::show_due(std::int64_t now_ms) {
  while (!told_.empty() && now_ms - told_.front().first >= kPresenceEveryMs) {
    HomeUser* user = find(told_.front().second);
    told_.pop_front();
    if (user && std::exchange(user->told, HomeUser::Told::no) == HomeUser::Told::due) show_presence(*user);
  }
}

// What nobody asks for any more goes.
void People::sweep(std::int64_t now_ms) {
  std::int64_t window = p_.o.settings.rate_limit_window.count();
  for (HomeUser& user : users_) {
    bool over = user.sends && user.sends->window.empty_at(now_ms, window) && now_ms - user.sends->last_ms >= kActiveMs;
    if (over) user.sends.reset();
  }
  erase_if(users_, [&](const HomeUser& user) {
    bool counts = user.sends && !user.sends->window.empty_at(now_ms, window);
    bool goes = user.connections.empty() && user.told == HomeUser::Told::no && !counts &&
                seconds(now_ms) - user.idle_since_s > kKeepOfflineMs / 1000;
    if (goes) p_.abroad.unloaded(user.id());
    return goes;
  });
  std::erase_if(rest_, [&](const auto& entry) { return now_ms - entry.second.began_ms >= kRestWindowMs; });
  std::erase_if(guests_, [&](const auto& entry) { return entry.second.empty_at(now_ms, kGuestWindowMs); });
}

void People::on_tick(std::int64_t now_ms) {
  show_due(now_ms);
  if (now_ms - swept_ms_ < kSweepEveryMs) return;
  swept_ms_ = now_ms;
  sweep(now_ms);
}

}  // namespace ringline::chat
