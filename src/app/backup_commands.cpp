// backup and restore (ringline/backend/backup.hpp): what of DATA_DIR is in a backup, and the steps of a restore.
//
// A restore that has begun is marked in DATA_DIR by the file `restoring`, which names the backup: no server starts there until it is done, and the same command
// goes on with it. What is replaced (--force) is moved aside under that mark, so nothing old is left among what is new.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "app/boot.hpp"
#include "app/data_commands.hpp"
#include "ringline/backend/backup.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::app {

namespace {

namespace fs = std::filesystem;
namespace disk = loop::disk;
using backend::Manifest;
using base::Errc;
using base::Result;

constexpr std::string_view kIncomplete = "/incomplete";  // in a backup that is being made
constexpr std::string_view kReplaced = "replaced-";
constexpr std::string_view kClearing = " clearing";  // in the mark: what was there is being moved aside
constexpr std::string_view kDatabase = "ringline.db";

// Of this process, or of this host alone.
bool is_of_host(std::string_view name) {
  return name == "lock" || name == "port" || name == "host-token" || name == kRestoring || name.starts_with(kReplaced);
}

bool is_database(std::string_view name) {
  return name == kDatabase || (name.starts_with(kDatabase) && name[kDatabase.size()] == '-');
}

// The database and the journal are copied in their own ways.
bool is_skipped(std::string_view path, const fs::path& data_dir, const std::string& sqlite) {
  const bool draft = path.ends_with(".new") && path.find('/') == path.npos;  // of DataDir::write_file
  if (is_of_host(path) || is_database(path) || path == "journal" || draft) return true;
  if (sqlite.empty()) return false;
  const std::string full = (data_dir / path).lexically_normal().string();
  return full == sqlite || full == sqlite + "-wal" || full == sqlite + "-shm" || full == sqlite + "-journal";
}

bool lies_in(const std::string& inner, const std::string& outer) {
  std::error_code ignored;
  const auto canonical = [&](const std::string& path) {  // of what is not there yet only an absolute one is
    return fs::weakly_canonical(fs::absolute(path, ignored), ignored);
  };
  const fs::path relative = canonical(inner).lexically_relative(canonical(outer));
  return !relative.empty() && *relative.begin() != "..";
}

Result<void> check_folders(const std::string& dir, const std::string& data_dir) {
  if (!lies_in(dir, data_dir) && !lies_in(data_dir, dir)) return {};
  return base::fail(Errc::invalid,
                    fmt::format("a backup and DATA_DIR must not lie in one another: {} and {}", dir, data_dir));
}

Result<void> write_mark(const std::string& path) {
  auto file = disk::open(path, disk::Open::create);
  if (!file) return std::unexpected(file.error());
  auto synced = disk::sync(*file);
  disk::close(*file);
  return synced;
}

// An empty folder, with the mark. What a run that was ended left there goes.
Result<void> begin_folder(const std::string& dir) {
  std::error_code error;
  const bool left = fs::exists(dir + std::string(kIncomplete), error);
  if (!left && fs::exists(dir, error) && !fs::is_empty(dir, error))
    return base::fail(Errc::conflict, dir + " is not empty: give a new folder for each backup");
  if (left)
    for (const char* part : {"/store", "/data", "/manifest.new", "/incomplete"}) fs::remove_all(dir + part, error);
  if (auto made = disk::make_directories(dir); !made) return made;
  return write_mark(dir + std::string(kIncomplete));
}

std::uint64_t bytes_of(const Manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const auto& file : manifest.files) bytes += file.bytes;
  return bytes;
}

Result<Manifest> fill_folder(const base::Settings& settings, const std::string& dir, Progress& progress) {
  Manifest manifest;
  std::error_code ignored;
  const std::string sqlite = sqlite_file(settings);
  const std::string full = sqlite.empty() ? sqlite : fs::absolute(sqlite, ignored).lexically_normal().string();
  const fs::path data_dir = fs::absolute(settings.data_dir, ignored);
  const auto skip = [&](std::string_view path) { return is_skipped(path, data_dir, full); };
  if (auto done = backend::backup_journal(settings.data_dir, dir, progress, manifest); !done)
    return std::unexpected(done.error());
  if (auto done = backend::backup_store(store_of(settings), dir, progress, manifest); !done)
    return std::unexpected(done.error());
  if (auto done = backend::backup_folder(settings.data_dir, skip, dir, progress, manifest); !done)
    return std::unexpected(done.error());
  return manifest;
}

// ---- Restoring.

// What the mark says; empty: there is none.
std::string read_mark(const DataDir& data) {
  std::ifstream file(data.file(kRestoring));
  std::string text;
  std::getline(file, text);
  return text;
}

// What a server has put into DATA_DIR, and its database elsewhere.
Result<std::vector<std::string>> things_there(const DataDir& data, const std::string& sqlite) {
  auto names = disk::list(data.path());
  if (!names) return std::unexpected(names.error());
  std::vector<std::string> there;
  for (const std::string& name : *names)
    if (!is_of_host(name)) there.push_back(data.file(name));
  std::error_code error;
  if (!sqlite.empty() && fs::exists(sqlite, error) && !lies_in(sqlite, data.path()))
    for (const char* log : {"", "-wal", "-shm"})
      if (fs::exists(sqlite + log, error)) there.push_back(sqlite + log);
  return there;
}

Result<void> move_aside(const DataDir& data, const std::vector<std::string>& things) {
  if (things.empty()) return {};
  const std::string suffix = std::string(kReplaced) + std::to_string(base::wall_ms());
  const std::string aside = data.file(suffix);
  if (auto made = disk::make_directories(aside); !made) return made;
  for (const std::string& thing : things) {
    const bool inside = lies_in(thing, data.path());  // another file system else, perhaps: it stays beside
    const std::string to = inside ? aside + "/" + fs::path(thing).filename().string() : thing + "." + suffix;
    std::error_code error;
    fs::rename(thing, to, error);
    if (error) return base::fail_sys(error.value(), "cannot move " + thing + " to " + to + ": " + error.message());
  }
  fmt::print("what was there is in {} now\n", aside);
  return disk::sync_directory(data.path());
}

// The mark, and an empty place under it.
Result<void> begin_restore(const DataDir& data, const Manifest& manifest, const std::string& sqlite, bool force) {
  const std::string number = std::to_string(manifest.number);
  const std::string mark = read_mark(data);
  if (mark == number) return {};  // a run that was ended has begun it
  auto there = things_there(data, sqlite);
  if (!there) return std::unexpected(there.error());
  if (mark != number + std::string(kClearing)) {
    if (!there->empty() && !force)
      return base::fail(Errc::conflict, fmt::format("{} is not empty ({} is there): restore into another DATA_DIR, or "
                                                    "with --force over what is there",
                                                    data.path(), there->front()));
    if (auto marked = data.write_file(kRestoring, number + std::string(kClearing) + "\n"); !marked) return marked;
  }
  if (auto moved = move_aside(data, *there); !moved) return moved;
  return data.write_file(kRestoring, number + "\n");
}

// Whether the database may be restored into. Where it is a file that comes with the backup there is none yet.
Result<std::unique_ptr<backend::Database>> open_target(const base::DataCommand& command, const std::string& store,
                                                       const Manifest& manifest, const DataDir& data) {
  auto database = open_store(store, data);
  if (!database) return database;
  if (auto may = backend::check_restore_target(command.path, manifest, store, command.force); !may)
    return base::fail(
        may.error().code,
        may.error().message + (may.error().code == Errc::conflict ? "; or --force over what is there" : ""));
  return database;
}

Result<bool> restore_into(const base::Settings& settings, const DataDir& data, const Manifest& manifest,
                          Progress& progress) {
  const base::DataCommand& command = settings.data_command;
  const std::string store = store_of(settings);
  const std::string sqlite = sqlite_file(settings);
  std::unique_ptr<backend::Database> database;
  const auto open = [&]() -> Result<void> {
    auto opened = open_target(command, store, manifest, data);
    if (!opened) return std::unexpected(opened.error());
    database = std::move(*opened);
    return {};
  };
  if (sqlite.empty())
    if (auto opened = open(); !opened) return std::unexpected(opened.error());
  if (auto begun = begin_restore(data, manifest, sqlite, command.force); !begun) return std::unexpected(begun.error());
  if (!sqlite.empty() && manifest.engine != "sqlite")
    if (auto opened = open(); !opened) return std::unexpected(opened.error());
  auto report = backend::restore_store(command.path, manifest, store, command.force, !command.nothing_since, progress);
  if (!report) return std::unexpected(report.error());
  if (report->same())
    if (auto files = backend::restore_files(command.path, manifest, data.path(), progress); !files)
      return std::unexpected(files.error());
  progress.end();
  print_report(*report);
  if (!report->same()) return false;
  if (!sqlite.empty() && !database)  // an older schema is brought up to date now, and not found wanting later
    if (auto opened = open_store(store, data); !opened) return std::unexpected(opened.error());
  if (auto removed = data.remove_file(kRestoring); !removed) return std::unexpected(removed.error());
  return true;
}

}  // namespace

Result<bool> make_backup(const base::Settings& settings, Progress& progress) {
  const std::string& dir = settings.data_command.path;
  std::error_code error;
  if (!fs::exists(settings.data_dir, error))
    return base::fail(Errc::not_found, "there is no DATA_DIR " + settings.data_dir);
  if (fs::exists(fs::path(settings.data_dir) / kRestoring, error))
    return base::fail(Errc::conflict, "a restore into " + settings.data_dir + " was not finished: finish it first");
  if (auto apart = check_folders(dir, settings.data_dir); !apart) return std::unexpected(apart.error());
  if (auto begun = begin_folder(dir); !begun) return std::unexpected(begun.error());
  auto manifest = fill_folder(settings, dir, progress);
  if (!manifest) return std::unexpected(manifest.error());
  if (auto written = backend::write_manifest(dir, *manifest); !written) return std::unexpected(written.error());
  if (auto removed = disk::remove(dir + std::string(kIncomplete)); !removed) return std::unexpected(removed.error());
  progress.end();
  for (const auto& table : manifest->tables) fmt::print("{:16} {:>11} rows\n", table.name, table.rows);
  fmt::print("{} files of {} bytes are in {}. Files in S3 are not: S3's own means keep those.\n",
             manifest->files.size(), bytes_of(*manifest), dir);
  return true;
}

Result<bool> restore_backup(const base::Settings& settings, Progress& progress) {
  const std::string& dir = settings.data_command.path;
  if (auto apart = check_folders(dir, settings.data_dir); !apart) return std::unexpected(apart.error());
  auto manifest = backend::read_manifest(dir);
  if (!manifest) return std::unexpected(manifest.error());
  auto data = DataDir::open(settings.data_dir);
  if (!data) return std::unexpected(data.error());
  if (auto whole = backend::verify_backup(dir, *manifest, progress); !whole) return std::unexpected(whole.error());
  if (auto known = backend::check_backup(dir, *manifest); !known) return std::unexpected(known.error());
  auto done = restore_into(settings, *data, *manifest, progress);
  if (!done || !*done) return done;
  fmt::print("All of the backup of {} is there. {}\n", base::rfc3339(manifest->made_ms),
             settings.data_command.nothing_since
                 ? "Rooms keep their epochs."
                 : "Every room has a new epoch: clients reload, as they may have seen what came after the backup.");
  return true;
}

}  // namespace ringline::app
