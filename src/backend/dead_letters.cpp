// Dead letters: seen, tried again (not over what later events said), dropped. They are written where events are taken in (sqlite_ingest.cpp,
// postgres_ingest.cpp).
#include <fmt/format.h>

#include <optional>
#include <variant>

#include "backend/event_effect.hpp"
#include "backend/store_queries.hpp"

namespace ringline::backend {

using base::Errc;
using base::EventId;
using chat::Event;

namespace {

#define RINGLINE_LETTER_COLUMNS "room_id, seq, id, kind, actor_id, at_ms, refused_ms, body, reason"

DeadLetter read_letter(const Rows::Row& row) {
  return {.event = {.room = RoomId{row.number(0)},
                    .seq = row.number(1),
                    .id = EventId{row.number(2)},
                    .at_ms = row.integer(5),
                    .actor = UserId{row.number(4)},
                    .kind = static_cast<chat::EventKind>(row.integer(3)),
                    .body = base::Blob::copy_of(row.text(7))},
          .refused_ms = row.integer(6),
          .reason = std::string(row.text(8))};
}

Task<Result<std::optional<DeadLetter>>> find_letter(Sql& db, const Event& event) {
  auto rows = co_await db.query("SELECT " RINGLINE_LETTER_COLUMNS
                                " FROM dead_letters WHERE room_id = ?1 AND seq = ?2 AND id = ?3",
                                event.room, event.seq, event.id);
  if (!rows) co_return std::unexpected(rows.error());
  co_return rows->empty() ? std::nullopt : std::optional(read_letter(rows->front()));
}

// Whose membership an event changes; 0: nobody's.
UserId member_of(const EventEffect& effect) {
  if (const auto* joined = std::get_if<MemberJoined>(&effect)) return joined->user;
  if (const auto* left = std::get_if<MemberLeft>(&effect)) return left->user;
  if (const auto* changed = std::get_if<RoleChanged>(&effect)) return changed->user;
  return {};
}

// Whether what `later` did may not be undone by doing `earlier` now.
bool replaces(const EventEffect& later, const EventEffect& earlier) {
  const UserId member = member_of(earlier);
  if (!member && !std::holds_alternative<RoomUpdated>(earlier)) return false;
  if (std::holds_alternative<RoomDeleted>(later)) return true;
  return member ? member_of(later) == member : std::holds_alternative<RoomUpdated>(later);
}

// The seq of a later event that says otherwise; 0: there is none.
Task<Result<std::uint64_t>> replaced_by(Sql& db, const Event& event) {
  base::json::Reader json;
  if (event.kind < chat::EventKind::room_updated) co_return std::uint64_t{0};  // of a message: nothing does
  const auto earlier = effect_of(event, false, json);
  if (!earlier) co_return std::uint64_t{0};
  auto rows = co_await db.query(
      "SELECT seq, kind, body FROM room_events WHERE room_id = ?1 AND seq > ?2 AND kind >= ?3 ORDER BY seq", event.room,
      event.seq, static_cast<int>(chat::EventKind::room_updated));
  if (!rows) co_return std::unexpected(rows.error());
  for (const Rows::Row row : *rows) {
    const Event later{.room = event.room,
                      .seq = row.number(0),
                      .kind = static_cast<chat::EventKind>(row.integer(1)),
                      .body = base::Blob::copy_of(row.text(2))};
    const auto effect = effect_of(later, false, json);
    if (effect && replaces(*effect, *earlier)) co_return later.seq;
  }
  co_return std::uint64_t{0};
}

}  // namespace

Task<Result<std::vector<DeadLetter>>> dead_letters(Sql& db, const Event& after, std::size_t limit) {
  auto rows = co_await db.query("SELECT " RINGLINE_LETTER_COLUMNS
                                " FROM dead_letters WHERE (room_id, seq, id) > (?1, ?2, ?3)"
                                " ORDER BY room_id, seq, id LIMIT ?4",
                                after.room, after.seq, after.id, limit);
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<DeadLetter> letters;
  for (const Rows::Row row : *rows) letters.push_back(read_letter(row));
  co_return letters;
}

Task<Result<void>> drop_dead_letter(Sql& db, const Event& event) {
  auto dropped = co_await db.query("DELETE FROM dead_letters WHERE room_id = ?1 AND seq = ?2 AND id = ?3", event.room,
                                   event.seq, event.id);
  if (!dropped) co_return std::unexpected(dropped.error());
  if (dropped->changed == 0) co_return base::fail(Errc::not_found, "there is no such dead letter");
  co_return Result<void>();
}

// The room is put back to before the event, the event taken in as any other, and the room put to where it was: what an event does is written once, and what
// is refused again becomes a dead letter again. The first statement keeps a server that is at work out of the room until this is committed.
Task<Result<std::string>> retry_dead_letter(Sql& db, const Event& event) {
  auto locked = co_await db.query("UPDATE rooms SET ingested_seq = ingested_seq WHERE id = ?1", event.room);
  if (!locked) co_return std::unexpected(locked.error());
  auto letter = co_await find_letter(db, event);
  if (!letter) co_return std::unexpected(letter.error());
  if (!*letter) co_return base::fail(Errc::not_found, "there is no such dead letter");
  auto later = co_await replaced_by(db, (*letter)->event);
  if (!later) co_return std::unexpected(later.error());
  if (*later != 0) co_return fmt::format("event {} of the room says otherwise since: drop it", *later);
  auto rooms =
      co_await db.query("SELECT ingested_seq, message_count, updated_ms, epoch FROM rooms WHERE id = ?1", event.room);
  if (!rooms) co_return std::unexpected(rooms.error());
  const std::uint64_t ingested = rooms->empty() ? 0 : rooms->front().number(0);
  if (!rooms->empty() && event.seq > ingested + 1)
    co_return fmt::format("events {} to {} of the room are missing", ingested + 1, event.seq - 1);
  auto dropped = co_await drop_dead_letter(db, event);
  if (!dropped) co_return std::unexpected(dropped.error());
  const bool before = ingested >= event.seq;  // the room has gone on since
  if (before) {
    auto back = co_await db.query("UPDATE rooms SET ingested_seq = ?2 - 1 WHERE id = ?1", event.room, event.seq);
    if (!back) co_return std::unexpected(back.error());
    auto freed = co_await db.query("DELETE FROM room_events WHERE room_id = ?1 AND seq = ?2", event.room, event.seq);
    if (!freed) co_return std::unexpected(freed.error());
  }
  std::vector<Event> events{(*letter)->event};
  if (!rooms->empty())
    events.front().epoch =
        rooms->front().number(3);  // its seq is of this one, whatever it was when the event was refused
  auto taken = co_await db.ingest(events, Gaps::refuse);
  if (!taken) co_return std::unexpected(taken.error());
  if (before) {
    const Rows::Row was = rooms->front();
    auto forth =
        co_await db.query("UPDATE rooms SET ingested_seq = ?2, message_count = ?3, updated_ms = ?4 WHERE id = ?1",
                          event.room, ingested, was.number(1), was.integer(2));
    if (!forth) co_return std::unexpected(forth.error());
  }
  auto again = co_await find_letter(db, event);
  if (!again) co_return std::unexpected(again.error());
  co_return *again ? (*again)->reason : std::string();
}

}  // namespace ringline::backend
