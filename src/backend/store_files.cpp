// What is known of files. Their bytes are elsewhere (chat/blobs.hpp): a file is gone here first, and forgotten when its bytes are removed.
#include "backend/store_queries.hpp"

namespace ringline::backend {

using base::Errc;
using base::FileId;
using chat::File;
using chat::FileState;

namespace {

constexpr int kWaiting = static_cast<int>(FileState::waiting);
constexpr int kReady = static_cast<int>(FileState::ready);
constexpr int kGone = static_cast<int>(FileState::gone);
constexpr std::uint32_t kUploadsRetryMs = 60'000;

std::unexpected<base::Error> no_such_file() { return base::fail(Errc::not_found, "no such file"); }
// Of a statement whose rows do not matter.
Result<void> done(const Result<Rows>& rows) { return rows ? Result<void>() : std::unexpected(rows.error()); }

}  // namespace

File read_file(const Rows::Row& row, unsigned column) {
  File file;
  file.id = FileId{row.number(column)};
  file.owner = UserId{row.number(column + 1)};
  file.room = RoomId{row.number(column + 2)};
  file.name = row.text(column + 3);
  file.mime_type = row.text(column + 4);
  file.size = row.number(column + 5);
  file.state = static_cast<FileState>(row.integer(column + 6));
  file.sent = row.flag(column + 7);
  file.created_ms = row.integer(column + 8);
  file.expires_ms = row.integer(column + 9);
  file.open = row.flag(column + 10);
  return file;
}

Task<Result<void>> create_file(Sql& db, const File& file, std::size_t waiting_max) {
  // The state as a literal: only so the index of those that wait serves it.
  static_assert(kWaiting == 0);
  auto waiting = co_await db.query("SELECT count(*) FROM files WHERE owner_id = ?1 AND state = 0", file.owner);
  if (!waiting) co_return std::unexpected(waiting.error());
  if (waiting->front().number(0) >= waiting_max)
    co_return base::fail_later(Errc::rate_limited, kUploadsRetryMs,
                               "too many uploads were begun and not completed: complete or delete some");
  db.note(file.id);
  auto room = file.room ? std::optional(file.room) : std::nullopt;
  auto made = co_await db.query(
      "INSERT INTO files (id, owner_id, room_id, name, mime_type, size, state, created_ms, expires_ms)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
      file.id, file.owner, room, file.name, file.mime_type, file.size, static_cast<int>(file.state), file.created_ms,
      file.expires_ms);
  if (!made && made.error().sys == kNoReference) co_return base::fail(Errc::not_found, "no such room");
  co_return done(made);
}

Task<Result<File>> find_file(Sql& db, FileId id) {
  auto rows =
      co_await db.query("SELECT " RINGLINE_FILE_COLUMNS " FROM files f WHERE f.id = ?1 AND f.state <> ?2", id, kGone);
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return no_such_file();
  co_return read_file(rows->front(), 0);
}

Task<Result<File>> complete_file(Sql& db, FileId id, std::int64_t expires_ms) {
  auto changed = co_await db.query("UPDATE files SET state = ?2, expires_ms = ?3 WHERE id = ?1 AND state = ?4", id,
                                   kReady, expires_ms, kWaiting);
  if (!changed) co_return std::unexpected(changed.error());
  auto file = co_await find_file(db, id);
  co_return file;
}

Task<Result<File>> attach_file(Sql& db, FileId id, UserId owner, RoomId room) {
  auto changed = co_await db.query(
      "UPDATE files SET room_id = ?3, sent = 1 WHERE id = ?1 AND owner_id = ?2 AND state = ?4"
      " AND (room_id IS NULL OR room_id = ?3)",
      id, owner, room, kReady);
  if (!changed) co_return std::unexpected(changed.error());
  auto file = co_await find_file(db, id);
  if (!file || changed->changed == 1) co_return file;
  if (file->owner != owner) co_return no_such_file();
  if (file->state != FileState::ready) co_return base::fail(Errc::conflict, "the file is not there yet: complete it");
  co_return base::fail(Errc::conflict, "the file belongs to another room: upload it for this one");
}

// The cursor is the last id of the page before: ids are in order of time.
Task<Result<chat::FilePage>> list_files(Sql& db, const chat::FileQuery& query) {
  FileId before{static_cast<std::uint64_t>(INT64_MAX)};
  if (!query.cursor.empty()) {
    auto parsed = FileId::parse(query.cursor);
    if (!parsed) co_return base::fail_field("cursor", "is not one that was given out");
    before = *parsed;
  }
  Result<Rows> rows;
  if (query.room) {
    rows = co_await db.query("SELECT " RINGLINE_FILE_COLUMNS
                             " FROM files f WHERE f.room_id = ?1 AND f.id < ?2 AND f.state = ?3"
                             " ORDER BY f.id DESC LIMIT ?4",
                             query.room, before, kReady, query.limit + 1);
  } else {
    rows = co_await db.query("SELECT " RINGLINE_FILE_COLUMNS
                             " FROM files f WHERE f.owner_id = ?1 AND f.id < ?2 AND f.state = ?3"
                             " ORDER BY f.id DESC LIMIT ?4",
                             query.owner, before, kReady, query.limit + 1);
  }
  if (!rows) co_return std::unexpected(rows.error());
  chat::FilePage page;
  for (const Rows::Row row : *rows) {
    if (page.files.size() == query.limit) {
      page.next_cursor = page.files.back().id.text();
      break;
    }
    page.files.push_back(read_file(row, 0));
  }
  co_return page;
}

Task<Result<void>> drop_file(Sql& db, FileId id, std::int64_t now_ms) {
  auto changed = co_await db.query("UPDATE files SET state = ?2, expires_ms = ?3 WHERE id = ?1 AND state <> ?2", id,
                                   kGone, now_ms);
  if (changed && changed->changed == 0) co_return no_such_file();
  co_return done(changed);
}

Task<Result<std::vector<FileId>>> take_expired_files(Sql& db, std::int64_t now_ms, std::size_t limit) {
  auto rows = co_await db.query(
      "UPDATE files SET state = ?1 WHERE id IN"
      " (SELECT id FROM files WHERE expires_ms > 0 AND expires_ms <= ?2 ORDER BY expires_ms LIMIT ?3) RETURNING id",
      kGone, now_ms, limit);
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<FileId> files;
  for (const Rows::Row row : *rows) files.push_back(FileId{row.number(0)});
  co_return files;
}

Task<Result<void>> forget_file(Sql& db, FileId id) {
  auto changed = co_await db.query("DELETE FROM files WHERE id = ?1 AND state = ?2 AND sent = 0", id, kGone);
  if (changed) changed = co_await db.query("UPDATE files SET expires_ms = 0 WHERE id = ?1 AND state = ?2", id, kGone);
  co_return done(changed);
}

// The one before goes, unless it is in a message too.
Task<Result<chat::Account>> set_avatar(Sql& db, UserId user, FileId file, std::string_view url, std::int64_t now_ms) {
  auto changed =
      co_await db.query("UPDATE files SET open = 1 WHERE id = ?1 AND owner_id = ?2 AND state = ?3", file, user, kReady);
  if (changed && changed->changed == 0) co_return no_such_file();
  if (changed)
    changed = co_await db.query(
        "UPDATE files SET state = ?4, expires_ms = ?3 WHERE owner_id = ?1 AND open = 1 AND sent = 0 AND id <> ?2"
        " AND state <> ?4",
        user, file, now_ms, kGone);
  if (changed)
    changed = co_await db.query("UPDATE users SET avatar_url = ?2, updated_ms = ?3 WHERE id = ?1", user, url, now_ms);
  if (!changed) co_return std::unexpected(changed.error());
  auto account = co_await find_account(db, user);
  co_return account;
}

}  // namespace ringline::backend
