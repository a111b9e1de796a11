// What an event does to the tables, read from its body: the same for both engines.
#pragma once

#include <optional>
#include <string>
#include <variant>

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

// Conflict: the event's own form is not what it should be; the message says what.
base::Result<EventEffect> effect_of(const chat::Event& event, bool ephemeral, base::json::Reader& json);

// An event of another epoch than its room's. See chat::Store::ingest.
std::unexpected<base::Error> parted(const chat::Event& event, std::uint64_t epoch);

// How `messages.mentions` is written: [1,2]; null: nobody.
std::optional<std::string> mentions_json(const std::vector<base::UserId>& users);

}  // namespace ringline::backend
