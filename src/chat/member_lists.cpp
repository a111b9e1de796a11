// See member_lists.hpp.
#include "chat/member_lists.hpp"

#include <algorithm>

#include "chat/commands.hpp"

namespace ringline::chat {

namespace {

void write_here(Writer& out, const HomeMember& member) {
  HomeMember shown = member;
  if (shown.online == 0) shown.online = 1;  // he who joins is here, though his seat is still to come
  write_member(out, shown);
}

// Some of a large room's.
void write_some(Writer& out, const HomeRoom& room, UserId user) {
  std::size_t count = 1;
  write_here(out, *room.members.find(user));
  for (bool here : {true, false}) {
    for (const HomeMember& member : room.members) {
      if (count == MemberLists::kMembersMax) return;
      if (member.id() == user || member.is_here() != here) continue;
      write_member(out, member);
      ++count;
    }
  }
}

}  // namespace

MemberLists::List& MemberLists::list_of(const HomeRoom& room) {
  auto [entry, made] = lists_.try_emplace(room.room.id);
  List& list = entry->second;
  if (!made) return list;
  for (const HomeMember& member : room.members) list.members.push_back({.user = member.id(), .json = {}});
  if (lists_.size() > kListsMax) {
    auto other = lists_.begin();
    lists_.erase(other == entry ? std::next(other) : other);
  }
  return list;
}

void MemberLists::write(Writer& out, const HomeRoom& room, UserId user, std::int64_t now_ms) {
  static thread_local Writer one;
  out.begin_array();
  if (room.members.size() > kMembersMax) {
    write_some(out, room, user);
    out.end_array();
    return;
  }
  List& list = list_of(room);
  ASSERT(list.members.size() == room.members.size());
  list.used_ms = now_ms;
  for (Shown& shown : list.members) {
    if (shown.json) continue;
    const HomeMember& member = *room.members.find(shown.user);
    one.clear();
    write_member(one, member);
    shown.json = base::Blob::copy_of(one.view());
    shown.here = member.is_here();
  }
  for (bool here : {true, false}) {
    for (const Shown& shown : list.members) {
      if (shown.user == user && !shown.here) {
        if (here) write_here(out, *room.members.find(user));
      } else if (shown.here == here) {
        out.raw(shown.json.view());
      }
    }
  }
  out.end_array();
}

void MemberLists::changed(RoomId room, UserId user) {
  auto found = lists_.find(room);
  if (found == lists_.end()) return;
  std::vector<Shown>& members = found->second.members;
  auto shown = std::ranges::find(members, user, &Shown::user);
  if (shown != members.end()) {
    shown->json = {};
  } else if (members.size() < kMembersMax) {
    members.push_back({.user = user, .json = {}});
  } else {
    lists_.erase(found);
  }
}

void MemberLists::left(RoomId room, UserId user) {
  auto found = lists_.find(room);
  if (found != lists_.end()) std::erase_if(found->second.members, [&](const Shown& s) { return s.user == user; });
}

void MemberLists::on_tick(std::int64_t now_ms) {
  std::erase_if(lists_, [&](const auto& entry) {
    return now_ms - entry.second.used_ms > std::chrono::milliseconds(kKept).count();
  });
}

}  // namespace ringline::chat
