// Opening the file: whose it is, whether it is sound, and the steps that bring its schema up to date.
#include <fmt/format.h>

#include <filesystem>

#include "backend/schema/sqlite.hpp"
#include "backend/sqlite_connection.hpp"
#include "ringline/backend/database.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::backend {

namespace {

constexpr std::int64_t kApplicationId = 0x524e474c;  // "RNGL", in the file's header
// Above it the whole check would hold up the start (about 2 s a GiB); SQLite still finds damage where it reads.
constexpr std::uintmax_t kCheckedBytes = 512 * 1024 * 1024;

Result<std::int64_t> read_number(Db& db, const char* sql) {
  Query row = db.query(sql);
  if (row.next()) return row.integer(0);
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return base::fail(base::Errc::internal, "a pragma gave no row");
}

std::unexpected<base::Error> refuse(const std::string& path, std::string_view why) {
  return base::fail(base::Errc::internal, fmt::format("the database {} {}", path, why));
}

// The number of steps that the file has.
Result<std::size_t> examine(Db& db, const std::string& path) {
  auto application = read_number(db, "PRAGMA application_id");
  auto version = read_number(db, "PRAGMA user_version");
  auto tables = read_number(db, "SELECT count(*) FROM sqlite_schema");
  if (!application || !version || !tables)
    return refuse(path, "cannot be read: is it an SQLite file, and is it whole?");
  bool fresh = *application == 0 && *version == 0 && *tables == 0;
  if (!fresh && *application != kApplicationId) return refuse(path, "belongs to another program");
  if (*version < 0 || static_cast<std::size_t>(*version) > kSqliteMigrations.size())
    return refuse(
        path, fmt::format(
                  "was written by a newer Ringline (schema {}, this one knows {}): start that one, or restore a backup",
                  *version, kSqliteMigrations.size()));
  return static_cast<std::size_t>(*version);
}

Result<void> check_whole(Db& db, const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::file_size(path, ignored) > kCheckedBytes) return {};
  Query row = db.query("PRAGMA quick_check(1)");
  if (!row.next()) return refuse(path, "is damaged: restore a backup, or try `sqlite3 FILE .recover`");
  if (row.text(0) != "ok")
    return refuse(path, fmt::format("is damaged ({}): restore a backup, or try `sqlite3 FILE .recover`", row.text(0)));
  return {};
}

Result<void> migrate(Db& db, std::size_t step) {
  auto done = db.execute("BEGIN IMMEDIATE");
  if (done) done = db.execute(kSqliteMigrations[step]);
  if (done)
    done = db.run("UPDATE rooms SET created_ms = ?2, updated_ms = ?2 WHERE id = ?1 AND created_ms = 0", kLobby,
                  base::wall_ms());
  if (done)
    done = db.execute(
        fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT", kApplicationId, step + 1).c_str());
  if (!done && db.in_transaction()) (void)db.execute("ROLLBACK");
  return done;
}

}  // namespace

Result<SqliteConnection> open_writer(const std::string& path) {
  auto db = Db::open(path, Db::Mode::write);
  if (!db) {
    bool foreign = db.error().sys == SQLITE_NOTADB;
    return refuse(
        path, foreign ? "is not an SQLite file" : fmt::format("cannot be opened: {}", sqlite3_errstr(db.error().sys)));
  }
  auto steps = examine(*db, path);
  if (!steps) return std::unexpected(steps.error());
  if (auto whole = check_whole(*db, path); !whole) return std::unexpected(whole.error());
  for (std::size_t step = *steps; step < kSqliteMigrations.size(); ++step) {
    auto migrated = migrate(*db, step);
    if (!migrated)
      return refuse(
          path, fmt::format("could not be brought from schema {} to {}: {}", step, step + 1, migrated.error().message));
  }
  return SqliteConnection(std::move(*db));
}

Task<Result<Rows>> SqliteConnection::execute(const char* sql, SqlValues values) { co_return db.rows(sql, values); }

Result<void> SqliteConnection::keep_highest_id() {
  return db.run("UPDATE meta SET value = ?1 WHERE name = 'highest_id' AND value < ?1", newest_id_);
}

}  // namespace ringline::backend
