// See sqlite_db.hpp.
#include "backend/sqlite_db.hpp"

#include "ringline/base/assert.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

static_assert(kNoReference == SQLITE_CONSTRAINT_FOREIGNKEY && kNotUnique == SQLITE_CONSTRAINT_UNIQUE);

namespace {

constexpr int kBusyMs = 5000;
constexpr std::uint32_t kRetryMs = 1000;

// Every write of a row logs its whole page, so pages are small (8 KiB cost a fifth more CPU at ingest). A checkpoint at 64 MiB of log, which is cut back
// to 128 MiB where readers made it longer. cache_size is in KiB where negative.
constexpr const char* kWriterSettings = R"sql(
PRAGMA page_size = 4096;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 16384;
PRAGMA journal_size_limit = 134217728;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -32768;
)sql";
constexpr const char* kReaderSettings = R"sql(
PRAGMA query_only = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -8192;
)sql";

}  // namespace

base::Error sqlite_error(int code, std::string_view text) {
  auto retry_later = [&](const char* message) {
    base::log::error("sqlite_failed", {{"code", code}, {"text", text}});
    return base::Error{
        .code = base::Errc::unavailable, .message = message, .field = {}, .retry_after_ms = kRetryMs, .sys = code};
  };
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return {.code = base::Errc::conflict, .message = std::string(text), .field = {}, .sys = code};
    case SQLITE_FULL:
      return retry_later("the disk is full");
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return retry_later("the disk is failing");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
      return retry_later("the database is busy");
    default:
      base::log::error("sqlite_failed", {{"code", code}, {"text", text}});
      return {.code = base::Errc::internal, .message = "the database failed", .field = {}, .sys = code};
  }
}

Query::Query(sqlite3* db, sqlite3_stmt* statement, const SqlValues& values) noexcept : Query(db, statement) {
  int index = 0;
  for (const SqlValue& value : values) {
    ++index;
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      bind(index, *number);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      bind(index, std::string_view(*text));
    } else {
      keep(sqlite3_bind_null(statement_, index));
    }
  }
}

bool Query::next() noexcept {
  if (code_ != SQLITE_OK) return false;
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) code_ = sqlite3_extended_errcode(db_);
  return false;
}

base::Result<void> Query::check() const {
  if (code_ == SQLITE_OK) return {};
  return std::unexpected(sqlite_error(code_, sqlite3_errmsg(db_)));
}

std::string_view Query::text(int column) const noexcept {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {bytes ? bytes : "", static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

// A null pointer would bind NULL: an empty view may hold one.
void Query::bind_text(int index, std::string_view text, sqlite3_destructor_type lifetime) noexcept {
  keep(sqlite3_bind_text64(statement_, index, text.data() ? text.data() : "", text.size(), lifetime, SQLITE_UTF8));
}

base::Result<Db> Db::open(const std::string& path, Mode mode) {
  int flags =
      SQLITE_OPEN_NOMUTEX | (mode == Mode::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
  sqlite3* handle = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Db db(handle);
  if (code != SQLITE_OK) return std::unexpected(sqlite_error(code, handle ? sqlite3_errmsg(handle) : "out of memory"));
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyMs);
  auto set = db.execute(mode == Mode::write ? kWriterSettings : kReaderSettings);
  if (!set) return std::unexpected(set.error());
  return db;
}

base::Result<Rows> Db::rows(const char* sql, const SqlValues& values) {
  Query row(handle_.get(), prepared(sql), values);
  const int columns = row.columns();
  Rows rows(static_cast<unsigned>(columns));
  while (row.next()) {
    for (int column = 0; column < columns; ++column) {
      switch (row.type(column)) {
        case SQLITE_INTEGER:
          rows.add_number(row.integer(column));
          break;
        case SQLITE_NULL:
          rows.add_null();
          break;
        default:
          rows.add_text(row.text(column));
      }
    }
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  rows.changed = changes();
  return rows;
}

base::Result<void> Db::execute(const char* sql) {
  int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return {};
  return std::unexpected(sqlite_error(code, sqlite3_errmsg(handle_.get())));
}

sqlite3_stmt* Db::prepared(const char* sql) {
  auto& statement = statements_[sql];
  if (!statement) {
    sqlite3_stmt* made = nullptr;
    sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr);
    statement.reset(made);
  }
  ASSERT(!statement || !sqlite3_stmt_busy(statement.get()));
  return statement.get();
}

}  // namespace ringline::backend
