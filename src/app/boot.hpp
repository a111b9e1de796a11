// Start-up before the cores run: what the journals hold is taken into the store, whatever the number of cores was when it was written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "app/data_dir.hpp"
#include "ringline/backend/database.hpp"
#include "ringline/backend/journal.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/settings.hpp"

namespace ringline::app {

struct Booted {
  std::uint64_t highest_id = 0;                 // of store and journals
  std::vector<backend::JournalStart> journals;  // by core
  // What was read, where it may not be removed yet (JournalKeeper); null: it is.
  std::unique_ptr<backend::Recovery> recovered;
  // Of one of several hosts, by the core that is home to its room: for chat::Shard::recover.
  std::vector<std::vector<chat::Event>> events;
};

// What DATABASE_URL names. One of several hosts gets its number with it.
base::Result<std::unique_ptr<backend::Database>> open_database(const base::Settings& settings, const DataDir& data);

// The file of SQLite, where that is the store: DATABASE_URL=sqlite:PATH, or in DATA_DIR without a URL. Empty: the store is PostgreSQL.
std::string sqlite_file(const base::Settings& settings);

// Hands the store all that is `wanted` of what is still to be read, batch by batch. `hosts`: whose rooms these are, see Database::ingest.
base::Result<void> take_in(backend::Recovery& recovery, backend::Database& store,
                           const std::function<bool(const chat::Event&)>& wanted, backend::Hosts hosts);

// In DATA_DIR while a backup is restored there: nothing else may use it.
inline constexpr std::string_view kRestoring = "restoring";

// Reads all journals, takes in what the store lacks, removes them; of one of several hosts the cores do that (the others may have gone on meanwhile).
// Damage is logged with file, offset and range; what is intact behind it is kept.
// After a run with DURABILITY=relaxed that did not stop cleanly, every room gets a new epoch: what clients saw may be gone.
base::Result<Booted> take_in_journals(const base::Settings& settings, const DataDir& data, unsigned cores,
                                      backend::Database& store);

}  // namespace ringline::app
