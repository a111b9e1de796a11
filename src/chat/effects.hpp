// Effects: what a committed event changes in its room, and what the homes of its users are told. It is read from the event alone, so that it is the same
// at the host where the event was made and at every other.
#pragma once

#include "chat/rooms.hpp"

namespace ringline::chat {

// room.last_seq is the event's. `subject`: whose membership changes; 0: nobody's. `card`: the subject's, where it is at hand (shared, it takes no memory);
// null: it is read from the event. An event that cannot be read changes nothing but is said in the log: the store refuses it too (a dead letter).
void take_effect(Shard::Parts& p, HomeRoom& room, const Event& event, UserId subject, const UserCard& card);

// Tells the user's home that he is a member: it may not know, since somebody else was quicker to begin the room.
void tell_home(Shard::Parts& p, const HomeRoom& room, UserId user);

}  // namespace ringline::chat
