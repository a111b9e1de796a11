// What the command import does in the database (ringline/backend/import.hpp): users and rooms with their new ids, messages as events of their rooms, so that
// they are taken in as all others are.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "backend/store_queries.hpp"
#include "ringline/backend/import.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::backend {

using base::Errc;
using base::EventId;
using chat::Event;
using chat::Message;

namespace {

enum class Kind : std::uint8_t { user, room };  // numbers in `imported`

constexpr unsigned kNameTries = 1000;

Task<Result<void>> remember(Sql& db, Kind kind, const std::string& old_id, std::uint64_t new_id) {
  auto kept = co_await db.query("INSERT INTO imported (kind, old_id, new_id) VALUES (?1, ?2, ?3)",
                                static_cast<int>(kind), old_id, new_id);
  if (!kept) co_return std::unexpected(kept.error());
  co_return Result<void>();
}

// The first from `id` on that no row has; `sql` counts those that have ?1.
Task<Result<std::uint64_t>> free_id(Sql& db, const char* sql, std::uint64_t id) {
  for (;; ++id) {
    auto rows = co_await db.query(sql, id);
    if (!rows) co_return std::unexpected(rows.error());
    if (rows->empty()) co_return id;
  }
}

Task<Result<ImportedUser>> import_user(Sql& db, const ImportUser& user) {
  chat::Account account = user.account;
  auto id = co_await free_id(db, "SELECT 1 FROM users WHERE id = ?1", account.user.id.value);
  if (!id) co_return std::unexpected(id.error());
  account.user.id = UserId{*id};
  auto made = co_await create_guest(db, std::move(account));  // what it does of names is right for all
  if (!made) co_return std::unexpected(made.error());
  auto kept = co_await remember(db, Kind::user, user.old_id, *id);
  if (!kept) co_return std::unexpected(kept.error());
  co_return ImportedUser{.id = made->user.id, .username = made->user.username};
}

bool is_lobby(const chat::Room& room) {
  return room.type != chat::RoomType::direct && !room.is_private && base::fold_case(room.name) == "lobby";
}

Task<Result<ImportedRoom>> join_lobby(Sql& db, const ImportRoom& room) {
  for (const chat::Member& member : room.members) {
    auto joined = co_await db.query(
        "INSERT INTO members (room_id, user_id, role, joined_ms, read_seq, read_count, delivered_seq)"
        " SELECT id, CAST(?2 AS bigint), CAST(?3 AS bigint), CAST(?4 AS bigint), ingested_seq, message_count,"
        " ingested_seq FROM rooms WHERE id = ?1"
        " ON CONFLICT DO NOTHING",
        kLobby, member.user, static_cast<int>(chat::MemberRole::member), member.joined_ms);
    if (!joined) co_return std::unexpected(joined.error());
  }
  co_return ImportedRoom{.id = kLobby, .name = "lobby"};
}

std::string direct_key(const std::vector<chat::Member>& members) {
  const auto [low, high] = std::minmax(members[0].user, members[1].user);
  return low.text() + ":" + high.text();
}

// A name that another public room has gets a number.
Task<Result<ImportedRoom>> make_room(Sql& db, const ImportRoom& wanted) {
  chat::Room room = wanted.room;
  auto id = co_await free_id(db, "SELECT 1 FROM rooms WHERE id = ?1", room.id.value);
  if (!id) co_return std::unexpected(id.error());
  room.id = RoomId{*id};
  const std::string key = room.type == chat::RoomType::direct ? direct_key(wanted.members) : std::string();
  for (unsigned number = 2;; ++number) {
    auto made = co_await create_room(db, room, wanted.members, key);
    if (made) co_return ImportedRoom{.id = made->room.id, .name = made->room.name};
    if (made.error().code != Errc::conflict || number == kNameTries) co_return std::unexpected(made.error());
    room.name = numbered_name(wanted.room.name, number);
  }
}

Task<Result<ImportedRoom>> import_room(Sql& db, const ImportRoom& room) {
  Result<ImportedRoom> made;
  if (is_lobby(room.room)) {
    made = co_await join_lobby(db, room);
  } else {
    made = co_await make_room(db, room);
  }
  if (!made) co_return made;
  auto kept = co_await remember(db, Kind::room, room.old_id, made->id.value);
  if (!kept) co_return std::unexpected(kept.error());
  co_return made;
}

Event event_of(Message message, RoomId room, std::uint64_t seq, std::uint64_t epoch, base::json::Writer& out) {
  message.room = room;
  message.seq = seq;
  Event event{.room = room,
              .seq = seq,
              .epoch = epoch,
              .id = message.id,
              .at_ms = message.created_ms,
              .actor = message.sender,
              .body = {}};
  out.clear();
  chat::begin_event(out, event, message.sender_username);
  chat::write_message(out.key("message"), message);
  chat::end_message_created(out, message.client_id);
  event.body = base::Blob::copy_of(out.view());
  return event;
}

// Where a room stands.
struct Stand {
  std::uint64_t seq = 0;
  std::uint64_t count = 0;
  std::uint64_t epoch = 1;
};
Task<Result<Stand>> stand_of(Sql& db, RoomId room) {
  auto rows =
      co_await db.query("SELECT ingested_seq, message_count, epoch FROM rooms WHERE id = ?1 AND deleted_ms = 0", room);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return base::fail(Errc::not_found, "the room was deleted since");
  const Rows::Row row = rows->front();
  co_return Stand{.seq = row.number(0), .count = row.number(1), .epoch = row.number(2)};
}

// Who had read all that was there, or wrote of what came now, has read it: it is old.
Task<Result<void>> mark_read(Sql& db, RoomId room, const Stand& before, const Stand& now) {
  auto read = co_await db.query(
      "UPDATE members SET read_seq = ?2, read_count = ?3, delivered_seq = ?2 WHERE room_id = ?1 AND read_count >= ?4",
      room, now.seq, now.count, before.count);
  if (!read) co_return std::unexpected(read.error());
  co_return Result<void>();
}

Task<Result<void>> join_senders(Sql& db, RoomId room, const Stand& now, const std::vector<Message>& messages) {
  std::set<UserId> senders;
  for (const Message& message : messages) {
    if (!senders.insert(message.sender).second) continue;
    auto joined = co_await db.query(
        "INSERT INTO members (room_id, user_id, role, joined_ms, read_seq, read_count, delivered_seq)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5) ON CONFLICT DO NOTHING",
        room, message.sender, static_cast<int>(chat::MemberRole::member), message.created_ms, now.seq, now.count);
    if (!joined) co_return std::unexpected(joined.error());
  }
  co_return Result<void>();
}

}  // namespace

Task<Result<Imported>> imported(Sql& db) {
  Imported all;
  auto users = co_await db.query(
      "SELECT i.old_id, u.id, u.username FROM imported i LEFT JOIN users u ON u.id = i.new_id WHERE i.kind = ?1",
      static_cast<int>(Kind::user));
  if (!users) co_return std::unexpected(users.error());
  for (const Rows::Row row : *users)
    all.users[std::string(row.text(0))] = {.id = UserId{row.number(1)}, .username = std::string(row.text(2))};
  auto rooms = co_await db.query(
      "SELECT i.old_id, r.id, r.name FROM imported i LEFT JOIN rooms r ON r.id = i.new_id WHERE i.kind = ?1",
      static_cast<int>(Kind::room));
  if (!rooms) co_return std::unexpected(rooms.error());
  for (const Rows::Row row : *rooms)
    all.rooms[std::string(row.text(0))] = {.id = RoomId{row.number(1)}, .name = std::string(row.text(2))};
  co_return all;
}

Task<Result<std::vector<ImportedMessage>>> imported_messages(Sql& db, RoomId room) {
  auto rows =
      co_await db.query("SELECT client_id, id FROM messages WHERE room_id = ?1 AND client_id IS NOT NULL", room);
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<ImportedMessage> messages;
  for (const Rows::Row row : *rows)
    if (row.text(0).starts_with(kImportPrefix))
      messages.push_back({.client_id = std::string(row.text(0)), .id = EventId{row.number(1)}});
  co_return messages;
}

Task<Result<std::vector<ImportedUser>>> import_users(Sql& db, const std::vector<ImportUser>& users) {
  std::vector<ImportedUser> made;
  for (const ImportUser& user : users) {
    auto one = co_await import_user(db, user);
    if (!one) co_return std::unexpected(one.error());
    made.push_back(std::move(*one));
  }
  co_return made;
}

Task<Result<std::vector<ImportedRoom>>> import_rooms(Sql& db, const std::vector<ImportRoom>& rooms) {
  std::vector<ImportedRoom> made;
  for (const ImportRoom& room : rooms) {
    auto one = co_await import_room(db, room);
    if (!one) co_return std::unexpected(one.error());
    made.push_back(std::move(*one));
  }
  co_return made;
}

Task<Result<std::vector<ImportRefusal>>> import_messages(Sql& db, RoomId room, const std::vector<Message>& messages,
                                                         bool join) {
  auto before = co_await stand_of(db, room);
  if (!before) co_return std::unexpected(before.error());
  std::vector<Event> events;
  base::json::Writer out;
  for (const Message& message : messages)
    events.push_back(event_of(message, room, before->seq + events.size() + 1, before->epoch, out));
  auto taken = co_await db.ingest(events, Gaps::refuse);
  if (!taken) co_return std::unexpected(taken.error());
  auto now = co_await stand_of(db, room);
  if (!now) co_return std::unexpected(now.error());
  auto read = co_await mark_read(db, room, *before, *now);
  if (!read) co_return std::unexpected(read.error());
  if (join) {
    auto joined = co_await join_senders(db, room, *now, messages);
    if (!joined) co_return std::unexpected(joined.error());
  }
  auto letters =
      co_await db.query("SELECT seq, reason FROM dead_letters WHERE room_id = ?1 AND seq > ?2", room, before->seq);
  if (!letters) co_return std::unexpected(letters.error());
  std::vector<ImportRefusal> refused;
  for (const Rows::Row row : *letters)
    refused.push_back({.index = row.number(0) - before->seq - 1, .reason = std::string(row.text(1))});
  co_return refused;
}

}  // namespace ringline::backend
