// See journal_recovery.hpp. Two passes: the first looks at the first two blocks of every segment for its run, for what it says about the segment
// before it, and for voids; the second reads everything.
#include "ringline/backend/journal_recovery.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

#include "journal_scan.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::backend {

namespace disk = loop::disk;

struct Recovery::SegmentFile {
  std::string path;
  std::uint64_t number = 0;
  std::uint64_t run = 0;
  // The last batch committed before it, and where; if its beginning is intact.
  std::optional<std::uint64_t> previous;
  std::uint64_t previous_segment = 0;
  std::uint64_t used = 0;  // bytes, with nothing but zeros behind them; 0: something is
};

struct Recovery::CoreFiles {
  unsigned core = 0;
  std::string directory;
  std::vector<SegmentFile> segments;  // by number
  std::vector<journal::VoidRecord> voids;
  std::optional<std::uint64_t> last;  // batch that was kept or named as lost
  std::uint64_t last_segment = 0;     // where it is
  std::uint64_t highest = 0;          // batch number seen anywhere
  std::uint64_t next_segment = 1;

  // The next segment that says what was committed before it; null: none.
  const SegmentFile* witness_of(std::size_t index) const noexcept {
    for (++index; index < segments.size(); ++index)
      if (segments[index].previous) return &segments[index];
    return nullptr;
  }
  bool is_void(const journal::BatchHead& batch) const noexcept {
    return std::ranges::find(voids, journal::VoidRecord{batch.segment, batch.number, batch.offset}) != voids.end();
  }
};

// The segment that is being read.
class Recovery::Reader {
 public:
  static base::Result<std::unique_ptr<Reader>> open(const SegmentFile& segment) {
    auto file = disk::open(segment.path, disk::Open::read);
    if (!file) return std::unexpected(file.error());
    auto bytes = disk::size(*file);
    if (!bytes) {
      disk::close(*file);
      return std::unexpected(bytes.error());
    }
    return std::make_unique<Reader>(*file, *bytes, segment.number);
  }
  Reader(loop::Fd opened, std::uint64_t bytes, std::uint64_t number) : file(opened), scanner(opened, bytes, number) {}
  ~Reader() { disk::close(file); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  loop::Fd file;
  SegmentScanner scanner;
  std::optional<SegmentScanner::Batch> batch;
  bool any = false;  // batch was found
};

Recovery::Recovery(std::string data_dir, Hosts hosts) : data_dir_(std::move(data_dir)), hosts_(hosts) {}
Recovery::~Recovery() = default;

base::Result<std::unique_ptr<Recovery>> recover_journals(const std::string& data_dir, Hosts hosts) {
  std::unique_ptr<Recovery> recovery(new Recovery(data_dir, hosts));
  if (auto found = recovery->find_segments(); !found) return std::unexpected(found.error());
  return recovery;
}

base::Result<void> Recovery::find_segments() {
  const std::string above = journal::journal_directory(data_dir_);
  auto names = disk::list(above);
  if (!names) return std::unexpected(names.error());
  report_.was_clean = std::ranges::binary_search(*names, journal::kCleanStop);
  for (const std::string& name : *names) {
    if (!name.starts_with(journal::kCorePrefix)) continue;
    auto core = std::make_unique<CoreFiles>();
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + journal::kCorePrefix.size(), end, core->core);
    if (error != std::errc{} || stop != end) continue;
    core->directory = above + "/" + name;
    auto files = disk::list(core->directory);
    if (!files) return std::unexpected(files.error());
    for (const std::string& file : *files) {
      const auto number = journal::segment_number(file);
      if (!number) continue;
      SegmentFile segment{.path = core->directory + "/" + file, .number = *number};
      if (auto looked = look_at(segment, *core); !looked) return looked;
      core->segments.push_back(std::move(segment));
    }
    if (!core->segments.empty()) core->next_segment = core->segments.back().number + 1;
    for (std::size_t i = 0; i < core->segments.size(); ++i) order_.emplace_back(core.get(), i);
    cores_.push_back(std::move(core));
  }
  // Within a core runs only grow (look_at), so its segments stay in their order.
  std::ranges::sort(order_, {}, [](const auto& place) {
    return std::tuple(place.first->segments[place.second].run, place.first->core, place.second);
  });
  report_.segments = order_.size();
  return {};
}

// What was read from the kernel's memory or the disk's may be gone after a power cut, while its successors are kept: hence the sync.
base::Result<void> Recovery::look_at(SegmentFile& segment, CoreFiles& core) {
  auto reader = Reader::open(segment);
  if (!reader) return std::unexpected(reader.error());
  SegmentScanner& scanner = (*reader)->scanner;
  if (scanner.of_other_version())
    return base::fail(base::Errc::internal, segment.path + " was written by another version of this program");
  if (auto synced = disk::sync((*reader)->file); !synced) return synced;
  if (!core.segments.empty()) segment.run = core.segments.back().run;
  if (const auto& head = scanner.head()) {
    segment.previous = head->previous;
    segment.previous_segment = head->previous_segment;
    segment.run = std::max(segment.run, head->run);
  }
  if (const auto batch = scanner.first()) {
    segment.previous = batch->head.previous;
    segment.previous_segment = batch->head.previous_segment;
    segment.run = std::max(segment.run, batch->head.run);
    for (auto payload = batch->payload; !payload.empty();) {
      const auto record = journal::take_record(payload);
      if (!record) break;
      if (const auto* voided = std::get_if<journal::VoidRecord>(&*record)) core.voids.push_back(*voided);
    }
  }
  if (segment.previous) core.highest = std::max(core.highest, *segment.previous);
  last_run_ = std::max(last_run_, segment.run);
  return {};
}

base::Result<std::vector<chat::Event>> Recovery::next() {
  std::vector<chat::Event> events;
  while (events.empty()) {
    if (!reader_) {
      if (position_ == order_.size()) return events;
      auto opened = Reader::open(order_[position_].first->segments[order_[position_].second]);
      if (!opened) return std::unexpected(opened.error());
      reader_ = std::move(*opened);
    }
    const auto [core, index] = order_[position_];
    if (!core->last) core->last = core->segments[index].previous;
    reader_->batch = reader_->scanner.next(core->last.value_or(0));
    if (reader_->batch) {
      if (accept_batch(*core, index)) take_records(*core, index, events);
    } else {
      check_end(*core, index);
      reader_.reset();
      ++position_;
    }
  }
  report_.events += events.size();
  return events;
}

// Whether it was committed. Names what is missing before it.
bool Recovery::accept_batch(CoreFiles& core, std::size_t index) {
  const SegmentScanner::Batch& batch = *reader_->batch;
  const std::string& path = core.segments[index].path;
  core.highest = std::max(core.highest, batch.head.number);
  // Damaged, or torn in the segment's first write. Nothing is lost: each batch says what the head says.
  if (!reader_->any && !reader_->scanner.head()) base::log::warn("journal_segment_head_unreadable", {{"file", path}});
  reader_->any = true;
  const std::uint64_t before = batch.head.previous;
  if (batch.expected < batch.head.offset || (core.last && before > *core.last)) {
    const bool lost = !core.last || before > *core.last;
    add_damage({.file = path,
                .offset = batch.expected,
                .bytes = batch.head.offset - batch.expected,
                .first_batch = lost && core.last ? *core.last + 1 : 0,
                .last_batch = lost ? before : 0,
                .what = batch.expected < batch.head.offset ? "committed batches are damaged"
                                                           : "committed batches are missing"});
  }
  const SegmentFile* const witness = core.witness_of(index);
  if ((witness && batch.head.number > *witness->previous) || core.is_void(batch.head)) {
    ++report_.voided_batches;
    // What is behind it is neither; the segment after this one says what comes next.
    if (!core.last || before > *core.last) core.last = before;
    return false;
  }
  ++report_.batches;
  core.last = batch.head.number;
  core.last_segment = batch.head.segment;
  return true;
}

void Recovery::take_records(CoreFiles& core, std::size_t index, std::vector<chat::Event>& events) {
  const SegmentScanner::Batch& batch = *reader_->batch;
  std::uint32_t records = 0;
  auto payload = batch.payload;
  while (!payload.empty()) {
    auto record = journal::take_record(payload);
    if (!record) break;
    ++records;
    auto* event = std::get_if<chat::Event>(&*record);
    if (event && take_event(*event, core.segments[index].path, batch.head.offset)) events.push_back(std::move(*event));
  }
  if (!payload.empty() || records != batch.head.records) {
    add_damage({.file = core.segments[index].path,
                .offset = batch.head.offset,
                .bytes = journal::kBatchHeadBytes + batch.head.bytes,
                .first_batch = batch.head.number,
                .last_batch = batch.head.number,
                .what = "a batch has records of an unknown form"});
  }
}

// Whether it is new.
bool Recovery::take_event(const chat::Event& event, const std::string& path, std::uint64_t offset) {
  report_.highest_id = std::max(report_.highest_id, event.id);
  if (event.seq == 0) return true;  // not sequenced yet
  auto [found, first] = report_.rooms.try_emplace(event.room);
  JournalReport::Mark& mark = found->second;
  if (!first && event.epoch == mark.epoch && event.seq == mark.seq && event.id == mark.id) {
    ++report_.repeated;
    return false;
  }
  if (!first && hosts_ == Hosts::several && event.epoch == mark.epoch && event.seq < mark.seq) {
    ++report_.repeated;
    return false;
  }
  if (!first && std::tuple(event.epoch, event.seq) <= std::tuple(mark.epoch, mark.seq)) {
    add_damage({.file = path,
                .offset = offset,
                .what = "room " + event.room.text() + " has seq " + std::to_string(event.seq) + " of event " +
                        event.id.text() + " after seq " + std::to_string(mark.seq) + " of event " + mark.id.text() +
                        ": the later one was left out"});
    return false;
  }
  if (!first && hosts_ == Hosts::one && event.epoch == mark.epoch && event.seq > mark.seq + 1) {
    ++report_.gaps_found;
    if (report_.gaps.size() < JournalReport::kNamedMax) report_.gaps.push_back({event.room, mark.seq, event.seq});
  }
  mark = {event.epoch, event.seq, event.id};
  return true;
}

// Of a segment: what follows its last intact batch, and whether the next segment knows of more.
void Recovery::check_end(CoreFiles& core, std::size_t index) {
  const SegmentScanner& scanner = reader_->scanner;
  SegmentFile& segment = core.segments[index];
  for (const auto& range : scanner.unreadable())
    add_damage(
        {.file = segment.path, .offset = range.offset, .bytes = range.bytes, .what = "the disk cannot read this"});
  const std::uint64_t end = reader_->any ? scanner.end() : 0;
  const std::uint64_t garbage = scanner.garbage_end() > end ? scanner.garbage_end() - end : 0;
  if (garbage == 0 && scanner.unreadable().empty()) segment.used = std::max<std::uint64_t>(end, journal::kBlockBytes);
  const SegmentFile* const witness = core.witness_of(index);
  const std::uint64_t committed = witness && witness->previous_segment == segment.number ? *witness->previous : 0;
  if (committed > core.last.value_or(0)) {
    add_damage({.file = segment.path,
                .offset = end,
                .bytes = garbage,
                .first_batch = core.last ? *core.last + 1 : 0,
                .last_batch = committed,
                .what = garbage > 0 ? "committed batches are damaged" : "committed batches are missing"});
    core.last = committed;
    core.last_segment = segment.number;
  } else if (garbage > 0) {
    report_.torn_bytes += garbage;
    base::log::info("journal_torn_tail", {{"file", segment.path}, {"offset", end}, {"bytes", garbage}});
  }
}

void Recovery::add_damage(JournalDamage damage) {
  ++report_.damages_found;
  if (report_.damages.size() < JournalReport::kNamedMax) report_.damages.push_back(std::move(damage));
}

JournalStart Recovery::start_of(unsigned core) const {
  ASSERT(position_ == order_.size());
  JournalStart start{.run = last_run_ + 1};
  for (const auto& files : cores_) {
    if (files->core != core) continue;
    start.segment = files->next_segment;
    start.batch = files->highest + 2;  // a torn batch may bear the number between
    start.previous = files->last.value_or(0);
    start.previous_segment = files->last_segment;
  }
  return start;
}

// In the order of reading, one by one: what is left when the power goes has no holes, and a void never goes before what it voids.
base::Result<void> Recovery::remove_recovered() {
  ASSERT(position_ == order_.size());
  for (const auto& [core, index] : order_) {
    if (auto removed = disk::remove(core->segments[index].path); !removed) return removed;
    if (auto synced = disk::sync_directory(core->directory); !synced) return synced;
  }
  order_.clear();
  position_ = 0;
  return {};
}

std::vector<Recovery::Used> Recovery::used() const {
  ASSERT(position_ == order_.size());
  std::vector<Used> files;
  for (const auto& [core, index] : order_)
    if (const SegmentFile& segment = core->segments[index]; segment.used > 0)
      files.push_back({segment.path, segment.used});
  return files;
}

base::Result<void> mark_clean_stop(const std::string& data_dir) {
  const std::string directory = journal::journal_directory(data_dir);
  const std::string path = directory + "/" + std::string(journal::kCleanStop);
  auto file = disk::open(path, disk::Open::create);
  if (!file) return std::unexpected(file.error());
  auto synced = disk::sync(*file);
  disk::close(*file);
  if (synced) synced = disk::sync_directory(directory);
  return synced;
}

}  // namespace ringline::backend
