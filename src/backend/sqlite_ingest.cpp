// Taking events into SQLite: a message_created becomes a row of `messages`, any other a row of `room_events` and its effect on rooms and members.
//
// What the database refuses of one event goes to dead_letters with the reason, and the rest go on; the event itself stays in `room_events`, so that no seq
// is missing. Only an event of a room that is not there has nothing but its dead letter.
// Invariant: a room's ingested_seq moves by one an event, in the transaction that writes it (Gaps::new_epoch: over what is lost, into a new epoch).
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "backend/event_effect.hpp"
#include "backend/sqlite_connection.hpp"
#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;
using chat::Event;
using chat::EventKind;

namespace {

constexpr std::int64_t kEphemeralKeyMs = 25 * 3600 * 1000;  // clientIds are promised for 24 h
constexpr unsigned kEphemeralKeysRemoved = 2;               // of those, with each new one

struct RoomState {
  bool exists = false;
  bool ephemeral = false;
  chat::RoomType type = chat::RoomType::group;
  std::uint64_t epoch = 1;
  std::uint64_t first = 0;  // ingested_seq before this batch
  std::uint64_t ingested = 0;
  std::uint64_t message_count = 0;
  std::int64_t updated_ms = 0;
  std::uint64_t texts = 0;  // messages that were kept, for the index of texts
};

template <class Text>
std::optional<std::string_view> unless_empty(const Text& text) {
  return text.empty() ? std::nullopt : std::optional(std::string_view(text));
}

class Ingest {
 public:
  Ingest(SqliteConnection& c, Gaps gaps) : c_(c), db_(c.db), gaps_(gaps) {}

  // Before anything is taken.
  Result<void> compare(const std::vector<Event>& events) {
    auto ingested = [this](RoomId id) {
      auto room = room_of(id);
      return room && (*room)->exists ? (*room)->ingested : 0;
    };
    for (const Event* event : to_compare(events, ingested)) {
      auto room = room_of(event->room);
      if (!room) return std::unexpected(room.error());
      if (event->epoch != (*room)->epoch) return parted(*event, (*room)->epoch);
      Query other =
          db_.query("SELECT 1 FROM (SELECT ?1 AS room_id, ?2 AS seq, ?3 AS id) AS e WHERE " RINGLINE_IS_ANOTHER,
                    event->room, event->seq, event->id);
      if (other.next()) return parted(*event);
      if (auto ok = other.check(); !ok) return ok;
    }
    return {};
  }

  Result<void> take(const Event& event) {
    auto loaded = room_of(event.room);
    if (!loaded) return std::unexpected(loaded.error());
    RoomState& room = **loaded;
    c_.note(event.id);
    if (!room.exists) return bury(event, event.body.view(), "no such room");
    if (event.epoch != room.epoch && gaps_ == Gaps::refuse) return parted(event, room.epoch);
    if (event.seq <= room.ingested || !continues(event, room)) return {};
    if (event.seq != room.ingested + 1 && gaps_ == Gaps::new_epoch) {
      if (auto begun = begin_epoch(event.room); !begun) return begun;
    } else if (event.seq != room.ingested + 1) {
      return base::fail(Errc::internal, fmt::format("room {}: events {} to {} are missing before {}", event.room.value,
                                                    room.ingested + 1, event.seq - 1, event.seq));
    }
    auto taken = apply(event, room);
    if (taken && event.kind == EventKind::message_created && !room.ephemeral) ++room.texts;
    if (!taken && taken.error().code == Errc::conflict) taken = set_aside(event, room, taken.error().message);
    if (!taken) return taken;
    room.ingested = event.seq;
    room.updated_ms = std::max(room.updated_ms, event.at_ms);
    if (event.kind == EventKind::message_created)
      read_[{event.room, event.actor}] = {.seq = event.seq, .count = ++room.message_count};
    return {};
  }

  Result<void> finish() {
    for (const auto& [id, room] : rooms_) {
      if (room.ingested == room.first) continue;
      auto done = db_.run(
          "UPDATE rooms SET last_seq = max(last_seq, ?2), ingested_seq = ?2, message_count = ?3, updated_ms = ?4"
          " WHERE id = ?1",
          id, room.ingested, room.message_count, room.updated_ms);
      if (done && room.texts > 0)
        done = db_.run("INSERT INTO text_queue (room_id, first_seq, last_seq, messages) VALUES (?1, ?2, ?3, ?4)", id,
                       room.first + 1, room.ingested, room.texts);
      if (!done) return done;
    }
    for (const auto& [reader, read] : read_) {
      auto done = db_.run(
          "UPDATE members SET read_seq = ?3, read_count = ?4 WHERE room_id = ?1 AND user_id = ?2 AND read_seq < ?3",
          reader.first, reader.second, read.seq, read.count);
      if (!done) return done;
    }
    return {};
  }

 private:
  // Not one that another host's events are to come before, or instead of which they came.
  bool continues(const Event& event, const RoomState& room) const noexcept {
    return gaps_ != Gaps::leave || (event.epoch == room.epoch && event.seq == room.ingested + 1);
  }

  // Events of this room are lost: nobody may believe that he can resume over them.
  Result<void> begin_epoch(RoomId id) { return db_.run("UPDATE rooms SET epoch = epoch + 1 WHERE id = ?1", id); }

  Result<RoomState*> room_of(RoomId id) {
    auto [slot, fresh] = rooms_.try_emplace(id);
    RoomState& room = slot->second;
    if (!fresh) return &room;
    Query row = db_.query(
        "SELECT ephemeral, type, ingested_seq, message_count, updated_ms, epoch FROM rooms WHERE id = ?1", id);
    if (row.next()) {
      room = {.exists = true,
              .ephemeral = row.flag(0),
              .type = static_cast<chat::RoomType>(row.integer(1)),
              .epoch = row.number(5),
              .first = row.number(2),
              .ingested = row.number(2),
              .message_count = row.number(3),
              .updated_ms = row.integer(4)};
    }
    if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
    return &room;
  }

  // Conflict: the database or the event's own form refuses it.
  Result<void> apply(const Event& event, const RoomState& room) {
    auto effect = effect_of(event, room.ephemeral, json_);
    if (!effect) return std::unexpected(effect.error());
    if (event.kind != EventKind::message_created)
      if (auto kept = keep_body(event); !kept) return kept;
    return std::visit([&](const auto& what) { return apply(event, room, what); }, *effect);
  }

  Result<void> apply(const Event& event, const RoomState&, const MessageCreated& what) {
    const chat::Message& m = what.message;
    auto reply_to = m.reply_to ? std::optional(m.reply_to) : std::nullopt;
    auto client_id = what.client_id ? std::optional(std::string_view(*what.client_id)) : std::nullopt;
    auto file = m.file ? std::optional(m.file->id) : std::nullopt;
    auto kept =
        db_.run("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)", event.room,
                event.seq, event.id, m.sender, client_id, std::string_view(m.type), std::string_view(m.text), reply_to,
                mentions_json(m.mentions), unless_empty(m.extra), m.created_ms, m.edited_ms, m.deleted_ms, file);
    return kept ? note_writer(m.sender) : kept;
  }

  // Once a batch and user: he is not removed with idle guests.
  Result<void> note_writer(UserId user) {
    if (!writers_.insert(user).second) return {};
    return db_.run("UPDATE users SET wrote = 1 WHERE id = ?1 AND wrote = 0", user);
  }

  Result<void> apply(const Event& event, const RoomState&, const EphemeralSend& what) {
    if (!what.client_id) return {};
    auto removed = db_.run(
        "DELETE FROM ephemeral_sends WHERE (room_id, sender_id, client_id) IN"
        " (SELECT room_id, sender_id, client_id FROM ephemeral_sends WHERE created_ms < ?1"
        " ORDER BY created_ms LIMIT ?2)",
        base::wall_ms() - kEphemeralKeyMs, kEphemeralKeysRemoved);
    if (!removed) return removed;
    auto kept = db_.run("INSERT INTO ephemeral_sends VALUES (?1, ?2, ?3, ?4, ?5, ?6)", event.room, event.actor,
                        *what.client_id, event.seq, event.id, event.at_ms);
    return kept ? note_writer(event.actor) : kept;
  }

  Result<void> keep_body(const Event& event) {
    return db_.run("INSERT INTO room_events VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING", event.room, event.seq,
                   static_cast<int>(event.kind), event.body.view());
  }

  // Who joins has read what was there before.
  Result<void> apply(const Event& event, const RoomState& room, const MemberJoined& what) {
    return db_.run("INSERT INTO members VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) ON CONFLICT DO NOTHING", event.room,
                   what.user, static_cast<int>(what.role), event.at_ms, event.seq, room.message_count);
  }

  Result<void> apply(const Event& event, const RoomState&, const MemberLeft& what) {
    return db_.run("DELETE FROM members WHERE room_id = ?1 AND user_id = ?2", event.room, what.user);
  }

  Result<void> apply(const Event& event, const RoomState&, const RoleChanged& what) {
    return db_.run("UPDATE members SET role = ?3 WHERE room_id = ?1 AND user_id = ?2", event.room, what.user,
                   static_cast<int>(what.role));
  }

  // A name that became another room's meanwhile is refused: the room keeps the name it had.
  Result<void> apply(const Event& event, const RoomState& room, const RoomUpdated& what) {
    return db_.run(
        "UPDATE rooms SET name = ?2, name_folded = ?3, description = ?4, avatar_url = ?5, private = ?6"
        " WHERE id = ?1 AND deleted_ms = 0",
        event.room, what.name, public_name(room.type, what.is_private, what.name), what.description, what.avatar_url,
        what.is_private);
  }

  Result<void> apply(const Event& event, const RoomState&, const RoomDeleted&) {
    auto done = db_.run("DELETE FROM members WHERE room_id = ?1", event.room);
    if (!done) return done;
    return db_.run("UPDATE rooms SET deleted_ms = ?2, name_folded = NULL, direct_key = NULL WHERE id = ?1", event.room,
                   event.at_ms);
  }

  Result<void> apply(const Event&, const RoomState&, const NothingMore&) { return {}; }

  // What was said in an ephemeral room is not kept here either.
  Result<void> set_aside(const Event& event, const RoomState& room, const std::string& reason) {
    if (room.ephemeral && event.kind == EventKind::message_created) return bury(event, {}, reason);
    auto kept = keep_body(event);
    return kept ? bury(event, event.body.view(), reason) : kept;
  }

  Result<void> bury(const Event& event, std::string_view body, std::string_view reason) {
    base::log::error(
        "event_refused",
        {{"room", event.room.value}, {"seq", event.seq}, {"event", chat::name_of(event.kind)}, {"why", reason}});
    return db_.run("INSERT INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
                   event.room, event.seq, event.id, static_cast<int>(event.kind), event.actor, event.at_ms,
                   base::wall_ms(), body, reason);
  }

  SqliteConnection& c_;
  Db& db_;
  Gaps gaps_;
  base::json::Reader json_;
  std::unordered_map<RoomId, RoomState> rooms_;
  std::unordered_set<UserId> writers_;
  std::map<std::pair<RoomId, UserId>, ReadUpTo> read_;  // who sent has read up to there
};

}  // namespace

Task<Result<void>> SqliteConnection::ingest(const std::vector<Event>& events, Gaps gaps) {
  Ingest work(*this, gaps);
  if (gaps == Gaps::refuse)
    if (auto same = work.compare(events); !same) co_return same;
  for (const Event& event : events)
    if (auto taken = work.take(event); !taken) co_return taken;
  co_return work.finish();
}

}  // namespace ringline::backend
