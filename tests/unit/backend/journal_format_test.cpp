// The bytes on disk are a promise: a golden copy of each kind, made by hand from the description in journal_format.hpp.
#include "ringline/backend/journal_format.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace ringline::backend::journal::test {
namespace {

std::string hex(std::span<const std::byte> bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

const chat::Event kEvent{.room = {0x0102030405060708},
                         .seq = 9,
                         .epoch = 2,
                         .id = {0x1112131415161718},
                         .at_ms = -1,
                         .actor = {7},
                         .kind = chat::EventKind::message_edited,
                         .body = base::Blob::copy_of("{}")};

std::vector<std::byte> batch_of_both() {
  std::vector<std::byte> bytes(kBatchHeadBytes + bytes_of(kEvent) + kVoidBytes);
  const std::span all(bytes);
  write_record(all.subspan(kBatchHeadBytes, bytes_of(kEvent)), kEvent);
  write_record(all.last(kVoidBytes), VoidRecord{.segment = 3, .batch = 4, .offset = 8192});
  write_head(all, BatchHead{.number = 5,
                            .previous = 3,
                            .previous_segment = 2,
                            .segment = 6,
                            .run = 8,
                            .offset = 4096,
                            .core = 1,
                            .records = 2});
  return bytes;
}

TEST(JournalFormat, SegmentHeadIsTheSameForEver) {
  std::array<std::byte, kSegmentHeadBytes> bytes{};
  const SegmentHead head{.segment = 6, .run = 8, .first_batch = 5, .previous = 3, .previous_segment = 2, .core = 1};
  write_head(bytes, head);
  EXPECT_EQ(hex(bytes),
            "524c4a5345470001010000007beb687506000000000000000800000000000000050000000000000003000000000000000200000000"
            "0000000100000000100000");
  EXPECT_EQ(read_segment_head(bytes), head);
  EXPECT_FALSE(of_other_version(bytes));
}

TEST(JournalFormat, BatchIsTheSameForEver) {
  const auto bytes = batch_of_both();
  EXPECT_EQ(hex(bytes),
            "524c4a420ef3a6f3b95f0e895a00000005000000000000000300000000000000060000000000000008000000000000000010000000"
            "0000000100000002000000"
            "02000000000000003a000000010200000807060504030201090000000000000002000000000000001817161514131211ffffffffff"
            "ffffff0700000000000000"
            "7b7d2000000002000000030000000000000004000000000000000020000000000000");
}

TEST(JournalFormat, WhatIsWrittenIsReadBack) {
  const auto bytes = batch_of_both();
  const auto head = read_batch_head(bytes);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->number, 5U);
  EXPECT_EQ(head->records, 2U);
  auto payload = std::span(bytes).subspan(kBatchHeadBytes);
  ASSERT_TRUE(payload_intact(*head, payload));
  const auto first = take_record(payload);
  ASSERT_TRUE(first && std::holds_alternative<chat::Event>(*first));
  const auto& event = std::get<chat::Event>(*first);
  EXPECT_EQ(event.room, kEvent.room);
  EXPECT_EQ(event.at_ms, -1);
  EXPECT_EQ(event.kind, kEvent.kind);
  EXPECT_EQ(event.body.view(), "{}");
  const auto second = take_record(payload);
  ASSERT_TRUE(second && std::holds_alternative<VoidRecord>(*second));
  EXPECT_EQ(std::get<VoidRecord>(*second), (VoidRecord{3, 4, 8192}));
  EXPECT_TRUE(payload.empty());
}

TEST(JournalFormat, EveryFlippedBitIsNoticed) {
  const auto good = batch_of_both();
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto head = read_batch_head(bytes);
    EXPECT_FALSE(head && payload_intact(*head, std::span<const std::byte>(bytes).subspan(kBatchHeadBytes))) << bit;
  }
}

TEST(JournalFormat, EveryRecordThatIsCutIsRefused) {
  const auto bytes = batch_of_both();
  for (std::size_t size = 0; size < bytes_of(kEvent); ++size) {
    auto payload = std::span(bytes).subspan(kBatchHeadBytes, size);
    EXPECT_FALSE(take_record(payload).has_value()) << size;
  }
}

TEST(JournalFormat, RecordsOfUnknownFormAreRefused) {
  for (const auto& [at, value] : {std::pair{4U, 3U}, {4U, 0U}, {5U, 200U}, {0U, 7U}, {0U, 55U}}) {
    auto bytes = batch_of_both();
    bytes[kBatchHeadBytes + at] = static_cast<std::byte>(value);
    auto payload = std::span<const std::byte>(bytes).subspan(kBatchHeadBytes);
    EXPECT_FALSE(take_record(payload).has_value()) << at << ' ' << value;
  }
}

TEST(JournalFormat, AnotherVersionIsNotDamage) {
  std::array<std::byte, kSegmentHeadBytes> bytes{};
  write_head(bytes, SegmentHead{.segment = 1});
  bytes[8] = std::byte{2};
  EXPECT_FALSE(of_other_version(bytes));  // a flipped bit is
  const std::array<std::byte, 4> checksum{std::byte{0xd2}, std::byte{0x7b}, std::byte{0x1f}, std::byte{0x96}};
  std::ranges::copy(checksum, bytes.begin() + 12);
  EXPECT_FALSE(read_segment_head(bytes).has_value());
  EXPECT_TRUE(of_other_version(bytes));
}

TEST(JournalFormat, Names) {
  EXPECT_EQ(segment_name(1), "00000000000000000001.log");
  EXPECT_EQ(segment_name(UINT64_MAX), "18446744073709551615.log");
  EXPECT_EQ(segment_number("00000000000000000042.log"), 42U);
  for (const char* wrong : {"", "1.log", "00000000000000000000.log", "0000000000000000000x.log",
                            "00000000000000000042.log.tmp", "99999999999999999999.log"})
    EXPECT_FALSE(segment_number(wrong).has_value()) << wrong;
  EXPECT_EQ(core_directory("data", 12), "data/journal/core-12");
}

}  // namespace
}  // namespace ringline::backend::journal::test
