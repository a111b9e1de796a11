// Ids: order, place, text.
#include "ringline/base/ids.hpp"

#include <gtest/gtest.h>

namespace ringline::base {
namespace {

constexpr std::int64_t kNow = kIdEpochMs + 200'000'000'000;

TEST(Ids, grow_whatever_the_clock_does) {
  IdMaker maker(3, 5);
  std::uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {  // more than the counter holds in one millisecond
    const std::uint64_t id = maker.next(kNow);
    EXPECT_GT(id, last);
    last = id;
  }
  EXPECT_GT(maker.next(kNow - 10'000), last);
}

TEST(Ids, say_where_and_when_they_were_made) {
  IdMaker maker(200, 63);
  const ConnectionId id{maker.next(kNow)};
  EXPECT_EQ(id.host(), 200U);
  EXPECT_EQ(id.core(), 63U);
  EXPECT_EQ(made_at_ms(id.value), kNow);
}

TEST(Ids, start_above_what_was_found_on_disk) {
  IdMaker before(0, 1);
  const std::uint64_t found = before.next(kNow + 60'000);
  IdMaker after(0, 0);
  after.not_before(found);
  EXPECT_GT(after.next(kNow), found);
}

TEST(Ids, text_goes_there_and_back) {
  const UserId id{1234567890123456789};
  EXPECT_EQ(UserId::parse(id.text()), id);
  EXPECT_EQ(UserId::parse("9223372036854775807")->value, 9223372036854775807U);
}

TEST(Ids, other_texts_are_none) {
  for (const char* text :
       {"", "0", "01", "-1", "+1", " 1", "1 ", "1x", "x", "9223372036854775808", "99999999999999999999", "1.0"})
    EXPECT_FALSE(UserId::parse(text)) << text;
}

TEST(Ids, homes_are_spread) {
  constexpr unsigned kCores = 8;
  std::array<int, kCores> rooms{};
  IdMaker maker(0, 0);
  for (int i = 0; i < 8000; ++i) ++rooms.at(home_core(RoomId{maker.next(kNow + i)}, kCores));
  for (const int count : rooms) EXPECT_NEAR(count, 1000, 150);
}

}  // namespace
}  // namespace ringline::base
