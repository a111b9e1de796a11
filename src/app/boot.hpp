// Start-up before the cores run: what the journals hold is taken into the store, whatever the number of cores was when it was written.
#pragma once

#include <cstdint>

#include "app/data_dir.hpp"
#include "ringline/backend/sqlite_store.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/settings.hpp"

namespace ringline::app {

struct Booted {
  std::uint64_t highest_id = 0;
  std::uint64_t next_segment = 1;
};

// Reads all journals, ingests what the store lacks, removes them. Damage is logged with file, offset and range.
base::Result<Booted> take_in_journals(const base::Settings& settings, backend::SqliteStore& store);

}  // namespace ringline::app
