// See room_event.hpp.
#include "ringline/chat/room_event.hpp"

#include "ringline/base/clock.hpp"

namespace ringline::chat {

using base::json::find;
using base::json::find_integer;
using base::json::find_string;
using base::json::Value;

namespace {

// Quotes within strings are escaped, so the key is the one of the envelope; behind the message stands nothing but the clientId.
UserId find_user(const Value& object, std::string_view name) {
  auto text = find_string(object, name);
  return text ? UserId::parse(*text).value_or(UserId{}) : UserId{};
}

}  // namespace

RoomEvent room_event(base::json::Reader& json, Event event) {
  RoomEvent entry{.event = std::move(event)};
  if (entry.event.kind != EventKind::message_created) return entry;
  const Value* body = json.parse(entry.event.body.view());
  auto client_id = body ? find_string(*body, "clientId") : std::nullopt;
  if (client_id) entry.client_key = client_key(entry.event.actor, *client_id) ^ base::mix(entry.event.room.value);
  find_message(entry);
  return entry;
}

std::optional<RoomEvent> read_event(base::json::Reader& json, RoomId room, const StoredEvent& stored) {
  const Value* body = json.parse(stored.body);
  if (!body) return std::nullopt;
  auto id = find_string(*body, "id");
  auto at = find_string(*body, "at");
  const Value* actor = find(*body, "actor");
  Event event{.room = room,
              .seq = stored.seq,
              .epoch = static_cast<std::uint64_t>(find_integer(*body, "epoch").value_or(0)),
              .id = id ? EventId::parse(*id).value_or(EventId{}) : EventId{},
              .at_ms = at ? base::parse_rfc3339(*at).value_or(0) : 0,
              .actor = actor ? find_user(*actor, "id") : UserId{},
              .kind = stored.kind,
              .body = base::Blob::copy_of(stored.body)};
  if (!event.id || !event.actor || event.at_ms == 0 || event.epoch == 0) return std::nullopt;
  return room_event(json, std::move(event));
}

// Quotes within strings are escaped, so the key is the one of the envelope; behind the message stands nothing but the clientId.
bool find_message(RoomEvent& entry) {
  constexpr std::string_view kMessage = "\"message\":";
  const std::string_view body = entry.event.body.view();
  const std::size_t key = body.find(kMessage);
  if (key == std::string_view::npos) return false;
  const std::size_t at = key + kMessage.size();
  const std::size_t end = entry.client_key != 0 ? body.rfind(",\"clientId\":") : body.size() - 1;
  if (end == std::string_view::npos || end < at) return false;
  entry.message_at = static_cast<std::uint32_t>(at);
  entry.message_size = static_cast<std::uint32_t>(end - at);
  return true;
}

std::string key_of(base::json::Reader& json, const RoomEvent& entry) {
  const std::string client_id = client_id_of(json, entry);
  return client_id.empty() ? entry.event.id.text() : entry.event.actor.text() + ":" + client_id;
}

std::string key_of(base::json::Reader& json, const StoredEvent& stored) {
  const Value* body = json.parse(stored.body);
  if (!body) return {};
  const Value* actor = find(*body, "actor");
  auto client_id =
      stored.kind == EventKind::message_created ? find_string(*body, "clientId") : std::optional<std::string_view>();
  if (actor && client_id && !client_id->empty()) return find_user(*actor, "id").text() + ":" + std::string(*client_id);
  return std::string(find_string(*body, "id").value_or(""));
}

UserId subject_of(base::json::Reader& json, const Event& event) {
  const bool joined = event.kind == EventKind::member_joined;
  if (!joined && event.kind != EventKind::member_left && event.kind != EventKind::role_changed) return {};
  const Value* body = json.parse(event.body.view());
  if (!body || !joined) return body ? find_user(*body, "userId") : UserId{};
  const Value* member = find(*body, "member");
  const Value* user = member ? find(*member, "user") : nullptr;
  return user ? find_user(*user, "id") : UserId{};
}

std::string client_id_of(base::json::Reader& json, const RoomEvent& entry) {
  const Value* body = entry.client_key != 0 ? json.parse(entry.event.body.view()) : nullptr;
  return std::string(body ? find_string(*body, "clientId").value_or("") : "");
}

}  // namespace ringline::chat
