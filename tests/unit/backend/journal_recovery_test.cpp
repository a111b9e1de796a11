// Recovery of journals that were cut, damaged and mixed up, byte by byte.
#include "ringline/backend/journal_recovery.hpp"

#include <zlib.h>

#include <random>

#include "journal_support.hpp"

namespace ringline::backend::test {
namespace {

constexpr std::size_t kBlock = journal::kBlockBytes;

// Five batches of three events each in segment 1, made once; each test changes a copy.
class JournalRecovery : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const TemporaryDirectory directory;
    {
      Core core(small(directory.path()));
      for (std::uint64_t batch = 0; batch < 5; ++batch)
        ASSERT_TRUE(
            core.commit({make_event(1, batch * 3 + 1), make_event(1, batch * 3 + 2), make_event(1, batch * 3 + 3)}));
    }
    made() = read_file(segment_path(directory.path()));
    made().resize(16 * kBlock);  // shorter than written: the tests are many
  }
  void SetUp() override { fs::create_directories(journal::core_directory(directory_.path(), 0)); }

  static std::string& made() {
    static std::string bytes;
    return bytes;
  }
  static constexpr std::size_t offset_of(std::size_t batch) { return batch * kBlock; }  // from 1
  static std::size_t bytes_of_batch() { return journal::kBatchHeadBytes + 3 * journal::bytes_of(make_event(1, 1)); }

  Recovered recover_from(std::string_view segment) {
    write_file(segment_path(directory_.path()), segment);
    return recover(directory_.path());
  }
  static std::vector<std::uint64_t> without(std::size_t batch) {
    std::vector<std::uint64_t> seqs;
    for (std::uint64_t seq = 1; seq <= 15; ++seq)
      if ((seq - 1) / 3 + 1 != batch) seqs.push_back(seq);
    return seqs;
  }

  TemporaryDirectory directory_{true};
};

TEST_F(JournalRecovery, NothingThere) {
  const Recovered all = recover(directory_.path() + "/none");
  EXPECT_TRUE(all.events.empty());
  EXPECT_FALSE(all.report.was_clean);
}

TEST_F(JournalRecovery, EveryCutOfTheLastBatch) {
  const std::size_t begin = offset_of(5);
  for (std::size_t size = 0; size < bytes_of_batch(); ++size) {
    std::string zeroed = made();
    std::fill(zeroed.begin() + static_cast<std::ptrdiff_t>(begin + size), zeroed.end(), '\0');
    const Recovered torn = recover_from(zeroed);
    EXPECT_EQ(torn.seqs(1), without(5)) << size;
    EXPECT_EQ(torn.report.damages_found, 0U) << size;
    EXPECT_EQ(torn.report.torn_bytes > 0, size > 0) << size;
    const Recovered cut = recover_from(std::string_view(made()).substr(0, begin + size));
    EXPECT_EQ(cut.seqs(1), without(5)) << size;
    EXPECT_EQ(cut.report.damages_found, 0U) << size;
  }
  EXPECT_EQ(recover_from(std::string_view(made()).substr(0, begin + bytes_of_batch())).events.size(), 15U);
}

TEST_F(JournalRecovery, WhatIsInUseSaysAsMuchAsTheWholeFile) {
  write_file(segment_path(directory_.path(), 1), made());
  write_file(segment_path(directory_.path(), 2), std::string(16 * kBlock, '\0'));  // made ahead, and not used
  auto all = recover_journals(directory_.path());
  ASSERT_TRUE(all);
  EXPECT_FALSE(read_all(**all).events.empty());
  const std::vector<Recovery::Used> used = (*all)->used();
  ASSERT_EQ(used.size(), 2U);
  EXPECT_EQ(used[0].bytes, 6 * kBlock);
  EXPECT_EQ(used[1].bytes, kBlock);
  for (const auto& [path, bytes] : used) fs::resize_file(path, bytes);
  const Recovered again = recover(directory_.path());
  EXPECT_EQ(again.events.size(), 15U);
  EXPECT_EQ(again.report.damages_found, 0U);
  EXPECT_EQ(again.report.torn_bytes, 0U);
}

TEST_F(JournalRecovery, WhatIsTornIsNotCutOff) {
  std::string torn = made();
  std::fill(torn.begin() + static_cast<std::ptrdiff_t>(offset_of(5) + 100), torn.end(), '\0');
  write_file(segment_path(directory_.path()), torn);
  auto all = recover_journals(directory_.path());
  ASSERT_TRUE(all);
  EXPECT_FALSE(read_all(**all).events.empty());
  EXPECT_TRUE((*all)->used().empty());
}

TEST_F(JournalRecovery, EveryDamagedByteOfACommittedBatchIsNamedAndTheRestKept) {
  for (std::size_t at = 0; at < bytes_of_batch(); ++at) {
    std::string damaged = made();
    damaged[offset_of(3) + at] = static_cast<char>(damaged[offset_of(3) + at] ^ (1 << (at % 8)));
    const Recovered all = recover_from(damaged);
    EXPECT_EQ(all.seqs(1), without(3)) << at;
    ASSERT_EQ(all.report.damages_found, 1U) << at;
    const JournalDamage& damage = all.report.damages[0];
    EXPECT_EQ(damage.file, segment_path(directory_.path()));
    EXPECT_EQ(damage.offset, offset_of(3));
    EXPECT_EQ(damage.bytes, kBlock);
    EXPECT_EQ(damage.first_batch, 3U);
    EXPECT_EQ(damage.last_batch, 3U);
    ASSERT_EQ(all.report.gaps_found, 1U);
    EXPECT_EQ(all.report.gaps[0].after_seq, 6U);
    EXPECT_EQ(all.report.gaps[0].next_seq, 10U);
  }
}

TEST_F(JournalRecovery, PaddingDoesNotMatter) {
  std::string changed = made();
  changed[offset_of(3) + bytes_of_batch() + 10] = 'x';
  const Recovered all = recover_from(changed);
  EXPECT_EQ(all.events.size(), 15U);
  EXPECT_EQ(all.report.damages_found, 0U);
}

TEST_F(JournalRecovery, ADamagedSegmentHeadLosesNothing) {
  for (const std::size_t at : {0U, 9U, 13U, 20U, 45U, 63U}) {
    std::string damaged = made();
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    const Recovered all = recover_from(damaged);
    EXPECT_EQ(all.events.size(), 15U) << at;
    EXPECT_EQ(all.report.damages_found, 0U) << at;
  }
}

TEST_F(JournalRecovery, SeveralBatchesWipedOutInARow) {
  for (const char wiped : {'\0', 'x'}) {
    std::string damaged = made();
    std::fill_n(damaged.begin(), offset_of(4), wiped);
    const Recovered all = recover_from(damaged);
    EXPECT_EQ(all.seqs(1), (std::vector<std::uint64_t>{10, 11, 12, 13, 14, 15}));
    ASSERT_EQ(all.report.damages_found, 1U);
    EXPECT_EQ(all.report.damages[0].offset, kBlock);
    EXPECT_EQ(all.report.damages[0].bytes, 3 * kBlock);
    EXPECT_EQ(all.report.damages[0].last_batch, 3U);
  }
}

TEST_F(JournalRecovery, AnotherVersionIsRefusedAndLeftAlone) {
  std::string other = made();
  other[8] = 2;
  // The checksum of version 2, whatever else it may hold.
  const auto crc = ::crc32(::crc32(0, reinterpret_cast<const Bytef*>(other.data()), 12),
                           reinterpret_cast<const Bytef*>(other.data()) + 16, 48);
  for (unsigned i = 0; i < 4; ++i) other[12 + i] = static_cast<char>(crc >> (8 * i));
  write_file(segment_path(directory_.path()), other);
  const auto recovery = recover_journals(directory_.path());
  ASSERT_FALSE(recovery.has_value());
  EXPECT_NE(recovery.error().message.find("another version"), std::string::npos);
}

TEST_F(JournalRecovery, ASegmentUnderAForeignNameGivesNothing) {
  write_file(segment_path(directory_.path(), 2), made());
  const Recovered all = recover(directory_.path());
  EXPECT_TRUE(all.events.empty());
  EXPECT_GT(all.report.torn_bytes, 0U);
}

TEST_F(JournalRecovery, ForeignFilesAreLeftAlone) {
  write_file(directory_.path() + "/journal/core-x", "");
  write_file(directory_.path() + "/journal/notes", "");
  write_file(journal::core_directory(directory_.path(), 0) + "/1.log", made());
  EXPECT_EQ(recover(directory_.path()).report.segments, 0U);
}

// A batch and its segment written by hand.
struct Hand {
  std::string bytes;
  explicit Hand(const journal::SegmentHead& head) : bytes(8 * kBlock, '\0') {
    journal::write_head(std::as_writable_bytes(std::span(bytes)), head);
  }
  void put(journal::BatchHead head, const std::vector<chat::Event>& events) {
    std::string batch(journal::kBatchHeadBytes, '\0');
    for (const chat::Event& event : events) {
      const std::size_t at = batch.size();
      batch.resize(at + journal::bytes_of(event));
      journal::write_record(std::as_writable_bytes(std::span(batch)).subspan(at), event);
    }
    journal::write_head(std::as_writable_bytes(std::span(batch)), head);
    bytes.replace(head.offset, batch.size(), batch);
  }
};

TEST_F(JournalRecovery, TheSameSeqTwiceIsNamedAndTheFirstKept) {
  chat::Event other = make_event(1, 2, "other");
  other.id = {5};
  Hand hand({.segment = 1, .run = 1, .first_batch = 1});
  hand.put({.number = 1, .segment = 1, .run = 1, .offset = kBlock, .records = 2}, {make_event(1, 1), make_event(1, 2)});
  hand.put(
      {.number = 2, .previous = 1, .previous_segment = 1, .segment = 1, .run = 1, .offset = 2 * kBlock, .records = 3},
      {make_event(1, 2), other, make_event(1, 3)});
  const Recovered all = recover_from(hand.bytes);
  EXPECT_EQ(all.seqs(1), (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(all.events[1].body.view(), make_event(1, 2).body.view());
  EXPECT_EQ(all.report.repeated, 1U);
  ASSERT_EQ(all.report.damages_found, 1U);
  EXPECT_NE(all.report.damages[0].what.find("seq 2 of event 5"), std::string::npos);
}

TEST_F(JournalRecovery, ANewEpochMayStartAnywhere) {
  chat::Event later = make_event(1, 2);
  later.epoch = 2;
  Hand hand({.segment = 1, .run = 1, .first_batch = 1});
  hand.put({.number = 1, .segment = 1, .run = 1, .offset = kBlock, .records = 3},
           {make_event(1, 1), make_event(1, 2), later});
  const Recovered all = recover_from(hand.bytes);
  EXPECT_EQ(all.events.size(), 3U);
  EXPECT_EQ(all.report.damages_found + all.report.gaps_found + all.report.repeated, 0U);
  EXPECT_EQ(all.report.rooms.at({1}).epoch, 2U);
}

// What the segment behind says was committed decides between torn and damaged.
TEST_F(JournalRecovery, TheNextSegmentSaysWhatWasCommitted) {
  for (const std::uint64_t committed : {4U, 5U}) {
    std::string first = made();
    first[offset_of(5) + 80] ^= 1;
    Hand second({.segment = 2, .run = 2, .first_batch = 7, .previous = committed, .previous_segment = 1});
    second.put({.number = 7,
                .previous = committed,
                .previous_segment = 1,
                .segment = 2,
                .run = 2,
                .offset = kBlock,
                .records = 1},
               {make_event(2, 1)});
    write_file(segment_path(directory_.path(), 2), second.bytes);
    const Recovered all = recover_from(first);
    EXPECT_EQ(all.events.size(), 13U);
    EXPECT_EQ(all.report.damages_found, committed - 4);
    EXPECT_EQ(all.report.torn_bytes > 0, committed == 4);
    if (committed == 5) {
      EXPECT_EQ(all.report.damages[0].offset, offset_of(5));
      EXPECT_EQ(all.report.damages[0].first_batch, 5U);
      EXPECT_EQ(all.report.damages[0].last_batch, 5U);
    }
  }
}

TEST_F(JournalRecovery, AMissingSegmentIsNamed) {
  Hand third({.segment = 3, .run = 1, .first_batch = 9, .previous = 8, .previous_segment = 2});
  third.put({.number = 9, .previous = 8, .previous_segment = 2, .segment = 3, .run = 1, .offset = kBlock, .records = 1},
            {make_event(2, 1)});
  write_file(segment_path(directory_.path(), 3), third.bytes);
  const Recovered all = recover_from(made());
  EXPECT_EQ(all.events.size(), 16U);
  ASSERT_EQ(all.report.damages_found, 1U);
  EXPECT_EQ(all.report.damages[0].first_batch, 6U);
  EXPECT_EQ(all.report.damages[0].last_batch, 8U);
  EXPECT_NE(all.report.damages[0].what.find("missing"), std::string::npos);
}

TEST_F(JournalRecovery, NewNumbersAreAboveAllThatWereUsed) {
  write_file(segment_path(directory_.path()), made());
  write_file(segment_path(directory_.path(), 2), std::string(4 * kBlock, '\0'));
  fs::create_directories(journal::core_directory(directory_.path(), 3));
  Hand other({.segment = 9, .run = 6, .first_batch = 40, .previous = 30, .previous_segment = 8});
  other.put(
      {.number = 40, .previous = 30, .previous_segment = 8, .segment = 9, .run = 6, .offset = kBlock, .records = 1},
      {make_event(2, 1)});
  write_file(segment_path(directory_.path(), 9, 3), other.bytes);
  auto recovery = recover_journals(directory_.path());
  ASSERT_TRUE(recovery.has_value());
  EXPECT_EQ(read_all(**recovery).report.damages_found, 0U);
  const JournalStart first = (*recovery)->start_of(0);
  EXPECT_EQ(first.segment, 3U);
  EXPECT_GT(first.batch, 5U);
  EXPECT_EQ(first.previous, 5U);
  EXPECT_EQ(first.previous_segment, 1U);
  EXPECT_EQ(first.run, 7U);
  const JournalStart fourth = (*recovery)->start_of(3);
  EXPECT_EQ(fourth.segment, 10U);
  EXPECT_GT(fourth.batch, 40U);
  EXPECT_EQ((*recovery)->start_of(1).segment, 1U);
}

// Whatever is done to a journal: recovery ends, gives only events that were committed, each room in order, and every loss shows in the report.
TEST_F(JournalRecovery, RandomCorruptionNeverInventsAndNeverCrashes) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::string bytes = made();
    for (unsigned changes = 1 + random() % 20; changes > 0; --changes) {
      const std::size_t from = random() % (7 * kBlock);
      switch (random() % 4) {
        case 0:
          bytes[from] = static_cast<char>(random());
          break;
        case 1:
          std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(from), random() % 600,
                      static_cast<char>(random() % 2 * random()));
          break;
        case 2:  // blocks in the wrong place
          bytes.replace(random() % 7 * kBlock, kBlock, bytes.substr(random() % 7 * kBlock, kBlock));
          break;
        default:
          bytes.replace(from, 64, bytes.substr(random() % (7 * kBlock), 64));
          break;
      }
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    const Recovered all = recover_from(bytes);
    std::uint64_t last = 0;
    for (const chat::Event& event : all.events) {
      EXPECT_TRUE(same(event, make_event(1, event.seq))) << seed;
      EXPECT_GT(event.seq, last) << seed;
      last = event.seq;
    }
    const bool hole = all.events.size() < last;
    EXPECT_TRUE(!hole || all.report.damages_found > 0) << seed;
  }
}

}  // namespace
}  // namespace ringline::backend::test
