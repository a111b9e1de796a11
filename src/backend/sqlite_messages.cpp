// Messages and events out of SQLite: pages of history, what followed a seq, and sends by their clientId.
// Invariant: the seqs of `messages` and `room_events` together are 1 to ingested_seq, but for messages of ephemeral rooms and for what a journal lost
// (which began a new epoch).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "backend/sqlite_queries.hpp"
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
constexpr unsigned kOldRun = 1000;  // messages in a row that are too old: so are those before them

// m: the message, u: its sender.
#define MESSAGE_COLUMNS                                                                                                \
  "m.seq, m.id, m.sender_id, u.username, u.avatar_url, m.client_id, m.type, m.text, m.reply_to, m.mentions, m.extra, " \
  "m.created_ms, m.edited_ms, m.deleted_ms"
#define MESSAGES "messages m JOIN users u ON u.id = m.sender_id"

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

Message read_message(const Query& row, RoomId room) {
  Message message;
  message.room = room;
  message.seq = row.number(0);
  message.id = EventId{row.number(1)};
  message.sender = UserId{row.number(2)};
  message.sender_username = row.text(3);
  message.sender_avatar_url = row.text(4);
  message.client_id = row.text(5);
  message.type = row.text(6);
  message.text = row.text(7);
  message.reply_to = EventId{row.number(8)};
  message.mentions = read_mentions(row.text(9));
  message.extra = row.text(10);
  message.created_ms = row.integer(11);
  message.edited_ms = row.integer(12);
  message.deleted_ms = row.integer(13);
  return message;
}

Result<std::vector<Message>> read_all(Query& row, RoomId room) {
  std::vector<Message> messages;
  while (row.next()) messages.push_back(read_message(row, room));
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return messages;
}

// With seq < before, newest first.
Result<std::vector<Message>> older(Connection& c, RoomId room, std::uint64_t before, std::size_t limit) {
  Query row = c.db.query("SELECT " MESSAGE_COLUMNS " FROM " MESSAGES
                         " WHERE m.room_id = ?1 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3",
                         room, std::min(before, kSeqMax), limit);
  return read_all(row, room);
}

// With seq >= from, oldest first.
Result<std::vector<Message>> newer(Connection& c, RoomId room, std::uint64_t from, std::size_t limit) {
  Query row = c.db.query("SELECT " MESSAGE_COLUMNS " FROM " MESSAGES
                         " WHERE m.room_id = ?1 AND m.seq >= ?2 ORDER BY m.seq LIMIT ?3",
                         room, std::min(from, kSeqMax), limit);
  return read_all(row, room);
}

// `limit` messages, the half of them before `position`; where one side has fewer, the other gives more.
Result<HistoryPage> page_around(Connection& c, RoomId room, std::uint64_t position, std::size_t limit) {
  auto before = older(c, room, position, limit + 1);
  if (!before) return std::unexpected(before.error());
  auto after = newer(c, room, position, limit + 1);
  if (!after) return std::unexpected(after.error());
  std::size_t half = limit / 2;
  std::size_t take_before = std::min(before->size(), std::max(half, limit - std::min(limit, after->size())));
  std::size_t take_after = std::min(after->size(), limit - take_before);
  HistoryPage page{.messages = {}, .has_before = before->size() > take_before, .has_after = after->size() > take_after};
  auto oldest = before->begin() + static_cast<std::ptrdiff_t>(take_before);
  std::move(std::make_reverse_iterator(oldest), before->rend(), std::back_inserter(page.messages));
  std::move(after->begin(), after->begin() + static_cast<std::ptrdiff_t>(take_after),
            std::back_inserter(page.messages));
  return page;
}

Result<HistoryPage> page_before(Connection& c, RoomId room, std::uint64_t before, std::size_t limit) {
  auto messages = older(c, room, before, limit + 1);
  if (!messages) return std::unexpected(messages.error());
  auto beyond = newer(c, room, before, 1);
  if (!beyond) return std::unexpected(beyond.error());
  HistoryPage page{.messages = std::move(*messages), .has_before = false, .has_after = !beyond->empty()};
  page.has_before = page.messages.size() > limit;
  if (page.has_before) page.messages.pop_back();
  std::ranges::reverse(page.messages);
  return page;
}

Result<HistoryPage> page_after(Connection& c, RoomId room, std::uint64_t after, std::size_t limit) {
  std::uint64_t from = std::min(after, kSeqMax - 1) + 1;
  auto messages = newer(c, room, from, limit + 1);
  if (!messages) return std::unexpected(messages.error());
  auto beyond = older(c, room, from, 1);
  if (!beyond) return std::unexpected(beyond.error());
  HistoryPage page{.messages = std::move(*messages), .has_before = !beyond->empty(), .has_after = false};
  page.has_after = page.messages.size() > limit;
  if (page.has_after) page.messages.pop_back();
  return page;
}

Result<std::uint64_t> seq_of(Connection& c, RoomId room, std::uint64_t id) {
  Query row = c.db.query("SELECT seq FROM messages WHERE id = ?1 AND room_id = ?2", std::min(id, kSeqMax), room);
  if (row.next()) return row.number(0);
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return base::fail(Errc::not_found, "no such message");
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

Result<std::vector<StoredEvent>> other_events(Connection& c, RoomId room, std::uint64_t after, std::size_t limit) {
  std::vector<StoredEvent> events;
  Query row =
      c.db.query("SELECT seq, kind, body FROM room_events WHERE room_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3", room,
                 after, limit);
  while (row.next()) {
    auto kind = chat::event_kind(static_cast<std::uint8_t>(row.integer(1)));
    if (!kind)
      return base::fail(Errc::internal,
                        fmt::format("room {}: seq {} is of an unknown kind", room.value, row.number(0)));
    events.push_back({.seq = row.number(0), .kind = *kind, .body = std::string(row.text(2))});
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return events;
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
Result<std::optional<Message>> find_ephemeral(Connection& c, RoomId room, UserId sender, std::string_view client_id) {
  Query row = c.db.query(
      "SELECT e.seq, e.id, u.username, u.avatar_url, e.created_ms FROM ephemeral_sends e"
      " JOIN users u ON u.id = e.sender_id WHERE e.room_id = ?1 AND e.sender_id = ?2 AND e.client_id = ?3",
      room, sender, client_id);
  if (row.next()) {
    Message message{.id = EventId{row.number(1)}, .room = room, .seq = row.number(0), .sender = sender};
    message.sender_username = row.text(2);
    message.sender_avatar_url = row.text(3);
    message.client_id = client_id;
    message.created_ms = row.integer(4);
    return message;
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return std::nullopt;
}

}  // namespace

Result<HistoryPage> history(Connection& c, const HistoryQuery& query) {
  std::size_t limit = std::clamp<std::size_t>(query.limit, 1, kHistoryMax);
  switch (query.from) {
    case HistoryQuery::From::newest:
      return page_before(c, query.room, kSeqMax, limit);
    case HistoryQuery::From::before:
      return page_before(c, query.room, query.position, limit);
    case HistoryQuery::From::after:
      return page_after(c, query.room, query.position, limit);
    case HistoryQuery::From::around:
      return page_around(c, query.room, query.position, limit);
    case HistoryQuery::From::around_id:
      break;
  }
  auto seq = seq_of(c, query.room, query.position);
  if (!seq) return std::unexpected(seq.error());
  return page_around(c, query.room, *seq, limit);
}

Result<std::optional<Message>> last_message(Connection& c, RoomId room) {
  auto newest = older(c, room, kSeqMax, 1);
  if (!newest) return std::unexpected(newest.error());
  if (newest->empty()) return std::nullopt;
  return std::move(newest->front());
}

Result<std::vector<StoredEvent>> events_after(Connection& c, RoomId room, std::uint64_t after, std::size_t limit) {
  std::uint64_t epoch = 0, ingested = 0;
  {
    Query row = c.db.query("SELECT epoch, ingested_seq FROM rooms WHERE id = ?1", room);
    if (!row.next()) {
      if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
      return base::fail(Errc::not_found, "no such room");
    }
    epoch = row.number(0);
    ingested = row.number(1);
  }
  if (after >= ingested || limit == 0) return std::vector<StoredEvent>();
  auto others = other_events(c, room, after, limit);
  if (!others) return others;
  auto messages = newer(c, room, after + 1, limit);
  if (!messages) return std::unexpected(messages.error());
  auto events = join_events(std::move(*others), *messages, after, epoch, limit);
  if (events.empty())
    return base::fail(Errc::not_found, fmt::format("room {}: event {} is not kept", room.value, after + 1));
  return events;
}

Result<std::optional<Message>> find_by_client_id(Connection& c, RoomId room, UserId sender,
                                                 std::string_view client_id) {
  {
    Query row = c.db.query("SELECT " MESSAGE_COLUMNS " FROM " MESSAGES
                           " WHERE m.room_id = ?1 AND m.sender_id = ?2 AND m.client_id = ?3",
                           room, sender, client_id);
    if (row.next()) return read_message(row, room);
    if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  }
  return find_ephemeral(c, room, sender, client_id);
}

// Backwards from the newest message. Their order is not quite that of time (a clock that was set, a message that waited to be sequenced).
Result<std::vector<std::uint64_t>> recent_client_keys(Connection& c, RoomId room, std::int64_t since_ms,
                                                      std::size_t limit) {
  std::vector<std::uint64_t> keys;
  unsigned old = 0;
  Query row =
      c.db.query("SELECT sender_id, client_id, created_ms FROM messages WHERE room_id = ?1 ORDER BY seq DESC", room);
  while (keys.size() < limit && old < kOldRun && row.next()) {
    old = row.integer(2) < since_ms ? old + 1 : 0;
    if (old == 0 && !row.text(1).empty()) keys.push_back(chat::client_key(UserId{row.number(0)}, row.text(1)));
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  Query send = c.db.query(
      "SELECT sender_id, client_id FROM ephemeral_sends WHERE room_id = ?1 AND created_ms >= ?2 ORDER BY seq DESC",
      room, since_ms);
  while (keys.size() < limit && send.next()) keys.push_back(chat::client_key(UserId{send.number(0)}, send.text(1)));
  if (auto ok = send.check(); !ok) return std::unexpected(ok.error());
  return keys;
}

}  // namespace ringline::backend
