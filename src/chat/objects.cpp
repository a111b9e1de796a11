// See objects.hpp.
#include "ringline/chat/objects.hpp"

#include "ringline/base/clock.hpp"
#include "ringline/chat/user_card.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <utility>

namespace ringline::chat {

using base::json::find;
using base::json::find_string;
using base::json::Value;
using base::json::Writer;

namespace {

// In the order of their enums' numbers, which are stored.
constexpr std::array<std::string_view, 3> kUserRoles{"user", "moderator", "admin"};
constexpr std::array<std::string_view, 4> kStatuses{"offline", "online", "away", "busy"};
constexpr std::array<std::string_view, 3> kRoomTypes{"direct", "group", "channel"};
constexpr std::array<std::string_view, 3> kMemberRoles{"member", "admin", "owner"};

template <class Enum, std::size_t N>
std::optional<Enum> find_name(const std::array<std::string_view, N>& names, std::string_view name) noexcept {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == name) return static_cast<Enum>(i);
  return std::nullopt;
}

Writer& text_or_null(Writer& out, std::string_view text) { return text.empty() ? out.null() : out.string(text); }
Writer& seq_or_null(Writer& out, std::uint64_t seq) { return seq == 0 ? out.null() : out.unsigned_integer(seq); }

// A member that may be missing (0), but must be a time where it is there.
bool read_time(const Value& object, std::string_view name, std::int64_t& to) noexcept {
  if (!find(object, name)) return true;
  auto text = find_string(object, name);
  auto time = text ? base::parse_rfc3339(*text) : std::nullopt;
  to = time.value_or(0);
  return time.has_value();
}

template <class Tag>
bool read_id(const Value& object, std::string_view name, base::Id<Tag>& to) noexcept {
  auto text = find_string(object, name);
  auto id = text ? base::Id<Tag>::parse(*text) : std::nullopt;
  if (id) to = *id;
  return id.has_value();
}

bool read_sender(const Value& object, Message& message) {
  const Value* sender = find(object, "sender");
  if (!sender || !sender->IsObject() || !read_id(*sender, "id", message.sender)) return false;
  message.sender_username = find_string(*sender, "username").value_or("");
  message.sender_avatar_url = find_string(*sender, "avatarUrl").value_or("");
  return true;
}

bool read_mentions(const Value& object, Message& message) {
  const Value* mentions = find(object, "mentions");
  if (!mentions) return true;
  if (!mentions->IsArray()) return false;
  for (const Value& text : mentions->GetArray()) {
    auto id = text.IsString() ? UserId::parse(base::json::view(text)) : std::nullopt;
    if (!id) return false;
    message.mentions.push_back(*id);
  }
  return true;
}

void write_content(Writer& out, const Message& message) {
  if (message.reply_to) out.key("replyTo").id(message.reply_to);
  out.key("mentions").begin_array();
  for (UserId user : message.mentions) out.id(user);
  out.end_array();
  out.key("reactions").begin_array().end_array();
  if (!message.extra.empty()) out.key("extra").raw(message.extra);
}

}  // namespace

std::string_view name_of(UserRole role) noexcept { return kUserRoles[std::to_underlying(role)]; }
std::string_view name_of(Status status) noexcept { return kStatuses[std::to_underlying(status)]; }
std::string_view name_of(RoomType type) noexcept { return kRoomTypes[std::to_underlying(type)]; }
std::string_view name_of(MemberRole role) noexcept { return kMemberRoles[std::to_underlying(role)]; }
std::optional<UserRole> user_role(std::string_view name) noexcept { return find_name<UserRole>(kUserRoles, name); }
std::optional<Status> status(std::string_view name) noexcept { return find_name<Status>(kStatuses, name); }
std::optional<RoomType> room_type(std::string_view name) noexcept { return find_name<RoomType>(kRoomTypes, name); }
std::optional<MemberRole> member_role(std::string_view name) noexcept {
  return find_name<MemberRole>(kMemberRoles, name);
}

namespace {

struct ShownTexts {
  std::string_view username, display_name, avatar_url, bio, email;
};

// Of a User, or of a Person.
template <class Shown>
void write_shown(Writer& out, const Shown& user, const ShownTexts& texts, Status status, bool own) {
  out.begin_object().key("id").id(user.id).key("username").string(texts.username);
  text_or_null(out.key("displayName"), texts.display_name);
  text_or_null(out.key("avatarUrl"), texts.avatar_url);
  text_or_null(out.key("bio"), texts.bio);
  if (own) text_or_null(out.key("email"), texts.email);
  out.key("role").string(name_of(user.role)).key("guest").boolean(user.guest);
  out.key("status").string(name_of(status)).key("lastSeen").time(user.last_seen_ms);
  out.key("createdAt").time(user.created_ms).key("updatedAt").time(user.updated_ms).end_object();
}

}  // namespace

void write_user(Writer& out, const User& user, Status status, bool own) {
  write_shown(out, user, {user.username, user.display_name, user.avatar_url, user.bio, user.email}, status, own);
}

void write_user(Writer& out, const Person& user, Status status, bool own) {
  write_shown(out, user, {user.username(), user.display_name(), user.avatar_url(), user.bio(), user.email()}, status,
              own);
}

void begin_event(Writer& out, const Event& event, std::string_view actor_username) {
  out.begin_object().key("roomId").id(event.room);
  seq_or_null(out.key("seq"), event.seq);
  out.key("epoch").unsigned_integer(event.epoch).key("id").id(event.id).key("at").time(event.at_ms);
  out.key("actor").begin_object().key("id").id(event.actor).key("username").string(actor_username).end_object();
}

void end_message_created(Writer& out, std::string_view client_id) {
  if (!client_id.empty()) out.key("clientId").string(client_id);
  out.end_object();
}

void write_message(Writer& out, const Message& message) {
  bool deleted = message.deleted_ms != 0;
  out.begin_object().key("id").id(message.id).key("roomId").id(message.room);
  seq_or_null(out.key("seq"), message.seq);
  out.key("sender").begin_object().key("id").id(message.sender).key("username").string(message.sender_username);
  text_or_null(out.key("avatarUrl"), message.sender_avatar_url).end_object();
  out.key("type").string(message.type);
  text_or_null(out.key("text"), deleted ? std::string_view() : message.text);
  static const Message kNoContent;
  write_content(out, deleted ? kNoContent : message);
  out.key("createdAt").time(message.created_ms);
  if (message.edited_ms != 0) out.key("editedAt").time(message.edited_ms);
  if (deleted) out.key("deletedAt").time(message.deleted_ms);
  out.end_object();
}

std::optional<User> read_user(const Value& object) {
  if (!object.IsObject()) return std::nullopt;
  User user;
  auto username = find_string(object, "username");
  auto role = find_string(object, "role");
  auto known = role ? user_role(*role) : std::nullopt;
  if (!read_id(object, "id", user.id) || !username || !known) return std::nullopt;
  user.username = *username;
  user.display_name = find_string(object, "displayName").value_or("");
  user.avatar_url = find_string(object, "avatarUrl").value_or("");
  user.bio = find_string(object, "bio").value_or("");
  user.email = find_string(object, "email").value_or("");
  user.role = *known;
  user.guest = base::json::find_bool(object, "guest").value_or(false);
  if (!read_time(object, "lastSeen", user.last_seen_ms) || !read_time(object, "createdAt", user.created_ms) ||
      !read_time(object, "updatedAt", user.updated_ms))
    return std::nullopt;
  return user;
}

std::optional<Message> read_message(const Value& object) {
  if (!object.IsObject()) return std::nullopt;
  Message message;
  if (!read_id(object, "id", message.id) || !read_id(object, "roomId", message.room)) return std::nullopt;
  if (!read_sender(object, message) || !read_mentions(object, message)) return std::nullopt;
  auto type = find_string(object, "type");
  if (!type || type->empty()) return std::nullopt;
  message.type = *type;
  const std::int64_t seq = base::json::find_integer(object, "seq").value_or(0);
  if (seq < 0) return std::nullopt;
  message.seq = static_cast<std::uint64_t>(seq);
  message.text = find_string(object, "text").value_or("");
  if (find(object, "replyTo") && !read_id(object, "replyTo", message.reply_to)) return std::nullopt;
  if (const Value* extra = find(object, "extra")) {
    static thread_local Writer json;
    json.clear();
    message.extra = json.value(*extra).view();
  }
  if (!read_time(object, "createdAt", message.created_ms) || !read_time(object, "editedAt", message.edited_ms) ||
      !read_time(object, "deletedAt", message.deleted_ms) || message.created_ms == 0)
    return std::nullopt;
  return message;
}

void write_room(Writer& out, const Room& room, std::size_t member_count, std::string_view last_message,
                const MemberView* member) {
  out.begin_object().key("id").id(room.id).key("type").string(name_of(room.type));
  text_or_null(out.key("name"), room.name);
  text_or_null(out.key("description"), room.description);
  text_or_null(out.key("avatarUrl"), room.avatar_url);
  out.key("private").boolean(room.is_private).key("ephemeral").boolean(room.ephemeral);
  out.key("createdBy").id(room.created_by).key("memberCount").unsigned_integer(member_count).key("lastMessage");
  last_message.empty() ? out.null() : out.raw(last_message);
  out.key("lastSeq").unsigned_integer(room.last_seq).key("epoch").unsigned_integer(room.epoch);
  out.key("createdAt").time(room.created_ms).key("updatedAt").time(room.updated_ms);
  if (member) {
    out.key("role").string(name_of(member->role)).key("lastReadSeq").unsigned_integer(member->last_read_seq);
    out.key("lastDeliveredSeq").unsigned_integer(member->last_delivered_seq);
    out.key("unread").unsigned_integer(member->unread).key("mentions").unsigned_integer(member->mentions);
    out.key("pinned").boolean(false).key("mutedUntil").null().key("archived").boolean(false);
  }
  out.end_object();
}

}  // namespace ringline::chat
