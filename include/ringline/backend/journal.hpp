// Journal: the room log of one core, on its own disk. The format stands in journal_format.hpp, reading it back in journal_recovery.hpp.
//
// All that is appended until the end of a turn goes out in one write and one fdatasync, linked on the ring; one commit is in flight at a time, and
// what is appended meanwhile is the next. Segments are written past the page cache (measured: faster, and what a failed write left behind cannot
// look like it was kept), preallocated by a worker one ahead, so that a full disk is met there and not in a commit.
//
//   State     appends   leaves by
//   open      taken     a commit that fails, or a full segment when no next one could be made -> failing
//   failing   refused   a segment is there: nothing to void -> open, else -> voiding. Tried again after kRetryMin, doubling up to kRetryMax
//   voiding   refused   the void batch is committed -> open, or failed -> failing
//
// Invariant: a segment on which a commit failed is never written or synced again, and nothing is appended before its failed batch is voided in the
// next. Tickets are told in order, committed or failed, each once (relaxed: committed first, failed perhaps later).
#pragma once

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ringline/backend/journal_format.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/room_log.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::backend {

// Where a core's journal goes on: above all that any run before used. From Recovery::start_of; the defaults are for an empty directory.
struct JournalStart {
  std::uint64_t segment = 1;
  std::uint64_t batch = 1;
  std::uint64_t previous = 0;  // the last batch that was recovered, and its segment
  std::uint64_t previous_segment = 0;
  std::uint64_t run = 1;
};

struct JournalOptions {
  std::string data_dir;
  unsigned core = 0;
  std::uint64_t segment_bytes = base::limits::kJournalSegmentBytes;
  std::size_t batch_bytes = base::limits::kJournalBatchBytes;  // waiting for one commit
  bool relaxed =
      false;  // on_committed at the end of the turn, before the write; a failed commit is told by on_failed all the same
  JournalStart start = {};
};

class Journal final : public chat::RoomLog, public loop::TurnHook {
 public:
  static constexpr std::chrono::milliseconds kRetryMin{100};
  static constexpr std::chrono::milliseconds kRetryMax{5000};

  // Blocking, at start-up, after recovery. A full or failing disk is no error here: the journal is then unhealthy, and tries. Removes the mark of a
  // clean stop. The caller adds the journal to the loop's hooks, behind all that append in theirs; workers, loop and listener outlive it.
  static base::Result<std::unique_ptr<Journal>> open(JournalOptions options, loop::Loop& loop, loop::Workers& workers,
                                                     chat::RoomLogListener& listener);
  ~Journal();  // closed, or never again turned

  std::uint64_t append(const chat::Event& event) override;
  bool healthy() const noexcept override { return state_ == State::open; }
  // Not before Recovery::remove_recovered, if there was something to recover.
  void on_stored(std::uint64_t last) override;
  void on_turn_end() override;
  bool has_work() const noexcept override { return options_.relaxed && told_ticket_ < last_ticket_; }
  // The memory of its buffers goes back to the system, if nothing waits for a commit; the next commits touch what they need.
  void rest() noexcept;

  // Commits (or fails) what was appended, removes what the store has if that is everything, waits for worker and kernel. Nothing may be appended any more.
  base::Task<void> close();

 private:
  enum class State : std::uint8_t { open, failing, voiding };

  // Bytes of one commit as they go to disk: [room for a segment head][batch head][records], aligned for direct writes.
  class Batch {
   public:
    explicit Batch(std::size_t payload_bytes);
    std::span<std::byte> take(std::size_t bytes) noexcept;  // empty: it does not fit
    std::span<std::byte> segment_head() noexcept { return {bytes_.get(), kHead}; }
    std::span<std::byte> batch() noexcept { return {bytes_.get() + kHead, used_}; }
    // What is written: the batch in whole blocks, with the segment head's block before it if it is the segment's first.
    std::span<const std::byte> blocks(bool first) noexcept;
    std::uint64_t block_bytes() const noexcept { return journal::whole_blocks(used_); }
    bool empty() const noexcept { return records == 0; }
    void clear() noexcept;
    void rest() noexcept;  // empty ones only

    std::uint32_t records = 0;
    std::uint64_t number = 0;
    std::uint64_t first_ticket = 0;
    std::uint64_t last_ticket = 0;

   private:
    static constexpr std::size_t kHead = journal::kBlockBytes;
    struct Free {
      void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
    };
    std::size_t used_max_;
    std::size_t used_ = journal::kBatchHeadBytes;
    std::unique_ptr<std::byte[], Free> bytes_;
  };

  struct Segment {
    std::uint64_t number = 0;
    loop::Fd file;
    std::uint64_t offset = 0;       // of the next batch
    std::uint64_t last_ticket = 0;  // committed in it; 0: none
  };

  Journal(JournalOptions options, loop::Loop& loop, loop::Workers& workers, chat::RoomLogListener& listener);

  // Committing: journal.cpp
  std::int64_t commit_due_ms() const noexcept;
  void on_paced() {}  // the end of the turn follows
  void start_commit();
  void write(Batch& batch);
  void on_written(loop::Completion completion);
  void on_committed();
  void on_commit_failed(int sys);
  void fail_appended();
  void set_state(State state);
  bool idle() const noexcept { return !write_.in_kernel() && pending_.empty() && jobs_ == 0; }
  void check_closed();

  // Segments: journal_segments.cpp
  base::Result<void> start_directory();
  bool have_room(std::uint64_t bytes);
  bool submit(std::move_only_function<std::move_only_function<void(Journal&)>()> job);
  void prepare_spare();
  void on_prepared(base::Result<void> made);
  void go_on();
  void retry_later();
  void on_retry();
  void close_current();
  void discard_current();
  void remove_stored();
  void on_removed(std::size_t wanted, std::size_t removed);
  void remove_at_close();
  void count_segments();

  JournalOptions options_;
  std::string directory_;
  loop::Loop& loop_;
  loop::Workers& workers_;
  chat::RoomLogListener& listener_;
  State state_ = State::failing;

  Batch pending_;  // is appended to
  Batch flying_;   // is being committed
  loop::OpOf<Journal, &Journal::on_written> write_{*this};
  std::size_t write_bytes_ = 0;
  std::int64_t write_start_ns_ = 0;
  std::int64_t write_start_ms_ = 0;    // of the loop
  std::uint32_t records_written_ = 0;  // with the last write
  loop::TimerOf<Journal, &Journal::on_paced> pace_{*this};
  std::uint64_t last_ticket_ = 0;
  std::uint64_t told_ticket_ = 0;  // relaxed: up to here on_committed was called
  std::uint64_t next_batch_;
  std::uint64_t previous_batch_;  // the last committed one, and its segment
  std::uint64_t previous_segment_;

  std::optional<Segment> current_;
  std::optional<Segment> spare_;
  bool preparing_ = false;
  bool prepare_failed_ = false;  // the last time it was tried
  std::uint64_t next_segment_;
  std::optional<journal::VoidRecord> to_void_;
  loop::TimerOf<Journal, &Journal::on_retry> retry_{*this};
  std::chrono::milliseconds retry_after_ = kRetryMin;

  std::deque<Segment> sealed_;  // closed files, oldest first
  bool removing_ = false;
  std::uint64_t stored_ticket_ = 0;

  unsigned jobs_ = 0;  // at workers
  bool closing_ = false;

  std::coroutine_handle<> closer_;  // waits in close()
  std::shared_ptr<Journal*> self_;  // mail from workers holds it weakly: a journal may be gone when it comes
};

}  // namespace ringline::backend
