// Recovery and dump of journals, on the simulated disk. Two ways to make one of an input:
//
//   rubbish   the input is cut into segment files, a piece for each block's beginning; on request the heads are put right, numbers and checksums,
//             since otherwise nothing would ever get past them. It must come to an end, count right, and say the same twice.
//   damage    a journal as it is written, with events made of the input, of which the input then spoils some bytes. All events of batches that were
//             not hit must come, in order, and nothing else; a committed batch that was hit must be named.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <ostream>
#include <span>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

#include "input.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/disk.hpp"
#include "world.hpp"

namespace {

using namespace ringline;
namespace disk = loop::disk;
namespace journal = backend::journal;
using chat::Event;

constexpr unsigned kCores = 2;
constexpr std::size_t kSegmentsMax = 3;  // of both cores
constexpr std::size_t kBlocksMax = 5;    // of a rubbish segment
constexpr std::size_t kBatchesMax = 10;  // of a written journal
constexpr std::size_t kSpoilsMax = 3;
const std::string kDataDir = "data";

std::string path_of(unsigned core, std::uint64_t segment) {
  return journal::core_directory(kDataDir, core) + "/" + journal::segment_name(segment);
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  const auto file = disk::open(path, disk::Open::create);
  ASSERT(file && disk::write_at(*file, bytes, 0) && disk::sync(*file));
  disk::close(*file);
}

// ---- Recovery, and what must hold of any.

struct Recovered {
  std::vector<Event> events;
  backend::JournalReport report;
  std::array<backend::JournalStart, kCores> starts;
};

bool same(const Event& a, const Event& b) {
  return a.room == b.room && a.seq == b.seq && a.epoch == b.epoch && a.id == b.id && a.at_ms == b.at_ms &&
         a.actor == b.actor && a.kind == b.kind && a.body.view() == b.body.view();
}

class Discard final : public std::streambuf {
  int_type overflow(int_type c) override { return traits_type::not_eof(c); }
  std::streamsize xsputn(const char* /*text*/, std::streamsize size) override { return size; }
};

// Nothing: a file is of another version, which is refused.
std::optional<Recovered> recover(bool remove) {
  auto recovery = backend::recover_journals(kDataDir);
  if (!recovery) return std::nullopt;
  Recovered all;
  for (;;) {
    auto batch = (*recovery)->next();
    ASSERT(batch.has_value());
    if (batch->empty()) break;
    std::ranges::move(*batch, std::back_inserter(all.events));
  }
  all.report = (*recovery)->report();
  ASSERT(all.report.events == all.events.size());
  ASSERT(all.report.damages.size() ==
         std::min<std::uint64_t>(all.report.damages_found, backend::JournalReport::kNamedMax));
  ASSERT(all.report.gaps.size() == std::min<std::uint64_t>(all.report.gaps_found, backend::JournalReport::kNamedMax));
  for (unsigned core = 0; core < kCores; ++core) {
    const backend::JournalStart& start = all.starts[core] = (*recovery)->start_of(core);
    ASSERT(start.segment > 0 && start.batch > start.previous && start.run > 0);
  }
  if (remove) {
    ASSERT((*recovery)->remove_recovered().has_value());
    for (unsigned core = 0; core < kCores; ++core) ASSERT(disk::list(journal::core_directory(kDataDir, core))->empty());
  }
  return all;
}

// Each room's events with seqs that only grow within an epoch.
void check_order(const std::vector<Event>& events) {
  std::map<base::RoomId, std::pair<std::uint64_t, std::uint64_t>> last;
  for (const Event& event : events) {
    if (event.seq == 0) continue;
    const std::pair place(event.epoch, event.seq);
    const auto [found, first] = last.try_emplace(event.room, place);
    ASSERT(first || place > found->second);
    found->second = place;
  }
}

std::optional<Recovered> recover_twice() {
  const auto first = recover(false);
  Discard nowhere;
  std::ostream out(&nowhere);
  ASSERT(backend::dump_journal(journal::journal_directory(kDataDir), out).has_value());
  auto second = recover(true);
  ASSERT(first.has_value() == second.has_value());
  if (!first) return std::nullopt;
  ASSERT(std::ranges::equal(first->events, second->events, same));
  ASSERT(first->report.damages_found == second->report.damages_found &&
         first->report.torn_bytes == second->report.torn_bytes);
  for (unsigned core = 0; core < kCores; ++core)
    ASSERT(first->starts[core].batch == second->starts[core].batch &&
           first->starts[core].segment == second->starts[core].segment);
  check_order(first->events);
  return second;
}

// ---- Rubbish.

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i) number |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  return number;
}

// Heads with right checksums, and numbers that have a chance to fit.
void mend(std::span<std::byte> file, std::uint64_t segment) {
  journal::write_head(file, journal::SegmentHead{.segment = segment,
                                                 .run = number_at(file, 24) % 8,
                                                 .first_batch = number_at(file, 32) % 64,
                                                 .previous = number_at(file, 40) % 64,
                                                 .previous_segment = number_at(file, 48) % 8});
  for (std::size_t at = journal::kBlockBytes; at + journal::kBlockBytes <= file.size(); at += journal::kBlockBytes) {
    const std::size_t left = file.size() - at - journal::kBatchHeadBytes;
    const std::size_t bytes = std::min((number_at(file, at + 8) >> 32) % (2 * journal::kBlockBytes), left);
    const std::uint64_t previous = number_at(file, at + 24) % 64;
    journal::write_head(file.subspan(at, journal::kBatchHeadBytes + bytes),
                        journal::BatchHead{.number = previous + 1 + number_at(file, at + 16) % 4,
                                           .previous = previous,
                                           .previous_segment = number_at(file, at + 64) % 8,
                                           .segment = segment,
                                           .run = number_at(file, at + 40) % 8,
                                           .offset = at,
                                           .records = static_cast<std::uint32_t>(number_at(file, at + 56) >> 32) % 8});
  }
}

void recover_rubbish(fuzz::Input& input) {
  const std::size_t segments = 1 + input.choose(kSegmentsMax);
  const std::size_t stride = std::size_t{64} << input.choose(7);
  const bool mended = input.choose(2) == 0;
  std::string_view left = input.text();
  for (std::size_t i = 0; i < segments; ++i) {
    std::string_view text = left.substr(0, input.text().size() / segments);
    left.remove_prefix(text.size());
    std::vector<std::byte> file;
    for (std::size_t block = 0; block < kBlocksMax && (block == 0 || !text.empty()); ++block) {
      const auto piece = std::as_bytes(std::span(text.substr(0, stride)));
      text.remove_prefix(piece.size());
      file.resize((block + 1) * journal::kBlockBytes);
      std::ranges::copy(piece, file.begin() + static_cast<std::ptrdiff_t>(block * journal::kBlockBytes));
    }
    const std::uint64_t segment = 1 + i / kCores;
    if (mended) mend(file, segment);
    write_file(path_of(i % kCores, segment), file);
  }
  recover_twice();
}

// ---- Damage.

struct Batch {
  std::vector<Event> events;
  unsigned core = 0;
  std::uint64_t number = 0;
  std::size_t file = 0;    // in the journal's order
  std::size_t offset = 0;  // in it
  std::size_t bytes = 0;   // head and payload
  bool hit = false;
};

struct File {
  unsigned core = 0;
  std::uint64_t segment = 0;
  std::uint64_t first_batch = 0;
  std::vector<std::byte> bytes;
  bool hit = false;  // its head
};

// Writes as the journal does, but all in one run and without failures.
class Writer {
 public:
  explicit Writer(fuzz::Input& input) : batches_per_segment_(1 + input.choose(8)) {
    const std::size_t count = 1 + input.choose(kBatchesMax);
    const std::size_t cores = 1 + input.choose(kCores);
    std::string_view text = input.text().substr(0, 4096);
    for (std::size_t i = 0; i < count; ++i)
      add_batch(static_cast<unsigned>(i % cores), text.substr(std::min(text.size(), i * 7)));
  }
  // Whether something that is intact says that it was committed. Otherwise it may have been torn.
  bool witnessed(const Batch& batch) const {
    return std::ranges::any_of(batches,
                               [&](const Batch& later) {
                                 return later.core == batch.core && later.number > batch.number && !later.hit;
                               }) ||
           std::ranges::any_of(files, [&](const File& later) {
             return later.core == batch.core && later.first_batch > batch.number && !later.hit;
           });
  }
  std::vector<Batch> batches;
  std::vector<File> files;

 private:
  struct Core {
    std::uint64_t batch = 0;
    std::uint64_t segment = 0;
    std::size_t in_segment = 0;
    std::size_t file = 0;
    std::uint64_t previous_segment = 0;
  };

  // The text says how many events, of what size, in which of the core's two rooms.
  std::vector<Event> events_of(unsigned core, std::string_view text) {
    std::vector<Event> events;
    const std::size_t count = 1 + (text.empty() ? 0U : static_cast<std::uint8_t>(text.front()) % 3);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t room = 1 + core + kCores * ((text.size() + i) % 2);
      const std::uint64_t seq = ++seqs_[room];
      events.push_back({.room = {room},
                        .seq = seq,
                        .epoch = 1,
                        .id = {room * 1000 + seq},
                        .at_ms = static_cast<std::int64_t>(seq),
                        .actor = {7},
                        .kind = chat::EventKind::message_created,
                        .body = base::Blob::copy_of(text.substr(0, 40 * (i + 1) * (1 + text.size() % 60)))});
    }
    return events;
  }

  void add_batch(unsigned core, std::string_view text) {
    Core& at = cores_[core];
    if (at.segment == 0 || at.in_segment == batches_per_segment_) add_segment(core);
    Batch batch{.events = events_of(core, text), .core = core, .number = at.batch + 1, .file = at.file};
    std::size_t payload = 0;
    for (const Event& event : batch.events) payload += journal::bytes_of(event);
    std::vector<std::byte>& bytes = files[at.file].bytes;
    batch.offset = bytes.size();
    batch.bytes = journal::kBatchHeadBytes + payload;
    bytes.resize(batch.offset + journal::whole_blocks(batch.bytes));
    const auto whole = std::span(bytes).subspan(batch.offset, batch.bytes);
    auto out = whole.subspan(journal::kBatchHeadBytes);
    for (const Event& event : batch.events) {
      journal::write_record(out.first(journal::bytes_of(event)), event);
      out = out.subspan(journal::bytes_of(event));
    }
    journal::write_head(whole, journal::BatchHead{.number = at.batch + 1,
                                                  .previous = at.batch,
                                                  .previous_segment = at.previous_segment,
                                                  .segment = at.segment,
                                                  .run = 1,
                                                  .offset = batch.offset,
                                                  .core = core,
                                                  .records = static_cast<std::uint32_t>(batch.events.size())});
    ++at.batch;
    ++at.in_segment;
    at.previous_segment = at.segment;
    batches.push_back(std::move(batch));
  }

  void add_segment(unsigned core) {
    Core& at = cores_[core];
    ++at.segment;
    at.in_segment = 0;
    at.file = files.size();
    files.push_back({.core = core,
                     .segment = at.segment,
                     .first_batch = at.batch + 1,
                     .bytes = std::vector<std::byte>(journal::kBlockBytes)});
    journal::write_head(files.back().bytes, journal::SegmentHead{.segment = at.segment,
                                                                 .run = 1,
                                                                 .first_batch = at.batch + 1,
                                                                 .previous = at.batch,
                                                                 .previous_segment = at.previous_segment,
                                                                 .core = core});
  }

  std::size_t batches_per_segment_;
  std::array<Core, kCores> cores_;
  std::map<std::uint64_t, std::uint64_t> seqs_;
};

// Spoils a byte, of a batch or of a segment's head.
void spoil(Writer& journal, fuzz::Input& input) {
  const std::size_t which = input.choose(256);
  const std::size_t where = input.choose(65536);
  const std::byte mask{static_cast<unsigned char>(1 + input.choose(255))};
  if (which % 8 == 7) {
    File& file = journal.files[which / 8 % journal.files.size()];
    if (std::exchange(file.hit, true)) return;  // a second time might put it right
    file.bytes[where % journal::kSegmentHeadBytes] ^= mask;
    return;
  }
  Batch& batch = journal.batches[which % journal.batches.size()];
  if (std::exchange(batch.hit, true)) return;
  journal.files[batch.file].bytes[batch.offset + where % batch.bytes] ^= mask;
}

void recover_damaged(fuzz::Input& input) {
  const std::size_t count = input.choose(kSpoilsMax + 1);
  fuzz::Input choices = input;  // the same bytes say what is written and what is spoiled
  Writer written(input);
  for (std::size_t i = 0; i < count; ++i) spoil(written, choices);
  for (const File& file : written.files) write_file(path_of(file.core, file.segment), file.bytes);
  const auto recovered = recover_twice();
  ASSERT(recovered.has_value());  // a version that was hit is no other version: the checksum covers it
  std::map<base::RoomId, std::vector<const Event*>> expected;
  std::map<base::RoomId, std::vector<const Event*>> found;
  bool lost = false;
  for (const Batch& batch : written.batches) {
    lost |= batch.hit && written.witnessed(batch);
    for (const Event& event : batch.events)
      if (!batch.hit) expected[event.room].push_back(&event);
  }
  for (const Event& event : recovered->events) found[event.room].push_back(&event);
  ASSERT(expected.size() == found.size());
  for (const auto& [room, events] : expected)
    ASSERT(std::ranges::equal(events, found[room], [](const Event* a, const Event* b) { return same(*a, *b); }));
  ASSERT(lost == (recovered->report.damages_found > 0));
  for (const Batch& batch : written.batches) ASSERT(batch.hit || recovered->starts[batch.core].batch > batch.number);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  base::Settings settings;
  settings.log_file = "/dev/null";
  ASSERT(base::log::start(settings).has_value());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  sim::World world(1);
  for (unsigned core = 0; core < kCores; ++core)
    ASSERT(disk::make_directories(journal::core_directory(kDataDir, core)));
  if (input.choose(2) == 0) {
    recover_rubbish(input);
  } else {
    recover_damaged(input);
  }
  return 0;
}
