// What the journals keep of what the store has already: a server of the database may be lost with the last of what was committed there, and its standby go
// on without. So segments stay for a while, and are read again when the database turns out to be behind (Database::rewinds).
//
// Segments of runs before this one are removed first, the cores' own after them: a void never goes before what it voids. Until then the cores' stay
// (Database::keep_journals).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "ringline/backend/database.hpp"
#include "ringline/backend/journal_recovery.hpp"

namespace ringline::app {

class JournalKeeper {
 public:
  // `recovered`: null where it is removed already. `recovering`: of one of several hosts, so many cores take in what was read, and only then is it removed.
  // Store and keeper outlive the workers that `run`.
  JournalKeeper(std::string data_dir, std::unique_ptr<backend::Recovery> recovered, backend::Database& store,
                unsigned recovering);

  // From any thread: a core has in its journal, or in the store, what it is home to of what was read.
  void on_recovered() noexcept;

  // From one thread, now and then: true where `run` is to be called, once, on a thread that may block; or `skip`.
  bool begin();
  void run();
  bool removed() noexcept { return removed_.exchange(false); }  // true once: what was read is gone
  void skip() noexcept { running_ = false; }
  void stop() noexcept { stopping_ = true; }  // from any thread: what runs ends soon

 private:
  base::Result<void> retake();
  base::Result<void> remove_recovered();

  const std::string data_dir_;
  backend::Database& store_;
  const backend::Hosts hosts_;
  std::atomic<std::int64_t>
      taken_in_ms_;  // what was read was in the store at that time, or in the cores' journals; INT64_MAX: not yet
  std::atomic<unsigned> recovering_;
  std::atomic<bool> removed_{false};
  std::atomic<bool> running_{false};
  std::atomic<bool> stopping_{false};
  // Of whoever runs, or of the thread that begins.
  std::unique_ptr<backend::Recovery> recovered_;
  std::uint64_t retaken_ = 0;
  std::uint64_t rewinds_ = 0;  // that were seen,
  std::int64_t due_ms_ = 0;    // and when they are to be dealt with
};

}  // namespace ringline::app
