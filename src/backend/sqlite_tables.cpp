// SQLite by its tables (tables.hpp). Texts come out in the order of their bytes, which is SQLite's own (BINARY).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <unordered_set>

#include "backend/copy_text.hpp"
#include "backend/sqlite_db.hpp"
#include "backend/tables.hpp"

namespace ringline::backend {

namespace {

// Virtual tables and those that they keep for themselves are made again by what fills them.
constexpr const char* kColumns =
    "SELECT t.name, c.name, c.type, c.pk FROM pragma_table_list AS t, pragma_table_xinfo(t.name) AS c"
    " WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND c.hidden = 0"
    " ORDER BY t.name, c.cid";
constexpr const char* kReferences =
    "SELECT t.name, f.\"table\" FROM pragma_table_list AS t, pragma_foreign_key_list(t.name) AS f"
    " WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, f.id";

class SqliteStream final : public RowStream {
 public:
  SqliteStream(Db& db, const char* sql) : query_(db.query(sql)) {}

  Result<bool> next(std::string& line) override {
    line.clear();
    if (!query_.next()) {
      if (auto ok = query_.check(); !ok) return std::unexpected(ok.error());
      return false;
    }
    for (int column = 0; column < query_.columns(); ++column) {
      if (column > 0) line += '\t';
      if (query_.type(column) == SQLITE_NULL) {
        line += copy_text::kNull;
      } else {
        copy_text::append(line, query_.text(column));
      }
    }
    return true;
  }

 private:
  Query query_;
};

class SqliteTables final : public Tables {
 public:
  explicit SqliteTables(Db db) : db_(std::move(db)) {}

  Result<void> make_again() override { return run_all(*this, &NotCopied::again_on_sqlite); }
  Result<std::vector<Table>> describe() override;
  Result<std::uint64_t> count(const Table& table) override;
  Result<std::unique_ptr<RowStream>> read(const Table& table) override;
  Result<void> run(const std::string& sql) override { return db_.execute(sql.c_str()); }
  Result<std::optional<std::int64_t>> number(const std::string& sql) override;
  Result<void> begin_snapshot() override { return db_.execute("BEGIN"); }
  Result<void> insert(const Table& table, std::span<const std::string> lines) override;
  Result<void> put(const Table& table, const std::string& line) override;
  Result<void> remove(const Table& table, const std::string& line) override;
  Result<void> make_room_for(std::span<const std::uint64_t>) override { return {}; }

 private:
  // Db keeps statements by the address of their text.
  const char* keep(std::string sql) { return texts_.insert(std::move(sql)).first->c_str(); }
  Result<void> run_with(const std::string& sql, const SqlValues& values);

  std::unordered_set<std::string> texts_;  // outlives what Db keeps
  Db db_;
};

std::string placeholders(std::size_t count) {
  std::string list;
  for (std::size_t i = 1; i <= count; ++i) list += fmt::format("{}?{}", i > 1 ? ", " : "", i);
  return list;
}

SqlValue value_of(const Column& column, std::string_view cell) {
  if (cell == copy_text::kNull) return {};
  std::int64_t number = 0;
  if (column.kind == ColumnKind::number &&
      std::from_chars(cell.data(), cell.data() + cell.size(), number).ptr == cell.data() + cell.size())
    return number;
  return copy_text::unescape(cell);
}

SqlValues values_of(const Table& table, std::string_view line) {
  SqlValues values;
  values.reserve(table.columns.size());
  for (const Column& column : table.columns) {
    const std::size_t tab = std::min(line.find('\t'), line.size());
    values.push_back(value_of(column, line.substr(0, tab)));
    line.remove_prefix(std::min(tab + 1, line.size()));
  }
  return values;
}

std::string insert_sql(const Table& table) {
  return fmt::format("INSERT INTO \"{}\" ({}) VALUES ({})", table.name, quoted_columns(table),
                     placeholders(table.columns.size()));
}

// How a row takes the place of the one with its key.
std::string replacing(const Table& table) {
  std::string changes;
  for (const Column& column : table.columns)
    if (std::ranges::find(table.key, column.name) == table.key.end())
      changes += fmt::format("{}\"{}\" = excluded.\"{}\"", changes.empty() ? " DO UPDATE SET " : ", ", column.name,
                             column.name);
  return fmt::format(" ON CONFLICT ({}){}", quoted_list(table.key), changes.empty() ? " DO NOTHING" : changes);
}

ColumnKind kind_of(std::string_view type) {
  if (type == "INTEGER") return ColumnKind::number;
  return type == "TEXT" ? ColumnKind::text : ColumnKind::other;
}

Result<std::vector<Table>> SqliteTables::describe() {
  std::vector<Table> tables;
  std::vector<std::pair<std::int64_t, std::string>> key;  // of the last one
  const auto end_table = [&] {
    if (tables.empty()) return;
    std::ranges::sort(key);
    for (auto& [place, name] : key) tables.back().key.push_back(std::move(name));
    tables.back().order = tables.back().key;
    key.clear();
  };
  auto columns = db_.rows(kColumns, {});
  if (!columns) return std::unexpected(columns.error());
  for (const Rows::Row row : *columns) {
    if (tables.empty() || tables.back().name != row.text(0)) {
      end_table();
      tables.push_back({.name = std::string(row.text(0)), .columns = {}, .key = {}, .order = {}, .refers_to = {}});
    }
    tables.back().columns.push_back(
        {.name = std::string(row.text(1)), .kind = kind_of(row.text(2)), .type = std::string(row.text(2))});
    if (row.integer(3) > 0) key.emplace_back(row.integer(3), row.text(1));
  }
  end_table();
  auto references = db_.rows(kReferences, {});
  if (!references) return std::unexpected(references.error());
  for (const Rows::Row row : *references) {
    const auto table = std::ranges::find(tables, row.text(0), &Table::name);
    if (table != tables.end()) table->refers_to.emplace_back(row.text(1));
  }
  return tables;
}

Result<std::optional<std::int64_t>> SqliteTables::number(const std::string& sql) {
  Query row = db_.query(keep(sql));
  const bool any = row.next();
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  if (!any || row.type(0) == SQLITE_NULL) return std::nullopt;
  return row.integer(0);
}

Result<std::uint64_t> SqliteTables::count(const Table& table) {
  auto rows = number(fmt::format("SELECT count(*) FROM \"{}\"", table.name));
  if (!rows) return std::unexpected(rows.error());
  return static_cast<std::uint64_t>(rows->value_or(0));
}

Result<std::unique_ptr<RowStream>> SqliteTables::read(const Table& table) {
  return std::make_unique<SqliteStream>(
      db_, keep(fmt::format("SELECT {} FROM \"{}\" ORDER BY {}", quoted_columns(table), table.name,
                            quoted_list(table.order))));
}

Result<void> SqliteTables::run_with(const std::string& sql, const SqlValues& values) {
  Query query = db_.query(keep(sql), values);
  query.next();
  return query.check();
}

Result<void> SqliteTables::insert(const Table& table, std::span<const std::string> lines) {
  const std::string sql = insert_sql(table);
  for (const std::string& line : lines)
    if (auto done = run_with(sql, values_of(table, line)); !done) return done;
  return {};
}

Result<void> SqliteTables::put(const Table& table, const std::string& line) {
  return run_with(insert_sql(table) + replacing(table), values_of(table, line));
}

Result<void> SqliteTables::remove(const Table& table, const std::string& line) {
  std::string where;
  SqlValues values;
  for (const std::string& name : table.key) {
    const std::size_t column = table.column(name);
    values.push_back(value_of(table.columns[column], copy_text::cell_at(line, column)));
    where += fmt::format("{}\"{}\" = ?{}", where.empty() ? "" : " AND ", name, values.size());
  }
  return run_with(fmt::format("DELETE FROM \"{}\" WHERE {}", table.name, where), values);
}

}  // namespace

namespace {

Result<Db> open_existing(const std::string& path, Db::Mode mode) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return base::fail(base::Errc::not_found, "there is no database " + path);
  auto db = Db::open(path, mode);
  if (!db) return base::fail(base::Errc::internal, "the database " + path + " cannot be opened: " + db.error().message);
  return db;
}

}  // namespace

Result<std::unique_ptr<Tables>> open_sqlite_tables(const std::string& path, bool only_read) {
  auto db = open_existing(path, only_read ? Db::Mode::read : Db::Mode::write);
  if (!db) return std::unexpected(db.error());
  // What has to be sorted may be larger than memory.
  if (auto set = db->execute("PRAGMA temp_store = FILE"); !set) return std::unexpected(set.error());
  return std::make_unique<SqliteTables>(std::move(*db));
}

Result<void> copy_sqlite(const std::string& path, const std::string& to) {
  auto db = open_existing(path, Db::Mode::write);
  if (!db) return std::unexpected(db.error());
  auto copied = db->run("VACUUM INTO ?1", to);
  if (copied) return {};
  return base::fail(base::Errc::unavailable,
                    "the database " + path + " cannot be copied to " + to + ": " + copied.error().message);
}

}  // namespace ringline::backend
