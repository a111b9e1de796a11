// What the engines' databases have in common: clients, and the calls of start-up, all as jobs.
#pragma once

#include "backend/store_jobs.hpp"
#include "ringline/backend/database.hpp"

namespace ringline::backend {

class SqlDatabase : public Database {
 public:
  std::unique_ptr<chat::Store> client(loop::Loop& loop, const chat::FileLinks* links) final;
  Result<std::uint64_t> highest_id() final;
  Result<void> bump_epochs() final;
  Result<void> ingest(std::vector<chat::Event> events) final;
  Result<std::vector<DeadLetter>> dead_letters(const chat::Event& after, std::size_t limit) final;
  Result<std::string> retry_dead_letter(const chat::Event& event) final;
  Result<void> drop_dead_letter(const chat::Event& event) final;

  // From any thread. False: too much is waiting (limits::kWorkerJobs). A transaction each: one that may write, and one that sees one state of all.
  virtual bool write(JobRef job) = 0;
  virtual bool read(JobRef job) = 0;
  virtual std::chrono::milliseconds timeout() const noexcept = 0;
};

}  // namespace ringline::backend
