// The store in a backup: SQLite as a file, PostgreSQL as rows; and back, also into the other engine.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backend/copy_text.hpp"
#include "backend/hashed_file.hpp"
#include "backend/schema/sqlite.hpp"
#include "backend/table_copy.hpp"
#include "ringline/backend/backup.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/version.hpp"

namespace ringline::backend {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view kSqliteFile = "store/ringline.db";
constexpr std::string_view kRows = ".rows";

std::string_view name_of(ColumnKind kind) {
  switch (kind) {
    case ColumnKind::number:
      return "number";
    case ColumnKind::text:
      return "text";
    case ColumnKind::other:
      return "other";
  }
  return "other";
}
ColumnKind kind_named(std::string_view name) {
  return name == "number" ? ColumnKind::number : name == "text" ? ColumnKind::text : ColumnKind::other;
}

std::string rows_file(std::string_view table) { return fmt::format("{}{}{}", kBackupStore, table, kRows); }

class FileStream final : public RowStream {
 public:
  FileStream(const std::string& path, std::uint64_t rows) : path_(path), left_(rows), file_(path, std::ios::binary) {}

  Result<bool> next(std::string& line) override {
    if (left_ == 0) return false;
    if (!std::getline(file_, line))
      return base::fail(base::Errc::invalid, path_ + " has fewer rows than the manifest says");
    --left_;
    return true;
  }

 private:
  std::string path_;
  std::uint64_t left_;
  std::ifstream file_;
};

// The rows of a backup of PostgreSQL.
class FileTables final : public TableSource {
 public:
  FileTables(std::string dir, const Manifest& manifest) : dir_(std::move(dir)), manifest_(manifest) {}

  bool sorts() const noexcept override { return false; }

  Result<std::vector<Table>> describe() override {
    std::vector<Table> tables;
    for (const BackupTable& kept : manifest_.tables) {
      Table table{.name = kept.name, .columns = {}, .key = kept.key, .order = kept.key, .refers_to = {}};
      for (const auto& column : kept.columns)
        table.columns.push_back({.name = column.name, .kind = kind_named(column.kind), .type = column.type});
      tables.push_back(std::move(table));
    }
    return tables;
  }

  Result<std::uint64_t> count(const Table& table) override {
    const auto kept = std::ranges::find(manifest_.tables, table.name, &BackupTable::name);
    return kept == manifest_.tables.end() ? 0 : kept->rows;
  }

  Result<std::unique_ptr<RowStream>> read(const Table& table) override {
    auto rows = count(table);
    if (!rows) return std::unexpected(rows.error());
    return std::make_unique<FileStream>(dir_ + "/" + rows_file(table.name), *rows);
  }

  Result<std::vector<std::uint64_t>> messages_by_month() override {
    auto tables = describe();
    if (!tables) return std::unexpected(tables.error());
    const auto messages = std::ranges::find(*tables, "messages", &Table::name);
    if (messages == tables->end()) return std::vector<std::uint64_t>();
    const std::size_t column = messages->column("id");
    auto stream = read(*messages);
    if (!stream) return std::unexpected(stream.error());
    std::vector<std::uint64_t> ids;
    std::uint64_t month_ends = 0;  // of the last one seen: most that follow are of it
    std::uint64_t month_begins = 1;
    for (std::string line;;) {
      auto more = (*stream)->next(line);
      if (!more) return std::unexpected(more.error());
      if (!*more) return ids;
      const std::string_view cell = copy_text::cell_at(line, column);
      std::uint64_t id = 0;
      std::from_chars(cell.data(), cell.data() + cell.size(), id);
      if (id >= month_begins && id < month_ends) continue;
      month_begins = id;
      month_ends = next_month(id);
      if (std::ranges::find(ids, month_ends, next_month) == ids.end()) ids.push_back(id);
    }
  }

 private:
  std::string dir_;
  const Manifest& manifest_;
};

// SQLite says nothing while it copies: the size of what it makes is looked at.
Result<void> copy_sqlite_watched(const std::string& path, const std::string& to, Watch& watch) {
  std::error_code ignored;
  watch.begin("ringline.db, bytes", fs::file_size(path, ignored));
  Result<void> copied;
  std::atomic<bool> ended{false};
  std::jthread copier([&] {
    copied = copy_sqlite(path, to);
    ended.store(true);
  });
  for (std::uint64_t told = 0; !ended.load();) {
    std::this_thread::sleep_for(20ms);
    std::error_code missing;
    const std::uintmax_t now = fs::file_size(to, missing);
    if (missing || now <= told) continue;
    watch.advance(now - told);
    told = now;
  }
  copier.join();
  return copied;
}

Result<void> backup_sqlite(const std::string& path, const std::string& dir, Watch& watch, Manifest& manifest) {
  const std::string to = dir + "/" + std::string(kSqliteFile);
  if (auto made = loop::disk::make_directories(fs::path(to).parent_path().string()); !made) return made;
  auto created = loop::disk::open(to, loop::disk::Open::create);  // SQLite would let others read it
  if (!created) return std::unexpected(created.error());
  const OpenFile file(*created);
  if (auto copied = copy_sqlite_watched(path, to, watch); !copied) return copied;
  if (auto synced = loop::disk::sync(file.get()); !synced) return synced;
  auto tables = open_sqlite_tables(to, true);
  if (!tables) return std::unexpected(tables.error());
  if (auto whole = check_whole(**tables); !whole) return whole;
  auto all = (*tables)->describe();
  if (!all) return std::unexpected(all.error());
  for (const Table& table : *all) {
    auto rows = (*tables)->count(table);
    if (!rows) return std::unexpected(rows.error());
    if (is_copied(table.name)) manifest.tables.push_back({.name = table.name, .rows = *rows, .columns = {}, .key = {}});
  }
  auto highest = (*tables)->meta(kHighestId);
  if (!highest) return std::unexpected(highest.error());
  manifest.highest_id = static_cast<std::uint64_t>(highest->value_or(0));
  tables->reset();
  std::error_code ignored;
  watch.begin("its checksum, bytes", fs::file_size(to, ignored));
  auto sum = sum_of(to, watch);
  if (!sum) return std::unexpected(sum.error());
  manifest.files.push_back({std::string(kSqliteFile), sum->bytes, sum->sha256});
  return {};
}

Result<void> backup_table(Tables& store, const Table& table, const std::string& dir, Watch& watch, Manifest& manifest) {
  auto total = store.count(table);
  if (!total) return std::unexpected(total.error());
  watch.begin(table.name, *total);
  auto file = HashedFile::create(dir + "/" + rows_file(table.name));
  if (!file) return std::unexpected(file.error());
  auto stream = store.read(table);
  if (!stream) return std::unexpected(stream.error());
  BackupTable kept{.name = table.name, .rows = 0, .columns = {}, .key = table.key};
  for (const Column& column : table.columns)
    kept.columns.push_back({.name = column.name, .kind = std::string(name_of(column.kind)), .type = column.type});
  for (std::string line;; ++kept.rows) {
    auto more = (*stream)->next(line);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    line += '\n';
    if (auto written = file->write(line); !written) return written;
    watch.advance(1);
  }
  auto sum = file->finish();
  if (!sum) return std::unexpected(sum.error());
  manifest.files.push_back({rows_file(table.name), sum->bytes, sum->sha256});
  manifest.tables.push_back(std::move(kept));
  return {};
}

Result<void> backup_postgres(const std::string& url, const std::string& dir, Watch& watch, Manifest& manifest) {
  auto store = open_postgres_tables(url);
  if (!store) return std::unexpected(store.error());
  if (auto begun = (*store)->begin_snapshot(); !begun) return begun;
  if (auto whole = check_whole(**store); !whole) return whole;
  auto tables = (*store)->describe();
  if (!tables) return std::unexpected(tables.error());
  auto highest = (*store)->meta(kHighestId);
  if (!highest) return std::unexpected(highest.error());
  manifest.highest_id = static_cast<std::uint64_t>(highest->value_or(0));
  for (const Table& table : *tables)
    if (is_copied(table.name))
      if (auto done = backup_table(**store, table, dir, watch, manifest); !done) return done;
  return (*store)->run("COMMIT");
}

// As late as anything that clients may have seen: epochs count up from 1, and a restored one must be none that a room had after the backup.
Result<void> begin_epochs(Tables& store) {
  const std::int64_t now_s = base::wall_ms() / 1000;
  return store.run(fmt::format("UPDATE rooms SET epoch = CASE WHEN epoch < {0} THEN {0} ELSE epoch + 1 END", now_s));
}

Result<CopyReport> count_rows(const Manifest& manifest, Tables& store, Watch& watch) {
  CopyReport report;
  watch.begin("counting", manifest.tables.size());
  auto tables = store.describe();
  if (!tables) return std::unexpected(tables.error());
  for (const BackupTable& kept : manifest.tables) {
    TableReport counts{.table = kept.name, .from = kept.rows};
    const auto table = std::ranges::find(*tables, kept.name, &Table::name);
    if (table != tables->end()) {
      auto rows = store.count(*table);
      if (!rows) return std::unexpected(rows.error());
      counts.to = counts.written = *rows;
    }
    counts.missing = counts.from > counts.to ? counts.from - counts.to : 0;
    counts.extra = counts.to > counts.from ? counts.to - counts.from : 0;
    report.tables.push_back(counts);
    watch.advance(1);
  }
  return report;
}

// The file itself. Its schema may be an older one; whoever opens it next brings it up to date.
Result<CopyReport> restore_file(const std::string& dir, const Manifest& manifest, const std::string& path,
                                bool new_epochs, Watch& watch) {
  const std::string from = dir + "/" + std::string(kSqliteFile);
  const std::string draft = path + ".new";
  std::error_code ignored;
  fs::remove(draft, ignored);  // of a run that was ended
  watch.begin("ringline.db, bytes", fs::file_size(from, ignored));
  auto sum = copy_file(from, draft, watch);
  if (!sum) return std::unexpected(sum.error());
  const auto kept = std::ranges::find(manifest.files, kSqliteFile, &BackupFile::path);
  if (kept == manifest.files.end() || kept->sha256 != sum->sha256)
    return base::fail(base::Errc::invalid, "the backup changed while it was restored: " + from);
  for (const char* log : {"-wal", "-shm", "-journal"}) fs::remove(path + log, ignored);  // of what was there before
  if (auto moved = loop::disk::rename(draft, path); !moved) return std::unexpected(moved.error());
  auto store = open_sqlite_tables(path);
  if (!store) return std::unexpected(store.error());
  auto report = count_rows(manifest, **store, watch);
  if (!report || !report->same() || !new_epochs) return report;
  if (auto begun = begin_epochs(**store); !begun) return std::unexpected(begun.error());
  return report;
}

Result<std::unique_ptr<TableSource>> open_backup(const std::string& dir, const Manifest& manifest) {
  if (manifest.engine != "sqlite") return std::make_unique<FileTables>(dir, manifest);
  auto file = open_sqlite_tables(dir + "/" + std::string(kSqliteFile), true);
  if (!file) return std::unexpected(file.error());
  return std::move(*file);
}

}  // namespace

Result<void> backup_store(const std::string& store, const std::string& dir, Watch& watch, Manifest& manifest) {
  manifest.version = base::version();
  manifest.made_ms = base::wall_ms();
  manifest.engine = is_sqlite(store) ? "sqlite" : "postgres";
  return is_sqlite(store) ? backup_sqlite(store.substr(kSqlitePrefix.size()), dir, watch, manifest)
                          : backup_postgres(store, dir, watch, manifest);
}

Result<void> check_backup(const std::string& dir, const Manifest& manifest) {
  if (manifest.engine != "sqlite") return {};
  auto file = open_sqlite_tables(dir + "/" + std::string(kSqliteFile), true);
  if (!file) return std::unexpected(file.error());
  auto steps = (*file)->number("PRAGMA user_version");
  if (!steps) return std::unexpected(steps.error());
  if (steps->value_or(0) <= std::int64_t{kSqliteMigrations.size()}) return {};
  return base::fail(
      base::Errc::invalid,
      fmt::format("the backup was made by a newer Ringline ({}): restore it with that one, or a newer one",
                  manifest.version));
}

Result<void> check_restore_target(const std::string& dir, const Manifest& manifest, const std::string& store,
                                  bool replace) {
  auto from = open_backup(dir, manifest);
  if (!from) return std::unexpected(from.error());
  auto to = open_tables(store);
  if (!to) return std::unexpected(to.error());
  if (auto plan = plan_copy(**from, **to); !plan) return std::unexpected(plan.error());
  return replace ? Result<void>() : check_target(**to, manifest.number);
}

Result<CopyReport> restore_store(const std::string& dir, const Manifest& manifest, const std::string& store,
                                 bool replace, bool new_epochs, Watch& watch) {
  if (manifest.engine == "sqlite" && is_sqlite(store))
    return restore_file(dir, manifest, store.substr(kSqlitePrefix.size()), new_epochs, watch);
  auto from = open_backup(dir, manifest);
  if (!from) return std::unexpected(from.error());
  auto to = open_tables(store);
  if (!to) return std::unexpected(to.error());
  auto reader = open_tables(store);
  if (!reader) return std::unexpected(reader.error());
  auto plan = plan_copy(**from, **to);
  if (!plan) return std::unexpected(plan.error());
  auto target = begin_copy(**to, manifest.number, replace);
  if (!target) return std::unexpected(target.error());
  CopyReport report;
  auto done = write_tables(*plan, **from, **to, **reader, *target, watch, report);
  if (done) done = compare_tables(*plan, **from, **reader, watch, report);
  if (done && !report.same()) return report;
  if (done && new_epochs) done = begin_epochs(**to);
  if (done) done = end_copy(**to, manifest.number, static_cast<std::int64_t>(manifest.highest_id));
  if (!done) return std::unexpected(done.error());
  return report;
}

}  // namespace ringline::backend
