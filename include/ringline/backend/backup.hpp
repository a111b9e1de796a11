// A backup: a folder of files that stand for themselves, and a manifest of what they are. For commands of operators; everything here blocks.
//
//   DIR/manifest.json        written last: without it a backup is not one. Form, version, time, engine, rows of each table, bytes and SHA-256 of each file
//   DIR/store/ringline.db    of SQLite: a copy of its own making (VACUUM INTO), of one moment
//   DIR/store/TABLE.rows     of PostgreSQL: its rows by COPY, all tables of one moment (a repeatable-read snapshot)
//   DIR/data/…               DATA_DIR: journal, files, secrets; without what is this host's alone
//
// PostgreSQL is not read by pg_dump: that has to be there, and be as new as the server; rows as lines are restored and compared by what also copies from
// engine to engine, so a backup of one engine can be restored into the other.
//
// A backup is of a server at work. The journal is copied before the store: what was acked until then is in one of the two, as a segment is only removed when the
// store has it. Files are copied last: those that the store's rows name are there by then.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/backend/copy.hpp"
#include "ringline/base/result.hpp"

namespace ringline::backend {

struct BackupFile {
  std::string path;  // below DIR
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct BackupTable {
  struct Column {
    std::string name;
    std::string kind;
    std::string type;
  };
  std::string name;
  std::uint64_t rows = 0;
  // Of .rows: columns in their order, and the key by which the rows are sorted.
  std::vector<Column> columns;
  std::vector<std::string> key;
};

struct Manifest {
  std::string version;  // of the Ringline that made it
  std::int64_t made_ms = 0;
  std::string engine;  // sqlite, postgres
  std::uint64_t highest_id = 0;
  std::vector<BackupTable> tables;
  std::vector<BackupFile> files;
  std::int64_t number = 0;  // made of the manifest's text: the same backup has the same
};

inline constexpr std::string_view kBackupStore = "store/";
inline constexpr std::string_view kBackupData = "data/";

base::Result<void> write_manifest(const std::string& dir, const Manifest& manifest);
base::Result<Manifest> read_manifest(const std::string& dir);

// ---- Making one. Each adds what it wrote to the manifest.
base::Result<void> backup_journal(const std::string& data_dir, const std::string& dir, Watch& watch,
                                  Manifest& manifest);
base::Result<void> backup_store(const std::string& store, const std::string& dir, Watch& watch, Manifest& manifest);
// All files below `folder` but those of which `skip` says so (by their path below it), and those that go meanwhile.
using Skip = std::function<bool(std::string_view path)>;
base::Result<void> backup_folder(const std::string& folder, const Skip& skip, const std::string& dir, Watch& watch,
                                 Manifest& manifest);

// ---- Restoring one.
// Bytes and checksum of every file. An error names the first that is not as it was.
base::Result<void> verify_backup(const std::string& dir, const Manifest& manifest, Watch& watch);
// What is in it, this Ringline knows. (Of an older one it may be.)
base::Result<void> check_backup(const std::string& dir, const Manifest& manifest);
// Of a store that is there, with its schema. Invalid: it has no place for something of the backup. Conflict, without `replace`: it holds something else than
// what an ended restore of the same backup has put there.
base::Result<void> check_restore_target(const std::string& dir, const Manifest& manifest, const std::string& store,
                                        bool replace);
// `store` is there with its schema (SQLite from SQLite: is not there, the file is put there), and empty or with what an ended restore of the same backup has
// put there; with `replace` what else it holds is removed. The report is of the rows as the manifest has them.
base::Result<CopyReport> restore_store(const std::string& dir, const Manifest& manifest, const std::string& store,
                                       bool replace, bool new_epochs, Watch& watch);
base::Result<void> restore_files(const std::string& dir, const Manifest& manifest, const std::string& data_dir,
                                 Watch& watch);

}  // namespace ringline::backend
