// The commands that move all data: migrate-store, import, backup, restore.
#pragma once

#include <memory>
#include <string>

#include "app/data_dir.hpp"
#include "app/progress.hpp"
#include "ringline/backend/copy.hpp"
#include "ringline/backend/database.hpp"
#include "ringline/base/settings.hpp"

namespace ringline::app {

// The exit status: 0 only if all is there. What went wrong is said on standard error.
int run_data_command(const base::Settings& settings);

// ---- Shared by them.
// True: all is there.
base::Result<bool> make_backup(const base::Settings& settings, Progress& progress);     // backup_commands.cpp
base::Result<bool> restore_backup(const base::Settings& settings, Progress& progress);  // likewise

// The store that the settings name, as DATABASE_URL would.
std::string store_of(const base::Settings& settings);
// With its schema, and held against other hosts.
base::Result<std::unique_ptr<backend::Database>> open_store(const std::string& store, const DataDir& data);
void print_report(const backend::CopyReport& report);

}  // namespace ringline::app
