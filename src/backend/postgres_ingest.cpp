// Taking events into PostgreSQL: a whole batch in one pipeline, rows of a table in one statement each. See also sqlite_ingest.cpp, which does the same one
// by one: what a row does, what is refused, and what stays of that, are the same.
//
// The rooms of a batch are locked first, in the order of their ids: of two hosts that would take in the same room one waits, and then finds that it is
// done. Where the database refuses something of a batch, all of it is taken back and done again event by event, to find what it was.
// Invariant: a room's ingested_seq moves in the transaction that writes what it counts.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <unordered_map>

#include "backend/event_effect.hpp"
#include "backend/postgres_connection.hpp"
#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;
using chat::Event;
using chat::EventKind;

namespace {

constexpr std::int64_t kClientIdMs = 25 * 3600 * 1000;  // clientIds are promised for 24 h
constexpr unsigned kEphemeralKeysRemoved = 1000;        // of those that are older, with each batch that brings some

// A column as an array's text (PostgreSQL, "Array Input and Output Syntax").
class Column {
 public:
  void add(std::int64_t number) { next() += std::to_string(number); }
  void add(std::uint64_t number) { add(static_cast<std::int64_t>(number)); }
  template <class Tag>
  void add(base::Id<Tag> id) {
    add(id.value);
  }
  void add(std::string_view text) {
    next() += '"';
    for (char c : text) {
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
    }
    text_ += '"';
  }
  template <class Value>
  void add(const std::optional<Value>& value) {
    if (value) {
      add(*value);
    } else {
      next() += "NULL";
    }
  }
  bool empty() const noexcept { return text_.empty(); }
  SqlValue take() {
    std::string whole = "{" + std::exchange(text_, {}) + "}";
    return whole;
  }

 private:
  std::string& next() {
    if (!text_.empty()) text_ += ',';
    return text_;
  }
  std::string text_;
};

// Rows of one table on their way.
template <std::size_t columns>
class Table {
 public:
  template <class... Values>
  void add(const Values&... values) {
    static_assert(sizeof...(values) == columns);
    std::size_t column = 0;
    (columns_[column++].add(values), ...);
  }
  void queue(PostgresConnection& c, const char* sql) {
    if (columns_[0].empty()) return;
    SqlValues values;
    for (Column& column : columns_) values.push_back(column.take());
    c.queue(sql, std::move(values));
  }
  bool empty() const noexcept { return columns_[0].empty(); }

 private:
  std::array<Column, columns> columns_;
};

struct RoomState {
  bool exists = false;
  bool ephemeral = false;
  chat::RoomType type = chat::RoomType::group;
  std::uint64_t epoch = 1;
  std::uint64_t first = 0;  // ingested_seq before this batch
  std::uint64_t ingested = 0;
  std::uint64_t message_count = 0;
  std::int64_t updated_ms = 0;
  std::uint64_t new_epochs = 0;
};
using Rooms = std::unordered_map<RoomId, RoomState>;

std::optional<std::string_view> unless_empty(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional<std::string_view>(text);
}

using Key = std::tuple<std::uint64_t, std::uint64_t, std::string>;  // room, sender, clientId

class Ingest {
 public:
  Ingest(PostgresConnection& c, const std::vector<Event>& events, Gaps gaps) : c_(c), events_(events), gaps_(gaps) {}

  Task<Result<void>> run() {
    auto locked = co_await lock_rooms();
    if (!locked) co_return locked;
    for (const Event& event : events_) effects_.push_back(effect_of(event, rooms_[event.room].ephemeral, json_));
    auto used = co_await find_used_keys();
    if (!used) co_return used;
    const Rooms before = rooms_;
    c_.queue("SAVEPOINT batch", {});
    for (std::size_t i = 0; i < events_.size(); ++i)
      if (auto taken = take(i); !taken) co_return taken;
    queue_rows();
    queue_rooms();
    auto done = co_await c_.flush();
    if (done) co_return Result<void>();
    if (done.error().code != Errc::conflict) co_return std::unexpected(done.error());
    auto back = co_await c_.execute("ROLLBACK TO SAVEPOINT batch", {});
    if (!back) co_return std::unexpected(back.error());
    rooms_ = before;
    auto singly = co_await run_singly();
    co_return singly;
  }

 private:
  Task<Result<void>> lock_rooms() {
    Column ids;
    for (const Event& event : events_) {
      c_.note(event.id);
      if (rooms_.try_emplace(event.room).second) ids.add(event.room);
    }
    auto rows = co_await c_.query(
        "SELECT id, ephemeral, type, ingested_seq, message_count, updated_ms, epoch FROM rooms"
        " WHERE id = ANY (?1::bigint[]) ORDER BY id FOR UPDATE",
        std::get<std::string>(ids.take()));
    if (!rows) co_return std::unexpected(rows.error());
    for (const Rows::Row row : *rows) {
      rooms_[RoomId{row.number(0)}] = {.exists = true,
                                       .ephemeral = row.flag(1),
                                       .type = static_cast<chat::RoomType>(row.integer(2)),
                                       .epoch = row.number(6),
                                       .first = row.number(3),
                                       .ingested = row.number(3),
                                       .message_count = row.number(4),
                                       .updated_ms = row.integer(5)};
    }
    co_return Result<void>();
  }

  // Of the sends in this batch: which have a clientId that their sender used in the room before?
  Task<Result<void>> find_used_keys() {
    Column rooms, senders, keys;
    std::uint64_t oldest = UINT64_MAX;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const Event& event = events_[i];
      const auto* created = effects_[i] ? std::get_if<MessageCreated>(&*effects_[i]) : nullptr;
      if (!created || !created->client_id || event.seq <= rooms_[event.room].first) continue;
      rooms.add(event.room);
      senders.add(created->message.sender);
      keys.add(std::string_view(*created->client_id));
      oldest = std::min(oldest, event.id.value);
    }
    if (rooms.empty()) co_return Result<void>();
    constexpr std::uint64_t kBack = std::uint64_t{kClientIdMs}
                                    << (base::kHostBits + base::kCoreBits + base::kCounterBits);
    auto rows = co_await c_.query(
        "SELECT m.room_id, m.sender_id, m.client_id FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[])"
        " AS sent (room_id, sender_id, client_id) JOIN messages m USING (sender_id, room_id, client_id) WHERE m.id >= "
        "?4",
        std::get<std::string>(rooms.take()), std::get<std::string>(senders.take()), std::get<std::string>(keys.take()),
        oldest > kBack ? oldest - kBack : 0);
    if (!rows) co_return std::unexpected(rows.error());
    for (const Rows::Row row : *rows) used_.emplace(row.number(0), row.number(1), std::string(row.text(2)));
    co_return Result<void>();
  }

  // Puts what an event does into the tables on their way, and what changes rooms and members into the pipeline, in order.
  Result<void> take(std::size_t index) {
    const Event& event = events_[index];
    RoomState& room = rooms_[event.room];
    if (!room.exists) {
      bury(event, event.body.view(), "no such room");
      return {};
    }
    if (event.epoch != room.epoch && gaps_ == Gaps::refuse) return parted(event, room.epoch);
    if (event.seq <= room.ingested) return {};
    if (event.seq != room.ingested + 1 && gaps_ == Gaps::refuse)
      return base::fail(Errc::internal, fmt::format("room {}: events {} to {} are missing before {}", event.room.value,
                                                    room.ingested + 1, event.seq - 1, event.seq));
    Result<void> applied;
    if (const auto& effect = effects_[index]; effect) {
      applied = std::visit([&](const auto& what) { return apply(event, room, what); }, *effect);
    } else {
      applied = std::unexpected(effect.error());
    }
    if (!applied) set_aside(event, room, applied.error().message);
    advance(event, room);
    return {};
  }

  static void advance(const Event& event, RoomState& room) {
    if (event.seq != room.ingested + 1) ++room.new_epochs;  // over what is lost
    room.ingested = event.seq;
    room.updated_ms = std::max(room.updated_ms, event.at_ms);
    if (event.kind == EventKind::message_created) ++room.message_count;
  }

  // The same, one by one: what is refused is set aside, the rest goes on.
  Task<Result<void>> run_singly() {
    used_in_batch_.clear();
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const Event& event = events_[i];
      RoomState& room = rooms_[event.room];
      const RoomState before = room;
      c_.queue("SAVEPOINT event", {});
      if (auto taken = take(i); !taken) co_return taken;
      queue_rows();
      auto done = co_await c_.flush();
      if (!done && done.error().code == Errc::conflict) {
        auto back = co_await c_.execute("ROLLBACK TO SAVEPOINT event", {});
        if (!back) co_return std::unexpected(back.error());
        room = before;
        set_aside(event, room, done.error().message);
        advance(event, room);
        queue_rows();
        done = co_await c_.flush();
      }
      if (!done) co_return std::unexpected(done.error());
    }
    queue_rooms();
    auto done = co_await c_.flush();
    if (!done) co_return std::unexpected(done.error());
    co_return Result<void>();
  }

  Result<void> apply(const Event& event, const RoomState&, const MessageCreated& what) {
    const chat::Message& m = what.message;
    for (const std::string* text : {&m.text, &m.type, &m.extra})
      if (has_nul(*text)) return no_nul();
    if (what.client_id) {
      if (has_nul(*what.client_id)) return no_nul();
      const Key key(event.room.value, m.sender.value, *what.client_id);
      if (used_.contains(key) || !used_in_batch_.insert(key).second)
        return base::fail(Errc::conflict, "UNIQUE: the sender has used this clientId in this room before");
    }
    messages_.add(event.room, event.seq, event.id, m.sender, what.client_id, std::string_view(m.type),
                  std::string_view(m.text), m.reply_to ? std::optional(m.reply_to) : std::nullopt,
                  mentions_json(m.mentions), unless_empty(m.extra), m.created_ms, m.edited_ms, m.deleted_ms);
    return {};
  }

  Result<void> apply(const Event& event, const RoomState&, const EphemeralSend& what) {
    if (!what.client_id) return {};
    if (has_nul(*what.client_id)) return no_nul();
    sends_.add(event.room, event.actor, std::string_view(*what.client_id), event.seq, event.id, event.at_ms);
    return {};
  }

  // Who joins has read what was there before.
  Result<void> apply(const Event& event, const RoomState& room, const MemberJoined& what) {
    keep_body(event);
    c_.queue("INSERT INTO members VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) ON CONFLICT DO NOTHING",
             {sql_value(event.room), sql_value(what.user), sql_value(static_cast<int>(what.role)),
              sql_value(event.at_ms), sql_value(event.seq), sql_value(room.message_count)});
    return {};
  }

  Result<void> apply(const Event& event, const RoomState&, const MemberLeft& what) {
    keep_body(event);
    c_.queue("DELETE FROM members WHERE room_id = ?1 AND user_id = ?2", {sql_value(event.room), sql_value(what.user)});
    return {};
  }

  Result<void> apply(const Event& event, const RoomState&, const RoleChanged& what) {
    keep_body(event);
    c_.queue("UPDATE members SET role = ?3 WHERE room_id = ?1 AND user_id = ?2",
             {sql_value(event.room), sql_value(what.user), sql_value(static_cast<int>(what.role))});
    return {};
  }

  // A name that became another room's meanwhile is refused: the room keeps the name it had.
  Result<void> apply(const Event& event, const RoomState& room, const RoomUpdated& what) {
    for (const std::string* text : {&what.name, &what.description, &what.avatar_url})
      if (has_nul(*text)) return no_nul();
    keep_body(event);
    c_.queue(
        "UPDATE rooms SET name = ?2, name_folded = ?3, description = ?4, avatar_url = ?5, private = ?6"
        " WHERE id = ?1 AND deleted_ms = 0",
        {sql_value(event.room), sql_value(what.name), sql_value(public_name(room.type, what.is_private, what.name)),
         sql_value(what.description), sql_value(what.avatar_url), sql_value(what.is_private)});
    return {};
  }

  Result<void> apply(const Event& event, const RoomState&, const RoomDeleted&) {
    keep_body(event);
    c_.queue("DELETE FROM members WHERE room_id = ?1", {sql_value(event.room)});
    c_.queue("UPDATE rooms SET deleted_ms = ?2, name_folded = NULL, direct_key = NULL WHERE id = ?1",
             {sql_value(event.room), sql_value(event.at_ms)});
    return {};
  }

  Result<void> apply(const Event& event, const RoomState&, const NothingMore&) {
    keep_body(event);
    return {};
  }

  static bool has_nul(const std::string& text) { return text.find('\0') != text.npos; }
  static std::unexpected<base::Error> no_nul() {
    return base::fail(Errc::conflict, "the database keeps no text with U+0000");
  }

  void keep_body(const Event& event) {
    others_.add(event.room, event.seq, std::uint64_t{static_cast<std::uint8_t>(event.kind)}, event.body.view());
  }

  // What was said in an ephemeral room is not kept here either.
  void set_aside(const Event& event, const RoomState& room, const std::string& reason) {
    if (room.ephemeral && event.kind == EventKind::message_created) return bury(event, {}, reason);
    keep_body(event);
    bury(event, event.body.view(), reason);
  }

  void bury(const Event& event, std::string_view body, std::string_view reason) {
    base::log::error(
        "event_refused",
        {{"room", event.room.value}, {"seq", event.seq}, {"event", chat::name_of(event.kind)}, {"why", reason}});
    dead_.add(event.room, event.seq, event.id, std::uint64_t{static_cast<std::uint8_t>(event.kind)}, event.actor,
              event.at_ms, base::wall_ms(), body, reason);
  }

  void queue_rows() {
    messages_.queue(c_,
                    "WITH kept AS (INSERT INTO messages SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[],"
                    " ?4::bigint[], ?5::text[], ?6::text[], ?7::text[], ?8::bigint[], ?9::text[], ?10::text[],"
                    " ?11::bigint[], ?12::bigint[], ?13::bigint[]) RETURNING sender_id)"
                    " UPDATE users SET wrote = 1 WHERE wrote = 0 AND id IN (SELECT sender_id FROM kept)");
    others_.queue(c_,
                  "INSERT INTO room_events SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::smallint[], ?4::text[])"
                  " ON CONFLICT DO NOTHING");
    dead_.queue(c_,
                "INSERT INTO dead_letters SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[],"
                " ?4::smallint[], ?5::bigint[], ?6::bigint[], ?7::bigint[], ?8::text[], ?9::text[])"
                " ON CONFLICT DO NOTHING");
    if (sends_.empty()) return;
    c_.queue(
        "DELETE FROM ephemeral_sends WHERE (sender_id, room_id, client_id) IN"
        " (SELECT sender_id, room_id, client_id FROM ephemeral_sends WHERE created_ms < ?1"
        " ORDER BY created_ms LIMIT ?2 FOR UPDATE SKIP LOCKED)",
        {sql_value(base::wall_ms() - kClientIdMs), sql_value(kEphemeralKeysRemoved)});
    sends_.queue(c_,
                 "WITH kept AS (INSERT INTO ephemeral_sends (room_id, sender_id, client_id, seq, id, created_ms)"
                 " SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[], ?4::bigint[], ?5::bigint[],"
                 " ?6::bigint[]) RETURNING sender_id)"
                 " UPDATE users SET wrote = 1 WHERE wrote = 0 AND id IN (SELECT sender_id FROM kept)");
  }

  void queue_rooms() {
    for (const auto& [id, room] : rooms_)
      if (room.ingested != room.first)
        moved_.add(id, room.ingested, room.message_count, room.updated_ms, room.new_epochs);
    moved_.queue(c_,
                 "UPDATE rooms r SET last_seq = greatest(r.last_seq, moved.seq), ingested_seq = moved.seq,"
                 " message_count = moved.count, updated_ms = moved.updated, epoch = r.epoch + moved.epochs"
                 " FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[])"
                 " AS moved (id, seq, count, updated, epochs) WHERE r.id = moved.id");
  }

  PostgresConnection& c_;
  const std::vector<Event>& events_;
  Gaps gaps_;
  base::json::Reader json_;
  std::vector<Result<EventEffect>> effects_;  // of each event
  Rooms rooms_;
  std::set<Key> used_;  // before this batch
  std::set<Key> used_in_batch_;
  Table<13> messages_;
  Table<4> others_;
  Table<6> sends_;
  Table<9> dead_;
  Table<5> moved_;
};

}  // namespace

Task<Result<void>> PostgresConnection::ingest(const std::vector<chat::Event>& events, Gaps gaps) {
  if (events.empty()) co_return Result<void>();
  Ingest work(*this, events, gaps);
  auto done = co_await work.run();
  co_return done;
}

}  // namespace ringline::backend
