// Effects: what a committed event changes in its room, and what the homes of its users are told. It is read from the event alone, so that it is the same
// at the host where the event was made and at every other.
#pragma once

#include "chat/rooms.hpp"

namespace ringline::chat {

// room.last_seq is the event's. `card`: of the user whose membership changes, where it is at hand (shared, it takes no memory); null: he is read from the
// event. Returns who joined or left; 0: nobody. An event that cannot be read changes nothing but is said in the log: the store refuses it too.
UserId take_effect(Shard::Parts& p, HomeRoom& room, const Event& event, const UserCard& card);

// Tells the user's home that he is a member: it may not know, since somebody else was quicker to begin the room.
void tell_home(Shard::Parts& p, const HomeRoom& room, UserId user);
void tell_home_left(Shard::Parts& p, const HomeRoom& room, UserId user);

}  // namespace ringline::chat
