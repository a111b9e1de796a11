// See postgres_search.hpp.
//
// GIN has no order: asked for a word that a tenth of all messages have it gives all of them, to be sorted. So a search walks back from the newest message in
// ranges of places, each a few buckets of one size, and each bucket is a word too, which the messages in it have: what GIN reads is bounded by the range.
// A range is as long as the ones before it say is needed, at most kWidest; the whole walk has kWalkMs, and says where it came to.
//
// Words of ours have a colon, which no word of people has: r:ROOM, s:SENDER, a:N, b:N, c:N for the buckets of 2^10, 2^14, 2^18 places.
#include "backend/postgres_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "backend/postgres_rows.hpp"
#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::backend {

namespace {

constexpr unsigned kPartitionBits = 22;        // places of a partition
constexpr std::uint64_t kFeedMessages = 4096;  // of a step; at least one batch is taken
constexpr unsigned kFeedBatches = 256;         // likewise, at most
// Of all hosts one at a time feeds (PostgreSQL, "Advisory Locks"). Any number that nobody else takes: "RNGT".
constexpr const char* kLockFeed = "SELECT pg_try_advisory_xact_lock(1380861780, 'meta'::regclass::oid::int)::int";

struct Bucket {
  char name;
  unsigned bits;
};
constexpr std::array<Bucket, 3> kBuckets{{{'a', 10}, {'b', 14}, {'c', 18}}};
constexpr std::uint64_t kNarrowest = 1U << 10;
constexpr std::uint64_t kWidest = 1U << 20;
constexpr std::uint64_t kFaster = 16;      // a range that had nothing is followed by one so many times as long
constexpr std::int64_t kWalkMs = 250;      // of one search
constexpr std::size_t kRoomsAsWords = 64;  // with more the rooms are compared row by row

// ---- Feeding.

struct Batches {
  ArrayColumn ids;
  std::uint64_t first_id = UINT64_MAX;
  std::uint64_t last_id = 0;
  std::uint64_t messages = 0;
};

Task<Result<Batches>> next_batches(PostgresConnection& c) {
  Batches batches;
  auto rows =
      co_await c.query("SELECT id, first_id, last_id, messages FROM text_queue ORDER BY id LIMIT ?1", kFeedBatches);
  if (!rows) co_return std::unexpected(rows.error());
  for (const Rows::Row row : *rows) {
    if (!batches.ids.empty() && batches.messages + row.number(3) > kFeedMessages) break;
    batches.ids.add(row.number(0));
    batches.first_id = std::min(batches.first_id, row.number(1));
    batches.last_id = std::max(batches.last_id, row.number(2));
    batches.messages += row.number(3);
  }
  co_return batches;
}

// The first of so many places that nobody has, and the partitions for them.
Task<Result<std::uint64_t>> take_places(PostgresConnection& c, std::size_t count, std::int64_t& partitions) {
  auto rows = co_await c.query("UPDATE meta SET value = value + ?1 WHERE name = 'text_places' RETURNING value", count);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return base::fail(base::Errc::internal, "the database has lost its count of texts");
  const std::int64_t last = rows->front().integer(0);
  const std::int64_t needed = (last >> kPartitionBits) + 1;
  partitions = std::max(partitions, (last - static_cast<std::int64_t>(count) + 1) >> kPartitionBits);
  for (; partitions < needed; ++partitions) {
    const std::string made = fmt::format(
        "CREATE TABLE IF NOT EXISTS message_texts_{} PARTITION OF message_texts FOR VALUES FROM ({}) TO ({})",
        partitions, partitions << kPartitionBits, (partitions + 1) << kPartitionBits);
    auto done = co_await c.execute(made.c_str(), {});
    if (!done) co_return std::unexpected(done.error());
  }
  co_return static_cast<std::uint64_t>(last) - count + 1;
}

std::string words_at(std::uint64_t place, const Rows::Row& message) {
  std::string words = fmt::format("r:{} s:{}", message.number(0), message.number(3));
  for (const Bucket& bucket : kBuckets)
    fmt::format_to(std::back_inserter(words), " {}:{}", bucket.name, place >> bucket.bits);
  if (const std::string said = base::words_of(message.text(4)); !said.empty()) words.append(" ").append(said);
  return words;
}

Task<Result<void>> take_in(PostgresConnection& c, const Rows& messages, std::int64_t& partitions) {
  auto first = co_await take_places(c, messages.size(), partitions);
  if (!first) co_return std::unexpected(first.error());
  ArrayTable<5> texts;
  std::uint64_t place = *first;
  for (const Rows::Row row : messages) {
    const std::string words = words_at(place, row);
    texts.add(place, row.number(0), row.number(1), row.number(2), std::string_view(words));
    ++place;
  }
  texts.queue(c,
              "INSERT INTO message_texts SELECT place, room, seq, id, array_to_tsvector(string_to_array(words, ' '))"
              " FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::bigint[], ?5::text[])"
              " AS said (place, room, seq, id, words)");
  co_return Result<void>();
}

// ---- Searching.

// What a range is asked for, as a tsquery: its buckets, any of them.
std::string buckets_of(std::uint64_t from, std::uint64_t to, const Bucket& bucket) {
  std::string any;
  for (std::uint64_t n = from >> bucket.bits; n <= (to - 1) >> bucket.bits; ++n)
    fmt::format_to(std::back_inserter(any), "{}'{}:{}'", any.empty() ? "" : " | ", bucket.name, n);
  return any;
}

// From `to`, which is not in it, back by about `width`: whole buckets of the largest size that is not above it.
struct Range {
  std::uint64_t from;
  std::uint64_t to;
  const Bucket* bucket;
  static Range before(std::uint64_t to, std::uint64_t width) {
    const Bucket* bucket = kBuckets.data();
    for (const Bucket& larger : kBuckets)
      if (std::uint64_t{1} << larger.bits <= width) bucket = &larger;
    const std::uint64_t size = std::uint64_t{1} << bucket->bits;
    const std::uint64_t last = (to - 1) >> bucket->bits;  // the bucket of the place before `to`
    const std::uint64_t count = std::min(last + 1, std::max<std::uint64_t>(width / size, 1));
    return {.from = (last + 1 - count) << bucket->bits, .to = to, .bucket = bucket};
  }
};

class Search {
 public:
  Search(PostgresConnection& c, const chat::SearchQuery& query, const chat::FileLinks* links)
      : c_(c), query_(query), links_(links) {
    for (const std::string& word : query.words) fmt::format_to(std::back_inserter(words_), "'{}' & ", word);
    if (query.from_user) fmt::format_to(std::back_inserter(words_), "'s:{}' & ", query.from_user.value);
    as_words_ = query.rooms.size() <= kRoomsAsWords;
    ArrayColumn ids;
    for (RoomId room : query.rooms) {
      if (as_words_) fmt::format_to(std::back_inserter(rooms_), "{}'r:{}'", rooms_.empty() ? "" : " | ", room.value);
      ids.add(room);
    }
    if (!as_words_) rooms_ = std::get<std::string>(ids.take());
  }

  Task<Result<chat::SearchPage>> run() {
    auto places = co_await c_.query("SELECT value FROM meta WHERE name = 'text_places'");
    if (!places) co_return std::unexpected(places.error());
    page_.indexed = places->empty() ? 0 : places->front().number(0);
    if (c_.may_lag() && page_.indexed < query_.indexed) co_return std::unexpected(behind());
    // Places begin with 1. A cursor is the last place that was looked at.
    std::uint64_t to = query_.cursor != 0 ? std::min(query_.cursor, page_.indexed + 1) : page_.indexed + 1;
    const std::int64_t until_ms = base::monotonic_ms() + kWalkMs;
    std::uint64_t width = kNarrowest;
    while (to > 1 && !query_.rooms.empty()) {
      const Range range = Range::before(to, width);
      auto found = co_await look(range);
      if (!found) co_return std::unexpected(found.error());
      to = range.from;
      if (page_.next != 0 || to <= 1) break;  // it is full; or that was all
      if (page_.messages.size() == query_.limit || base::monotonic_ms() >= until_ms) {
        page_.next = to;
        break;
      }
      width = next_width(range.to - range.from, *found);
    }
    co_return std::move(page_);
  }

 private:
  // Twice as long as would be enough if messages lay as close as in the range that was just read.
  std::uint64_t next_width(std::uint64_t width, std::uint64_t found) const {
    const std::uint64_t wanted = query_.limit - page_.messages.size();
    const std::uint64_t enough = found == 0 ? kFaster * width : std::min(kFaster * width, 2 * width * wanted / found);
    return std::clamp(enough, kNarrowest, kWidest);
  }

  // How many it found; those that fit are on the page.
  Task<Result<std::uint64_t>> look(Range range) {
    const std::string all = fmt::format("{}({})", words_, buckets_of(range.from, range.to, *range.bucket));
#define RINGLINE_FOUND(of_rooms)                                                                                       \
  "SELECT t.place, t.room_id, (m.id IS NOT NULL AND u.id IS NOT NULL)::int, " RINGLINE_MESSAGE_COLUMNS                 \
  " FROM (SELECT place, room_id, seq, id FROM message_texts WHERE place >= ?1 AND place < ?2 AND words @@ ?3::tsquery" \
  " AND " of_rooms                                                                                                     \
  " ORDER BY place DESC LIMIT ?5) t LEFT JOIN messages m ON m.room_id = t.room_id AND m.seq = t.seq AND m.id = t.id"   \
  " AND m.deleted_ms = 0 LEFT JOIN users u ON u.id = m.sender_id LEFT JOIN files f ON f.id = m.file_id ORDER BY "      \
  "t.place DESC"
    const char* const sql =
        as_words_ ? RINGLINE_FOUND("words @@ ?4::tsquery") : RINGLINE_FOUND("room_id = ANY (?4::bigint[])");
#undef RINGLINE_FOUND
    const std::size_t limit = query_.limit - page_.messages.size() + 1;  // one more: whether there is a next page
    auto rows = co_await c_.query(sql, range.from, range.to, all, rooms_, limit);
    if (!rows) co_return std::unexpected(rows.error());
    std::uint64_t after = 0;  // the place that was looked at last
    for (const Rows::Row row : *rows) {
      if (page_.messages.size() == query_.limit) {
        page_.next = after;
        break;
      }
      after = row.number(0);
      // Its words may outlive a message.
      if (!row.flag(2)) continue;
      page_.messages.push_back(read_message(row, 3, RoomId{row.number(1)}, links_));
    }
    // Some that were found are gone, and more may be behind.
    if (page_.next == 0 && rows->size() == limit) page_.next = after;
    co_return rows->size();
  }

  PostgresConnection& c_;
  const chat::SearchQuery& query_;
  const chat::FileLinks* links_;
  std::string words_;  // a tsquery up to its last &
  std::string rooms_;
  bool as_words_ = true;
  chat::SearchPage page_;
};

}  // namespace

Task<Result<TextFeed>> feed_texts(PostgresConnection& c, std::int64_t& partitions) {
  auto locked = co_await c.query(kLockFeed);
  if (!locked) co_return std::unexpected(locked.error());
  TextFeed fed;
  Result<Batches> batches;
  if (locked->front().flag(0)) batches = co_await next_batches(c);
  if (!batches) co_return std::unexpected(batches.error());
  if (!batches->ids.empty()) {
    const SqlValue ids = batches->ids.take();
    auto messages = co_await c.execute(
        "SELECT m.room_id, m.seq, m.id, m.sender_id, m.text FROM (SELECT unnest(rooms) AS room_id,"
        " unnest(first_seqs) AS first, unnest(last_seqs) AS last FROM text_queue WHERE id = ANY (?1::bigint[])) q"
        " JOIN messages m ON m.room_id = q.room_id AND m.seq BETWEEN q.first AND q.last"
        " WHERE m.id BETWEEN ?2 AND ?3 AND m.deleted_ms = 0 ORDER BY m.id",
        {ids, sql_value(batches->first_id), sql_value(batches->last_id)});
    if (!messages) co_return std::unexpected(messages.error());
    if (!messages->empty()) {
      auto taken = co_await take_in(c, *messages, partitions);
      if (!taken) co_return std::unexpected(taken.error());
    }
    auto gone = co_await c.execute("DELETE FROM text_queue WHERE id = ANY (?1::bigint[])", {ids});
    if (!gone) co_return std::unexpected(gone.error());
    fed.taken = batches->messages;
  }
  auto waiting = co_await c.query("SELECT coalesce(sum(messages), 0)::bigint FROM text_queue");
  if (!waiting) co_return std::unexpected(waiting.error());
  fed.waiting = waiting->front().number(0);
  co_return fed;
}

Task<Result<chat::SearchPage>> PostgresConnection::search(const chat::SearchQuery& query,
                                                          const chat::FileLinks* links) {
  Search work(*this, query, links);
  auto page = co_await work.run();
  co_return page;
}

}  // namespace ringline::backend
