// Segments of a journal: made one ahead, used, closed, removed. What blocks is done by workers; their answers come as mail. A worker's descriptors are not
// the core's, so the core opens what was made: a path that is in memory by then.
#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "ringline/backend/journal.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::backend {

namespace disk = loop::disk;
using journal::kBlockBytes;

namespace {

std::string path_of(const std::string& directory, std::uint64_t number) {
  return directory + "/" + journal::segment_name(number);
}

// Appears under its name only when it is whole and synced.
base::Result<void> make_segment(const std::string& directory, std::uint64_t number, std::uint64_t bytes) {
  const std::string path = path_of(directory, number);
  const std::string unfinished = path + std::string(journal::kUnfinished);
  static_cast<void>(disk::remove(unfinished));  // of an attempt before; most often there is none
  auto file = disk::open(unfinished, disk::Open::create);
  if (file) {  // the zeros go past the page cache: copying them there would take the core from chat for tens of milliseconds
    disk::close(*file);
    file = disk::open(unfinished, disk::Open::direct);
  }
  if (!file) return std::unexpected(file.error());
  auto filled = disk::preallocate(*file, bytes);
  disk::close(*file);
  if (filled) filled = disk::rename(unfinished, path);
  if (!filled)
    static_cast<void>(disk::remove(unfinished));  // gives its space back; a next attempt removes it otherwise
  return filled;
}

// How many of them, from the first on, are gone for good. Each removal is synced before the next: a void never goes before what it voids.
std::size_t remove_in_order(const std::string& directory, const std::vector<std::uint64_t>& segments) {
  std::size_t removed = 0;
  for (const std::uint64_t segment : segments) {
    auto done = disk::remove(path_of(directory, segment));
    if (done) done = disk::sync_directory(directory);
    if (!done) {
      base::log::warn("journal_segment_not_removed", {{"segment", segment}, {"why", done.error().message}});
      break;
    }
    ++removed;
  }
  return removed;
}

}  // namespace

base::Result<std::unique_ptr<Journal>> Journal::open(JournalOptions options, loop::Loop& loop, loop::Workers& workers,
                                                     chat::RoomLogListener& listener) {
  options.segment_bytes = options.segment_bytes / kBlockBytes * kBlockBytes;
  if (options.batch_bytes > journal::kPayloadBytesMax)
    return base::fail(base::Errc::invalid, "a journal batch is larger than the format allows");
  const std::uint64_t needed = kBlockBytes + journal::whole_blocks(journal::kBatchHeadBytes + options.batch_bytes);
  if (options.segment_bytes < needed)
    return base::fail(base::Errc::invalid, "journal segments must have at least " + std::to_string(needed) + " bytes");
  std::unique_ptr<Journal> journal(new Journal(std::move(options), loop, workers, listener));
  if (auto started = journal->start_directory(); !started) return std::unexpected(started.error());
  journal->on_prepared(make_segment(journal->directory_, journal->next_segment_, journal->options_.segment_bytes));
  return journal;
}

base::Result<void> Journal::start_directory() {
  if (auto made = disk::make_directories(directory_); !made) return made;
  auto names = disk::list(directory_);
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    if (journal::segment_number(name).value_or(0) >= options_.start.segment)
      return base::fail(base::Errc::internal, directory_ + "/" + name + " has not been recovered");
    if (name.ends_with(journal::kUnfinished)) static_cast<void>(disk::remove(directory_ + "/" + name));
  }
  const std::string above = journal::journal_directory(options_.data_dir);
  auto marks = disk::list(above);
  if (!marks) return std::unexpected(marks.error());
  if (!std::ranges::binary_search(*marks, journal::kCleanStop)) return {};
  auto removed = disk::remove(above + "/" + std::string(journal::kCleanStop));
  if (!removed && removed.error().sys != ENOENT) return removed;  // another core's journal was quicker
  return disk::sync_directory(above);
}

// Runs `job` on a worker, and what it returns on the journal if that is still there.
bool Journal::submit(std::move_only_function<std::move_only_function<void(Journal&)>()> job) {
  const bool taken = workers_.submit([job = std::move(job), loop = &loop_, weak = std::weak_ptr(self_)]() mutable {
    loop->post(loop::make_mail([then = job(), weak = std::move(weak)]() mutable {
      const std::shared_ptr<Journal*> self = weak.lock();
      if (!self) return;
      Journal& journal = **self;
      --journal.jobs_;
      then(journal);
      journal.check_closed();
    }));
  });
  if (taken) ++jobs_;
  return taken;
}

void Journal::prepare_spare() {
  if (preparing_ || spare_ || closing_) return;
  preparing_ = submit([directory = directory_, number = next_segment_, bytes = options_.segment_bytes] {
    return [made = make_segment(directory, number, bytes)](Journal& journal) mutable {
      journal.preparing_ = false;
      journal.on_prepared(std::move(made));
    };
  });
  if (!preparing_) on_prepared(base::fail_later(base::Errc::unavailable, 1000, "the workers have too much to do"));
}

void Journal::on_prepared(base::Result<void> made) {
  auto file = made ? disk::open(path_of(directory_, next_segment_), disk::Open::direct) : std::unexpected(made.error());
  if (file) {
    spare_ = Segment{.number = next_segment_++, .file = *file, .offset = kBlockBytes};
    if (!to_void_) retry_after_ = kRetryMin;
    if (state_ == State::failing) go_on();
  } else {
    base::log::error("journal_segment_not_made",
                     {{"segment", next_segment_}, {"errno", file.error().sys}, {"why", file.error().message}});
    set_state(state_);  // also the first time, when it is failing from the start
    retry_later();
  }
  count_segments();
  start_commit();
}

// A segment is ready to be written.
void Journal::go_on() {
  ASSERT(state_ == State::failing && spare_);
  if (!to_void_) return set_state(State::open);
  if (closing_) return;
  set_state(State::voiding);
  const bool room = have_room(kBlockBytes);
  ASSERT(room);
  journal::write_record(flying_.take(journal::kVoidBytes), *to_void_);
  write(flying_);
}

// In the current segment or the next.
bool Journal::have_room(std::uint64_t bytes) {
  if (current_ && current_->offset + bytes <= options_.segment_bytes) return true;
  if (!spare_) return false;
  if (current_) close_current();
  current_ = std::exchange(spare_, std::nullopt);
  prepare_spare();
  return true;
}

// Nothing is written to it any more. Not synced: all in it is committed, or must not be.
void Journal::close_current() {
  loop_.ring().close(std::exchange(current_->file, {}));
  sealed_.push_back(*current_);
  current_.reset();
}

// The segment holds a void batch that failed, and nothing else: the next attempt says the same in another one.
void Journal::discard_current() {
  loop_.ring().close(current_->file);
  submit([directory = directory_, number = current_->number] {
    remove_in_order(directory, {number});
    return [](Journal&) {};
  });
  current_.reset();
}

void Journal::retry_later() {
  if (closing_) return;
  retry_.disarm();
  loop_.timers().arm(retry_, loop_.now_ms() + retry_after_.count());
  retry_after_ = std::min(retry_after_ * 2, kRetryMax);
}

void Journal::on_retry() {
  if (!spare_) return prepare_spare();
  if (state_ == State::failing) go_on();
}

void Journal::on_stored(std::uint64_t last) {
  ASSERT(last <= last_ticket_);
  stored_ticket_ = std::max(stored_ticket_, last);
  remove_stored();
}

void Journal::remove_stored() {
  if (removing_ || closing_) return;
  std::vector<std::uint64_t> segments;
  for (const Segment& segment : sealed_) {
    if (segment.last_ticket > stored_ticket_) break;
    segments.push_back(segment.number);
  }
  if (segments.empty()) return;
  removing_ = submit([directory = directory_, segments = std::move(segments)] {
    return [wanted = segments.size(), removed = remove_in_order(directory, segments)](Journal& journal) {
      journal.on_removed(wanted, removed);
    };
  });
}

void Journal::on_removed(std::size_t wanted, std::size_t removed) {
  removing_ = false;
  sealed_.erase(sealed_.begin(), sealed_.begin() + static_cast<std::ptrdiff_t>(removed));
  count_segments();
  if (removed == wanted) remove_stored();  // after an error: at the next on_stored
}

// What the next start would only read in vain: the segment that was made ahead, and if the store has everything, all of them.
void Journal::remove_at_close() {
  std::vector<std::uint64_t> segments;
  const auto is_stored = [this](const Segment& segment) { return segment.last_ticket <= stored_ticket_; };
  if (current_) close_current();
  if (std::ranges::all_of(sealed_, is_stored))
    std::ranges::transform(sealed_, std::back_inserter(segments), &Segment::number);
  if (spare_) {
    loop_.ring().close(spare_->file);
    segments.push_back(spare_->number);
    spare_.reset();
  }
  if (segments.empty()) return;
  submit([directory = directory_, segments = std::move(segments)] {
    remove_in_order(directory, segments);
    return [](Journal&) {};
  });
}

void Journal::count_segments() {
  loop_.metrics().journal_segments = sealed_.size() + (current_ ? 1 : 0) + (spare_ ? 1 : 0);
}

}  // namespace ringline::backend
