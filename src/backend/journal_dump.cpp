// dump_journal: a journal for people's eyes.
#include <ostream>

#include "journal_scan.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::backend {
namespace {

namespace disk = loop::disk;

void print(const chat::Event& event, std::ostream& out) {
  out << "    room " << event.room.value << " seq " << event.seq << " epoch " << event.epoch << " id " << event.id.value
      << " at " << base::rfc3339(event.at_ms) << " actor " << event.actor.value << ' ' << chat::name_of(event.kind)
      << ' ' << event.body.view() << '\n';
}

void print(const journal::VoidRecord& record, std::ostream& out) {
  out << "    void: batch " << record.batch << " in segment " << record.segment << " at " << record.offset << '\n';
}

void print(const SegmentScanner::Batch& batch, std::ostream& out) {
  if (batch.expected < batch.head.offset) out << "  damaged: " << batch.expected << " to " << batch.head.offset << '\n';
  out << "  batch " << batch.head.number << " at " << batch.head.offset << " after " << batch.head.previous << ", "
      << batch.head.records << " records, " << batch.head.bytes << " bytes\n";
  for (auto payload = batch.payload; !payload.empty();) {
    const auto record = journal::take_record(payload);
    if (!record) {
      out << "    a record of unknown form\n";
      return;
    }
    std::visit([&](const auto& known) { print(known, out); }, *record);
  }
}

void dump_segment(SegmentScanner& scanner, std::ostream& out) {
  if (const auto& head = scanner.head()) {
    out << "  core " << head->core << ", run " << head->run << ", first batch " << head->first_batch << ", after batch "
        << head->previous << " of segment " << head->previous_segment << '\n';
  } else {
    out << (scanner.of_other_version() ? "  head of another version\n" : "  no intact head\n");
  }
  std::uint64_t last = 0;
  while (const auto batch = scanner.next(last)) {
    print(*batch, out);
    last = batch->head.number;
  }
  if (scanner.garbage_end() > scanner.end())
    out << "  torn or damaged: " << scanner.end() << " to " << scanner.garbage_end() << '\n';
  for (const auto& range : scanner.unreadable())
    out << "  unreadable: " << range.offset << " to " << range.offset + range.bytes << '\n';
}

}  // namespace

base::Result<void> dump_journal(const std::string& path, std::ostream& out) {
  const auto number = journal::segment_number(std::string_view(path).substr(path.rfind('/') + 1));
  if (!number) {
    const auto names = disk::list(path);
    if (!names) return std::unexpected(names.error());
    for (const std::string& name : *names) {
      if (!journal::segment_number(name) && !name.starts_with(journal::kCorePrefix)) continue;
      if (auto dumped = dump_journal(path + "/" + name, out); !dumped) return dumped;
    }
    return {};
  }
  const auto file = disk::open(path, disk::Open::read);
  if (!file) return std::unexpected(file.error());
  const auto bytes = disk::size(*file);
  if (bytes) {
    out << path << '\n';
    SegmentScanner scanner(*file, *bytes, *number);
    dump_segment(scanner, out);
  }
  disk::close(*file);
  if (!bytes) return std::unexpected(bytes.error());
  return {};
}

}  // namespace ringline::backend
