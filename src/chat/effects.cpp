// See effects.hpp.
#include "chat/effects.hpp"

#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::chat {

namespace {

using base::json::find;
using base::json::find_string;

struct Joined {
  UserCard user;
  MemberRole role;
};

std::optional<Joined> read_joined(base::json::Reader& json, const Event& event, const UserCard& card) {
  const Value* body = json.parse(event.body.view());
  const Value* member = body ? find(*body, "member") : nullptr;
  auto role = member ? find_string(*member, "role") : std::nullopt;
  auto known = role ? member_role(*role) : std::nullopt;
  if (!known) return std::nullopt;
  if (card) return Joined{card, *known};
  const Value* user = find(*member, "user");
  auto shown = user ? read_user(*user) : std::nullopt;
  if (!shown) return std::nullopt;
  return Joined{UserCard::of(*shown), *known};
}

UserId add_member(Parts& p, HomeRoom& room, const Event& event, const UserCard& card) {
  auto joined = read_joined(p.scratch, event, card);
  if (!joined) return {};
  const UserId user = joined->user->id;
  HomeMember& member =
      room.members.emplace(user, HomeMember{.member = {.user = user, .joined_ms = event.at_ms}, .user = joined->user})
          .first;
  member.member.role = joined->role;
  member.member.read_seq = event.seq;
  member.member.read_count = room.room.message_count;
  p.marks.apply(room, member);
  p.member_lists.changed(room.id(), user);
  if (!room.streamed) {
    tell_home(p, room, user);
    return user;
  }
  // He may have left in this commit too: the seats that he had go with that event, and only then may he take others.
  p.sequencer.after_commit([&p, user, id = room.id(), seq = event.seq] {
    HomeRoom* joined = p.rooms.find(id);
    if (!joined || !joined->find(user)) return;
    p.on(p.home(user), [user, id, seq](Parts& there) { there.people.joined(user, id, seq); });
  });
  return user;
}

void remove_member(Parts& p, HomeRoom& room, UserId user) {
  if (HomeMember* gone = room.find(user); gone && gone->online > 0) --room.online_users;
  room.members.erase(user);
  p.member_lists.left(room.id(), user);
  tell_home_left(p, room, user);
}

}  // namespace

namespace {

bool made_here(const Parts& p, const Event& event) { return p.abroad.on() && event.id.host() == p.o.host; }

}  // namespace

void tell_home(Parts& p, const HomeRoom& room, UserId user) {
  p.on(p.home(user), [user, id = room.id(), seq = std::max<std::uint64_t>(room.room.last_seq, 1)](Parts& there) {
    there.people.joined(user, id, seq);
  });
}

void tell_home_left(Parts& p, const HomeRoom& room, UserId user) {
  p.on(p.home(user), [user, id = room.id()](Parts& there) { there.people.left(user, id); });
}

UserId take_effect(Parts& p, HomeRoom& room, const Event& event, const UserCard& card) {
  UserId subject;
  switch (event.kind) {
    case EventKind::room_created:
      for (const HomeMember& member : room.members) {
        tell_home(p, room, member.id());
        if (made_here(p, event)) p.abroad.joined(member.id(), room.id(), event.seq);
      }
      return {};
    case EventKind::member_joined:
      subject = add_member(p, room, event, card);
      if (subject && made_here(p, event)) p.abroad.joined(subject, room.id(), event.seq);
      break;
    case EventKind::member_left:
      subject = card ? card->id : subject_of(p.scratch, event);
      if (subject) remove_member(p, room, subject);
      if (subject && made_here(p, event)) p.abroad.left(subject, room.id());
      break;
    case EventKind::message_created:
    case EventKind::message_edited:
    case EventKind::message_deleted:
    case EventKind::reaction_added:
    case EventKind::reaction_removed:
    case EventKind::message_pinned:
    case EventKind::message_unpinned:
    case EventKind::room_updated:
    case EventKind::room_deleted:
    case EventKind::role_changed:
      return {};
  }
  if (!subject) base::log::error("event_not_understood", {{"room", room.id().text()}, {"seq", event.seq}});
  return subject;
}

}  // namespace ringline::chat
