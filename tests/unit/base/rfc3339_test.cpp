// Times: the text, and that the clocks run.
#include <gtest/gtest.h>

#include <limits>

#include "ringline/base/clock.hpp"

namespace ringline::base {
namespace {

TEST(Rfc3339, is_utc_with_milliseconds) {
  EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(rfc3339(1'769'903'999'123), "2026-01-31T23:59:59.123Z");
  EXPECT_EQ(rfc3339(1'709'164'800'000), "2024-02-29T00:00:00.000Z");
  std::string out = "at ";
  append_rfc3339(out, 1);
  EXPECT_EQ(out, "at 1970-01-01T00:00:00.001Z");
}

TEST(Rfc3339, goes_from_day_to_day_and_back) {
  constexpr std::int64_t kMidnight = 1'709'164'800'000;  // 2024-02-29
  constexpr std::int64_t kDay = 86'400'000;
  EXPECT_EQ(rfc3339(kMidnight), "2024-02-29T00:00:00.000Z");
  EXPECT_EQ(rfc3339(kMidnight + kDay - 1), "2024-02-29T23:59:59.999Z");
  EXPECT_EQ(rfc3339(kMidnight + kDay), "2024-03-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(kMidnight - 1), "2024-02-28T23:59:59.999Z");
  EXPECT_EQ(rfc3339(-kDay), "1969-12-31T00:00:00.000Z");
  EXPECT_EQ(rfc3339(-kDay - 1), "1969-12-30T23:59:59.999Z");
  EXPECT_EQ(rfc3339(kMidnight + 12 * 3'600'000 + 34 * 60'000 + 56'007), "2024-02-29T12:34:56.007Z");
}

TEST(Rfc3339, keeps_its_length_at_the_ends) {
  EXPECT_EQ(rfc3339(std::numeric_limits<std::int64_t>::max()), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(rfc3339(std::numeric_limits<std::int64_t>::min()), "0000-01-01T00:00:00.000Z");
}

TEST(Rfc3339, is_read_again) {
  for (std::int64_t ms :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'709'164'799'999}, std::int64_t{1'709'210'096'007}})
    EXPECT_EQ(parse_rfc3339(rfc3339(ms)), ms);
  for (std::string_view bad : {"", "2024-02-29T12:34:56Z", "2024-02-30T12:34:56.007Z", "2024-02-29 12:34:56.007Z",
                               "2024-02-29T12:34:56.007+", "2024-0x-29T12:34:56.007Z"})
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
}

TEST(Clock, runs) {
  EXPECT_GT(wall_ms(), 1'700'000'000'000);
  const std::int64_t before = monotonic_ns();
  EXPECT_GE(monotonic_ns(), before);
  EXPECT_GE(monotonic_ms(), before / 1'000'000);
}

}  // namespace
}  // namespace ringline::base
