// Room events: the unit of order, of the journal and of delivery.
//
// `body` is the event's `data` as clients get it: {"roomId","seq","epoch","id","at","actor":{"id","username"}, …its own part}. It is made once, when the
// event is sequenced, and the same bytes go to journal, tail, members and store.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ringline/base/blob.hpp"
#include "ringline/base/ids.hpp"

namespace ringline::chat {

// Numbers are written to disk: never change one.
enum class EventKind : std::uint8_t {
  message_created = 1,
  message_edited = 2,
  message_deleted = 3,
  reaction_added = 4,
  reaction_removed = 5,
  message_pinned = 6,
  message_unpinned = 7,
  room_created = 16,
  room_updated = 17,
  room_deleted = 18,
  member_joined = 19,
  member_left = 20,
  role_changed = 21,
};

// The event's name on the wire, e.g. "message_created"; empty for a number that is none.
std::string_view name_of(EventKind kind) noexcept;
std::optional<EventKind> event_kind(std::uint8_t number) noexcept;

struct Event {
  base::RoomId room;
  std::uint64_t seq = 0;  // gapless in the room, from 1
  std::uint64_t epoch = 1;
  base::EventId id;
  std::int64_t at_ms = 0;
  base::UserId actor;
  EventKind kind = EventKind::message_created;
  base::Blob body;
};

// An event with what is looked for in it most.
struct RoomEvent {
  Event event;
  std::uint64_t client_key = 0;  // 0: not a message, or sent without a clientId
  std::uint32_t message_at = 0;  // where the message object lies in the body; size 0: not a message
  std::uint32_t message_size = 0;
  std::string_view message() const noexcept { return event.body.view().substr(message_at, message_size); }
};

}  // namespace ringline::chat
