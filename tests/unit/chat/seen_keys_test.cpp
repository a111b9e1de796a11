// "No" is certain for a day and more, "maybe" is mostly right.
#include "ringline/chat/seen_keys.hpp"

#include <gtest/gtest.h>

#include <set>

#include "ringline/base/ids.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::chat {
namespace {

constexpr std::int64_t kStart = 1'800'000'000'000;
constexpr std::int64_t kHour = 3600 * 1000;

TEST(SeenKeys, AreNeverDenied) {
  SeenKeys seen;
  EXPECT_FALSE(seen.maybe_seen(0));
  for (std::uint64_t key = 0; key < 200'000; ++key) seen.add(key, kStart);
  for (std::uint64_t key = 0; key < 200'000; ++key) ASSERT_TRUE(seen.maybe_seen(key));
}

TEST(SeenKeys, WrongMaybesAreFewAtTheBound) {
  SeenKeys seen;
  for (std::uint64_t key = 0; key < SeenKeys::kKeysMax; ++key) seen.add(base::mix(key), kStart);
  unsigned wrong = 0;
  for (std::uint64_t key = 0; key < 100'000; ++key) wrong += seen.maybe_seen(base::mix(key + (1ULL << 40)));
  EXPECT_LT(wrong, 2000U);
}

TEST(SeenKeys, AreKeptForADayAndForgottenAfterTwo) {
  SeenKeys seen;
  seen.add(1, kStart);
  seen.add(2, kStart + 23 * kHour);
  seen.add(3, kStart + 25 * kHour);  // begins the second generation
  seen.add(4, kStart + 47 * kHour);
  EXPECT_TRUE(seen.maybe_seen(1) && seen.maybe_seen(2) && seen.maybe_seen(3));
  seen.add(5, kStart + 49 * kHour);  // the third
  EXPECT_FALSE(seen.maybe_seen(1) || seen.maybe_seen(2));
  EXPECT_TRUE(seen.maybe_seen(3) && seen.maybe_seen(4) && seen.maybe_seen(5));
}

TEST(SeenKeys, AClockThatJumpsForgetsNothingRecent) {
  SeenKeys seen;
  seen.add(1, kStart);
  seen.add(2, kStart + 1000 * 24 * kHour);
  EXPECT_TRUE(seen.maybe_seen(1));
  seen.add(3, kStart);
  EXPECT_TRUE(seen.maybe_seen(1) && seen.maybe_seen(2) && seen.maybe_seen(3));
}

TEST(ClientKey, DiffersBySenderAndByEveryByte) {
  std::set<std::uint64_t> keys;
  std::string id;
  for (int length = 0; length <= 64; ++length, id += 'a') keys.insert(client_key(UserId{7}, id));
  for (std::size_t i = 0; i < id.size(); ++i) {
    std::string changed = id;
    changed[i] = 'b';
    keys.insert(client_key(UserId{7}, changed));
  }
  for (std::uint64_t user = 1; user < 7; ++user) keys.insert(client_key(UserId{user}, id));
  EXPECT_EQ(keys.size(), 65U + 65U + 6U);
  EXPECT_FALSE(keys.contains(0));
}

}  // namespace
}  // namespace ringline::chat
