// What an event does to the tables, read from its body: the same for both engines.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ringline/base/json.hpp"
#include "ringline/base/result.hpp"
#include "ringline/chat/event.hpp"
#include "ringline/chat/objects.hpp"

namespace ringline::backend {

// A message_created becomes a row of `messages`; in an ephemeral room the key of its send is kept, where it has one.
struct MessageCreated {
  chat::Message message;
  std::optional<std::string> client_id;
};
struct EphemeralSend {
  std::optional<std::string> client_id;
};
// All others become a row of `room_events`, and do this besides.
struct MemberJoined {
  base::UserId user;
  chat::MemberRole role = chat::MemberRole::member;
};
struct MemberLeft {
  base::UserId user;
};
struct RoleChanged {
  base::UserId user;
  chat::MemberRole role = chat::MemberRole::member;
};
struct RoomUpdated {
  std::string name;
  std::string description;
  std::string avatar_url;
  bool is_private = false;
};
struct RoomDeleted {};
struct NothingMore {};
using EventEffect = std::variant<MessageCreated, EphemeralSend, MemberJoined, MemberLeft, RoleChanged, RoomUpdated,
                                 RoomDeleted, NothingMore>;

// Where the sender of a message is by it in what he has read.
struct ReadUpTo {
  std::uint64_t seq = 0;
  std::uint64_t count = 0;  // messages up to there
};

// Conflict: the event's own form is not what it should be; the message says what.
base::Result<EventEffect> effect_of(const chat::Event& event, bool ephemeral, base::json::Reader& json);

// An event of another epoch than its room's, or at whose seq the room has another. See chat::Store::ingest.
std::unexpected<base::Error> parted(const chat::Event& event, std::uint64_t epoch);
std::unexpected<base::Error> parted(const chat::Event& event);

// By these it is seen whether a batch and the database have one history: of each room the first of its events and the last that the database has already.
// `ingested`: up to where it has the room's; 0: there is no such room.
std::vector<const chat::Event*> to_compare(const std::vector<chat::Event>& events,
                                           const std::function<std::uint64_t(base::RoomId)>& ingested);
// In SQL, of e (room_id, seq, id): another event is there. (What was refused is known by its dead letter; a body that cannot be read, of neither, says nothing.)
#define RINGLINE_IS_ANOTHER                                                                                     \
  "(EXISTS (SELECT 1 FROM messages m WHERE m.room_id = e.room_id AND m.seq = e.seq AND m.id <> e.id)"           \
  " OR EXISTS (SELECT 1 FROM ephemeral_sends s WHERE s.room_id = e.room_id AND s.seq = e.seq AND s.id <> e.id)" \
  " OR EXISTS (SELECT 1 FROM room_events r WHERE r.room_id = e.room_id AND r.seq = e.seq"                       \
  " AND r.body LIKE '%,\"id\":\"%' AND r.body NOT LIKE '%,\"id\":\"' || e.id || '\",%'"                         \
  " AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.room_id = e.room_id AND d.seq = e.seq AND d.id = e.id)))"

// How `messages.mentions` is written: [1,2]; null: nobody.
std::optional<std::string> mentions_json(const std::vector<base::UserId>& users);

}  // namespace ringline::backend
