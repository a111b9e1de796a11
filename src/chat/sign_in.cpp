// Sign-in of a connection: token or guest -> admission at the user's home -> a seat in each of his rooms -> `ready` -> what he missed.
#include <algorithm>
#include <map>

#include "chat/commands.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/accounts.hpp"

namespace ringline::chat {

namespace {

// Who signs in, and with what.
struct Entrance {
  UserId user;
  SessionId session;
  std::int64_t expires_ms = 0;
  std::optional<SignedIn> made;  // a guest that was made now: his tokens go into `ready`
};

// A connection that comes back by Socket.IO's recovery needs no other proof than its pid; a token that it shows must be of the same user.
std::optional<Entrance> enter_again(Parts& p, const ConnectData& data, const CutOff& cut_off) {
  if (data.has_token) {
    auto claims = p.o.tokens.verify(data.token, base::wall_ms());
    if (!claims || claims->user != cut_off.user) return {};
  }
  return Entrance{.user = cut_off.user, .session = cut_off.session, .expires_ms = cut_off.token_expires_ms, .made = {}};
}

Task<Result<Entrance>> enter(Parts& p, std::string address, ConnectData data) {
  if (data.has_token) {
    auto claims = p.o.tokens.verify(data.token, base::wall_ms());
    if (!claims) co_return std::unexpected(claims.error());
    if (!claims->user) co_return base::fail_auth("token_invalid", "this token names no user");
    co_return Entrance{.user = claims->user, .session = claims->session, .expires_ms = claims->expires_ms, .made = {}};
  }
  auto guest = co_await make_guest(p, std::move(data.name), std::move(address));
  if (!guest) co_return std::unexpected(guest.error());
  Entrance entrance{.user = guest->user->id, .session = guest->session, .expires_ms = guest->expires_ms, .made = {}};
  entrance.made = std::move(*guest);
  co_return entrance;
}

using Subscriptions = std::vector<Subscription>;

// At the home core of these rooms: a subscription for each that is still the user's. All are made at once, when the last room is loaded: deliveries follow
// the answer on its way, and may not overtake a part of it. None: a room cannot be loaded, and `ready` would lack it.
Task<void> subscribe_all(Parts& home, std::vector<std::pair<RoomId, Subscribe>> wanted,
                         Answer<std::optional<Subscriptions>> reply) {
  Subscriptions result;
  for (const auto& [room, request] : wanted) {
    auto loading = ask<bool>(home, home.o.core, [id = room](Parts& there, Answer<bool> loaded) {
      there.rooms.with(id, [&there, loaded](Result<HomeRoom*> found) {
        loaded(there, found.has_value() || found.error().code == Errc::not_found);
      });
    });
    bool known = co_await loading;
    if (!known) {
      reply(home, std::nullopt);
      co_return;
    }
  }
  for (const auto& [room, request] : wanted)
    if (HomeRoom* found = home.rooms.find(room)) result.push_back(home.rooms.subscribe(*found, request));
  reply(home, std::move(result));
}

struct Subscribed {
  Subscriptions rooms;
  bool complete = true;
};

// A place is held for each that comes back.
Task<Subscribed> subscribe_to(Parts& p, ConnectionId connection, UserId user, Wire wire, std::vector<RoomId> rooms,
                              std::vector<ResumePoint> resume) {
  std::map<unsigned, std::vector<std::pair<RoomId, Subscribe>>> by_home;
  for (RoomId id : rooms) {
    Subscribe request{.connection = connection, .user = user, .core = p.o.core};
    for (const ResumePoint& point : resume) {
      if (point.room != id) continue;
      request.from_seq = point.seq + 1;
      request.epoch = point.epoch;
    }
    by_home[p.home(id)].emplace_back(id, request);
  }
  Subscribed all;
  for (auto& [home, wanted] : by_home) {
    auto asking = ask<std::optional<Subscriptions>>(
        p, home, [list = std::move(wanted)](Parts& there, Answer<std::optional<Subscriptions>> reply) mutable {
          there.o.scope.spawn(subscribe_all(there, std::move(list), reply));
        });
    std::optional<Subscriptions> some = co_await asking;
    if (!some) {
      all.complete = false;
      co_return all;
    }
    std::erase_if(*some, [](const Subscription& subscription) { return !subscription.member; });
    for (const Subscription& subscription : *some) p.delivery.hold(connection, user, wire, subscription);
    std::ranges::move(*some, std::back_inserter(all.rooms));
  }
  co_return all;
}

void unsubscribe(Parts& p, UserId user, RoomId room) {
  p.delivery.drop_if_empty(room);
  p.on(p.home(room), [room, user, core = p.o.core](Parts& there) { there.rooms.unsubscribe(room, user, core); });
}

void undo(Parts& p, UserId user, ConnectionId connection, const Subscriptions& subscriptions) {
  for (const Subscription& subscription : subscriptions) {
    p.delivery.take_held(connection, subscription.room);
    unsubscribe(p, user, subscription.room);
  }
  p.on(p.home(user), [user, connection](Parts& there) { there.people.leave(user, connection); });
}

void write_limits(Writer& out, const base::Settings& settings) {
  out.begin_object().key("textLength").unsigned_integer(settings.text_points);
  out.key("frameBytes").unsigned_integer(settings.frame_bytes);
  out.key("messages").unsigned_integer(settings.rate_limit_messages);
  out.key("messagesWindowMs").integer(settings.rate_limit_window.count());
  out.key("fileBytes").unsigned_integer(settings.file_bytes).end_object();
}

void send_ready(Parts& p, Session& session, Subscriptions& subscriptions, const Entrance& entrance) {
  std::ranges::sort(subscriptions, std::greater{}, &Subscription::active_ms);
  Writer out;
  out.begin_object().key("protocol").integer(1).key("user");
  write_user(out, *session.user, Status::online, true);
  out.key("sessionId").id(session.session).key("connectionId").id(session.id).key("rooms").begin_array();
  std::size_t shown = std::min(subscriptions.size(), base::limits::kReadyRooms);
  for (std::size_t i = 0; i < shown; ++i) out.raw(subscriptions[i].room_json);
  out.end_array();
  if (shown < subscriptions.size()) out.key("roomsCursor").string(subscriptions[shown - 1].room.text());
  if (entrance.made) write_tokens(out.key("tokens"), *entrance.made);
  out.key("serverTime").time(base::wall_ms()).key("limits");
  write_limits(out, p.o.settings);
  out.end_object();
  session.out.send_event("ready", out.view());
}

std::vector<Delivery::Resumed> resumed_rooms(const Subscriptions& subscriptions,
                                             const std::vector<ResumePoint>& resume) {
  std::vector<Delivery::Resumed> rooms;
  for (const ResumePoint& point : resume) {
    auto found = std::ranges::find(subscriptions, point.room, &Subscription::room);
    bool known = found != subscriptions.end();
    rooms.push_back({.room = point.room,
                     .from = point.seq,
                     .to = known ? found->last_seq : point.seq,
                     .epoch = known ? found->epoch : point.epoch,
                     .complete = known && found->complete});
  }
  return rooms;
}

void refuse(Parts& p, ConnectionId connection, const ReplyTag& tag, const Error& error,
            std::optional<CloseCode> close) {
  Session* session = p.o.around.find(connection);
  if (!session || session->state != Session::State::signing_in) return;
  session->state = Session::State::fresh;
  p.marks.forget(connection);
  session->out.refused(tag, error, close);
}

// Seats the session where its user has not left meanwhile.
void take_seats(Parts& p, Session& session, Subscriptions& subscriptions) {
  std::erase_if(subscriptions, [&](Subscription& subscription) {
    bool seated =
        std::ranges::any_of(session.seats, [&](const Session::Seat& s) { return s.room->id() == subscription.room; });
    ASSERT(!seated);
    if (p.delivery.take_held(session.id, subscription.room)) {
      p.delivery.seat(session, subscription);
      return false;
    }
    unsubscribe(p, session.user->id, subscription.room);
    return true;
  });
}

Task<void> sign_in(Parts& p, ConnectionId connection, Wire wire, std::string address, ReplyTag tag, ConnectData data) {
  std::vector<ResumePoint> resume = data.resume;
  bool has_resume = data.has_resume;
  std::optional<Restored> restored;
  std::optional<Entrance> again;
  if (!data.pid.empty()) {
    restored = co_await p.recovery.restore(data.pid, data.offset);
    if (restored) again = enter_again(p, data, restored->cut_off);
  }
  Result<Entrance> entrance;
  if (again) {
    entrance = std::move(*again);
    resume = restored->points;
    has_resume = true;
  } else {
    entrance = co_await enter(p, std::move(address), std::move(data));
  }
  if (!entrance) {
    refuse(p, connection, tag, entrance.error(), close_code_of(entrance.error()));
    co_return;
  }
  UserId user = entrance->user;
  auto asking = ask<Admission>(
      p, p.home(user), [user, session = entrance->session, connection](Parts& there, Answer<Admission> reply) {
        there.o.scope.spawn(
            [](Parts& home, UserId who, SessionId which, ConnectionId from, Answer<Admission> answer) -> Task<void> {
              Admission admission = co_await home.people.admit(who, which, from);
              answer(home, std::move(admission));
            }(there, user, session, connection, reply));
      });
  Admission admission = co_await asking;
  if (admission.error) {
    refuse(p, connection, tag, *admission.error, admission.close);
    co_return;
  }
  Subscribed subscribed = co_await subscribe_to(p, connection, user, wire, admission.rooms, resume);
  Subscriptions& subscriptions = subscribed.rooms;
  Session* session = p.o.around.find(connection);
  if (!session || session->state != Session::State::signing_in || !subscribed.complete) {
    undo(p, user, connection, subscriptions);
    // Refuses only who is still there.
    refuse(p, connection, tag,
           base::fail_later(Errc::unavailable, 1000, "your rooms cannot be read; try again").error(), std::nullopt);
    co_return;
  }
  session->state = Session::State::ready;
  session->user = admission.card;
  session->session = entrance->session;
  session->token_expires_ms = entrance->expires_ms;
  p.expiries[entrance->expires_ms / 1000].push_back(connection);
  ++p.o.metrics.sessions;
  take_seats(p, *session, subscriptions);
  if (p.recovery.on()) {
    // Recovered is only who misses nothing.
    bool whole = again && std::ranges::all_of(resumed_rooms(subscriptions, resume), &Delivery::Resumed::complete);
    session->recovery = std::make_unique<RecoveryIds>(whole ? restored->cut_off.ids : p.recovery.make_ids());
  }
  session->out.signed_in(tag);
  send_ready(p, *session, subscriptions, *entrance);
  p.marks.tell_held(*session);
  for (const Subscription& subscription : subscriptions) p.delivery.tell_anew(*session, subscription);
  // A room that he joined by another connection while this one was signing in.
  p.on(p.home(user), [user, connection](Parts& there) { there.people.hear_all(user, connection); });
  if (has_resume) {
    p.delivery.start_resume(*session, resumed_rooms(subscriptions, resume));
  } else {
    p.delivery.feed(*session);  // what was delivered since the subscription
  }
}

}  // namespace

void Shard::connect(Session& session, const ReplyTag& tag, ConnectData data) {
  ASSERT(session.state == Session::State::fresh);
  session.state = Session::State::signing_in;
  parts_->o.scope.spawn(sign_in(*parts_, session.id, session.out.wire(), session.out.address(), tag, std::move(data)));
}

void Shard::disconnected(Session& session) {
  Parts& p = *parts_;
  bool was_ready = session.state == Session::State::ready;
  session.state = Session::State::gone;
  p.marks.forget(session.id);
  if (!was_ready) return;
  --p.o.metrics.sessions;
  std::erase(p.stats_watchers, session.id);
  p.recovery.keep(session);
  p.delivery.unseat_all(session);
  p.missed.forget(session.id);
  p.on(p.home(session.user->id),
       [user = session.user->id, connection = session.id](Parts& there) { there.people.leave(user, connection); });
}

}  // namespace ringline::chat
