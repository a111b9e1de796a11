// Rooms and their members in SQLite. Members change by events (sqlite_ingest.cpp).
#include "backend/sqlite_queries.hpp"
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
constexpr int kRoomColumns = 13;

std::unexpected<base::Error> no_such_room() { return base::fail(Errc::not_found, "no such room"); }

Room read_room(const Query& row) {
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

Result<std::vector<StoredMember>> read_members(Connection& c, RoomId room) {
  std::vector<StoredMember> members;
  Query row = c.db.query("SELECT " RINGLINE_USER_COLUMNS
                         ", m.role, m.joined_ms, m.read_seq, m.read_count, m.delivered_seq"
                         " FROM members m JOIN users u ON u.id = m.user_id WHERE m.room_id = ?1",
                         room);
  while (row.next()) {
    StoredMember& stored = members.emplace_back();
    stored.user = read_user(row, 0);
    stored.member = {.user = stored.user.id,
                     .joined_ms = row.integer(kUserColumns + 1),
                     .read_seq = row.number(kUserColumns + 2),
                     .read_count = row.number(kUserColumns + 3),
                     .delivered_seq = row.number(kUserColumns + 4),
                     .role = static_cast<chat::MemberRole>(row.integer(kUserColumns))};
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return members;
}

// The room of a query's first row.
Result<RoomId> first_id(Query& row) {
  if (row.next()) return RoomId{row.number(0)};
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return no_such_room();
}

Result<void> insert_room(Connection& c, const Room& room, std::string_view direct_key) {
  c.note(room.id);
  auto pair = direct_key.empty() ? std::nullopt : std::optional(direct_key);
  auto maker = room.created_by ? std::optional(room.created_by) : std::nullopt;
  return c.db.run(
      "INSERT INTO rooms (id, type, name, name_folded, direct_key, description, avatar_url, private, ephemeral,"
      " created_by, created_ms, updated_ms, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
      room.id, static_cast<int>(room.type), room.name, public_name(room.type, room.is_private, room.name), pair,
      room.description, room.avatar_url, room.is_private, room.ephemeral, maker, room.created_ms, room.updated_ms,
      room.epoch);
}

}  // namespace

std::optional<std::string> public_name(chat::RoomType type, bool is_private, std::string_view name) {
  if (type == chat::RoomType::direct || is_private) return std::nullopt;
  return base::fold_case(name);
}

Result<StoredRoom> create_room(Connection& c, const Room& room, const std::vector<chat::Member>& members,
                               std::string_view direct_key) {
  if (!direct_key.empty()) {
    auto existing = [&] {
      Query row = c.db.query("SELECT id FROM rooms WHERE direct_key = ?1", direct_key);
      return first_id(row);
    }();
    if (existing) return load_room(c, *existing);
    if (existing.error().code != Errc::not_found) return std::unexpected(existing.error());
  }
  auto made = insert_room(c, room, direct_key);
  if (!made && made.error().sys == SQLITE_CONSTRAINT_UNIQUE)
    return base::fail(Errc::conflict, "a public room of this name is there already");
  for (const chat::Member& m : members) {
    if (!made) break;
    made = c.db.run("INSERT INTO members VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", room.id, m.user,
                    static_cast<int>(m.role), m.joined_ms, m.read_seq, m.read_count, m.delivered_seq);
  }
  if (!made && made.error().sys == SQLITE_CONSTRAINT_FOREIGNKEY) return base::fail(Errc::not_found, "no such user");
  if (!made) return std::unexpected(made.error());
  return load_room(c, room.id);
}

Result<StoredRoom> load_room(Connection& c, RoomId id) {
  StoredRoom stored;
  {
    Query row = c.db.query("SELECT " ROOM_COLUMNS " FROM rooms r WHERE r.id = ?1 AND r.deleted_ms = 0", id);
    if (!row.next()) {
      if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
      return no_such_room();
    }
    stored.room = read_room(row);
  }
  auto members = read_members(c, id);
  if (!members) return std::unexpected(members.error());
  stored.members = std::move(*members);
  auto last = last_message(c, id);
  if (!last) return std::unexpected(last.error());
  stored.last_message = std::move(*last);
  return stored;
}

Result<RoomId> find_room_by_name(Connection& c, std::string_view name) {
  Query row = c.db.query("SELECT id FROM rooms WHERE name_folded = ?1", base::fold_case(name));
  return first_id(row);
}

// The cursor is the last id of the page before: ids are in order of time.
Result<chat::RoomPage> list_public_rooms(Connection& c, std::string_view query, std::string_view cursor,
                                         std::size_t limit) {
  RoomId before{static_cast<std::uint64_t>(INT64_MAX)};
  if (!cursor.empty()) {
    auto parsed = RoomId::parse(cursor);
    if (!parsed) return base::fail_field("cursor", "is not one that was given out");
    before = *parsed;
  }
  chat::RoomPage page;
  Query row = c.db.query(
      "SELECT " ROOM_COLUMNS
      ", (SELECT count(*) FROM members m WHERE m.room_id = r.id) FROM rooms r"
      " WHERE r.name_folded IS NOT NULL AND r.id < ?1 AND instr(r.name_folded, ?2) > 0 ORDER BY r.id DESC LIMIT ?3",
      before, base::fold_case(query), limit + 1);
  while (row.next()) {
    if (page.rooms.size() == limit) {
      page.next_cursor = page.rooms.back().id.text();
      break;
    }
    page.rooms.push_back(read_room(row));
    page.member_counts.push_back(row.number(kRoomColumns));
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return page;
}

// The most recently active first.
Result<std::vector<RoomId>> rooms_of(Connection& c, UserId user) {
  std::vector<RoomId> rooms;
  Query row = c.db.query(
      "SELECT r.id FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.user_id = ?1 AND r.deleted_ms = 0"
      " ORDER BY r.updated_ms DESC, r.id DESC",
      user);
  while (row.next()) rooms.push_back(RoomId{row.number(0)});
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return rooms;
}

Result<std::uint64_t> rooms_made_by(Connection& c, UserId user) {
  Query row = c.db.query("SELECT count(*) FROM rooms WHERE created_by = ?1 AND deleted_ms = 0", user);
  if (row.next()) return row.number(0);
  return std::unexpected(row.check().error());
}

}  // namespace ringline::backend
