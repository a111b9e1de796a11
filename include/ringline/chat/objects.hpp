// The domain's objects and their JSON, as the wire contract names them ("Objects"). Writers are the only place where these shapes are spelled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/ids.hpp"
#include "ringline/base/json.hpp"
#include "ringline/chat/event.hpp"

namespace ringline::chat {

using base::ConnectionId;
using base::EventId;
using base::FileId;
using base::RoomId;
using base::SessionId;
using base::UserId;

enum class UserRole : std::uint8_t { user, moderator, admin };
enum class Status : std::uint8_t { offline, online, away, busy };
enum class RoomType : std::uint8_t { direct, group, channel };
enum class MemberRole : std::uint8_t { member, admin, owner };  // ordered by what they may do

std::string_view name_of(UserRole) noexcept;
std::string_view name_of(Status) noexcept;
std::string_view name_of(RoomType) noexcept;
std::string_view name_of(MemberRole) noexcept;
std::optional<UserRole> user_role(std::string_view name) noexcept;
std::optional<Status> status(std::string_view name) noexcept;
std::optional<RoomType> room_type(std::string_view name) noexcept;
std::optional<MemberRole> member_role(std::string_view name) noexcept;

struct User {
  UserId id;
  std::string username;  // unique regardless of case
  std::string display_name;
  std::string avatar_url;
  std::string bio;
  std::string email;  // shown to oneself only
  UserRole role = UserRole::user;
  bool guest = false;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  std::int64_t last_seen_ms = 0;
};

// Numbers are stored: never change one.
enum class FileState : std::uint8_t {
  waiting,  // for its bytes
  ready,
  gone,  // its bytes are removed, or about to be; what was sent still names it
};

struct File {
  FileId id;
  UserId owner;
  RoomId room;  // whose members may read it; 0: its owner alone
  std::string name;
  std::string mime_type;
  std::uint64_t size = 0;  // as declared; checked against what came
  FileState state = FileState::waiting;
  bool sent = false;  // in a message
  bool open = false;  // everybody may read it: its owner's avatar
  std::int64_t created_ms = 0;
  std::int64_t expires_ms = 0;  // 0: never
  std::string url;              // empty: none
  std::int64_t url_expires_ms = 0;
};

struct Message {
  EventId id;
  RoomId room;
  std::uint64_t seq = 0;
  UserId sender;
  std::string sender_username;
  std::string sender_avatar_url;
  std::string type = "text";
  std::string text;
  std::string client_id;  // of its sender; not part of the message object
  std::optional<File> file;
  EventId reply_to;  // 0: none
  std::vector<UserId> mentions;
  std::string extra;  // JSON text; empty: none
  std::int64_t created_ms = 0;
  std::int64_t edited_ms = 0;   // 0: never
  std::int64_t deleted_ms = 0;  // 0: not; a deleted message keeps its place without its content
};

struct Room {
  RoomId id;
  RoomType type = RoomType::group;
  std::string name;
  std::string description;
  std::string avatar_url;
  bool is_private = false;
  bool ephemeral = false;
  UserId created_by;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  std::uint64_t epoch = 1;
  std::uint64_t last_seq = 0;       // of the last committed event
  std::uint64_t message_count = 0;  // messages ever committed: unread = message_count - Member::read_count
};

struct Member {
  UserId user;
  std::int64_t joined_ms = 0;
  std::uint64_t read_seq = 0;
  std::uint64_t read_count = 0;  // messages up to read_seq
  std::uint64_t delivered_seq = 0;
  MemberRole role = MemberRole::member;  // last: a room's home keeps something of its own behind it (HomeMember)
};

// How far a user has read in a room. It only moves forward, within an epoch.
struct ReadMark {
  RoomId room;
  UserId user;
  std::uint64_t epoch = 1;  // in which `seq` is meant
  std::uint64_t seq = 0;
  std::uint64_t count = 0;  // messages up to it
};

// `own`: to the user himself, with the email. `status`: as seen by the reader.
void write_user(base::json::Writer& out, const User& user, Status status, bool own);
void write_message(base::json::Writer& out, const Message& message);
void write_file(base::json::Writer& out, const File& file);

// The body of a room event: what all have in common, up to where its own part begins. The object is left open.
void begin_event(base::json::Writer& out, const Event& event, std::string_view actor_username);
// What ends message_created, behind its message.
void end_message_created(base::json::Writer& out, std::string_view client_id);
// Their way back. The value is a `user` object of ours; without the email where it was made for others.
std::optional<User> read_user(const base::json::Value& object);
// The message object's: from an event's body, when it is taken into the store. The value is a `message` object of ours.
std::optional<Message> read_message(const base::json::Value& object);

// What a member sees of a room beside the room itself.
struct MemberView {
  MemberRole role = MemberRole::member;
  std::uint64_t last_read_seq = 0;
  std::uint64_t last_delivered_seq = 0;
  std::uint64_t unread = 0;
  std::uint64_t mentions = 0;
};
// `last_message`: JSON of the message object; empty: null. `member`: null for who is not one.
void write_room(base::json::Writer& out, const Room& room, std::size_t member_count, std::string_view last_message,
                const MemberView* member);

}  // namespace ringline::chat
