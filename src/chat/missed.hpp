// Missed: what connections without room did not get of presence. What else passes (typing) ends by itself and may be lost; presence holds until the next
// change. So its last state is kept for the connection, once for each user or room however often it changed, and told when there is room again.
//
// Invariant: a state that is told is never older than one of the same user or room that was told before. Answers and changes come from a user's home by
// the same mail, in order, and what an answer says is told before anything later is.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "chat/delivery.hpp"

namespace ringline::chat {

class Missed {
 public:
  explicit Missed(Shard::Parts& parts) : p_(parts) {}

  void keep(ConnectionId connection, const std::vector<PassingState>& states);
  // The connection has room.
  void tell(Session& session);
  void forget(ConnectionId connection) { missed_.erase(connection); }

 private:
  struct OfOne {
    std::unordered_map<std::uint64_t, PassingState> states;
    bool too_many = false;      // above limits::kMissedStates: all that it may see is asked for again,
    std::vector<RoomId> rooms;  // room by room: these are still to come
    bool asking = false;
  };

  bool send(Session& session, OfOne& one);
  bool took(ConnectionId connection, const std::vector<PassingState>& states);
  base::Task<void> ask_rooms(ConnectionId connection);
  base::Task<bool> ask_room(ConnectionId connection, RoomId room);

  Shard::Parts& p_;
  std::unordered_map<ConnectionId, OfOne> missed_;
};

}  // namespace ringline::chat
