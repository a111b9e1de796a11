// Rooms and their members, and what is known of all. Members change by events (sqlite_ingest.cpp, postgres_ingest.cpp).
#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::backend {

using base::Errc;
using chat::Room;
using chat::StoredMember;
using chat::StoredRoom;

namespace {

#define ROOM_COLUMNS                                                                                        \
  "r.id, r.type, r.name, r.description, r.avatar_url, r.private, r.ephemeral, r.created_by, r.created_ms, " \
  "r.updated_ms, r.epoch, r.ingested_seq, r.message_count"
constexpr unsigned kRoomColumns = 13;

std::unexpected<base::Error> no_such_room() { return base::fail(Errc::not_found, "no such room"); }

Room read_room(const Rows::Row& row) {
  Room room;
  room.id = RoomId{row.number(0)};
  room.type = static_cast<chat::RoomType>(row.integer(1));
  room.name = row.text(2);
  room.description = row.text(3);
  room.avatar_url = row.text(4);
  room.is_private = row.flag(5);
  room.ephemeral = row.flag(6);
  room.created_by = UserId{row.number(7)};
  room.created_ms = row.integer(8);
  room.updated_ms = row.integer(9);
  room.epoch = row.number(10);
  room.last_seq = row.number(11);
  room.message_count = row.number(12);
  return room;
}

StoredMember read_member(const Rows::Row& row) {
  StoredMember stored;
  stored.user = read_user(row, 0);
  stored.member = {.user = stored.user.id,
                   .joined_ms = row.integer(kUserColumns + 1),
                   .read_seq = row.number(kUserColumns + 2),
                   .read_count = row.number(kUserColumns + 3),
                   .delivered_seq = row.number(kUserColumns + 4),
                   .role = static_cast<chat::MemberRole>(row.integer(kUserColumns))};
  return stored;
}

// The room of a query's first row.
Result<RoomId> first_id(const Result<Rows>& rows) {
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return no_such_room();
  return RoomId{rows->front().number(0)};
}

// Nothing is changed where the name or the pair is another room's.
Task<Result<Rows>> insert_room(Sql& db, const Room& room, std::string_view direct_key) {
  db.note(room.id);
  auto pair = direct_key.empty() ? std::nullopt : std::optional(direct_key);
  auto maker = room.created_by ? std::optional(room.created_by) : std::nullopt;
  return db.query(
      "INSERT INTO rooms (id, type, name, name_folded, direct_key, description, avatar_url, private, ephemeral,"
      " created_by, created_ms, updated_ms, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
      " ON CONFLICT DO NOTHING",
      room.id, static_cast<int>(room.type), room.name, public_name(room.type, room.is_private, room.name), pair,
      room.description, room.avatar_url, room.is_private, room.ephemeral, maker, room.created_ms, room.updated_ms,
      room.epoch);
}

// For LIKE … ESCAPE '\'.
std::string containing(std::string_view text) {
  std::string pattern = "%";
  for (char c : text) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

}  // namespace

std::optional<std::string> public_name(chat::RoomType type, bool is_private, std::string_view name) {
  if (type == chat::RoomType::direct || is_private) return std::nullopt;
  return base::fold_case(name);
}

Task<Result<StoredRoom>> create_room(Sql& db, const Room& room, const std::vector<chat::Member>& members,
                                     std::string_view direct_key) {
  auto made = co_await insert_room(db, room, direct_key);
  if (made && made->changed == 0) {
    if (direct_key.empty()) co_return base::fail(Errc::conflict, "a public room of this name is there already");
    auto existing = co_await db.query("SELECT id FROM rooms WHERE direct_key = ?1", direct_key);
    auto id = first_id(existing);
    if (!id) co_return std::unexpected(id.error());
    auto loaded = co_await load_room(db, *id);
    co_return loaded;
  }
  for (const chat::Member& m : members) {
    if (!made) break;
    made = co_await db.query("INSERT INTO members VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", room.id, m.user,
                             static_cast<int>(m.role), m.joined_ms, m.read_seq, m.read_count, m.delivered_seq);
  }
  if (!made && made.error().sys == kNoReference) co_return base::fail(Errc::not_found, "no such user");
  if (!made) co_return std::unexpected(made.error());
  auto loaded = co_await load_room(db, room.id);
  co_return loaded;
}

Task<Result<StoredRoom>> load_room(Sql& db, RoomId id) {
  StoredRoom stored;
  auto rows = co_await db.query("SELECT " ROOM_COLUMNS " FROM rooms r WHERE r.id = ?1 AND r.deleted_ms = 0", id);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return no_such_room();
  stored.room = read_room(rows->front());
  auto members = co_await db.query("SELECT " RINGLINE_USER_COLUMNS
                                   ", m.role, m.joined_ms, m.read_seq, m.read_count, m.delivered_seq"
                                   " FROM members m JOIN users u ON u.id = m.user_id WHERE m.room_id = ?1"
                                   " ORDER BY m.user_id",
                                   id);
  if (!members) co_return std::unexpected(members.error());
  stored.members.reserve(members->size());
  for (const Rows::Row row : *members) stored.members.push_back(read_member(row));
  auto last = co_await last_message(db, id);
  if (!last) co_return std::unexpected(last.error());
  stored.last_message = std::move(*last);
  co_return stored;
}

Task<Result<RoomId>> find_room_by_name(Sql& db, std::string_view name) {
  auto rows = co_await db.query("SELECT id FROM rooms WHERE name_folded = ?1", base::fold_case(name));
  co_return first_id(rows);
}

// The cursor is the last id of the page before: ids are in order of time.
Task<Result<chat::RoomPage>> list_public_rooms(Sql& db, std::string_view query, std::string_view cursor,
                                               std::size_t limit) {
  RoomId before{static_cast<std::uint64_t>(INT64_MAX)};
  if (!cursor.empty()) {
    auto parsed = RoomId::parse(cursor);
    if (!parsed) co_return base::fail_field("cursor", "is not one that was given out");
    before = *parsed;
  }
  auto rows = co_await db.query("SELECT " ROOM_COLUMNS
                                ", (SELECT count(*) FROM members m WHERE m.room_id = r.id) FROM rooms r"
                                " WHERE r.name_folded IS NOT NULL AND r.id < ?1 AND r.name_folded LIKE ?2 ESCAPE '\\' "
                                "ORDER BY r.id DESC LIMIT ?3",
                                before, containing(base::fold_case(query)), limit + 1);
  if (!rows) co_return std::unexpected(rows.error());
  chat::RoomPage page;
  for (const Rows::Row row : *rows) {
    if (page.rooms.size() == limit) {
      page.next_cursor = page.rooms.back().id.text();
      break;
    }
    page.rooms.push_back(read_room(row));
    page.member_counts.push_back(row.number(kRoomColumns));
  }
  co_return page;
}

// The most recently active first.
Task<Result<std::vector<RoomId>>> rooms_of(Sql& db, UserId user) {
  auto rows = co_await db.query(
      "SELECT r.id FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.user_id = ?1 AND r.deleted_ms = 0"
      " ORDER BY r.updated_ms DESC, r.id DESC",
      user);
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<RoomId> rooms;
  for (const Rows::Row row : *rows) rooms.push_back(RoomId{row.number(0)});
  co_return rooms;
}

Task<Result<std::uint64_t>> rooms_made_by(Sql& db, UserId user) {
  auto rows = co_await db.query("SELECT count(*) FROM rooms WHERE created_by = ?1 AND deleted_ms = 0", user);
  if (!rows) co_return std::unexpected(rows.error());
  co_return rows->front().number(0);
}

Task<Result<chat::RoomPlace>> begin_epoch(Sql& db, RoomId room, std::uint64_t epoch) {
  auto raised = co_await db.query("UPDATE rooms SET epoch = ?2 WHERE id = ?1 AND epoch = ?2 - 1", room, epoch);
  if (!raised) co_return std::unexpected(raised.error());
  auto rows = co_await db.query("SELECT epoch, ingested_seq FROM rooms WHERE id = ?1 AND deleted_ms = 0", room);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return no_such_room();
  co_return chat::RoomPlace{.epoch = rows->front().number(0), .seq = rows->front().number(1)};
}

Task<Result<void>> bump_epochs(Sql& db) {
  auto bumped = co_await db.query("UPDATE rooms SET epoch = epoch + 1");
  if (!bumped) co_return std::unexpected(bumped.error());
  co_return Result<void>();
}

Task<Result<std::uint64_t>> highest_id(Sql& db) {
  auto rows = co_await db.query("SELECT value FROM meta WHERE name = 'highest_id'");
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return base::fail(Errc::internal, "the database has lost its highest id");
  co_return rows->front().number(0);
}

}  // namespace ringline::backend
