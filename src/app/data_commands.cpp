// migrate-store and import; what all commands that move data share.
#include "app/data_commands.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "app/boot.hpp"
#include "ringline/backend/import.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::app {

namespace {

namespace fs = std::filesystem;
using base::Errc;
using base::Result;

constexpr std::string_view kSqlite = "sqlite:";

bool is_sqlite(std::string_view store) { return store.starts_with(kSqlite); }
std::string path_of(const std::string& store) { return store.substr(kSqlite.size()); }

// sqlite:PATH, postgres:URL, or a URL of PostgreSQL by itself.
Result<std::string> named_store(const std::string& text, const char* flag) {
  constexpr std::string_view kPostgres = "postgres:";
  if (text.starts_with(kSqlite) && text.size() > kSqlite.size()) {
    std::string path = path_of(text);
    if (path.starts_with("///")) path.erase(0, 2);
    return std::string(kSqlite) + path;
  }
  if (text.starts_with("postgres://") || text.starts_with("postgresql://")) return text;
  if (text.starts_with(kPostgres) && text.size() > kPostgres.size()) return text.substr(kPostgres.size());
  return base::fail_field(flag, fmt::format("{}: a store is sqlite:PATH or postgres:URL, as in "
                                            "postgres:postgresql://USER:PASSWORD@HOST/DATABASE",
                                            flag));
}

struct Route {
  std::string from;
  std::string to;
};

Result<Route> route_of(const base::Settings& settings) {
  const base::DataCommand& command = settings.data_command;
  const std::string to = command.to.empty() ? settings.database_url : command.to;
  if (to.empty())
    return base::fail_field("--to", "--to: say where to, sqlite:PATH or postgres:URL; or set DATABASE_URL to it");
  // Who names no target has set DATABASE_URL to it already.
  const std::string usual =
      command.to.empty() ? std::string(kSqlite) + settings.data_dir + "/ringline.db" : store_of(settings);
  auto from = named_store(command.from.empty() ? usual : command.from, "--from");
  if (!from) return std::unexpected(from.error());
  auto target = named_store(to, "--to");
  if (!target) return std::unexpected(target.error());
  if (*from == *target) return base::fail_field("--to", "--to: is the same store as --from");
  return Route{.from = *from, .to = *target};
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) && !error;
}

// A database that lies in a folder of a server belongs to that.
std::string data_dir_of(const base::Settings& settings, const std::string& from) {
  if (!is_sqlite(from)) return settings.data_dir;
  std::error_code error;
  const fs::path above = fs::absolute(path_of(from), error).parent_path();
  return fs::exists(above / "journal", error) ? above.string() : settings.data_dir;
}

Result<bool> journal_holds_events(const std::string& data_dir) {
  auto recovery = backend::recover_journals(data_dir);
  if (!recovery) return std::unexpected(recovery.error());
  auto events = (*recovery)->next();
  if (!events) return std::unexpected(events.error());
  return !events->empty();
}

// Whether what the journals hold is the source's: of the store that the server uses.
bool owns_journal(const base::Settings& settings, const DataDir& data, const std::string& from) {
  if (from == store_of(settings)) return true;
  return is_sqlite(from) && (same_file(path_of(from), data.file("ringline.db")) ||
                             (is_sqlite(store_of(settings)) && same_file(path_of(from), path_of(store_of(settings)))));
}

Result<void> take_in_journal(const base::Settings& settings, const DataDir& data, const std::string& from,
                             backend::Database& source) {
  if (owns_journal(settings, data, from)) {
    auto taken = take_in_journals(settings, data, 1, source);
    return taken ? Result<void>() : std::unexpected(taken.error());
  }
  auto holds = journal_holds_events(data.path());
  if (!holds) return std::unexpected(holds.error());
  if (!*holds) return {};
  return base::fail(Errc::conflict,
                    fmt::format("the journal in {} holds messages that may not be of this source: give --data-dir and "
                                "--database-url as the server had them",
                                data.path()));
}

Result<bool> migrate_store(const base::Settings& settings, Progress& progress) {
  auto route = route_of(settings);
  if (!route) return std::unexpected(route.error());
  const auto& [from, to] = *route;
  std::error_code error;
  if (is_sqlite(from) && !fs::exists(path_of(from), error))
    return base::fail(Errc::not_found, "there is no database " + path_of(from));
  auto data = DataDir::open(data_dir_of(settings, from));
  if (!data) return std::unexpected(data.error());
  auto source = open_store(from, *data);
  if (!source) return std::unexpected(source.error());
  auto target = open_store(to, *data);
  if (!target) return std::unexpected(target.error());
  if (auto may = backend::check_copy_target(from, to); !may) return std::unexpected(may.error());
  if (auto taken = take_in_journal(settings, *data, from, **source); !taken) return std::unexpected(taken.error());
  auto report = backend::copy_store(from, to, progress);
  if (!report) return std::unexpected(report.error());
  progress.end();
  print_report(*report);
  if (!report->same()) {
    std::puts("The two sides differ.");
    return false;
  }
  std::printf(
      "Both sides are the same. Set DATABASE_URL to the new store, with the same DATA_DIR, and start the server.\n");
  return true;
}

void print_counts(const char* file, const backend::ImportCounts& counts) {
  fmt::print("{:14} {:>10} {:>10} {:>12} {:>10}\n", file, counts.rows, counts.taken, counts.known, counts.refused);
}

Result<bool> import_files(const base::Settings& settings, Progress& progress) {
  auto data = DataDir::open(settings.data_dir);
  if (!data) return std::unexpected(data.error());
  const std::string store = store_of(settings);
  auto database = open_store(store, *data);
  if (!database) return std::unexpected(database.error());
  if (auto taken = take_in_journals(settings, *data, 1, **database); !taken) return std::unexpected(taken.error());
  auto report = backend::import_files(**database, store, settings.data_command.path,
                                      {.bcrypt_cost = settings.bcrypt_cost, .threads = loop::usable_cpus()}, progress);
  if (!report) return std::unexpected(report.error());
  progress.end();
  fmt::print("{:14} {:>10} {:>10} {:>12} {:>10}\n", "file", "rows", "taken", "taken before", "not taken");
  print_counts("users.json", report->users);
  print_counts("rooms.json", report->rooms);
  print_counts("messages.json", report->messages);
  for (const auto& [field, rows] : report->not_carried)
    fmt::print("{}: there is no place for this field here ({} rows have it)\n", field, rows);
  return report->complete();
}

Result<bool> run(const base::Settings& settings, Progress& progress) {
  switch (settings.mode) {
    case base::RunMode::migrate_store:
      return migrate_store(settings, progress);
    case base::RunMode::import_files:
      return import_files(settings, progress);
    case base::RunMode::backup:
      return make_backup(settings, progress);
    case base::RunMode::restore:
      return restore_backup(settings, progress);
    case base::RunMode::serve:
    case base::RunMode::check_config:
    case base::RunMode::dump_journal:
    case base::RunMode::dead_letters:
    case base::RunMode::done:
      break;
  }
  return base::fail(Errc::internal, "not a command that moves data");
}

}  // namespace

std::string store_of(const base::Settings& settings) {
  const std::string file = sqlite_file(settings);
  return file.empty() ? settings.database_url : std::string(kSqlite) + file;
}

Result<std::unique_ptr<backend::Database>> open_store(const std::string& store, const DataDir& data) {
  if (is_sqlite(store)) return backend::open_sqlite(path_of(store), {.readers = 1});
  auto holder = data.host_token();
  if (!holder) return std::unexpected(holder.error());
  // Not waited for: whoever gave the command is there to see that it is away.
  return backend::open_postgres(store,
                                {.connections = 2, .start_wait = std::chrono::milliseconds(0), .holder = *holder});
}

void print_report(const backend::CopyReport& report) {
  fmt::print("{:16} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9}\n", "table", "rows from", "rows to", "written",
             "removed", "missing", "extra", "different");
  for (const backend::TableReport& table : report.tables)
    fmt::print("{:16} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9}\n", table.table, table.from, table.to, table.written,
               table.removed, table.missing, table.extra, table.different);
  for (const std::string& name : report.only_there)
    fmt::print("{}: the source is older and has none, it is as in a new store\n", name);
  for (const auto& row : report.refused) fmt::print("{}, {}: refused: {}\n", row.table, row.row, row.reason);
  if (report.refused_rows > report.refused.size())
    fmt::print("and {} more rows were refused\n", report.refused_rows - report.refused.size());
}

int run_data_command(const base::Settings& settings) {
  Progress progress;
  auto done = run(settings, progress);
  progress.end();
  const bool printed = std::fflush(stdout) == 0;
  if (!done) std::fprintf(stderr, "ringline: %s\n", done.error().message.c_str());
  return done && *done && printed ? 0 : 1;
}

}  // namespace ringline::app
