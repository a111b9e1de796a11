// See event.hpp.
#include "ringline/chat/event.hpp"

namespace ringline::chat {

std::string_view name_of(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::message_created:
      return "message_created";
    case EventKind::message_edited:
      return "message_edited";
    case EventKind::message_deleted:
      return "message_deleted";
    case EventKind::reaction_added:
      return "reaction_added";
    case EventKind::reaction_removed:
      return "reaction_removed";
    case EventKind::message_pinned:
      return "message_pinned";
    case EventKind::message_unpinned:
      return "message_unpinned";
    case EventKind::room_created:
      return "room_created";
    case EventKind::room_updated:
      return "room_updated";
    case EventKind::room_deleted:
      return "room_deleted";
    case EventKind::member_joined:
      return "member_joined";
    case EventKind::member_left:
      return "member_left";
    case EventKind::role_changed:
      return "role_changed";
  }
  return {};
}

std::optional<EventKind> event_kind(std::uint8_t number) noexcept {
  auto kind = static_cast<EventKind>(number);
  return name_of(kind).empty() ? std::nullopt : std::optional(kind);
}

}  // namespace ringline::chat
