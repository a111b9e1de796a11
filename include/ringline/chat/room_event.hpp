// What is read back from a room event's body, for events that this host did not make.
#pragma once

#include <optional>
#include <string>

#include "ringline/base/json.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::chat {

// What the store has of an event is its body, which has all of it.
std::optional<RoomEvent> read_event(base::json::Reader& json, RoomId room, const StoredEvent& stored);
// An event with what is looked for in it.
RoomEvent room_event(base::json::Reader& json, Event event);
// Whose membership it changes; 0: nobody's, or it cannot be read.
UserId subject_of(base::json::Reader& json, const Event& event);
// Finds the message object in the body of a message_created. False: there is none.
bool find_message(RoomEvent& entry);
// Under which the stream takes the event once: see Proposal::key.
std::string key_of(base::json::Reader& json, const RoomEvent& entry);
std::string key_of(base::json::Reader& json, const StoredEvent& stored);  // empty: it cannot be read
// Of a message that was sent with one; empty otherwise.
std::string client_id_of(base::json::Reader& json, const RoomEvent& entry);

}  // namespace ringline::chat
