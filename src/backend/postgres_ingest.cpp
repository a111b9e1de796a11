// Taking events into PostgreSQL: a whole batch in one pipeline, rows of a table in one statement each, messages by a COPY behind it. See also
// sqlite_ingest.cpp, which does the same one by one: what a row does, what is refused, and what stays of that, are the same.
//
// The rooms of a batch are locked first, in the order of their ids: of two hosts that would take in the same room one waits, and then finds that it is
// done. The lease of the database is held meanwhile: a host that was thought to be gone and comes back writes nothing. Where the database refuses something
// of a batch, all of it is taken back and done again in halves, to find what it was.
// Invariant: a room's ingested_seq moves in the transaction that writes what it counts.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "backend/event_effect.hpp"
#include "backend/postgres_rows.hpp"
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

// Nobody else takes the lease before this transaction ends; no row: somebody has.
constexpr const char* kHoldLease =
    "SELECT 1 FROM leases WHERE name = 'database' AND holder = ?1"
    " AND until_ms > (extract(epoch FROM clock_timestamp()) * 1000)::bigint FOR SHARE";

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
  bool has_messages = false;  // new ones, for the index of texts
};
using Rooms = std::unordered_map<RoomId, RoomState>;

std::optional<std::string_view> unless_empty(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional<std::string_view>(text);
}

// Messages of a batch, for the index of texts: between which ids, and how many.
struct Words {
  std::uint64_t first_id = UINT64_MAX;
  std::uint64_t last_id = 0;
  std::uint64_t messages = 0;
};

using Key = std::tuple<std::uint64_t, std::uint64_t, std::string>;  // room, sender, clientId

class Ingest {
 public:
  Ingest(PostgresConnection& c, const std::vector<Event>& events, Gaps gaps) : c_(c), events_(events), gaps_(gaps) {}

  Task<Result<void>> run() {
    auto locked = co_await lock_rooms();
    if (locked && gaps_ == Gaps::refuse) locked = co_await compare();
    if (!locked) co_return locked;
    for (const Event& event : events_) {
      const RoomState& room = rooms_[event.room];
      const bool is_new = !room.exists || event.seq > room.ingested;  // else nobody looks at it
      effects_.push_back(is_new ? effect_of(event, room.ephemeral, json_) : Result<EventEffect>(NothingMore{}));
    }
    auto used = co_await find_used_keys();
    if (!used) co_return used;
    auto taken = co_await take_part(0, events_.size());
    if (!taken) co_return taken;
    queue_rooms();
    queue_marks();
    auto done = co_await c_.flush();
    if (!done) co_return std::unexpected(done.error());
    for (const Refused& refused : refused_) tell(refused);
    co_return Result<void>();
  }

 private:
  // What goes to dead_letters. Told when the batch is done: a part of it that is done in halves comes by again.
  struct Refused {
    const Event* event;
    std::string why;
  };
  static void tell(const Refused& refused) {
    const Event& event = *refused.event;
    base::log::error(
        "event_refused",
        {{"room", event.room.value}, {"seq", event.seq}, {"event", chat::name_of(event.kind)}, {"why", refused.why}});
  }

  Task<Result<void>> lock_rooms() {
    ArrayColumn ids;
    for (const Event& event : events_) {
      c_.note(event.id);
      if (rooms_.try_emplace(event.room).second) ids.add(event.room);
    }
    if (!c_.holder().empty()) c_.queue(kHoldLease, {sql_value(c_.holder())});
    c_.queue(
        "SELECT id, ephemeral, type, ingested_seq, message_count, updated_ms, epoch FROM rooms"
        " WHERE id = ANY (?1::bigint[]) ORDER BY id FOR UPDATE",
        {ids.take()});
    auto results = co_await c_.flush();
    if (!results) co_return std::unexpected(results.error());
    if (results->front().empty() && !c_.holder().empty())
      co_return base::fail_later(Errc::unavailable, 1000, "another host has taken the database");
    for (const Rows::Row row : results->back()) {
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

  Task<Result<void>> compare() {
    ArrayColumn rooms, seqs, ids;
    const auto there = to_compare(events_, [this](RoomId id) { return rooms_[id].exists ? rooms_[id].ingested : 0; });
    for (const Event* event : there) {
      if (event->epoch != rooms_[event->room].epoch) co_return parted(*event, rooms_[event->room].epoch);
      rooms.add(event->room);
      seqs.add(event->seq);
      ids.add(event->id);
    }
    if (rooms.empty()) co_return Result<void>();
    auto others = co_await c_.query(
        "SELECT e.room_id, e.seq FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[]) AS e (room_id, seq, id)"
        " WHERE " RINGLINE_IS_ANOTHER,
        std::get<std::string>(rooms.take()), std::get<std::string>(seqs.take()), std::get<std::string>(ids.take()));
    if (!others) co_return std::unexpected(others.error());
    if (others->empty()) co_return Result<void>();
    const Rows::Row other = others->front();
    co_return parted(Event{.room = RoomId{other.number(0)}, .seq = other.number(1), .body = {}});
  }

  // Of the sends in this batch: which have a clientId that their sender used in the room before? Each is looked up by itself (LATERAL, LIMIT): a plain join
  // is planned as one of all messages of those 25 hours, sorted, which costs more with each batch.
  Task<Result<void>> find_used_keys() {
    ArrayColumn rooms, senders, keys;
    std::uint64_t oldest = UINT64_MAX, newest = 0;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const Event& event = events_[i];
      const auto* created = effects_[i] ? std::get_if<MessageCreated>(&*effects_[i]) : nullptr;
      if (!created || !created->client_id || event.seq <= rooms_[event.room].first) continue;
      rooms.add(event.room);
      senders.add(created->message.sender);
      keys.add(std::string_view(*created->client_id));
      oldest = std::min(oldest, event.id.value);
      newest = std::max(newest, event.id.value);
    }
    if (rooms.empty()) co_return Result<void>();
    constexpr std::uint64_t kBack = std::uint64_t{kClientIdMs}
                                    << (base::kHostBits + base::kCoreBits + base::kCounterBits);
    auto rows = co_await c_.query(
        "SELECT sent.* FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[]) AS sent (room, sender, client)"
        " CROSS JOIN LATERAL (SELECT FROM messages WHERE sender_id = sent.sender AND room_id = sent.room"
        " AND client_id = sent.client AND id BETWEEN ?4 AND ?5 LIMIT 1) AS found",
        std::get<std::string>(rooms.take()), std::get<std::string>(senders.take()), std::get<std::string>(keys.take()),
        oldest > kBack ? oldest - kBack : 0, newest);
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
    if (event.seq <= room.ingested || !continues(event, room)) return {};
    if (event.seq != room.ingested + 1 && gaps_ == Gaps::refuse) return missing(event, room);
    Result<void> applied;
    if (const auto& effect = effects_[index]; effect) {
      applied = std::visit([&](const auto& what) { return apply(event, room, what); }, *effect);
    } else {
      applied = std::unexpected(effect.error());
    }
    if (!applied) set_aside(event, room, applied.error().message);
    if (applied && event.kind == EventKind::message_created && !room.ephemeral) note_words(event, room);
    advance(event, room);
    return {};
  }

  // Not one that another host's events are to come before, or instead of which they came.
  bool continues(const Event& event, const RoomState& room) const noexcept {
    return gaps_ != Gaps::leave || (event.epoch == room.epoch && event.seq == room.ingested + 1);
  }

  void note_words(const Event& event, RoomState& room) {
    room.has_messages = true;
    words_.first_id = std::min(words_.first_id, event.id.value);
    words_.last_id = std::max(words_.last_id, event.id.value);
    ++words_.messages;
  }

  static std::unexpected<base::Error> missing(const Event& event, const RoomState& room) {
    std::string what = fmt::format("room {}: events {} to {} are missing before {}", event.room.value,
                                   room.ingested + 1, event.seq - 1, event.seq);
    return std::unexpected(
        base::Error{.code = Errc::internal, .message = std::move(what), .field = {}, .sys = kEventsMissing});
  }

  void advance(const Event& event, RoomState& room) {
    if (event.seq != room.ingested + 1) ++room.new_epochs;  // over what is lost
    room.ingested = event.seq;
    room.updated_ms = std::max(room.updated_ms, event.at_ms);
    if (event.kind == EventKind::message_created)
      read_[{event.room, event.actor}] = {.seq = event.seq, .count = ++room.message_count};
  }

  // Events from `first` up to `last`. Where something of them is refused it is done in halves, down to the one that it was: that is set aside.
  Task<Result<void>> take_part(std::size_t first, std::size_t last) {
    const Rooms rooms = rooms_;
    const std::set<Key> used = used_in_batch_;
    const Words words = words_;
    const std::size_t refused = refused_.size();
    c_.queue("SAVEPOINT part", {});
    for (std::size_t i = first; i < last; ++i)
      if (auto taken = take(i); !taken) co_return taken;
    auto done = co_await write_rows();
    if (done) c_.queue("RELEASE SAVEPOINT part", {});
    if (done || done.error().code != Errc::conflict) co_return done;
    auto back = co_await c_.execute("ROLLBACK TO SAVEPOINT part", {});
    if (!back) co_return std::unexpected(back.error());
    rooms_ = rooms;
    used_in_batch_ = used;
    words_ = words;
    refused_.erase(refused_.begin() + static_cast<std::ptrdiff_t>(refused), refused_.end());
    if (last - first == 1) {
      auto aside = co_await take_aside(first, done.error().message);
      co_return aside;
    }
    const std::size_t middle = first + (last - first) / 2;
    auto half = co_await take_part(first, middle);
    if (half) half = co_await take_part(middle, last);
    if (half) c_.queue("RELEASE SAVEPOINT part", {});
    co_return half;
  }

  Task<Result<void>> take_aside(std::size_t index, std::string reason) {
    const Event& event = events_[index];
    RoomState& room = rooms_[event.room];
    set_aside(event, room, reason);
    advance(event, room);
    auto done = co_await write_rows();
    if (done) c_.queue("RELEASE SAVEPOINT part", {});
    co_return done;
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
                  mentions_json(m.mentions), unless_empty(m.extra), m.created_ms, m.edited_ms, m.deleted_ms,
                  m.file ? std::optional(m.file->id) : std::nullopt);
    note_writer(m.sender);
    return {};
  }

  // He is not removed with idle guests.
  void note_writer(UserId user) {
    if (writers_.insert(user).second) wrote_.add(user);
  }

  Result<void> apply(const Event& event, const RoomState&, const EphemeralSend& what) {
    if (!what.client_id) return {};
    if (has_nul(*what.client_id)) return no_nul();
    sends_.add(event.room, event.actor, std::string_view(*what.client_id), event.seq, event.id, event.at_ms);
    note_writer(event.actor);
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
    refused_.push_back({&event, std::string(reason)});
    dead_.add(event.room, event.seq, event.id, std::uint64_t{static_cast<std::uint8_t>(event.kind)}, event.actor,
              event.at_ms, base::wall_ms(), body, reason);
  }

  Task<Result<void>> write_rows() {
    queue_rows();
    const std::string messages = messages_.empty() ? std::string() : messages_.take();
    auto flushed = co_await c_.flush();
    if (!flushed) co_return std::unexpected(flushed.error());
    if (messages.empty()) co_return Result<void>();
    auto copied = co_await c_.copy(
        "COPY messages (room_id, seq, id, sender_id, client_id, type, text, reply_to, mentions, extra, created_ms,"
        " edited_ms, deleted_ms, file_id) FROM STDIN (FORMAT binary)",
        messages);
    co_return copied;
  }

  void queue_rows() {
    others_.queue(c_,
                  "INSERT INTO room_events SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::smallint[], ?4::text[])"
                  " ON CONFLICT DO NOTHING");
    dead_.queue(c_,
                "INSERT INTO dead_letters SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[],"
                " ?4::smallint[], ?5::bigint[], ?6::bigint[], ?7::bigint[], ?8::text[], ?9::text[])"
                " ON CONFLICT DO NOTHING");
    if (!wrote_.empty())
      c_.queue("UPDATE users SET wrote = 1 WHERE wrote = 0 AND id = ANY (?1::bigint[])", {wrote_.take()});
    writers_.clear();
    if (sends_.empty()) return;
    c_.queue(
        "DELETE FROM ephemeral_sends WHERE (sender_id, room_id, client_id) IN"
        " (SELECT sender_id, room_id, client_id FROM ephemeral_sends WHERE created_ms < ?1"
        " ORDER BY created_ms LIMIT ?2 FOR UPDATE SKIP LOCKED)",
        {sql_value(base::wall_ms() - kClientIdMs), sql_value(kEphemeralKeysRemoved)});
    sends_.queue(c_,
                 "INSERT INTO ephemeral_sends (room_id, sender_id, client_id, seq, id, created_ms)"
                 " SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[], ?4::bigint[], ?5::bigint[],"
                 " ?6::bigint[])");
  }

  void queue_rooms() {
    ArrayColumn rooms, first_seqs, last_seqs;
    for (const auto& [id, room] : rooms_) {
      if (room.ingested == room.first) continue;
      moved_.add(id, room.ingested, room.message_count, room.updated_ms, room.new_epochs);
      if (!room.has_messages) continue;
      rooms.add(id);
      first_seqs.add(room.first + 1);
      last_seqs.add(room.ingested);
    }
    moved_.queue(c_,
                 "UPDATE rooms r SET last_seq = greatest(r.last_seq, moved.seq), ingested_seq = moved.seq,"
                 " message_count = moved.count, updated_ms = moved.updated, epoch = r.epoch + moved.epochs"
                 " FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::bigint[])"
                 " AS moved (id, seq, count, updated, epochs) WHERE r.id = moved.id");
    if (rooms.empty()) return;
    c_.queue(
        "INSERT INTO text_queue (rooms, first_seqs, last_seqs, first_id, last_id, messages)"
        " VALUES (?1::bigint[], ?2::bigint[], ?3::bigint[], ?4, ?5, ?6)",
        {rooms.take(), first_seqs.take(), last_seqs.take(), sql_value(words_.first_id), sql_value(words_.last_id),
         sql_value(words_.messages)});
  }

  void queue_marks() {
    for (const auto& [reader, read] : read_) marks_.add(reader.first, reader.second, read.seq, read.count);
    marks_.queue(
        c_,
        "UPDATE members m SET read_seq = read.seq, read_count = read.count"
        " FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[]) AS read (room, sender, seq, count)"
        " WHERE m.room_id = read.room AND m.user_id = read.sender AND m.read_seq < read.seq");
  }

  PostgresConnection& c_;
  const std::vector<Event>& events_;
  Gaps gaps_;
  base::json::Reader json_;
  std::vector<Result<EventEffect>> effects_;  // of each event
  Rooms rooms_;
  std::set<Key> used_;  // before this batch
  std::set<Key> used_in_batch_;
  CopyRows<14> messages_;
  ArrayTable<4> others_;
  ArrayTable<6> sends_;
  ArrayTable<9> dead_;
  ArrayTable<5> moved_;
  ArrayTable<4> marks_;
  std::map<std::pair<RoomId, UserId>, ReadUpTo> read_;  // who sent has read up to there
  std::unordered_set<UserId> writers_;                  // among what is on its way
  ArrayColumn wrote_;                                   // the same
  Words words_;                                         // for the index of texts
  std::vector<Refused> refused_;
};

}  // namespace

Task<Result<void>> PostgresConnection::ingest(const std::vector<chat::Event>& events, Gaps gaps) {
  if (events.empty()) co_return Result<void>();
  Ingest work(*this, events, gaps);
  auto done = co_await work.run();
  co_return done;
}

}  // namespace ringline::backend
