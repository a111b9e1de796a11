// The load tool's judgement: it must see every kind of fault, and none where there is none.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "frames.hpp"
#include "histogram.hpp"
#include "ledger.hpp"
#include "marker.hpp"
#include "profile.hpp"

namespace ringline::bench {
namespace {

constexpr std::uint32_t kRun = 7;

class LedgerTest : public testing::Test {
 protected:
  // Two rooms of three.
  Ledger ledger{kRun, 6, 3};
  std::int64_t seq = 100;

  Marker sent(std::uint32_t sender) { return ledger.next_message(sender, 0); }
  void got(std::uint32_t reader, const Marker& marker, std::int64_t at_seq = -1) {
    ledger.on_delivery(reader, marker, at_seq, 1, 1);
  }
  void all_get(const Marker& marker) {
    for (std::uint32_t i = 0; i < 3; ++i) got(marker.room * 3 + i, marker);
  }
};

TEST_F(LedgerTest, OneOrderForAllIsClean) {
  for (int i = 0; i < 1000; ++i) all_get(sent(static_cast<std::uint32_t>(i % 6)));
  EXPECT_EQ(ledger.totals().outstanding(), 0);
  EXPECT_EQ(ledger.totals().wrong(), 0U);
  EXPECT_EQ(ledger.totals().deliveries, 3000U);
}

TEST_F(LedgerTest, MembersMayBeFarApart) {
  std::vector<Marker> markers;
  for (std::uint32_t i = 0; i < 5000; ++i) markers.push_back(sent(i % 3));
  for (std::uint32_t reader = 0; reader < 3; ++reader) {
    for (const Marker& marker : markers) got(reader, marker);
  }
  EXPECT_EQ(ledger.totals().outstanding(), 0);
  EXPECT_EQ(ledger.totals().wrong(), 0U);
}

TEST_F(LedgerTest, LossIsOutstanding) {
  const Marker first = sent(0);
  const Marker second = sent(1);
  all_get(first);
  got(0, second);
  got(2, second);
  EXPECT_EQ(ledger.totals().outstanding(), 1);
  EXPECT_EQ(ledger.totals().wrong(), 0U);
}

TEST_F(LedgerTest, LossInTheMiddleIsNotForgottenByWhatFollows) {
  const Marker first = sent(0);
  const Marker second = sent(1);
  got(0, first);
  got(0, second);
  got(1, second);
  EXPECT_EQ(ledger.totals().outstanding(), 3);
  got(1, first);
  EXPECT_EQ(ledger.totals().outstanding(), 2);
  EXPECT_EQ(ledger.totals().out_of_order, 1U);
}

TEST_F(LedgerTest, DuplicatesAreSeen) {
  const Marker first = sent(0);
  all_get(first);
  got(0, first);
  EXPECT_EQ(ledger.totals().duplicates, 1U);
  const Marker second = sent(0);
  all_get(second);
  got(1, second);
  got(1, first);
  EXPECT_EQ(ledger.totals().duplicates, 3U);
  EXPECT_EQ(ledger.totals().outstanding(), 0);
}

TEST_F(LedgerTest, ADuplicateDoesNotHideALoss) {
  const Marker first = sent(0);
  got(0, first);
  got(1, first);
  got(1, first);
  EXPECT_EQ(ledger.totals().outstanding(), 1);
  EXPECT_EQ(ledger.totals().duplicates, 1U);
}

TEST_F(LedgerTest, TwoOrdersAreSeen) {
  const Marker first = sent(0);
  const Marker second = sent(1);
  got(0, first);
  got(0, second);
  got(1, second);
  got(1, first);
  EXPECT_EQ(ledger.totals().out_of_order, 1U);
}

TEST_F(LedgerTest, ASendersMessagesOutOfTheirOrderAreSeenByTheFirstReceiverToo) {
  const Marker first = sent(0);
  const Marker second = sent(0);
  got(0, second);
  got(0, first);
  EXPECT_EQ(ledger.totals().out_of_order, 1U);
}

TEST_F(LedgerTest, WhatTheFirstReceiverMissedIsAnotherOrder) {
  const Marker first = sent(0);
  const Marker second = sent(1);
  const Marker third = sent(2);
  got(0, first);
  got(0, third);
  got(1, first);
  got(1, second);
  got(1, third);
  EXPECT_GE(ledger.totals().out_of_order, 1U);
}

TEST_F(LedgerTest, GapsInSeqAreSeen) {
  ledger.on_event_seq(0, 10);
  got(0, sent(0), 11);
  got(0, sent(0), 13);
  EXPECT_EQ(ledger.totals().seq_gaps, 1U);
  got(0, sent(0), 13);
  EXPECT_EQ(ledger.totals().seq_gaps, 2U);
}

TEST_F(LedgerTest, AnothersRoomOrRunIsMisdelivered) {
  got(5, sent(0));
  Marker stranger = sent(0);
  stranger.run = kRun + 1;
  got(0, stranger);
  EXPECT_EQ(ledger.totals().misdelivered, 2U);
  EXPECT_EQ(ledger.totals().deliveries, 0U);
}

TEST_F(LedgerTest, WhoComesBackGoesOnFromTheHighestSeqThatHeSaw) {
  EXPECT_EQ(ledger.go_on_from(0, 10), 10);
  got(0, sent(0), 11);
  EXPECT_EQ(ledger.go_on_from(0, 10), 11);
  got(0, sent(0), 12);
  EXPECT_EQ(ledger.totals().seq_gaps, 0U);
  got(0, sent(0), 14);
  EXPECT_EQ(ledger.totals().seq_gaps, 1U);
}

TEST_F(LedgerTest, WhatIsOnlyAnsweredIsExpectedOfNobody) {
  static_cast<void>(ledger.next_message(0, 0, false));
  ledger.on_asked();
  EXPECT_EQ(ledger.totals().sent, 2U);
  EXPECT_EQ(ledger.totals().outstanding(), 0);
}

TEST(ProfileTest, FillsBlanksAndLeavesOtherBraces) {
  std::string out = ">";
  fill(out, R"({"to":"{room}","n":{id},"text":"{text}","size":{size},"x":{})", {.room = "r", .id = 7, .text = "hello"});
  EXPECT_EQ(out, R"(>{"to":"r","n":7,"text":"hello","size":5,"x":{})");
  out.clear();
  fill(out, "no blank {", {});
  EXPECT_EQ(out, "no blank {");
}

class ProfileFile : public testing::Test {
 protected:
  std::string path = testing::TempDir() + "profile-" + std::to_string(::getpid()) + ".json";
  void TearDown() override { std::remove(path.c_str()); }
  base::Result<Profile> load(std::string_view text) const {
    std::ofstream(path) << text;
    return load_profile(path);
  }
};

TEST_F(ProfileFile, IsReadWithWhatElseThePeerHas) {
  const auto profile = load(
      R"({"name":"x","start":["x"],"dialect":{"join":"j {room}","joined":"J","send":"s {id} {text}","answer":"A "}})");
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->path, "/");
  EXPECT_EQ(profile->joined, "J");
  EXPECT_FALSE(profile->binary);
}

TEST_F(ProfileFile, SaysWhichFieldIsWrong) {
  const auto why = [&](std::string_view text) {
    const auto profile = load(text);
    return profile ? std::string("nothing") : profile.error().message;
  };
  EXPECT_NE(why("nonsense").find("not a JSON object"), std::string::npos);
  EXPECT_NE(why(R"({"send":"{text}","binary":1})").find("dialect.binary"), std::string::npos);
  EXPECT_NE(why(R"({"send":"{text}","sned":""})").find("not known"), std::string::npos);
  EXPECT_NE(why(R"({"send":"x"})").find("no {text}"), std::string::npos);
  EXPECT_NE(why(R"({"send":"{text}","answer":"A"})").find("no {id}"), std::string::npos);
  EXPECT_NE(why(R"({"send":"{text}","echo":true})").find("echo"), std::string::npos);
}

TEST(MarkerTest, IsFoundWhereItStands) {
  const Marker marker{
      .run = 0xdeadbeef, .room = 3, .sender = 19'899, .counter = 0xffffffff, .intended_ns = 123'456'789'012'345};
  std::string frame = R"({"event":"message_created","data":{"text":")";
  append_text(frame, marker, 200);
  frame += R"("}})";
  Marker found;
  ASSERT_EQ(find_marker(frame, found), Found::marker);
  EXPECT_EQ(found.run, marker.run);
  EXPECT_EQ(found.room, marker.room);
  EXPECT_EQ(found.key(), marker.key());
  EXPECT_EQ(found.intended_ns, marker.intended_ns);
  EXPECT_EQ(find_marker("{}", found), Found::nothing);
  EXPECT_EQ(find_marker("~12", found), Found::damaged);
  for (std::size_t digit = 1; digit <= 48; ++digit) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = frame;
      changed[frame.find('~') + digit] = static_cast<char>(byte);
      const bool good = std::string_view("0123456789abcdef").contains(static_cast<char>(byte));
      EXPECT_EQ(find_marker(changed, found), good ? Found::marker : Found::damaged) << digit << " " << byte;
    }
  }
}

TEST(FramesTest, AreTakenCutAtEveryByte) {
  std::string bytes;
  const std::vector<std::size_t> sizes = {0, 1, 125, 126, 127, 0xffff, 0x10000};
  for (const std::size_t size : sizes) protocol::append_frame(bytes, Opcode::text, std::string(size, 'x'));
  std::string_view rest = bytes;
  for (const std::size_t size : sizes) {
    const std::string_view before = rest;
    Frame frame;
    ASSERT_TRUE(take_frame(rest, frame));
    EXPECT_TRUE(frame.whole);
    EXPECT_EQ(frame.payload.size(), size);
    const std::size_t length = before.size() - rest.size();
    for (std::size_t cut = 0; cut < length; cut += cut < 16 ? 1 : 997) {
      std::string_view part = before.substr(0, cut);
      EXPECT_FALSE(take_frame(part, frame));
      EXPECT_EQ(part.size(), cut);
    }
  }
  EXPECT_TRUE(rest.empty());
}

TEST(HistogramTest, PercentilesAreWithinAPercent) {
  Histogram histogram;
  EXPECT_EQ(histogram.percentile(0.99), 0);
  std::mt19937_64 random(1);
  std::vector<std::int64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::int64_t>(random() >> (random() % 40 + 24)));
    histogram.record(values.back());
  }
  std::ranges::sort(values);
  for (const double share : {0.5, 0.9, 0.99, 0.999}) {
    const auto exact =
        static_cast<double>(values[static_cast<std::size_t>(share * static_cast<double>(values.size())) - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.percentile(share)), exact, exact * 0.01 + 1);
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.percentile(1), values.back());
}

}  // namespace
}  // namespace ringline::bench
