// The threads of a SqliteStore and what they share.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "backend/sqlite_jobs.hpp"
#include "ringline/backend/sqlite_store.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::backend {

struct SqliteStore::Parts {
  Parts(Connection writer, std::vector<Connection> readers, SqliteOptions chosen);

  // From any thread. False: too much is waiting (limits::kWorkerJobs).
  bool write(JobRef job);
  bool read(JobRef job);
  void rest();

  const SqliteOptions options;
  std::atomic<bool> healthy{true};

 private:
  void start_pump();
  void pump();
  void rest_readers();
  Result<void> write_group(std::span<const JobRef> group);
  Connection& borrow();
  void give_back(Connection& c);

  Connection writer_;  // the writing thread's
  std::vector<Connection> readers_;
  std::mutex lock_;  // of what follows
  std::deque<JobRef> queue_;
  bool pumping_ = false;
  bool resting_ = false;  // the writer is to drop its cache when nothing is queued
  std::vector<Connection*> idle_;
  loop::Workers writing_;  // last: their threads end before what they use
  loop::Workers reading_;
};

}  // namespace ringline::backend
