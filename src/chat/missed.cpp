// See missed.hpp.
#include "chat/missed.hpp"

#include "chat/parts.hpp"

namespace ringline::chat {

void Missed::keep(ConnectionId connection, const std::vector<PassingState>& states) {
  if (states.empty()) return;
  OfOne& one = missed_[connection];
  for (const PassingState& state : states) {
    if (one.too_many) return;
    one.states.insert_or_assign(state.of, state);
    if (one.states.size() <= base::limits::kMissedStates) continue;
    one.states.clear();
    one.too_many = true;
  }
}

void Missed::tell(Session& session) {
  auto found = missed_.find(session.id);
  if (found == missed_.end()) return;
  OfOne& one = found->second;
  if (!send(session, one) || one.asking) return;
  if (!one.too_many && one.rooms.empty()) {
    missed_.erase(found);
    return;
  }
  one.asking = true;
  p_.o.scope.spawn(ask_rooms(session.id));
}

// Whether all of it was taken.
bool Missed::send(Session& session, OfOne& one) {
  while (!one.states.empty()) {
    if (!session.out.has_room()) return false;
    base::ChunkRef chunk = p_.chunks.take();
    auto end = one.states.begin();
    for (; end != one.states.end() && chunk->bytes.size() < base::limits::kFeedBytes; ++end) {
      const PassingState& state = end->second;
      p_.o.framer.append_event(chunk->bytes, session.out.wire(), state.name, state.body.view());
    }
    if (!session.out.send_shared(chunk, 0, static_cast<std::uint32_t>(chunk->bytes.size()))) return false;
    one.states.erase(one.states.begin(), end);
  }
  return true;
}

// Answers of a room: at most limits::kPresenceRoomMembers, so they need no other bound. False: the connection is gone, or has no room.
bool Missed::took(ConnectionId connection, const std::vector<PassingState>& states) {
  auto found = missed_.find(connection);
  Session* session = p_.o.around.find(connection);
  if (found == missed_.end() || !session) return false;
  for (const PassingState& state : states) found->second.states.insert_or_assign(state.of, state);
  return send(*session, found->second);
}

base::Task<void> Missed::ask_rooms(ConnectionId connection) {
  for (bool has_room = true; has_room;) {
    auto found = missed_.find(connection);
    Session* session = p_.o.around.find(connection);
    if (found == missed_.end() || !session) co_return;
    OfOne& one = found->second;
    if (std::exchange(one.too_many, false)) {
      one.rooms.clear();
      for (const Session::Seat& seat : session->seats) one.rooms.push_back(seat.room->id());
    }
    if (one.rooms.empty()) {
      missed_.erase(found);
      co_return;
    }
    RoomId room = one.rooms.back();
    one.rooms.pop_back();
    has_room = co_await ask_room(connection, room);
  }
  // Goes on with the rooms that are left when it has drained.
  if (auto found = missed_.find(connection); found != missed_.end()) found->second.asking = false;
}

base::Task<bool> Missed::ask_room(ConnectionId connection, RoomId room) {
  auto asking = ask<RoomPresence>(p_, p_.home(room), [room](Parts& there, Answer<RoomPresence> answer) {
    answer(there, there.rooms.presence(room));
  });
  RoomPresence seen = co_await asking;
  if (!took(connection, seen.count) && !seen.count.empty()) co_return false;
  bool has_room = true;
  for (unsigned core = 0; core < p_.o.cores; ++core) {
    std::vector<UserCard> cards;
    for (const UserCard& card : seen.members)
      if (p_.home(card->id) == core) cards.push_back(card);
    if (cards.empty()) continue;
    auto asking_home =
        ask<std::vector<PassingState>>(p_, core, [cards](Parts& there, Answer<std::vector<PassingState>> answer) {
          answer(there, there.people.presence_of(cards));
        });
    std::vector<PassingState> states = co_await asking_home;
    has_room = took(connection, states);
  }
  co_return has_room;
}

}  // namespace ringline::chat
