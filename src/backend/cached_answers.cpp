// See cached_answers.hpp.
#include "backend/cached_answers.hpp"

#include "ringline/base/clock.hpp"
#include "ringline/chat/objects.hpp"

namespace ringline::backend {

using base::RoomId;
using base::SessionId;
using base::UserId;
using base::json::find;
using base::json::find_bool;
using base::json::find_integer;
using base::json::find_string;
using base::json::Value;
using base::json::Writer;

namespace {

template <class Id>
bool read_id(const Value& object, std::string_view name, Id& to) {
  auto text = find_string(object, name);
  auto id = text ? Id::parse(*text) : std::nullopt;
  to = id.value_or(Id{});
  return id.has_value();
}

// A number that is not negative: a time, a count, an id.
template <class Number>
bool read_number(const Value& object, std::string_view name, Number& to) {
  const std::int64_t number = find_integer(object, name).value_or(-1);
  to = static_cast<Number>(number);
  return number >= 0;
}

bool read_time(const Value& object, std::string_view name, std::int64_t& to) {
  auto text = find_string(object, name);
  auto time = text ? base::parse_rfc3339(*text) : std::nullopt;
  to = time.value_or(0);
  return time.has_value();
}

std::string read_text(const Value& object, std::string_view name) {
  return std::string(find_string(object, name).value_or(""));
}

const Value* find_array(const Value& value, std::string_view name) {
  const Value* found = value.IsObject() ? find(value, name) : nullptr;
  return found && found->IsArray() ? found : nullptr;
}

void write_messages(Writer& out, const std::vector<chat::Message>& messages) {
  out.key("messages").begin_array();
  for (const chat::Message& message : messages) chat::write_message(out, message);
  out.end_array();
}

bool read_messages(const Value& value, std::vector<chat::Message>& messages) {
  const Value* all = find_array(value, "messages");
  if (!all) return false;
  for (const Value& one : all->GetArray()) {
    auto message = chat::read_message(one);
    if (!message) return false;
    messages.push_back(std::move(*message));
  }
  return true;
}

// A `room` object, as chat::write_room makes it for who is not a member.
bool read_room(const Value& object, chat::Room& room, std::uint64_t& member_count) {
  auto type = find_string(object, "type");
  auto known = type ? chat::room_type(*type) : std::nullopt;
  if (!known) return false;
  room.type = *known;
  room.name = read_text(object, "name");
  room.description = read_text(object, "description");
  room.avatar_url = read_text(object, "avatarUrl");
  room.is_private = find_bool(object, "private").value_or(false);
  room.ephemeral = find_bool(object, "ephemeral").value_or(false);
  if (find(object, "createdBy") && !read_id(object, "createdBy", room.created_by)) return false;
  return read_id(object, "id", room.id) && read_number(object, "memberCount", member_count) &&
         read_number(object, "lastSeq", room.last_seq) && read_number(object, "epoch", room.epoch) &&
         read_time(object, "createdAt", room.created_ms) && read_time(object, "updatedAt", room.updated_ms);
}

}  // namespace

void write_answer(Writer& out, const chat::SessionRow& session) {
  out.begin_object().key("id").id(session.id).key("user").id(session.user);
  out.key("generation").unsigned_integer(session.generation).key("rotatedMs").integer(session.rotated_ms);
  out.key("createdMs").integer(session.created_ms).key("usedMs").integer(session.last_used_ms);
  out.key("expiresMs").integer(session.expires_ms).end_object();
}

bool read_answer(const Value& value, chat::SessionRow& session) {
  session.remembered = true;
  return value.IsObject() && read_id(value, "id", session.id) && read_id(value, "user", session.user) &&
         read_number(value, "generation", session.generation) && read_number(value, "rotatedMs", session.rotated_ms) &&
         read_number(value, "createdMs", session.created_ms) && read_number(value, "usedMs", session.last_used_ms) &&
         read_number(value, "expiresMs", session.expires_ms);
}

void write_answer(Writer& out, const chat::Account& account) {
  out.begin_object().key("user");
  chat::write_user(out, account.user, chat::Status::offline, true);
  out.key("banned").boolean(account.banned).end_object();
}

bool read_answer(const Value& value, chat::Account& account) {
  const Value* object = value.IsObject() ? find(value, "user") : nullptr;
  auto user = object ? chat::read_user(*object) : std::nullopt;
  auto banned = user ? find_bool(value, "banned") : std::nullopt;
  if (!banned) return false;
  account.user = std::move(*user);
  account.banned = *banned;
  return true;
}

void write_answer(Writer& out, const std::vector<RoomId>& rooms) {
  out.begin_array();
  for (RoomId room : rooms) out.id(room);
  out.end_array();
}

bool read_answer(const Value& value, std::vector<RoomId>& rooms) {
  if (!value.IsArray()) return false;
  for (const Value& text : value.GetArray()) {
    auto id = text.IsString() ? RoomId::parse(base::json::view(text)) : std::nullopt;
    if (!id) return false;
    rooms.push_back(*id);
  }
  return true;
}

void write_answer(Writer& out, const chat::RoomPage& page) {
  out.begin_object().key("rooms").begin_array();
  for (std::size_t i = 0; i < page.rooms.size(); ++i)
    chat::write_room(out, page.rooms[i], static_cast<std::size_t>(page.member_counts[i]), {}, nullptr);
  out.end_array();
  if (page.next_cursor) out.key("nextCursor").string(*page.next_cursor);
  out.end_object();
}

bool read_answer(const Value& value, chat::RoomPage& page) {
  const Value* rooms = find_array(value, "rooms");
  if (!rooms) return false;
  for (const Value& object : rooms->GetArray()) {
    chat::Room room;
    std::uint64_t member_count = 0;
    if (!object.IsObject() || !read_room(object, room, member_count)) return false;
    page.rooms.push_back(std::move(room));
    page.member_counts.push_back(member_count);
  }
  if (auto cursor = find_string(value, "nextCursor")) page.next_cursor = *cursor;
  return true;
}

void write_answer(Writer& out, const chat::HistoryPage& page) {
  out.begin_object();
  write_messages(out, page.messages);
  out.key("hasBefore").boolean(page.has_before).key("hasAfter").boolean(page.has_after).end_object();
}

bool read_answer(const Value& value, chat::HistoryPage& page) {
  if (!read_messages(value, page.messages)) return false;
  auto before = find_bool(value, "hasBefore");
  auto after = find_bool(value, "hasAfter");
  page.has_before = before.value_or(false);
  page.has_after = after.value_or(false);
  return before && after;
}

void write_answer(Writer& out, const chat::SearchPage& page) {
  out.begin_object();
  write_messages(out, page.messages);
  out.key("next").unsigned_integer(page.next).end_object();
}

bool read_answer(const Value& value, chat::SearchPage& page) {
  return read_messages(value, page.messages) && read_number(value, "next", page.next);
}

}  // namespace ringline::backend
