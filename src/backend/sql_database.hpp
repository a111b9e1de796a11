// What the engines' databases have in common: clients, and the calls of start-up, all as jobs.
#pragma once

#include <atomic>

#include "backend/store_jobs.hpp"
#include "ringline/backend/database.hpp"

namespace ringline::backend {

class SqlDatabase : public Database {
 public:
  std::unique_ptr<chat::Store> client(loop::Loop& loop, const chat::FileLinks* links) final;
  Result<std::uint64_t> highest_id() final;
  Result<void> bump_epochs() final;
  Result<void> ingest(std::vector<chat::Event> events, bool others) final;
  Result<std::vector<DeadLetter>> dead_letters(const chat::Event& after, std::size_t limit) final;
  Result<std::string> retry_dead_letter(const chat::Event& event) final;
  Result<void> drop_dead_letter(const chat::Event& event) final;
  Result<Imported> imported() final;
  Result<std::vector<ImportedMessage>> imported_messages(base::RoomId room) final;
  Result<std::vector<ImportedUser>> import_users(std::vector<ImportUser> users) final;
  Result<std::vector<ImportedRoom>> import_rooms(std::vector<ImportRoom> rooms) final;
  Result<std::vector<ImportRefusal>> import_messages(base::RoomId room, std::vector<chat::Message> messages,
                                                     bool join) final;

  void keep_journals(bool keep) noexcept final { keep_ = keep; }
  std::int64_t journals_safe_ms() const noexcept { return keep_ ? -1 : safe_before_ms(); }

  // How far the index of texts is that a reader of this process was answered from.
  std::uint64_t indexed() const noexcept { return indexed_.load(std::memory_order_relaxed); }
  void note_indexed(std::uint64_t at) noexcept {
    for (std::uint64_t had = indexed(); at > had && !indexed_.compare_exchange_weak(had, at);) {
    }
  }

  // From any thread. False: too much is waiting (limits::kWorkerJobs). A transaction each: one that may write, and one that sees one state of all.
  virtual bool write(JobRef job) = 0;
  virtual bool read(JobRef job) = 0;
  virtual std::chrono::milliseconds timeout() const noexcept = 0;

 private:
  std::atomic<std::uint64_t> indexed_{0};
  std::atomic<bool> keep_{false};
};

}  // namespace ringline::backend
