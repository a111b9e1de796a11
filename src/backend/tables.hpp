// A store by its tables, whatever is in them: for the commands that move all of it (migrate-store, backup, restore). What tables there are is read from the
// store's own schema, so a table that a later step of the schema makes is copied without a word here; what is not copied is named in kNotCopied.
//
// Everything here blocks. A connection does one thing at a time: while a stream of it is read, nothing else is asked of it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/schema/postgres.hpp"
#include "ringline/base/result.hpp"

namespace ringline::backend {

using base::Result;

// Tables whose rows stay where they are. What is made of other tables is made again where those were copied to, by a statement of that engine.
struct NotCopied {
  std::string_view table;
  std::string_view why;
  const char* again_on_sqlite = nullptr;
  const char* again_on_postgres = nullptr;
};
inline constexpr auto kNotCopied = std::to_array<NotCopied>({
    {.table = "meta", .why = "what a store knows of itself; of it the highest id goes along"},
    {.table = "leases", .why = "who writes to this database now"},
    {.table = "message_texts", .why = "the index of texts, fed from text_queue"},
    {.table = "text_queue",
     .why = "what that index has not: all, after a copy",
     .again_on_sqlite =
         "INSERT INTO message_texts (message_texts) VALUES ('delete-all'); DELETE FROM text_queue;"
         "INSERT INTO text_queue (room_id, first_seq, last_seq, messages)"
         " SELECT id, 1, ingested_seq, message_count FROM rooms WHERE ephemeral = 0 AND message_count > 0",
     .again_on_postgres = "TRUNCATE message_texts, text_queue; UPDATE meta SET value = 0 WHERE name = "
                          "'text_places';" RINGLINE_QUEUE_ALL_TEXTS},
});
bool is_copied(std::string_view table) noexcept;

// ---- Rows of `meta` that these commands know (all others are an engine's own).
inline constexpr std::string_view kHighestId = "highest_id";
// A copy into this store has begun and not ended, of the source of that number: nothing else may use it.
inline constexpr std::string_view kUnfinished = "unfinished";
// All here is a copy of that source, and nothing has written here since.
inline constexpr std::string_view kCopiedFrom = "copied_from";
// The number by which the copies of this store know it; made when it is copied first.
inline constexpr std::string_view kStoreNumber = "store_number";

// other: what this program's schema has nowhere; copied only to a column of the same type.
enum class ColumnKind : std::uint8_t { number, text, other };

struct Column {
  std::string name;
  ColumnKind kind = ColumnKind::text;
  std::string type = {};  // as the engine calls it
};

struct Table {
  std::string name;
  std::vector<Column> columns;
  std::vector<std::string> key;        // the primary key
  std::vector<std::string> order;      // in which its rows are read; unique
  std::vector<std::string> refers_to;  // tables whose rows must be there first

  std::size_t column(std::string_view wanted) const noexcept;  // columns.size(): there is none
};

// "id, name" of columns, each quoted.
std::string quoted_list(std::span<const std::string> names);
std::string quoted_columns(const Table& table);

class RowStream {
 public:
  virtual ~RowStream() = default;
  // The next row as a line (copy_text.hpp). False: that was all.
  virtual Result<bool> next(std::string& line) = 0;
};

// Where rows come from: a store, or the files of a backup.
class TableSource {
 public:
  virtual ~TableSource() = default;
  // False: rows come in each table's own `order` and no other.
  virtual bool sorts() const noexcept { return true; }
  // By name.
  virtual Result<std::vector<Table>> describe() = 0;
  virtual Result<std::uint64_t> count(const Table& table) = 0;
  // Its columns, in its order (bytes of texts, not of a language).
  virtual Result<std::unique_ptr<RowStream>> read(const Table& table) = 0;
  // The id of a message of each month that has any.
  virtual Result<std::vector<std::uint64_t>> messages_by_month() = 0;
};

class Tables : public TableSource {
 public:
  // What is made of the tables that were written, again (kNotCopied).
  virtual Result<void> make_again() = 0;
  // SQL without rows, and the number in the first row (none: no row, or null). Statements as both engines take them.
  virtual Result<void> run(const std::string& sql) = 0;
  virtual Result<std::optional<std::int64_t>> number(const std::string& sql) = 0;
  // What is read from now on is of one moment, until `run("COMMIT")`.
  virtual Result<void> begin_snapshot() = 0;

  // Conflict: the store refuses one of the rows. In a transaction of the caller's, who takes it back then.
  virtual Result<void> insert(const Table& table, std::span<const std::string> lines) = 0;
  virtual Result<void> put(const Table& table, const std::string& line) = 0;  // also in place of one with its key
  virtual Result<void> remove(const Table& table, const std::string& line) = 0;

  // Before messages of the months of these ids are written, outside of a transaction: they find a place of their own where the engine has places by time.
  virtual Result<void> make_room_for(std::span<const std::uint64_t> message_ids) = 0;

  Result<std::vector<std::uint64_t>> messages_by_month() final;
  Result<std::optional<std::int64_t>> meta(std::string_view name);
  Result<void> set_meta(std::string_view name, std::int64_t value);
  Result<void> drop_meta(std::string_view name);
};

// The statements of an engine in kNotCopied.
Result<void> run_all(Tables& store, const char* NotCopied::* statement);

// The first id of the month behind that of `id`.
std::uint64_t next_month(std::uint64_t id) noexcept;

// A connection to a store that is there, with its schema: sqlite:PATH or a URL of PostgreSQL.
Result<std::unique_ptr<Tables>> open_tables(const std::string& store);
// `only_read`: the file is left as it is.
Result<std::unique_ptr<Tables>> open_sqlite_tables(const std::string& path, bool only_read = false);
// One moment of a file that may be at work, into a new one (SQLite, "VACUUM INTO").
Result<void> copy_sqlite(const std::string& path, const std::string& to);
Result<std::unique_ptr<Tables>> open_postgres_tables(const std::string& url);

inline constexpr std::string_view kSqlitePrefix = "sqlite:";
inline bool is_sqlite(std::string_view store) noexcept { return store.starts_with(kSqlitePrefix); }

}  // namespace ringline::backend
