// A connection to SQLite and its statements, with errors as values. One thread at a time.
//
// Statements are prepared once and kept under their text, so the text must be a literal. A Query is one run of one: it is reset when it goes, and there
// is at most one of a text at a time.
#pragma once

#include <sqlite3.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "backend/sql.hpp"
#include "ringline/base/ids.hpp"
#include "ringline/base/result.hpp"

namespace ringline::backend {

class Query {
 public:
  // Values are bound to ?1, ?2, …. A view must outlive the query; a string is copied.
  template <class... Values>
  explicit Query(sqlite3* db, sqlite3_stmt* statement, const Values&... values) noexcept
      : db_(db), statement_(statement) {
    if (!statement_) code_ = sqlite3_errcode(db_);
    int index = 0;
    (bind(++index, values), ...);
  }
  Query(sqlite3* db, sqlite3_stmt* statement, const SqlValues& values) noexcept;
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() { sqlite3_reset(statement_); }

  // Moves to the next row. False: there is none, or it failed (then `check` says why).
  bool next() noexcept;
  base::Result<void> check() const;

  std::int64_t integer(int column) const noexcept { return sqlite3_column_int64(statement_, column); }
  std::uint64_t number(int column) const noexcept { return static_cast<std::uint64_t>(integer(column)); }
  bool flag(int column) const noexcept { return integer(column) != 0; }
  int type(int column) const noexcept { return sqlite3_column_type(statement_, column); }
  int columns() const noexcept { return statement_ ? sqlite3_column_count(statement_) : 0; }
  // Until the next row. Null reads as empty (and as 0).
  std::string_view text(int column) const noexcept;

 private:
  void bind(int index, std::integral auto value) noexcept {
    keep(sqlite3_bind_int64(statement_, index, static_cast<sqlite3_int64>(value)));
  }
  template <class Tag>
  void bind(int index, base::Id<Tag> id) noexcept {
    bind(index, id.value);
  }
  void bind(int index, const char* text) noexcept { bind(index, std::string_view(text)); }
  void bind(int index, std::string_view text) noexcept { bind_text(index, text, SQLITE_STATIC); }
  void bind(int index, const std::string& text) noexcept { bind_text(index, text, SQLITE_TRANSIENT); }
  template <class Value>
  void bind(int index, const std::optional<Value>& value) noexcept {
    if (value) {
      bind(index, *value);
    } else {
      keep(sqlite3_bind_null(statement_, index));
    }
  }
  void bind_text(int index, std::string_view text, sqlite3_destructor_type lifetime) noexcept;
  void keep(int code) noexcept {
    if (code_ == SQLITE_OK) code_ = code;
  }

  sqlite3* db_;
  sqlite3_stmt* statement_;
  int code_ = SQLITE_OK;
};

class Db {
 public:
  enum class Mode : std::uint8_t { write, read };
  static base::Result<Db> open(const std::string& path, Mode mode);

  template <class... Values>
  Query query(const char* sql, const Values&... values) {
    return Query(handle_.get(), prepared(sql), values...);
  }
  // All rows, copied out.
  base::Result<Rows> rows(const char* sql, const SqlValues& values);
  // A statement that gives no rows.
  template <class... Values>
  base::Result<void> run(const char* sql, const Values&... values) {
    Query query(handle_.get(), prepared(sql), values...);
    query.next();
    return query.check();
  }
  // Rows changed by the last statement that could.
  std::uint64_t changes() const noexcept { return static_cast<std::uint64_t>(sqlite3_changes64(handle_.get())); }
  // Several statements, not kept.
  base::Result<void> execute(const char* sql);
  // No query may be under way. Statements are a few kilobytes each, and prepared again when they are wanted.
  void drop_cache() noexcept {
    statements_.clear();
    sqlite3_db_release_memory(handle_.get());
  }
  bool in_transaction() const noexcept { return sqlite3_get_autocommit(handle_.get()) == 0; }

 private:
  struct Close {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close(handle); }
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  explicit Db(sqlite3* handle) noexcept : handle_(handle) {}
  sqlite3_stmt* prepared(const char* sql);  // null: it failed

  std::unique_ptr<sqlite3, Close> handle_;
  std::unordered_map<std::string_view, std::unique_ptr<sqlite3_stmt, Close>> statements_;
};

// A failure of SQLite as callers see it: what a constraint refused is `conflict`; a disk, a lock or memory that fails is `unavailable`; the rest is our
// mistake. `sys` is SQLite's extended code.
base::Error sqlite_error(int code, std::string_view text);

}  // namespace ringline::backend
