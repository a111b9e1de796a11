// See import_rows.hpp.
#include "backend/import_rows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "ringline/base/limits.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/chat/passwords.hpp"

namespace ringline::backend {

using base::json::Value;

namespace {

namespace limits = base::limits;

constexpr std::size_t kEmailBytes = 254;        // as chat takes it
constexpr std::size_t kTextPointsMax = 50'000;  // as TEXT_MAX goes
constexpr std::size_t kOldIdBytesMax = 512;
constexpr std::string_view kBidi =
    "\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9\xe2"
    "\x80\xa8\xe2\x80\xa9";

std::string cut_points(std::string_view text, std::size_t points) {
  std::size_t end = 0;
  for (; end < text.size(); ++end)
    if ((text[end] & 0xc0) != 0x80 && points-- == 0) break;
  return std::string(text.substr(0, end));
}

// The times of a row; one that is there and is none is a note.
std::int64_t time_of(JsonFields& fields, RowNotes& row, std::initializer_list<std::string_view> names) {
  const auto time = fields.time_ms(names);
  if (time && *time == 0) row.notes.push_back(fmt::format("its {} is no time, and left out", *names.begin()));
  return time.value_or(0);
}

// Other programs' hashes begin so.
bool looks_hashed(std::string_view text) {
  constexpr auto kPrefixes =
      std::to_array<std::string_view>({"$argon2", "$scrypt$", "$pbkdf2", "$1$", "$2x$", "$5$", "$6$", "$7$", "$y$",
                                       "pbkdf2", "scrypt:", "sha1$", "md5$"});
  return std::ranges::any_of(kPrefixes, [&](std::string_view prefix) { return text.starts_with(prefix); });
}

void read_password(JsonFields& fields, UserRow& row) {
  const Value* hash = fields.any({"passwordHash", "password_hash", "hashedPassword", "passwordDigest", "hash"});
  const Value* plain = fields.any({"password", "pass", "pwd"});
  const std::string salt = fields.text({"salt", "passwordSalt"});
  const Value* given = hash ? hash : plain;
  if (!given || !given->IsString() || given->GetStringLength() == 0) {
    if (!row.guest) row.notes.push_back("it has no password: nobody can sign in as this user until one is set");
    return;
  }
  const std::string_view text = base::json::view(*given);
  if (chat::is_password_hash(text)) {
    const bool salted = !salt.empty() && !text.starts_with('$') && !text.starts_with("sha256:");
    row.password_hash = salted ? fmt::format("sha256:{}:{}", salt, text) : std::string(text);
  } else if (hash || looks_hashed(text)) {
    row.notes.push_back("its password's hash is of a kind that is not known here: this user needs a new password");
  } else if (text.size() > limits::kPasswordBytesMax || text.find('\0') != text.npos) {
    row.notes.push_back("its password is longer than 72 bytes or holds a zero byte: this user needs a new one");
  } else {
    row.password = text;
  }
}

void check_name(RowNotes& row, std::string& name, const std::string& old_name, std::string_view instead) {
  name = allowed_name(old_name, instead);
  if (name != old_name)
    row.notes.push_back(fmt::format("the name \"{}\" is not allowed here and becomes \"{}\"", old_name, name));
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  const std::string folded = base::fold_case(text);
  return std::ranges::find(words, folded) != words.end();
}

// A user as rows refer to him: his id or name, or an object of his.
std::string read_reference(const Value& value) {
  if (std::string text = json_text(value); !text.empty() || !value.IsObject()) return text;
  JsonFields fields(value);
  return fields.text({"id", "_id", "userId", "user_id", "user", "senderId", "username", "name"});
}

void read_member(const Value& value, RoomRow& row) {
  RoomRow::Member member{.user = read_reference(value), .role = {}};
  if (value.IsObject()) {
    JsonFields fields(value);
    member.role = fields.text({"role"});
    member.joined_ms = fields.time_ms({"joinedAt", "joined_at"}).value_or(0);
  }
  if (member.user.empty()) {
    row.notes.push_back("a member of it cannot be read, and is left out");
  } else {
    row.members.push_back(std::move(member));
  }
}

// A list of users, or an object whose names are users.
void read_members(JsonFields& fields, RoomRow& row) {
  const Value* members = fields.any({"members", "users", "participants", "memberIds", "userIds", "participantIds"});
  if (!members) return;
  row.lists_members = true;
  if (members->IsArray()) {
    for (const Value& one : members->GetArray()) read_member(one, row);
  } else if (members->IsObject()) {
    for (const auto& one : members->GetObject())
      row.members.push_back({.user = base::sanitize_text(base::json::view(one.name)),
                             .role = one.value.IsString() ? json_text(one.value) : std::string()});
  } else {
    row.notes.push_back("its members are neither a list nor an object, and left out");
  }
}

void read_privacy(JsonFields& fields, RoomRow& row) {
  const std::string type = fields.text({"type", "kind"});
  row.direct = is_one_of(type, {"direct", "dm", "pm"}) || fields.flag({"direct", "isDirect"});
  row.channel = is_one_of(type, {"channel", "broadcast"});
  const Value* open = fields.any({"public", "isPublic"});
  row.is_private = row.direct || is_one_of(type, {"private"}) || fields.flag({"private", "isPrivate"}) ||
                   (open && open->IsBool() && !open->GetBool());
}

void check_id(RowNotes& row, const std::string& old_id) {
  if (old_id.size() > kOldIdBytesMax) row.problem = "its id is longer than 512 bytes";
}

}  // namespace

std::string allowed_name(std::string_view name, std::string_view instead) {
  std::string clean = base::sanitize_text(name);
  std::ranges::replace(clean, '\t', ' ');
  std::ranges::replace(clean, '\n', ' ');
  for (std::size_t i = 0; i < kBidi.size(); i += 3)
    for (std::size_t at; (at = clean.find(kBidi.substr(i, 3))) != clean.npos;) clean.erase(at, 3);
  clean = base::trim(cut_points(base::trim(clean), limits::kNamePoints));
  if (clean.find_first_not_of("0123456789") == clean.npos)
    clean = cut_points(fmt::format("{}-{}", instead, clean), limits::kNamePoints);
  return clean;
}

UserRow read_user_row(const RowContext& context) {
  UserRow row;
  const std::string own_key = context.in_list ? std::string() : context.key;
  if (context.value.IsString() && !own_key.empty()) {  // {"ann": "her password"}
    rapidjson::Document made(rapidjson::kObjectType);
    made.AddMember("password", rapidjson::Value(context.value, made.GetAllocator()), made.GetAllocator());
    return read_user_row({.value = made, .key = own_key, .in_list = false, .others = context.others});
  }
  if (!context.value.IsObject()) {
    row.problem = "it is not an object";
    return row;
  }
  JsonFields fields(context.value);
  row.old_id = fields.text({"id", "_id", "userId", "user_id", "uid", "uuid"});
  row.old_name = fields.text({"username", "userName", "user_name", "name", "login", "nickname", "nick"});
  row.email = fields.text({"email", "mail"});
  if (row.old_id.empty()) row.old_id = own_key;
  if (row.old_name.empty()) row.old_name = own_key.empty() ? row.email : own_key;
  if (row.old_id.empty()) row.old_id = row.old_name;
  row.display_name = fields.text({"displayName", "display_name", "fullName"});
  row.avatar_url = fields.text({"avatarUrl", "avatar_url", "avatar", "picture"});
  row.bio = fields.text({"bio", "about"});
  row.guest = fields.flag({"guest", "isGuest"});
  row.banned = fields.flag({"banned", "isBanned"});
  row.role = fields.flag({"isAdmin", "admin"}) ? "admin" : fields.text({"role"});
  row.created_ms = time_of(fields, row, {"createdAt", "created_at", "created", "registeredAt", "joinedAt"});
  row.seen_ms = time_of(fields, row, {"lastSeen", "last_seen", "lastSeenAt", "lastLogin"});
  read_password(fields, row);
  fields.any({"updatedAt", "updated_at", "__v", "online", "isOnline", "status", "socketId"});  // of no use later
  fields.count_others(context.others, "users.json");
  if (row.old_name.empty()) row.problem = "it has no name (username, name)";
  if (row.problem.empty()) check_id(row, row.old_id);
  check_name(row, row.name, row.old_name, "user");
  if (row.display_name.empty()) row.display_name = row.name;
  if (row.display_name != row.name) row.display_name = allowed_name(row.display_name, "user");
  if (!row.email.empty() && (row.email.size() > kEmailBytes || row.email.find('@') == row.email.npos)) {
    row.notes.push_back(fmt::format("\"{}\" is no mail address, and left out", row.email));
    row.email.clear();
  }
  return row;
}

RoomRow read_room_row(const RowContext& context) {
  RoomRow row;
  const std::string own_key = context.in_list ? std::string() : context.key;
  if (context.value.IsString() && context.in_list) {  // ["general", "random"]
    row.old_id = row.old_name = json_text(context.value);
    if (row.old_id.empty()) row.problem = "it has no name";
    check_name(row, row.name, row.old_name, "room");
    return row;
  }
  if (!context.value.IsObject()) {
    row.problem = "it is not an object";
    return row;
  }
  JsonFields fields(context.value);
  row.old_id = fields.text({"id", "_id", "roomId", "room_id", "chatId", "uuid"});
  row.old_name = fields.text({"name", "roomName", "title"});
  if (row.old_id.empty()) row.old_id = own_key.empty() ? row.old_name : own_key;
  row.description = cut_points(fields.text({"description", "topic"}), limits::kDescriptionPoints);
  row.avatar_url = fields.text({"avatarUrl", "avatar_url", "avatar"});
  const Value* owner = fields.any({"createdBy", "created_by", "owner", "ownerId", "creator", "creatorId"});
  if (owner) row.owner = read_reference(*owner);
  row.created_ms = time_of(fields, row, {"createdAt", "created_at", "created"});
  read_privacy(fields, row);
  read_members(fields, row);
  fields.any({"updatedAt", "updated_at", "__v", "lastMessage", "lastActivity", "memberCount"});
  fields.count_others(context.others, "rooms.json");
  if (row.old_id.empty()) row.problem = "it has neither an id nor a name";
  if (row.problem.empty()) check_id(row, row.old_id);
  if (row.direct) return row;
  if (row.old_name.empty()) row.old_name = row.old_id;
  check_name(row, row.name, row.old_name, "room");
  return row;
}

MessageRow read_message_row(const RowContext& context) {
  MessageRow row;
  if (!context.value.IsObject()) {
    row.problem = "it is not an object";
    return row;
  }
  JsonFields fields(context.value);
  row.old_id = fields.text({"id", "_id", "messageId", "message_id", "uuid"});
  if (row.old_id.empty() && !context.in_list) row.old_id = context.key;
  const Value* room =
      fields.any({"roomId", "room_id", "room", "chatId", "chat_id", "chat", "channelId", "channel", "conversationId"});
  if (room) row.room = room->IsObject() ? read_reference(*room) : json_text(*room);
  if (row.room.empty() && context.in_list) row.room = context.key;
  const Value* sender = fields.any({"senderId", "sender_id", "sender", "userId", "user_id", "user", "authorId",
                                    "author", "fromId", "from", "username"});
  if (sender) row.sender = read_reference(*sender);
  row.text = fields.text({"text", "content", "message", "body", "msg"});
  const auto created = fields.time_ms({"timestamp", "createdAt", "created_at", "sentAt", "time", "date", "ts"});
  row.created_ms = created.value_or(0);
  row.edited_ms = time_of(fields, row, {"editedAt", "edited_at"});
  row.deleted_ms = time_of(fields, row, {"deletedAt", "deleted_at"});
  if (row.deleted_ms == 0 && fields.flag({"deleted", "isDeleted"})) row.deleted_ms = row.created_ms;
  fields.any(
      {"updatedAt", "updated_at", "__v", "senderName", "sender_name", "userName", "roomName", "edited", "isEdited"});
  const Value* type = fields.any({"type"});
  if (type && !is_one_of(json_text(*type), {"", "text", "message", "chat"}))
    row.notes.push_back(fmt::format("it is of type \"{}\", and taken as text", json_text(*type)));
  fields.count_others(context.others, "messages.json");
  if (row.room.empty()) row.problem = "it names no room (roomId, room, chatId)";
  if (row.sender.empty()) row.problem = "it names no sender (senderId, userId, username)";
  if (!created) row.problem = "it has no time (timestamp, createdAt)";
  if (created && *created == 0) row.problem = "its time is none: neither RFC 3339 nor milliseconds since 1970";
  if (base::trim(row.text).empty() && row.deleted_ms == 0) row.problem = "it has no text (text, content, message)";
  if (base::count_points(row.text) > kTextPointsMax) row.problem = "its text is longer than 50,000 characters";
  if (row.problem.empty()) check_id(row, row.old_id);
  return row;
}

}  // namespace ringline::backend
