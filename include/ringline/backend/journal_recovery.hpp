// Recovery: what the journals of all cores kept, of former cores too, read back before any of them is opened for writing. Blocking, for start-up.
//
// Events come batch by batch: each room's in seq order, those of different rooms in any (why that needs no sorting stands in journal_format.hpp).
// Nothing is changed on disk until remove_recovered, so a crash in between only means doing it again: the store passes over what it has.
// Memory: one batch, some 200 bytes a segment file, and some 60 bytes a room that has events.
//
// What is damaged is named and what is intact behind it is kept. A damaged last batch of the last segment cannot be told from one that was torn in
// the write by a crash, before it was committed: both are `torn_bytes`.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ringline/backend/journal.hpp"
#include "ringline/backend/journal_format.hpp"
#include "ringline/base/result.hpp"
#include "ringline/chat/event.hpp"

namespace ringline::backend {

struct JournalDamage {
  std::string file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;        // 0: nothing is there
  std::uint64_t first_batch = 0;  // committed batches that are lost; 0: none, or it is not known which
  std::uint64_t last_batch = 0;
  std::string what;
};

// Events of a room are missing between two that are there: damaged, or removed by somebody.
struct JournalGap {
  base::RoomId room;
  std::uint64_t after_seq = 0;
  std::uint64_t next_seq = 0;
};

struct JournalReport {
  static constexpr std::size_t kNamedMax = 1000;  // of damages and gaps each; all are counted

  bool was_clean = false;  // the last run marked a clean stop
  std::uint64_t segments = 0;
  std::uint64_t batches = 0;
  std::uint64_t events = 0;
  std::uint64_t repeated = 0;        // the same event again: passed over
  std::uint64_t voided_batches = 0;  // intact, but never committed
  std::uint64_t torn_bytes = 0;      // behind the last commits
  std::uint64_t damages_found = 0;
  std::uint64_t gaps_found = 0;
  std::vector<JournalDamage> damages;
  std::vector<JournalGap> gaps;
  base::EventId highest_id;
  struct Mark {
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
    base::EventId id;
  };
  std::unordered_map<base::RoomId, Mark> rooms;  // the last event of each
};

// Of several hosts each has a room's events only while it follows the room: that some are missing, or are here again, is no damage.
enum class Hosts : std::uint8_t { one, several };

class Recovery {
 public:
  ~Recovery();

  // The events of the next batch that has any; none: that was all. An error: the disk fails, nothing more can be read.
  base::Result<std::vector<chat::Event>> next();
  // Complete after the last `next`.
  const JournalReport& report() const noexcept { return report_; }
  // After the last `next`: where the journal of `core` goes on.
  JournalStart start_of(unsigned core) const;
  // After the last `next`, when the store has everything durably.
  base::Result<void> remove_recovered();
  // For who keeps them for a while. After the last `next`: the files, and how much of each is in use; behind that are zeros.
  struct Used {
    std::string path;
    std::uint64_t bytes = 0;
  };
  std::vector<Used> used() const;

 private:
  friend base::Result<std::unique_ptr<Recovery>> recover_journals(const std::string& data_dir, Hosts hosts);
  class Reader;
  struct CoreFiles;
  struct SegmentFile;
  Recovery(std::string data_dir, Hosts hosts);

  base::Result<void> find_segments();
  base::Result<void> look_at(SegmentFile& segment, CoreFiles& core);
  bool accept_batch(CoreFiles& core, std::size_t index);
  void take_records(CoreFiles& core, std::size_t index, std::vector<chat::Event>& events);
  bool take_event(const chat::Event& event, const std::string& path, std::uint64_t offset);
  void check_end(CoreFiles& core, std::size_t index);
  void add_damage(JournalDamage damage);

  std::string data_dir_;
  Hosts hosts_;
  JournalReport report_;
  std::vector<std::unique_ptr<CoreFiles>> cores_;
  std::vector<std::pair<CoreFiles*, std::size_t>> order_;  // segments as they are to be read
  std::size_t position_ = 0;
  std::unique_ptr<Reader> reader_;
  std::uint64_t last_run_ = 0;
};

// Finds the segments; `next` reads them.
base::Result<std::unique_ptr<Recovery>> recover_journals(const std::string& data_dir, Hosts hosts = Hosts::one);

// After all journals of a run were closed with everything committed.
base::Result<void> mark_clean_stop(const std::string& data_dir);

// For people: prints every batch and record of a segment, or of all segments in and below a directory.
base::Result<void> dump_journal(const std::string& path, std::ostream& out);

}  // namespace ringline::backend
