// Appending and committing. Segments come from journal_segments.cpp.
#include "ringline/backend/journal.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::backend {

namespace disk = loop::disk;
using journal::kBlockBytes;

Journal::Batch::Batch(std::size_t payload_bytes)
    : used_max_(journal::kBatchHeadBytes + payload_bytes),
      bytes_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kHead + journal::whole_blocks(used_max_)))) {
  ASSERT(bytes_ != nullptr);
  std::memset(bytes_.get(), 0, kHead);
}

std::span<std::byte> Journal::Batch::take(std::size_t bytes) noexcept {
  if (bytes > used_max_ - used_) return {};
  const std::span<std::byte> taken(bytes_.get() + kHead + used_, bytes);
  used_ += bytes;
  ++records;
  return taken;
}

std::span<const std::byte> Journal::Batch::blocks(bool first) noexcept {
  std::memset(bytes_.get() + kHead + used_, 0, block_bytes() - used_);
  return first ? std::span(bytes_.get(), kHead + block_bytes()) : std::span(bytes_.get() + kHead, block_bytes());
}

void Journal::Batch::clear() noexcept {
  used_ = journal::kBatchHeadBytes;
  records = 0;
  number = first_ticket = last_ticket = 0;
}

// What is behind the segment head's block: that one stays zero.
void Journal::Batch::rest() noexcept {
  ASSERT(empty());
  ::madvise(bytes_.get() + kHead, journal::whole_blocks(used_max_), MADV_DONTNEED);
}

Journal::Journal(JournalOptions options, loop::Loop& loop, loop::Workers& workers, chat::RoomLogListener& listener)
    : options_(std::move(options)),
      directory_(journal::core_directory(options_.data_dir, options_.core)),
      loop_(loop),
      workers_(workers),
      listener_(listener),
      pending_(options_.batch_bytes),
      flying_(options_.batch_bytes),
      next_batch_(options_.start.batch),
      previous_batch_(options_.start.previous),
      previous_segment_(options_.start.previous_segment),
      next_segment_(options_.start.segment),
      self_(std::make_shared<Journal*>(this)) {}

Journal::~Journal() {
  ASSERT(!write_.in_kernel());
  if (current_) disk::close(current_->file);
  if (spare_) disk::close(spare_->file);
}

std::uint64_t Journal::append(const chat::Event& event) {
  const std::size_t bytes = journal::bytes_of(event);
  if (state_ != State::open || closing_ || bytes > base::limits::kJournalRecordBytes) return 0;
  const std::span<std::byte> record = pending_.take(bytes);
  if (record.empty()) return 0;
  journal::write_record(record, event);
  ++last_ticket_;
  if (pending_.first_ticket == 0) pending_.first_ticket = last_ticket_;
  pending_.last_ticket = last_ticket_;
  return last_ticket_;
}

void Journal::on_turn_end() {
  if (options_.relaxed && told_ticket_ < last_ticket_) {
    told_ticket_ = last_ticket_;
    listener_.on_committed(last_ticket_);
  }
  if (const std::int64_t due_ms = commit_due_ms(); closing_ || due_ms <= loop_.now_ms()) {
    start_commit();
  } else if (!pending_.empty()) {
    loop_.timers().arm(pace_, due_ms);
  }
  check_closed();  // it may have failed all that was left
}

// A commit costs the core as much as several messages do. Who sends alone has his at once; where many send, they share one.
std::int64_t Journal::commit_due_ms() const noexcept {
  if (records_written_ <= 1) return 0;
  const std::int64_t pace_ms = records_written_ / base::limits::kCommitRecords;
  return write_start_ms_ + std::clamp<std::int64_t>(pace_ms, 1, base::limits::kCommitPaceMax.count());
}

void Journal::start_commit() {
  if (state_ != State::open || write_.in_kernel() || pending_.empty()) return;
  if (have_room(pending_.block_bytes())) {
    std::swap(pending_, flying_);
    write(flying_);
  } else if (!preparing_) {
    base::log::error("journal_full", {{"why", "the segment is full and no other could be made"}});
    set_state(State::failing);
    fail_appended();
    retry_later();
  }
}

void Journal::write(Batch& batch) {
  ASSERT(!write_.in_kernel());
  Segment& segment = *current_;
  const bool first = segment.offset == kBlockBytes;
  batch.number = next_batch_++;
  journal::write_head(batch.batch(), journal::BatchHead{.number = batch.number,
                                                        .previous = previous_batch_,
                                                        .previous_segment = previous_segment_,
                                                        .segment = segment.number,
                                                        .run = options_.start.run,
                                                        .offset = segment.offset,
                                                        .core = options_.core,
                                                        .records = batch.records});
  if (first) {
    journal::write_head(batch.segment_head(), journal::SegmentHead{.segment = segment.number,
                                                                   .run = options_.start.run,
                                                                   .first_batch = batch.number,
                                                                   .previous = previous_batch_,
                                                                   .previous_segment = previous_segment_,
                                                                   .core = options_.core});
  }
  const std::span<const std::byte> blocks = batch.blocks(first);
  write_bytes_ = blocks.size();
  write_start_ns_ = base::monotonic_ns();
  write_start_ms_ = loop_.now_ms();
  records_written_ = batch.records;
  loop_.ring().write_sync(write_, segment.file, blocks, first ? 0 : segment.offset);
}

void Journal::on_written(loop::Completion completion) {
  if (completion.result >= 0 && static_cast<std::size_t>(completion.result) == write_bytes_) {
    on_committed();
  } else {
    on_commit_failed(completion.result < 0 ? -completion.result : EIO);
  }
  check_closed();
}

void Journal::on_committed() {
  base::Metrics& metrics = loop_.metrics();
  ++metrics.journal_commits;
  metrics.journal_bytes += write_bytes_;
  metrics.commit_seconds.record(base::monotonic_ns() - write_start_ns_);
  current_->offset += flying_.block_bytes();
  previous_batch_ = flying_.number;
  previous_segment_ = current_->number;
  const std::uint64_t last = flying_.last_ticket;
  flying_.clear();
  if (state_ == State::voiding) {
    to_void_.reset();
    retry_after_ = kRetryMin;
    set_state(State::open);
    return;
  }
  current_->last_ticket = last;
  if (!options_.relaxed) listener_.on_committed(last);
}

void Journal::on_commit_failed(int sys) {
  ++loop_.metrics().journal_failures;
  base::log::error("journal_commit_failed", {{"segment", journal::segment_name(current_->number)},
                                             {"batch", flying_.number},
                                             {"offset", current_->offset},
                                             {"errno", sys},
                                             {"why", std::strerror(sys)}});
  if (state_ == State::voiding) {
    flying_.clear();
    discard_current();
    set_state(State::failing);
  } else {
    to_void_ = journal::VoidRecord{.segment = current_->number, .batch = flying_.number, .offset = current_->offset};
    close_current();
    set_state(State::failing);
    fail_appended();
  }
  retry_later();
}

// The batch in flight, if there is one, and all behind it. Appends are refused by now: the listener may try.
void Journal::fail_appended() {
  ASSERT(state_ == State::failing);
  ASSERT(!write_.in_kernel());
  const std::uint64_t first = flying_.empty() ? pending_.first_ticket : flying_.first_ticket;
  flying_.clear();
  pending_.clear();
  told_ticket_ = last_ticket_;
  if (first != 0) listener_.on_failed(first, last_ticket_);
}

void Journal::set_state(State state) {
  const bool was_open = state_ == State::open;
  state_ = state;
  loop_.metrics().journal_failed = state == State::open ? 0 : 1;
  if (!was_open && state == State::open) base::log::info("journal_open", {{"next_batch", next_batch_}});
}

void Journal::rest() noexcept {
  if (!idle() || !flying_.empty()) return;
  pending_.rest();
  flying_.rest();
}

void Journal::check_closed() {
  if (closer_ && idle()) loop_.resume(std::exchange(closer_, {}));
}

namespace {

// Stores the handle of whoever waits in `where`.
struct Park {
  std::coroutine_handle<>& where;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) const noexcept { where = waiting; }
  void await_resume() const noexcept {}
};

}  // namespace

base::Task<void> Journal::close() {
  ASSERT(!closing_);
  closing_ = true;
  retry_.disarm();
  pace_.disarm();
  start_commit();
  Park parked{closer_};
  if (!idle()) co_await parked;
  remove_at_close();
  if (!idle()) co_await parked;
  ASSERT(idle());
}

}  // namespace ringline::backend
