// See event_effect.hpp.
#include "backend/event_effect.hpp"

#include <unordered_map>

namespace ringline::backend {

using base::Result;
using base::UserId;
using base::json::find;
using base::json::find_string;
using base::json::Value;
using chat::Event;
using chat::EventKind;

namespace {

std::unexpected<base::Error> refused(std::string reason) { return base::fail(base::Errc::conflict, std::move(reason)); }

UserId find_user(const Value& object, std::string_view name) {
  auto text = find_string(object, name);
  return text ? UserId::parse(*text).value_or(UserId{}) : UserId{};
}

std::optional<std::string> owned(std::optional<std::string_view> text) {
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

Result<EventEffect> created(const Event& event, const Value& body) {
  const Value* object = find(body, "message");
  auto message = object ? chat::read_message(*object) : std::nullopt;
  if (!message) return refused("the message cannot be read");
  if (message->room != event.room || message->seq != event.seq || message->id != event.id)
    return refused("the message is not the event's");
  return MessageCreated{.message = std::move(*message), .client_id = owned(find_string(body, "clientId"))};
}

Result<EventEffect> joined(const Value& body) {
  const Value* member = find(body, "member");
  const Value* user = member && member->IsObject() ? find(*member, "user") : nullptr;
  const UserId id = user && user->IsObject() ? find_user(*user, "id") : UserId{};
  auto name = member && member->IsObject() ? find_string(*member, "role") : std::nullopt;
  auto role = name ? chat::member_role(*name) : std::nullopt;
  if (!id || !role) return refused("the member cannot be read");
  return MemberJoined{.user = id, .role = *role};
}

Result<EventEffect> left(const Value& body) {
  const UserId id = find_user(body, "userId");
  if (!id) return refused("the member cannot be read");
  return MemberLeft{id};
}

Result<EventEffect> role_changed(const Value& body) {
  const UserId id = find_user(body, "userId");
  auto name = find_string(body, "role");
  auto role = name ? chat::member_role(*name) : std::nullopt;
  if (!id || !role) return refused("the role cannot be read");
  return RoleChanged{.user = id, .role = *role};
}

Result<EventEffect> updated(const Value& body) {
  const Value* room = find(body, "room");
  if (!room || !room->IsObject()) return refused("the room cannot be read");
  return RoomUpdated{.name = std::string(find_string(*room, "name").value_or("")),
                     .description = std::string(find_string(*room, "description").value_or("")),
                     .avatar_url = std::string(find_string(*room, "avatarUrl").value_or("")),
                     .is_private = base::json::find_bool(*room, "private").value_or(false)};
}

}  // namespace

Result<EventEffect> effect_of(const Event& event, bool ephemeral, base::json::Reader& json) {
  const Value* body = json.parse(event.body.view());
  if (!body || !body->IsObject()) return refused("the body is not a JSON object");
  switch (event.kind) {
    case EventKind::message_created:
      if (ephemeral) return EphemeralSend{owned(find_string(*body, "clientId"))};
      return created(event, *body);
    case EventKind::member_joined:
      return joined(*body);
    case EventKind::member_left:
      return left(*body);
    case EventKind::role_changed:
      return role_changed(*body);
    case EventKind::room_updated:
      return updated(*body);
    case EventKind::room_deleted:
      return RoomDeleted{};
    case EventKind::room_created:
    case EventKind::message_edited:
    case EventKind::message_deleted:
    case EventKind::reaction_added:
    case EventKind::reaction_removed:
    case EventKind::message_pinned:
    case EventKind::message_unpinned:
      return NothingMore{};
  }
  return refused("the event is of an unknown kind");
}

std::unexpected<base::Error> parted(const Event& event, std::uint64_t epoch) {
  auto refused = base::fail(base::Errc::conflict, "the room is in epoch " + std::to_string(epoch) + ", its event in " +
                                                      std::to_string(event.epoch));
  refused.error().field = event.room.text();
  return refused;
}

std::unexpected<base::Error> parted(const Event& event) {
  auto refused = base::fail(base::Errc::conflict, "the room has another event at seq " + std::to_string(event.seq));
  refused.error().field = event.room.text();
  return refused;
}

std::vector<const Event*> to_compare(const std::vector<Event>& events,
                                     const std::function<std::uint64_t(base::RoomId)>& ingested) {
  std::unordered_map<base::RoomId, std::pair<const Event*, const Event*>> rooms;
  for (const Event& event : events)
    if (event.seq <= ingested(event.room)) rooms.try_emplace(event.room, &event, &event).first->second.second = &event;
  std::vector<const Event*> all;
  for (const auto& [room, ends] : rooms) {
    all.push_back(ends.first);
    if (ends.second != ends.first) all.push_back(ends.second);
  }
  return all;
}

std::optional<std::string> mentions_json(const std::vector<UserId>& users) {
  if (users.empty()) return std::nullopt;
  std::string json;
  for (UserId user : users) json.append(json.empty() ? "[" : ",").append(user.text());
  return json + "]";
}

}  // namespace ringline::backend
