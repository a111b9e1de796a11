// A connection of the SQLite store. Its tasks are done when they are first awaited: nothing here waits but for the disk.
#pragma once

#include "backend/sql.hpp"
#include "backend/sqlite_db.hpp"

namespace ringline::backend {

class SqliteConnection final : public Sql {
 public:
  explicit SqliteConnection(Db opened) noexcept : db(std::move(opened)) {}

  Task<Result<Rows>> execute(const char* sql, SqlValues values) override;
  Task<Result<void>> ingest(const std::vector<chat::Event>& events, Gaps gaps) override;  // sqlite_ingest.cpp
  Task<Result<void>> set_marks(const std::vector<chat::ReadMark>& marks) override;        // store_marks.cpp
  Task<Result<chat::SearchPage>> search(const chat::SearchQuery& query,
                                        const chat::FileLinks* links) override;  // sqlite_search.cpp

  // Around a transaction: what it writes is noted, and the highest of it kept with it.
  void forget_noted() noexcept { newest_id_ = 0; }
  Result<void> keep_highest_id();

  Db db;
};

// sqlite_open.cpp
Result<SqliteConnection> open_writer(const std::string& path);

}  // namespace ringline::backend
