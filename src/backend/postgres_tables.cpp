// PostgreSQL by its tables (tables.hpp): a connection of its own that waits, and rows by COPY. Texts come out in the order of their bytes (COLLATE "C").
#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <charconv>

#include "backend/copy_text.hpp"
#include "backend/postgres_connection.hpp"
#include "backend/postgres_open.hpp"
#include "backend/tables.hpp"
#include "ringline/base/ids.hpp"

namespace ringline::backend {

namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;  // of a COPY, on its way to libpq
constexpr const char* kConnectSeconds = "10";

#define OURS " n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
#define TABLES "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
// Columns that are made of others are made again where the row goes.
constexpr const char* kColumns =
    "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM " TABLES
    " JOIN pg_attribute a ON a.attrelid = c.oid WHERE" OURS
    " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY c.relname COLLATE \"C\", a.attnum";
constexpr const char* kKeys = "SELECT c.relname, a.attname FROM " TABLES
                              " JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary"
                              " CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)"
                              " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum WHERE" OURS
                              " ORDER BY c.relname COLLATE \"C\", k.place";
constexpr const char* kReferences =
    "SELECT c.relname, f.relname FROM " TABLES
    " JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f' JOIN pg_class f ON f.oid = k.confrelid WHERE" OURS;
#undef OURS
#undef TABLES

struct Finish {
  void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
using ConnectionPtr = std::unique_ptr<PGconn, Finish>;

std::string said(PGconn* connection) {
  std::string text = connection ? PQerrorMessage(connection) : "out of memory";
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string_view cell(const PGresult* rows, int row, int column) {
  return {PQgetvalue(rows, row, column), static_cast<std::size_t>(PQgetlength(rows, row, column))};
}

// What is left of a statement's results; the first that failed.
Result<void> finish(PGconn* connection) {
  Result<void> done;
  for (ResultPtr result(PQgetResult(connection)); result; result.reset(PQgetResult(connection)))
    if (done && PQresultStatus(result.get()) == PGRES_FATAL_ERROR) done = std::unexpected(postgres_error(result.get()));
  return done;
}

class PostgresStream final : public RowStream {
 public:
  explicit PostgresStream(PGconn* connection) : connection_(connection) {}

  Result<bool> next(std::string& line) override {
    line.clear();
    char* bytes = nullptr;
    const int size = PQgetCopyData(connection_, &bytes, 0);
    if (size > 0) {
      line.assign(bytes, static_cast<std::size_t>(size) - 1);  // without the line's end
      PQfreemem(bytes);
      return true;
    }
    if (auto done = finish(connection_); !done) return std::unexpected(done.error());
    if (size == -1) return false;
    return base::fail(base::Errc::unavailable, "PostgreSQL: " + said(connection_));
  }

 private:
  PGconn* connection_;
};

class PostgresTables final : public Tables {
 public:
  explicit PostgresTables(ConnectionPtr connection) : connection_(std::move(connection)) {}

  Result<void> make_again() override { return run_all(*this, &NotCopied::again_on_postgres); }
  Result<std::vector<Table>> describe() override;
  Result<std::uint64_t> count(const Table& table) override;
  Result<std::unique_ptr<RowStream>> read(const Table& table) override;
  Result<void> run(const std::string& sql) override;
  Result<std::optional<std::int64_t>> number(const std::string& sql) override;
  Result<void> begin_snapshot() override { return run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); }
  Result<void> insert(const Table& table, std::span<const std::string> lines) override;
  Result<void> put(const Table& table, const std::string& line) override;
  Result<void> remove(const Table& table, const std::string& line) override;
  Result<void> make_room_for(std::span<const std::uint64_t> message_ids) override;

 private:
  Result<ResultPtr> ask(const std::string& sql);
  Result<void> run_with(const std::string& sql, const copy_text::Cells& values);
  Result<void> read_columns(std::vector<Table>& tables);
  Result<void> send(std::span<const std::string> lines);

  ConnectionPtr connection_;
};

Result<void> check(PGconn* connection, const ResultPtr& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return {};
  auto error = postgres_error(result.get());
  // These commands are for people: the server's own words say more than a client may know.
  if (error.code != base::Errc::conflict) error.message += ": " + said(connection);
  return std::unexpected(std::move(error));
}

Result<ResultPtr> PostgresTables::ask(const std::string& sql) {
  ResultPtr result(PQexec(connection_.get(), sql.c_str()));
  if (auto ok = check(connection_.get(), result); !ok) return std::unexpected(ok.error());
  return result;
}

Result<void> PostgresTables::run(const std::string& sql) {
  auto done = ask(sql);
  return done ? Result<void>() : std::unexpected(done.error());
}

Result<std::optional<std::int64_t>> PostgresTables::number(const std::string& sql) {
  auto rows = ask(sql);
  if (!rows) return std::unexpected(rows.error());
  if (PQntuples(rows->get()) == 0 || PQgetisnull(rows->get(), 0, 0)) return std::nullopt;
  std::int64_t number = 0;
  const std::string_view text = cell(rows->get(), 0, 0);
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

ColumnKind kind_of(std::string_view type) {
  if (type == "bigint" || type == "integer" || type == "smallint") return ColumnKind::number;
  return type == "text" ? ColumnKind::text : ColumnKind::other;
}

Table* find_table(std::vector<Table>& tables, std::string_view name) {
  const auto found = std::ranges::find(tables, name, &Table::name);
  return found == tables.end() ? nullptr : &*found;
}

Result<void> PostgresTables::read_columns(std::vector<Table>& tables) {
  auto rows = ask(kColumns);
  if (!rows) return std::unexpected(rows.error());
  for (int row = 0; row < PQntuples(rows->get()); ++row) {
    const std::string_view table = cell(rows->get(), row, 0);
    const std::string_view type = cell(rows->get(), row, 2);
    const std::string_view name = cell(rows->get(), row, 1);
    if (tables.empty() || tables.back().name != table)
      tables.push_back({.name = std::string(table), .columns = {}, .key = {}, .order = {}, .refers_to = {}});
    tables.back().columns.push_back({.name = std::string(name), .kind = kind_of(type), .type = std::string(type)});
  }
  return {};
}

Result<std::vector<Table>> PostgresTables::describe() {
  std::vector<Table> tables;
  if (auto read = read_columns(tables); !read) return std::unexpected(read.error());
  auto keys = ask(kKeys);
  if (!keys) return std::unexpected(keys.error());
  for (int row = 0; row < PQntuples(keys->get()); ++row)
    if (Table* table = find_table(tables, cell(keys->get(), row, 0)))
      table->key.emplace_back(cell(keys->get(), row, 1));
  for (Table& table : tables) table.order = table.key;
  auto references = ask(kReferences);
  if (!references) return std::unexpected(references.error());
  for (int row = 0; row < PQntuples(references->get()); ++row)
    if (Table* table = find_table(tables, cell(references->get(), row, 0)))
      table->refers_to.emplace_back(cell(references->get(), row, 1));
  return tables;
}

Result<std::uint64_t> PostgresTables::count(const Table& table) {
  auto rows = number(fmt::format("SELECT count(*) FROM \"{}\"", table.name));
  if (!rows) return std::unexpected(rows.error());
  return static_cast<std::uint64_t>(rows->value_or(0));
}

Result<std::unique_ptr<RowStream>> PostgresTables::read(const Table& table) {
  std::string order;
  for (const std::string& name : table.order) {
    const std::size_t column = table.column(name);
    const bool text = column < table.columns.size() && table.columns[column].kind == ColumnKind::text;
    order += fmt::format("{}\"{}\"{}", order.empty() ? "" : ", ", name, text ? " COLLATE \"C\"" : "");
  }
  const ResultPtr begun(PQexec(connection_.get(), fmt::format("COPY (SELECT {} FROM \"{}\" ORDER BY {}) TO STDOUT",
                                                              quoted_columns(table), table.name, order)
                                                      .c_str()));
  if (PQresultStatus(begun.get()) != PGRES_COPY_OUT) return std::unexpected(check(connection_.get(), begun).error());
  return std::make_unique<PostgresStream>(connection_.get());
}

bool has_nul(std::string_view line) { return line.find('\0') != line.npos; }
std::unexpected<base::Error> no_nul() {
  return base::fail(base::Errc::conflict, "the database keeps no text with U+0000");
}

Result<void> PostgresTables::insert(const Table& table, std::span<const std::string> lines) {
  if (std::ranges::any_of(lines, has_nul)) return no_nul();
  const ResultPtr begun(
      PQexec(connection_.get(), fmt::format("COPY \"{}\" ({}) FROM STDIN", table.name, quoted_columns(table)).c_str()));
  if (PQresultStatus(begun.get()) != PGRES_COPY_IN) return check(connection_.get(), begun);
  return send(lines);
}

Result<void> PostgresTables::send(std::span<const std::string> lines) {
  PGconn* c = connection_.get();
  std::string piece;
  for (const std::string& line : lines) {
    piece.append(line).append(1, '\n');
    if (piece.size() < kPieceBytes) continue;
    if (PQputCopyData(c, piece.data(), static_cast<int>(piece.size())) != 1)
      return base::fail(base::Errc::unavailable, "PostgreSQL: " + said(c));
    piece.clear();
  }
  if ((!piece.empty() && PQputCopyData(c, piece.data(), static_cast<int>(piece.size())) != 1) ||
      PQputCopyEnd(c, nullptr) != 1)
    return base::fail(base::Errc::unavailable, "PostgreSQL: " + said(c));
  return finish(c);
}

Result<void> PostgresTables::run_with(const std::string& sql, const copy_text::Cells& values) {
  std::vector<const char*> texts;
  for (const auto& value : values) {
    if (value && has_nul(*value)) return no_nul();
    texts.push_back(value ? value->c_str() : nullptr);
  }
  const ResultPtr result(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(texts.size()), nullptr,
                                      texts.data(), nullptr, nullptr, 0));
  return check(connection_.get(), result);
}

Result<void> PostgresTables::put(const Table& table, const std::string& line) {
  std::string places, changes;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string& name = table.columns[i].name;
    places += fmt::format("{}${}", i > 0 ? ", " : "", i + 1);
    if (std::ranges::find(table.key, name) == table.key.end())
      changes += fmt::format("{}\"{}\" = excluded.\"{}\"", changes.empty() ? "DO UPDATE SET " : ", ", name, name);
  }
  return run_with(
      fmt::format("INSERT INTO \"{}\" ({}) VALUES ({}) ON CONFLICT ({}) {}", table.name, quoted_columns(table), places,
                  quoted_list(table.key), changes.empty() ? "DO NOTHING" : changes),
      copy_text::split(line));
}

Result<void> PostgresTables::remove(const Table& table, const std::string& line) {
  const copy_text::Cells cells = copy_text::split(line);
  copy_text::Cells values;
  std::string where;
  for (const std::string& name : table.key) {
    values.push_back(cells[table.column(name)]);
    where += fmt::format("{}\"{}\" = ${}", where.empty() ? "" : " AND ", name, values.size());
  }
  return run_with(fmt::format("DELETE FROM \"{}\" WHERE {}", table.name, where), values);
}

// A partition of its own for each month. One that cannot be made any more, as rows of its time are in `messages_other`, is no loss: they go there too.
Result<void> PostgresTables::make_room_for(std::span<const std::uint64_t> message_ids) {
  for (const std::uint64_t id : message_ids) {
    auto made = run(partition_statements(base::made_at_ms(id)).front());
    if (!made && made.error().code == base::Errc::unavailable) return made;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Tables>> open_postgres_tables(const std::string& url) {
  auto targets = read_postgres_url(url);
  if (!targets) return std::unexpected(targets.error());
  std::string why;
  for (const PostgresTarget& target : *targets) {
    std::vector<const char*> keys{"connect_timeout", "client_encoding"}, values{kConnectSeconds, "UTF8"};
    for (const auto& [key, value] : target.options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    ConnectionPtr connection(PQconnectdbParams(keys.data(), values.data(), 0));
    if (PQstatus(connection.get()) == CONNECTION_OK) {
      PQsetNoticeProcessor(connection.get(), [](void*, const char*) {}, nullptr);  // "already exists, skipping"
      return std::make_unique<PostgresTables>(std::move(connection));
    }
    why = target.name + ": " + said(connection.get());
  }
  return base::fail(base::Errc::unavailable, "PostgreSQL cannot be used: " + why);
}

}  // namespace ringline::backend
