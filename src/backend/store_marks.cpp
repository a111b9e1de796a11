// How far users have read. A sender's mark moves with his message, where events are taken in (sqlite_ingest.cpp, postgres_ingest.cpp); all others come here.
//
// Invariant: no mark is ahead of its room's ingested_seq, so that it means the same in whatever epoch the room goes on from there.
#include "backend/postgres_rows.hpp"
#include "backend/sqlite_connection.hpp"
#include "backend/store_queries.hpp"

namespace ringline::backend {

using chat::ReadMark;

Task<Result<std::vector<ReadMark>>> marks_of(Sql& db, UserId user) {
  auto rows = co_await db.query(
      "SELECT m.room_id, r.epoch, m.read_seq, m.read_count FROM members m JOIN rooms r ON r.id = m.room_id"
      " WHERE m.user_id = ?1 AND r.deleted_ms = 0",
      user);
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<ReadMark> marks;
  marks.reserve(rows->size());
  for (const Rows::Row row : *rows)
    marks.push_back({.room = RoomId{row.number(0)},
                     .user = user,
                     .epoch = row.number(1),
                     .seq = row.number(2),
                     .count = row.number(3)});
  co_return marks;
}

// As rooms count them: a message that was refused is one too, its event is in room_events. Of an ephemeral room all seqs that no other event has are messages.
Task<Result<std::uint64_t>> count_messages(Sql& db, RoomId room, std::uint64_t after, std::uint64_t up_to) {
  auto rows = co_await db.query(
      "SELECT CASE WHEN r.ephemeral = 0"
      " THEN (SELECT count(*) FROM messages m WHERE m.room_id = r.id AND m.seq > ?2 AND m.seq <= ?3)"
      " + (SELECT count(*) FROM room_events e WHERE e.room_id = r.id AND e.seq > ?2 AND e.seq <= ?3 AND e.kind = ?4)"
      " ELSE ?3 - ?2 -"
      " (SELECT count(*) FROM room_events e WHERE e.room_id = r.id AND e.seq > ?2 AND e.seq <= ?3 AND e.kind <> ?4)"
      " END FROM rooms r WHERE r.id = ?1",
      room, after, up_to, static_cast<int>(chat::EventKind::message_created));
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return base::fail(base::Errc::not_found, "no such room");
  co_return rows->front().number(0);
}

Task<Result<void>> SqliteConnection::set_marks(const std::vector<ReadMark>& marks) {
  for (const ReadMark& mark : marks) {
    auto done = db.run(
        "UPDATE members SET read_seq = ?3, read_count = ?4 WHERE room_id = ?1 AND user_id = ?2 AND read_seq < ?3"
        " AND EXISTS (SELECT 1 FROM rooms WHERE id = ?1 AND epoch = ?5 AND ingested_seq >= ?3)",
        mark.room, mark.user, mark.seq, mark.count, mark.epoch);
    if (!done) co_return done;
  }
  co_return Result<void>();
}

// The rooms are locked first, in the order of their ids, as for taking in events: neither then waits for a row that the other has.
Task<Result<void>> PostgresConnection::set_marks(const std::vector<ReadMark>& marks) {
  if (marks.empty()) co_return Result<void>();
  ArrayColumn rooms;
  ArrayTable<5> rows;
  for (const ReadMark& mark : marks) {
    rooms.add(mark.room);
    rows.add(mark.room, mark.user, mark.epoch, mark.seq, mark.count);
  }
  queue("SELECT id FROM rooms WHERE id = ANY (?1::bigint[]) ORDER BY id FOR NO KEY UPDATE", {rooms.take()});
  rows.queue(*this,
             "UPDATE members m SET read_seq = mark.seq, read_count = mark.count"
             " FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[])"
             " AS mark (room, reader, epoch, seq, count) JOIN rooms r ON r.id = mark.room"
             " WHERE m.room_id = mark.room AND m.user_id = mark.reader AND m.read_seq < mark.seq"
             " AND r.epoch = mark.epoch AND r.ingested_seq >= mark.seq");
  auto done = co_await flush();
  if (!done) co_return std::unexpected(done.error());
  co_return Result<void>();
}

}  // namespace ringline::backend
