// See sqlite_search.hpp. An FTS5 table by message id (SQLite, "FTS5"): read backwards it gives the newest first and stops when there are enough, so a word
// that many have costs no more than one that few have.
//
// Words of ours have a colon, which no word of people has: r:ROOM, s:SENDER.
#include "backend/sqlite_search.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::backend {

namespace {

constexpr std::size_t kFeedMessages = 4000;
constexpr std::size_t kRoomsAsWords = 64;   // with more the rooms are compared row by row,
constexpr std::size_t kFoundAtOnce = 1000;  // of so many rows at a time,
constexpr std::int64_t kWalkMs = 250;       // for so long

struct Said {
  std::uint64_t id;
  std::string words;
};

// Of a part of the queue, at most `limit` messages; the last seq that was looked at.
Result<std::uint64_t> read_part(Db& db, RoomId room, std::uint64_t first, std::uint64_t last, std::size_t limit,
                                std::vector<Said>& said) {
  Query row = db.query(
      "SELECT seq, id, sender_id, text FROM messages WHERE room_id = ?1 AND seq BETWEEN ?2 AND ?3 AND deleted_ms = 0"
      " ORDER BY seq LIMIT ?4",
      room, first, last, limit);
  std::size_t count = 0;
  std::uint64_t seen = 0;
  for (; row.next(); ++count) {
    seen = row.number(0);
    said.push_back(
        {row.number(1), fmt::format("r:{} s:{} {}", room.value, row.number(2), base::words_of(row.text(3)))});
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return count < limit ? last : seen;
}

// In the order of ids: FTS5 begins a new segment where they go back.
Result<void> keep(Db& db, std::vector<Said>& said) {
  std::ranges::sort(said, {}, &Said::id);
  for (const Said& one : said) {
    auto done = db.run("INSERT INTO message_texts (rowid, words) VALUES (?1, ?2)", one.id, std::string_view(one.words));
    if (!done) return done;
  }
  return {};
}

std::string expression_of(const chat::SearchQuery& query) {
  std::string all;
  for (const std::string& word : query.words)
    fmt::format_to(std::back_inserter(all), "{}\"{}\"", all.empty() ? "" : " AND ", word);
  if (query.from_user) fmt::format_to(std::back_inserter(all), " AND \"s:{}\"", query.from_user.value);
  if (query.rooms.size() > kRoomsAsWords) return all;
  std::string rooms;
  for (RoomId room : query.rooms)
    fmt::format_to(std::back_inserter(rooms), "{}\"r:{}\"", rooms.empty() ? "" : " OR ", room.value);
  return all + " AND (" + rooms + ")";
}

// m.room_id comes first; a message that is gone has none.
constexpr const char* kFind = "SELECT t.id, m.room_id, u.id, " RINGLINE_MESSAGE_COLUMNS
                              " FROM (SELECT rowid AS id FROM message_texts WHERE message_texts MATCH ?1 AND rowid < "
                              "?2 ORDER BY rowid DESC LIMIT ?3) t"
                              " LEFT JOIN messages m ON m.id = t.id AND m.deleted_ms = 0 LEFT JOIN users u ON u.id = "
                              "m.sender_id LEFT JOIN files f ON f.id = m.file_id ORDER BY t.id DESC";

// Adds what is in one of the rooms. False: the page is full.
bool take_rows(const Rows& rows, const chat::SearchQuery& query, const chat::FileLinks* links, chat::SearchPage& page,
               std::uint64_t& before) {
  for (const Rows::Row row : rows) {
    if (page.messages.size() == query.limit) return false;
    before = row.number(0);
    const RoomId room{row.number(1)};
    if (room && row.number(2) != 0 && std::ranges::binary_search(query.rooms, room))
      page.messages.push_back(read_message(row, 3, room, links));
  }
  return true;
}

}  // namespace

Result<std::uint64_t> feed_texts(Db& db) {
  std::vector<Said> said;
  struct Part {
    std::uint64_t id, room, first, last;
  };
  std::vector<Part> parts;
  {
    Query row = db.query("SELECT id, room_id, first_seq, last_seq FROM text_queue ORDER BY id LIMIT ?1", kFeedMessages);
    while (row.next()) parts.push_back({row.number(0), row.number(1), row.number(2), row.number(3)});
    if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  }
  for (const Part& part : parts) {
    if (said.size() >= kFeedMessages) break;
    const std::size_t had = said.size();
    auto seen = read_part(db, RoomId{part.room}, part.first, part.last, kFeedMessages - had, said);
    if (!seen) return seen;
    auto done = *seen == part.last
                    ? db.run("DELETE FROM text_queue WHERE id = ?1", part.id)
                    : db.run("UPDATE text_queue SET first_seq = ?2 + 1, messages = max(messages - ?3, 0) WHERE id = ?1",
                             part.id, *seen, said.size() - had);
    if (!done) return std::unexpected(done.error());
  }
  if (auto kept = keep(db, said); !kept) return std::unexpected(kept.error());
  return said.size();
}

Result<std::uint64_t> texts_waiting(Db& db) {
  Query row = db.query("SELECT coalesce(sum(messages), 0) FROM text_queue");
  if (row.next()) return row.number(0);
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return 0;
}

Task<Result<chat::SearchPage>> SqliteConnection::search(const chat::SearchQuery& query, const chat::FileLinks* links) {
  chat::SearchPage page;
  if (query.rooms.empty()) co_return page;
  chat::SearchQuery sorted = query;
  std::ranges::sort(sorted.rooms);
  const bool as_words = query.rooms.size() <= kRoomsAsWords;
  const std::string expression = expression_of(query);
  const std::size_t at_once = as_words ? query.limit + 1 : kFoundAtOnce;
  const std::int64_t until_ms = base::monotonic_ms() + kWalkMs;
  std::uint64_t before = query.cursor != 0 ? query.cursor : static_cast<std::uint64_t>(INT64_MAX);
  for (;;) {
    auto rows = db.rows(kFind, {sql_value(expression), sql_value(before), sql_value(at_once)});
    if (!rows) co_return std::unexpected(rows.error());
    const bool room_left = take_rows(*rows, sorted, links, page, before);
    if (!room_left) page.next = before;
    if (!room_left || rows->size() < at_once) break;
    if (base::monotonic_ms() < until_ms) continue;
    page.next = before;
    break;
  }
  co_return page;
}

}  // namespace ringline::backend
