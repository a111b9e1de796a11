// The journal on real files with a real ring: commits, failures, full disks, release, start and stop.
#include "ringline/backend/journal.hpp"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "journal_support.hpp"

namespace ringline::backend::test {
namespace {

std::size_t segments_on_disk(const std::string& data_dir) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(journal::core_directory(data_dir, 0)))
    if (journal::segment_number(entry.path().filename().string())) ++count;
  return count;
}

TEST(Journal, WhatIsCommittedIsRecovered) {
  const TemporaryDirectory directory;
  std::vector<chat::Event> events;
  {
    Core core(small(directory.path()));
    ASSERT_TRUE(core.journal->healthy());
    for (std::uint64_t seq = 1; seq <= 50; ++seq) {
      events.push_back(make_event(1 + seq % 3, (seq - 1) / 3 + 1, std::string(seq * 10, 'x')));
      EXPECT_EQ(core.journal->append(events.back()), seq);
      if (seq % 7 == 0) core.loop->turn(false);
    }
    ASSERT_TRUE(core.turn_until([&] { return core.committed == 50; }));
  }
  const Recovered all = recover(directory.path());
  ASSERT_EQ(all.events.size(), events.size());
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_TRUE(same(all.events[i], events[i])) << i;
  EXPECT_EQ(all.report.events, 50U);
  EXPECT_EQ(all.report.damages_found, 0U);
  EXPECT_EQ(all.report.torn_bytes, 0U);
  EXPECT_EQ(all.report.highest_id.value, 3'000'017U);
  EXPECT_EQ(all.report.rooms.at({1}).seq, 16U);
}

TEST(Journal, WorkersWithOtherDescriptorsMakeItsSegments) {
  const TemporaryDirectory directory;
  constexpr std::uint64_t kEvents = 60;  // of 4 KiB: several segments
  std::thread([&] {
    Core core(small(directory.path()), true);
    for (std::uint64_t seq = 1; seq <= kEvents; ++seq)
      ASSERT_TRUE(core.commit({make_event(1, seq, std::string(4096, 'x'))})) << seq;
  }).join();
  EXPECT_GE(segments_on_disk(directory.path()), 4U);
  EXPECT_EQ(recover(directory.path()).seqs(1).size(), kEvents);
}

TEST(Journal, WhatWaitsForItsCommitOrIsInTheKernelOutlastsARest) {
  const TemporaryDirectory directory;
  std::vector<chat::Event> events;
  {
    Core core(small(directory.path()));
    for (std::uint64_t seq = 1; seq <= 40; ++seq) {
      events.push_back(make_event(1, seq, std::string(3000, 'x')));
      ASSERT_EQ(core.journal->append(events.back()), seq);
      core.journal->rest();
      core.loop->turn(false);
      core.journal->rest();
      if (seq % 4 == 0) {
        ASSERT_TRUE(core.turn_until([&] { return core.committed == seq; }));
        core.journal->rest();
      }
    }
  }
  const Recovered all = recover(directory.path());
  ASSERT_EQ(all.events.size(), events.size());
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_TRUE(same(all.events[i], events[i])) << i;
}

TEST(Journal, ATurnIsOneCommit) {
  const TemporaryDirectory directory;
  Core core(small(directory.path()));
  for (std::uint64_t turn = 0; turn < 10; ++turn) {
    std::vector<chat::Event> events;
    for (std::uint64_t i = 1; i <= 16; ++i) events.push_back(make_event(1, turn * 16 + i));
    ASSERT_TRUE(core.commit(events));
    EXPECT_EQ(core.loop->metrics().journal_commits, turn + 1);
  }
}

TEST(Journal, TooLargeAndTooMuchAreRefused) {
  const TemporaryDirectory directory;
  Core core(small(directory.path()));
  EXPECT_EQ(core.journal->append(make_event(1, 1, std::string(base::limits::kJournalRecordBytes, 'x'))), 0U);
  std::uint64_t taken = 0;
  while (core.journal->append(make_event(1, taken + 1, std::string(1000, 'x'))) != 0) ++taken;
  EXPECT_EQ(taken, 16 * 1024 / (1000 + journal::kEventHeadBytes));
  EXPECT_TRUE(core.journal->healthy());
  ASSERT_TRUE(core.turn_until([&] { return core.committed == taken; }));
  EXPECT_EQ(core.journal->append(make_event(1, taken + 1)), taken + 1);
}

TEST(Journal, StoredSegmentsAreRemovedInOrder) {
  const TemporaryDirectory directory;
  Core core(small(directory.path()));
  std::uint64_t seq = 0;
  while (segments_on_disk(directory.path()) < 6)
    ASSERT_TRUE(core.commit({make_event(1, ++seq, std::string(9000, 'x'))}));
  core.journal->on_stored(1);  // shares its segment with others
  core.turn_until([] { return false; }, 50ms);
  EXPECT_GE(segments_on_disk(directory.path()), 6U);
  core.journal->on_stored(seq);
  ASSERT_TRUE(
      core.turn_until([&] { return segments_on_disk(directory.path()) == 2; }));  // the current one and the next
  ASSERT_TRUE(core.turn_until([&] { return core.loop->metrics().journal_segments == 2; }));
  ASSERT_TRUE(core.commit({make_event(1, ++seq)}));
  core.close();
  const Recovered all = recover(directory.path());
  EXPECT_EQ(all.events.back().seq, seq);
  EXPECT_EQ(all.report.damages_found, 0U);
  EXPECT_EQ(all.report.gaps_found, 0U);
}

TEST(Journal, RelaxedTellsBeforeItWrites) {
  const TemporaryDirectory directory;
  JournalOptions options = small(directory.path());
  options.relaxed = true;
  Core core(options);
  core.journal->append(make_event(1, 1));
  EXPECT_TRUE(core.journal->has_work());
  core.loop->turn(false);
  EXPECT_EQ(core.committed, 1U);
  EXPECT_EQ(core.loop->metrics().journal_commits, 0U);
  core.close();
  EXPECT_EQ(core.loop->metrics().journal_commits, 1U);
  EXPECT_EQ(recover(directory.path()).seqs(1), (std::vector<std::uint64_t>{1}));
}

TEST(Journal, ClosingCommitsWhatWasAppended) {
  const TemporaryDirectory directory;
  Core core(small(directory.path()));
  for (std::uint64_t seq = 1; seq <= 5; ++seq) core.journal->append(make_event(1, seq));
  core.close();
  EXPECT_EQ(core.committed, 5U);
  EXPECT_EQ(core.journal->append(make_event(1, 6)), 0U);
  EXPECT_EQ(recover(directory.path()).events.size(), 5U);
}

TEST(Journal, ClosingLeavesNothingThatIsStored) {
  const TemporaryDirectory directory;
  for (const bool all : {false, true}) {
    auto recovery = recover_journals(directory.path());
    ASSERT_TRUE(recovery.has_value());
    read_all(**recovery);
    JournalOptions options = small(directory.path());
    options.start = (*recovery)->start_of(0);
    Core core(options);
    ASSERT_TRUE((*recovery)->remove_recovered().has_value());
    ASSERT_TRUE(core.commit({make_event(1, 1), make_event(1, 2)}));
    core.journal->on_stored(all ? 2 : 1);
    core.close();
    EXPECT_EQ(segments_on_disk(directory.path()), all ? 0U : 1U);
  }
}

TEST(Journal, ACleanStopIsSeenOnce) {
  const TemporaryDirectory directory;
  {
    Core core(small(directory.path()));
  }
  EXPECT_FALSE(recover(directory.path()).report.was_clean);
  ASSERT_TRUE(mark_clean_stop(directory.path()).has_value());
  auto recovery = recover_journals(directory.path());
  ASSERT_TRUE(recovery.has_value());
  EXPECT_TRUE(read_all(**recovery).report.was_clean);
  JournalOptions options = small(directory.path());
  options.start = (*recovery)->start_of(0);
  {
    Core core(options);
  }
  EXPECT_FALSE(recover(directory.path()).report.was_clean);
}

TEST(Journal, WhatIsNotRecoveredIsNotWrittenOver) {
  const TemporaryDirectory directory;
  {
    Core core(small(directory.path()));
    ASSERT_TRUE(core.commit({make_event(1, 1)}));
  }
  Core other(small(directory.path(), 1));
  const auto opened = Journal::open(small(directory.path()), *other.loop, *other.workers, other);
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find("has not been recovered"), std::string::npos);
  EXPECT_EQ(recover(directory.path()).events.size(), 1U);
}

TEST(Journal, SizesAreChecked) {
  const TemporaryDirectory directory;
  Core core(small(directory.path()));
  JournalOptions options = small(directory.path(), 1);
  options.segment_bytes = options.batch_bytes;
  EXPECT_EQ(Journal::open(options, *core.loop, *core.workers, core).error().code, base::Errc::invalid);
  options.batch_bytes = journal::kPayloadBytesMax + 1;
  EXPECT_EQ(Journal::open(options, *core.loop, *core.workers, core).error().code, base::Errc::invalid);
}

// Runs with any numbers of cores, each recovered by the next, removed only at the end.
TEST(Journal, OtherNumbersOfCoresKeepEachRoomsOrder) {
  const TemporaryDirectory directory;
  std::uint64_t seq = 0;
  for (const unsigned cores : {1U, 3U, 2U, 4U, 1U}) {
    auto recovery = recover_journals(directory.path());
    ASSERT_TRUE(recovery.has_value());
    const Recovered all = read_all(**recovery);
    EXPECT_EQ(all.seqs(5).size(), seq);
    EXPECT_EQ(all.report.damages_found + all.report.gaps_found, 0U);
    JournalOptions options = small(directory.path(), base::home_core(base::RoomId{5}, cores));
    options.start = (*recovery)->start_of(options.core);
    Core core(options);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(core.commit({make_event(5, ++seq, std::string(4000, 'x'))}));
  }
  auto recovery = recover_journals(directory.path());
  ASSERT_TRUE(recovery.has_value());
  const auto seqs = read_all(**recovery).seqs(5);
  ASSERT_EQ(seqs.size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(seqs));
  ASSERT_TRUE((*recovery)->remove_recovered().has_value());
  EXPECT_EQ(recover(directory.path()).report.segments, 0U);
  EXPECT_GT((*recovery)->start_of(0).segment, 1U);
}

TEST(Journal, TheDumpShowsWhatIsThere) {
  const TemporaryDirectory directory;
  {
    Core core(small(directory.path()));
    ASSERT_TRUE(core.commit({make_event(1, 1), make_event(2, 1, "{\"emoji\":\"👍\"}")}));
  }
  std::ostringstream out;
  ASSERT_TRUE(dump_journal(directory.path() + "/journal", out).has_value());
  EXPECT_NE(out.str().find("batch 1 at 4096 after 0, 2 records"), std::string::npos) << out.str();
  EXPECT_NE(
      out.str().find(
          "room 2 seq 1 epoch 1 id 2000001 at 2026-01-01T00:00:00.001Z actor 77 message_created {\"emoji\":\"👍\"}"),
      std::string::npos)
      << out.str();
  std::ostringstream one;
  ASSERT_TRUE(dump_journal(segment_path(directory.path()), one).has_value());
  EXPECT_FALSE(dump_journal(segment_path(directory.path(), 99), one).has_value());
}

// No file of the process may be written above a size: every commit behind it fails.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    old_ = ::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, old_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  sighandler_t old_ = nullptr;
};

TEST(Journal, AFailedCommitIsVoidedAndItsSeqsUsedAgain) {
  const TemporaryDirectory directory;
  {
    Core core(small(directory.path()));
    ASSERT_TRUE(core.commit({make_event(1, 1), make_event(2, 1)}));
    {
      const FileSizeLimit limit(4096);
      EXPECT_NE(core.journal->append(make_event(1, 2, "lost")), 0U);
      core.loop->turn(false);
      EXPECT_NE(core.journal->append(make_event(1, 3, "refused with it")), 0U);
      ASSERT_TRUE(core.turn_until([&] { return !core.failed.empty(); }));
      EXPECT_EQ(core.failed.front(), (std::pair<std::uint64_t, std::uint64_t>(3, 4)));
      EXPECT_TRUE(core.refused_in_failure);
      EXPECT_FALSE(core.journal->healthy());
      EXPECT_EQ(core.loop->metrics().journal_failed, 1U);
      core.turn_until([] { return false; }, 300ms);  // it tries, and fails again
      EXPECT_FALSE(core.journal->healthy());
    }
    ASSERT_TRUE(core.turn_until([&] { return core.journal->healthy(); }));
    ASSERT_TRUE(core.commit({make_event(1, 2, "kept")}));
    EXPECT_EQ(core.committed, 5U);
    EXPECT_EQ(core.failed.size(), 1U);
  }
  const Recovered all = recover(directory.path());
  EXPECT_EQ(all.seqs(1), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(all.events.back().body.view(), "kept");
  EXPECT_EQ(all.report.damages_found, 0U);
  std::ostringstream out;
  ASSERT_TRUE(dump_journal(directory.path() + "/journal", out).has_value());
  EXPECT_NE(out.str().find("void: batch 2 in segment 1 at 8192"), std::string::npos) << out.str();
}

// The failed write reached the disk all the same: the void must win.
TEST(Journal, AVoidedBatchThatIsOnDiskIsNotRecovered) {
  const TemporaryDirectory directory;
  {
    Core core(small(directory.path()));
    ASSERT_TRUE(core.commit({make_event(1, 1)}));
    {
      const FileSizeLimit limit(4096);
      core.journal->append(make_event(1, 2, "lost"));
      ASSERT_TRUE(core.turn_until([&] { return !core.failed.empty(); }));
    }
    ASSERT_TRUE(core.turn_until([&] { return core.journal->healthy(); }));
    ASSERT_TRUE(core.commit({make_event(1, 2, "kept")}));
  }
  std::string batch(journal::kBatchHeadBytes + journal::bytes_of(make_event(1, 2, "lost")), '\0');
  const auto bytes = std::as_writable_bytes(std::span(batch));
  journal::write_record(bytes.subspan(journal::kBatchHeadBytes), make_event(1, 2, "lost"));
  journal::write_head(
      bytes,
      journal::BatchHead{
          .number = 2, .previous = 1, .previous_segment = 1, .segment = 1, .run = 1, .offset = 8192, .records = 1});
  std::string file = read_file(segment_path(directory.path()));
  write_file(segment_path(directory.path()), file.replace(8192, batch.size(), batch));
  Recovered all = recover(directory.path());
  EXPECT_EQ(all.seqs(1), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(all.events.back().body.view(), "kept");
  EXPECT_EQ(all.report.voided_batches, 1U);
  EXPECT_EQ(all.report.damages_found, 0U);
  // The void is said twice: by the head of the segment behind, and by a record of its own. Either does.
  for (const std::size_t damaged : {std::size_t{20}, std::size_t{4096 + 20}}) {
    std::string second = read_file(segment_path(directory.path(), 2));
    second[damaged] ^= 1;
    write_file(segment_path(directory.path(), 2), second);
    all = recover(directory.path());
    EXPECT_EQ(all.report.voided_batches, 1U) << damaged;
    EXPECT_EQ(all.report.damages_found, damaged > 4096 ? 1U : 0U);
    EXPECT_EQ(all.events.back().body.view(), "kept");
    second[damaged] ^= 1;
    write_file(segment_path(directory.path(), 2), second);
  }
}

TEST(Journal, AFullDiskRefusesAndRecovers) {
  const TemporaryDirectory directory;
  if (::mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "no tmpfs may be mounted here";
  {
    Core core(small(directory.path()));
    ASSERT_TRUE(core.turn_until([&] { return core.loop->metrics().journal_segments > 0; }));
    write_file(directory.path() + "/ballast", std::string(100 * 1024, 'x'));
    std::uint64_t seq = 0;
    while (core.commit({make_event(1, seq + 1, std::string(3000, 'x'))})) ++seq;
    EXPECT_GE(seq, 15U);  // the segment that was there is used to its end
    EXPECT_FALSE(core.journal->healthy());
    EXPECT_EQ(core.journal->append(make_event(1, seq + 1)), 0U);
    core.turn_until([] { return false; }, 300ms);
    EXPECT_FALSE(core.journal->healthy());
    fs::remove(directory.path() + "/ballast");
    ASSERT_TRUE(core.turn_until([&] { return core.journal->healthy(); }));
    ASSERT_TRUE(core.commit({make_event(1, seq + 1)}));
    core.close();
    const Recovered all = recover(directory.path());
    EXPECT_EQ(all.seqs(1).size(), seq + 1);
    EXPECT_EQ(all.report.damages_found + all.report.gaps_found, 0U);
  }
  EXPECT_EQ(::umount(directory.path().c_str()), 0);
}

TEST(Journal, ADiskThatIsFullFromTheStartIsWaitedFor) {
  const TemporaryDirectory directory;
  {
    std::unique_ptr<Core> core;
    {
      const FileSizeLimit limit(4096);
      core = std::make_unique<Core>(small(directory.path()));
      EXPECT_FALSE(core->journal->healthy());
      EXPECT_EQ(core->loop->metrics().journal_failed, 1U);
      EXPECT_EQ(core->journal->append(make_event(1, 1)), 0U);
    }
    ASSERT_TRUE(core->turn_until([&] { return core->journal->healthy(); }));
    ASSERT_TRUE(core->commit({make_event(1, 1)}));
  }
  EXPECT_EQ(recover(directory.path()).events.size(), 1U);
}

}  // namespace
}  // namespace ringline::backend::test
