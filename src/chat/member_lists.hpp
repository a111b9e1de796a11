// Members as `join` shows them, encoded once and kept for a moment: who joins a room is soon followed by others, and after a cut by all of it.
//
// Who changes a member (his card, role, presence) says so, and he is encoded again when the list is shown next. A room without a list here costs nothing.
// Invariant: a list holds exactly the room's members, in any order.
#pragma once

#include <chrono>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "ringline/base/blob.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/chat/objects.hpp"

namespace ringline::chat {

struct HomeRoom;

class MemberLists {
 public:
  static constexpr std::size_t kMembersMax =
      base::limits::kJoinMembers;                  // a larger room has no list, and shows some of its members
  static constexpr std::size_t kListsMax = 128;    // of a core; above, one gives way
  static constexpr std::chrono::seconds kKept{1};  // after its last use

  // The array of members for `user`, who is one and counts as being here; who is here comes first.
  void write(base::json::Writer& out, const HomeRoom& room, UserId user, std::int64_t now_ms);
  // A member: he joined, or is shown otherwise now.
  void changed(RoomId room, UserId user);
  void left(RoomId room, UserId user);
  void forget(RoomId room) { lists_.erase(room); }
  void on_tick(std::int64_t now_ms);

 private:
  struct Shown {
    UserId user;
    bool here = false;
    base::Blob json;  // none: to be made again
  };
  struct List {
    std::vector<Shown> members;
    std::int64_t used_ms = 0;
  };
  List& list_of(const HomeRoom& room);

  std::unordered_map<RoomId, List> lists_;
};

}  // namespace ringline::chat
