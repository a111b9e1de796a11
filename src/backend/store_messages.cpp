// Messages and events, out: pages of history, what followed a seq, and sends by their clientId.
// Invariant: the seqs of `messages` and `room_events` together are 1 to ingested_seq, but for messages of ephemeral rooms and for what a journal lost
// (which began a new epoch).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::backend {

using base::Errc;
using base::EventId;
using chat::HistoryPage;
using chat::HistoryQuery;
using chat::Message;
using chat::StoredEvent;

namespace {

constexpr std::size_t kHistoryMax = 1000;  // messages of one page, whatever is asked for
constexpr std::uint64_t kSeqMax = INT64_MAX;
constexpr unsigned kFileColumn = 14;      // of RINGLINE_MESSAGE_COLUMNS
constexpr std::size_t kSendsAtOnce = 16;  // looked for by one query
constexpr unsigned kOldRun = 1000;        // messages in a row that are too old: so are those before them

#define MESSAGES "messages m JOIN users u ON u.id = m.sender_id LEFT JOIN files f ON f.id = m.file_id"

std::vector<UserId> read_mentions(std::string_view json) {
  std::vector<UserId> users;
  const char* end = json.data() + json.size();
  for (const char* at = json.data(); at < end;) {
    UserId user;
    auto [stop, error] = std::from_chars(at + 1, end, user.value);  // past '[' or ','
    if (error != std::errc{}) break;
    users.push_back(user);
    at = stop;
  }
  return users;
}

// Whether what this reads from has all that was there when the caller looked last.
Task<Result<void>> check_fresh(Sql& db, RoomId room, std::uint64_t stored_seq) {
  if (stored_seq == 0 || !db.may_lack()) co_return Result<void>();
  auto rows = co_await db.query("SELECT ingested_seq FROM rooms WHERE id = ?1", room);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty() || rows->front().number(0) < stored_seq) co_return std::unexpected(behind());
  co_return Result<void>();
}

Result<std::vector<Message>> read_all(const Result<Rows>& rows, RoomId room, const chat::FileLinks* links) {
  if (!rows) return std::unexpected(rows.error());
  std::vector<Message> messages;
  messages.reserve(rows->size());
  for (const Rows::Row row : *rows) messages.push_back(read_message(row, 0, room, links));
  return messages;
}

// With seq < before, newest first.
Task<Result<std::vector<Message>>> older(Sql& db, RoomId room, std::uint64_t before, std::size_t limit,
                                         const chat::FileLinks* links) {
  auto rows = co_await db.query("SELECT " RINGLINE_MESSAGE_COLUMNS " FROM " MESSAGES
                                " WHERE m.room_id = ?1 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3",
                                room, std::min(before, kSeqMax), limit);
  co_return read_all(rows, room, links);
}

// With seq >= from, oldest first.
Task<Result<std::vector<Message>>> newer(Sql& db, RoomId room, std::uint64_t from, std::size_t limit,
                                         const chat::FileLinks* links) {
  auto rows = co_await db.query("SELECT " RINGLINE_MESSAGE_COLUMNS " FROM " MESSAGES
                                " WHERE m.room_id = ?1 AND m.seq >= ?2 ORDER BY m.seq LIMIT ?3",
                                room, std::min(from, kSeqMax), limit);
  co_return read_all(rows, room, links);
}

// `limit` messages, the half of them before `position`; where one side has fewer, the other gives more.
Task<Result<HistoryPage>> page_around(Sql& db, RoomId room, std::uint64_t position, std::size_t limit,
                                      const chat::FileLinks* links) {
  auto before = co_await older(db, room, position, limit + 1, links);
  if (!before) co_return std::unexpected(before.error());
  auto after = co_await newer(db, room, position, limit + 1, links);
  if (!after) co_return std::unexpected(after.error());
  std::size_t half = limit / 2;
  std::size_t take_before = std::min(before->size(), std::max(half, limit - std::min(limit, after->size())));
  std::size_t take_after = std::min(after->size(), limit - take_before);
  HistoryPage page{.messages = {}, .has_before = before->size() > take_before, .has_after = after->size() > take_after};
  auto oldest = before->begin() + static_cast<std::ptrdiff_t>(take_before);
  std::move(std::make_reverse_iterator(oldest), before->rend(), std::back_inserter(page.messages));
  std::move(after->begin(), after->begin() + static_cast<std::ptrdiff_t>(take_after),
            std::back_inserter(page.messages));
  co_return page;
}

Task<Result<HistoryPage>> page_before(Sql& db, RoomId room, std::uint64_t before, std::size_t limit,
                                      const chat::FileLinks* links) {
  auto messages = co_await older(db, room, before, limit + 1, links);
  if (!messages) co_return std::unexpected(messages.error());
  auto beyond = co_await newer(db, room, before, 1, links);
  if (!beyond) co_return std::unexpected(beyond.error());
  HistoryPage page{.messages = std::move(*messages), .has_before = false, .has_after = !beyond->empty()};
  page.has_before = page.messages.size() > limit;
  if (page.has_before) page.messages.pop_back();
  std::ranges::reverse(page.messages);
  co_return page;
}

Task<Result<HistoryPage>> page_after(Sql& db, RoomId room, std::uint64_t after, std::size_t limit,
                                     const chat::FileLinks* links) {
  std::uint64_t from = std::min(after, kSeqMax - 1) + 1;
  auto messages = co_await newer(db, room, from, limit + 1, links);
  if (!messages) co_return std::unexpected(messages.error());
  auto beyond = co_await older(db, room, from, 1, links);
  if (!beyond) co_return std::unexpected(beyond.error());
  HistoryPage page{.messages = std::move(*messages), .has_before = !beyond->empty(), .has_after = false};
  page.has_after = page.messages.size() > limit;
  if (page.has_after) page.messages.pop_back();
  co_return page;
}

Task<Result<std::uint64_t>> seq_of(Sql& db, RoomId room, std::uint64_t id) {
  auto rows = co_await db.query("SELECT seq FROM messages WHERE id = ?1 AND room_id = ?2", std::min(id, kSeqMax), room);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return base::fail(Errc::not_found, "no such message");
  co_return rows->front().number(0);
}

// message_created as the sequencer wrote it, in the room's epoch of now.
std::string created_body(const Message& message, std::uint64_t epoch) {
  const chat::Event event{.room = message.room,
                          .seq = message.seq,
                          .epoch = epoch,
                          .id = message.id,
                          .at_ms = message.created_ms,
                          .actor = message.sender,
                          .body = {}};
  base::json::Writer out;
  chat::begin_event(out, event, message.sender_username);
  chat::write_message(out.key("message"), message);
  chat::end_message_created(out, message.client_id);
  return std::string(out.view());
}

Task<Result<std::vector<StoredEvent>>> other_events(Sql& db, RoomId room, std::uint64_t after, std::size_t limit) {
  auto rows =
      co_await db.query("SELECT seq, kind, body FROM room_events WHERE room_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
                        room, after, limit);
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<StoredEvent> events;
  for (const Rows::Row row : *rows) {
    auto kind = chat::event_kind(static_cast<std::uint8_t>(row.integer(1)));
    if (!kind)
      co_return base::fail(Errc::internal,
                           fmt::format("room {}: seq {} is of an unknown kind", room.value, row.number(0)));
    events.push_back({.seq = row.number(0), .kind = *kind, .body = std::string(row.text(2))});
  }
  co_return events;
}

// By seq, as far as it is without a hole.
std::vector<StoredEvent> join_events(std::vector<StoredEvent> others, const std::vector<Message>& messages,
                                     std::uint64_t after, std::uint64_t epoch, std::size_t limit) {
  std::vector<StoredEvent> joined;
  auto other = others.begin();
  auto message = messages.begin();
  for (std::uint64_t seq = after + 1; joined.size() < limit; ++seq) {
    if (other != others.end() && other->seq == seq) {
      joined.push_back(std::move(*other++));
    } else if (message != messages.end() && message->seq == seq) {
      joined.push_back({.seq = seq, .kind = chat::EventKind::message_created, .body = created_body(*message++, epoch)});
    } else {
      break;
    }
  }
  return joined;
}

// Of a room without kept messages: what is known of a send. Its text is gone.
Task<Result<std::optional<Message>>> find_ephemeral(Sql& db, RoomId room, UserId sender, std::string_view client_id) {
  auto rows = co_await db.query(
      "SELECT e.seq, e.id, u.username, u.avatar_url, e.created_ms FROM ephemeral_sends e"
      " JOIN users u ON u.id = e.sender_id WHERE e.room_id = ?1 AND e.sender_id = ?2 AND e.client_id = ?3",
      room, sender, client_id);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return std::nullopt;
  const Rows::Row row = rows->front();
  Message message{.id = EventId{row.number(1)}, .room = room, .seq = row.number(0), .sender = sender};
  message.sender_username = row.text(2);
  message.sender_avatar_url = row.text(3);
  message.client_id = client_id;
  message.created_ms = row.integer(4);
  co_return message;
}

// Of sends to such rooms, newest first, until there are `limit` keys.
Task<Result<void>> add_ephemeral_keys(Sql& db, RoomId room, std::int64_t since_ms, std::size_t limit,
                                      std::vector<std::uint64_t>& keys) {
  auto rows = co_await db.query(
      "SELECT sender_id, client_id FROM ephemeral_sends WHERE room_id = ?1 AND created_ms >= ?2"
      " ORDER BY seq DESC LIMIT ?3",
      room, since_ms, limit - keys.size());
  if (!rows) co_return std::unexpected(rows.error());
  for (const Rows::Row row : *rows) keys.push_back(chat::client_key(UserId{row.number(0)}, row.text(1)));
  co_return Result<void>();
}

// sender_id and client_id of kSendsAtOnce sends, from the second parameter on.
#define SENT(sender, client) "(sender_id = " sender " AND client_id = " client ")"
#define ANY_SENT \
  "(" SENT("?2", "?3") " OR " SENT("?4", "?5") " OR " SENT("?6", "?7") " OR " SENT("?8", "?9") " OR "             \
  SENT("?10", "?11") " OR " SENT("?12", "?13") " OR " SENT("?14", "?15") " OR " SENT("?16", "?17") " OR "         \
  SENT("?18", "?19") " OR " SENT("?20", "?21") " OR " SENT("?22", "?23") " OR " SENT("?24", "?25") " OR "         \
  SENT("?26", "?27") " OR " SENT("?28", "?29") " OR " SENT("?30", "?31") " OR " SENT("?32", "?33") ")"

using SendSpan = std::span<const chat::SendKey>;

// At most kSendsAtOnce; those that came with a clientId.
Task<Result<void>> add_sent(Sql& db, RoomId room, SendSpan sends, std::span<std::uint64_t> seqs) {
  SqlValues values{sql_value(room)};
  for (const chat::SendKey& send : sends) {
    values.push_back(sql_value(send.sender));
    values.push_back(sql_value(send.client_id));
  }
  while (values.size() < 1 + 2 * kSendsAtOnce) values.push_back(values[values.size() - 2]);
  for (const char* sql : {"SELECT seq, sender_id, client_id FROM messages WHERE room_id = ?1 AND " ANY_SENT,
                          "SELECT seq, sender_id, client_id FROM ephemeral_sends WHERE room_id = ?1 AND " ANY_SENT}) {
    auto rows = co_await db.execute(sql, values);
    if (!rows) co_return std::unexpected(rows.error());
    for (const Rows::Row row : *rows)
      for (std::size_t i = 0; i < sends.size(); ++i)
        if (sends[i].sender.value == row.number(1) && sends[i].client_id == row.text(2)) seqs[i] = row.number(0);
  }
  co_return Result<void>();
}

// Likewise, those without.
Task<Result<void>> add_by_id(Sql& db, RoomId room, SendSpan sends, std::span<std::uint64_t> seqs) {
  SqlValues values{sql_value(room)};
  for (const chat::SendKey& send : sends) values.push_back(sql_value(send.id));
  while (values.size() < 1 + kSendsAtOnce) values.push_back(values.back());
  auto rows = co_await db.execute(
      "SELECT seq, id FROM messages WHERE room_id = ?1 AND id IN"
      " (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
      std::move(values));
  if (!rows) co_return std::unexpected(rows.error());
  for (const Rows::Row row : *rows)
    for (std::size_t i = 0; i < sends.size(); ++i)
      if (sends[i].id.value == row.number(1)) seqs[i] = row.number(0);
  co_return Result<void>();
}

}  // namespace

base::Error behind() {
  return {.code = Errc::unavailable,
          .message = "the database is behind; try again",
          .field = {},
          .retry_after_ms = 1000,
          .sys = kBehind};
}

Message read_message(const Rows::Row& row, unsigned column, RoomId room, const chat::FileLinks* links) {
  Message message;
  message.room = room;
  message.seq = row.number(column);
  message.id = EventId{row.number(column + 1)};
  message.sender = UserId{row.number(column + 2)};
  message.sender_username = row.text(column + 3);
  message.sender_avatar_url = row.text(column + 4);
  message.client_id = row.text(column + 5);
  message.type = row.text(column + 6);
  message.text = row.text(column + 7);
  message.reply_to = EventId{row.number(column + 8)};
  message.mentions = read_mentions(row.text(column + 9));
  message.extra = row.text(column + 10);
  message.created_ms = row.integer(column + 11);
  message.edited_ms = row.integer(column + 12);
  message.deleted_ms = row.integer(column + 13);
  if (chat::File file = read_file(row, column + kFileColumn); file.id) {
    if (links) chat::add_link(file, *links, base::wall_ms());
    message.file = std::move(file);
  }
  return message;
}

Task<Result<HistoryPage>> history(Sql& db, HistoryQuery query, const chat::FileLinks* links) {
  auto fresh = co_await check_fresh(db, query.room, query.stored_seq);
  if (!fresh) co_return std::unexpected(fresh.error());
  const std::size_t limit = std::clamp<std::size_t>(query.limit, 1, kHistoryMax);
  std::uint64_t position = query.position;
  if (query.from == HistoryQuery::From::around_id) {
    auto seq = co_await seq_of(db, query.room, position);
    if (!seq) co_return std::unexpected(seq.error());
    position = *seq;
  }
  Result<HistoryPage> page;
  switch (query.from) {
    case HistoryQuery::From::newest:
      page = co_await page_before(db, query.room, kSeqMax, limit, links);
      break;
    case HistoryQuery::From::before:
      page = co_await page_before(db, query.room, position, limit, links);
      break;
    case HistoryQuery::From::after:
      page = co_await page_after(db, query.room, position, limit, links);
      break;
    case HistoryQuery::From::around:
    case HistoryQuery::From::around_id:
      page = co_await page_around(db, query.room, position, limit, links);
      break;
  }
  co_return page;
}

Task<Result<std::optional<Message>>> last_message(Sql& db, RoomId room, const chat::FileLinks* links) {
  auto newest = co_await older(db, room, kSeqMax, 1, links);
  if (!newest) co_return std::unexpected(newest.error());
  if (newest->empty()) co_return std::nullopt;
  co_return std::move(newest->front());
}

Task<Result<std::vector<StoredEvent>>> events_after(Sql& db, RoomId room, std::uint64_t after, std::size_t limit,
                                                    std::uint64_t known_epoch, const chat::FileLinks* links) {
  auto rows = co_await db.query("SELECT epoch, ingested_seq FROM rooms WHERE id = ?1", room);
  if (!rows) co_return std::unexpected(rows.error());
  if (db.may_lag() && (rows->empty() || rows->front().number(0) < known_epoch || rows->front().number(1) <= after))
    co_return std::unexpected(behind());
  if (rows->empty()) co_return base::fail(Errc::not_found, "no such room");
  const std::uint64_t epoch = rows->front().number(0);
  if (after >= rows->front().number(1) || limit == 0) co_return std::vector<StoredEvent>();
  auto others = co_await other_events(db, room, after, limit);
  if (!others) co_return others;
  auto messages = co_await newer(db, room, after + 1, limit, links);
  if (!messages) co_return std::unexpected(messages.error());
  auto events = join_events(std::move(*others), *messages, after, epoch, limit);
  if (events.empty())
    co_return base::fail(Errc::not_found, fmt::format("room {}: event {} is not kept", room.value, after + 1));
  co_return events;
}

Task<Result<std::optional<Message>>> find_by_client_id(Sql& db, RoomId room, UserId sender, std::string_view client_id,
                                                       const chat::FileLinks* links) {
  auto rows = co_await db.query("SELECT " RINGLINE_MESSAGE_COLUMNS " FROM " MESSAGES
                                " WHERE m.room_id = ?1 AND m.sender_id = ?2 AND m.client_id = ?3",
                                room, sender, client_id);
  if (!rows) co_return std::unexpected(rows.error());
  if (!rows->empty()) co_return read_message(rows->front(), 0, room, links);
  auto ephemeral = co_await find_ephemeral(db, room, sender, client_id);
  co_return ephemeral;
}

Task<Result<std::vector<std::uint64_t>>> find_sends(Sql& db, RoomId room, const std::vector<chat::SendKey>& sends) {
  std::vector<std::uint64_t> seqs(sends.size());
  auto named = [](const chat::SendKey& send) { return !send.client_id.empty(); };
  // Runs of one kind.
  for (std::size_t from = 0, to = 0; from < sends.size(); from = to) {
    to = from + 1;
    while (to < sends.size() && to - from < kSendsAtOnce && named(sends[to]) == named(sends[from])) ++to;
    const SendSpan some = SendSpan(sends).subspan(from, to - from);
    const std::span<std::uint64_t> its = std::span(seqs).subspan(from, to - from);
    Result<void> done;
    if (named(some.front())) {
      done = co_await add_sent(db, room, some, its);
    } else {
      done = co_await add_by_id(db, room, some, its);
    }
    if (!done) co_return std::unexpected(done.error());
  }
  co_return seqs;
}

// Backwards from the newest message. Their order is not quite that of time (a clock that was set, a message that waited to be sequenced).
Task<Result<std::vector<std::uint64_t>>> recent_client_keys(Sql& db, RoomId room, std::int64_t since_ms,
                                                            std::size_t limit) {
  std::vector<std::uint64_t> keys;
  std::uint64_t before = kSeqMax;
  std::size_t old = 0;
  for (bool more = true; more && old < kOldRun && keys.size() < limit;) {
    auto rows = co_await db.query(
        "SELECT sender_id, client_id, created_ms, seq FROM messages WHERE room_id = ?1 AND seq < ?2"
        " ORDER BY seq DESC LIMIT ?3",
        room, before, kOldRun);
    if (!rows) co_return std::unexpected(rows.error());
    more = rows->size() == kOldRun;
    for (const Rows::Row row : *rows) {
      if (old >= kOldRun || keys.size() >= limit) break;
      before = row.number(3);
      old = row.integer(2) < since_ms ? old + 1 : 0;
      if (old == 0 && !row.text(1).empty()) keys.push_back(chat::client_key(UserId{row.number(0)}, row.text(1)));
    }
  }
  auto added = co_await add_ephemeral_keys(db, room, since_ms, limit, keys);
  if (!added) co_return std::unexpected(added.error());
  co_return keys;
}

}  // namespace ringline::backend
