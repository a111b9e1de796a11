// Random numbers: only that they are there, differ, and have the form promised.
#include "ringline/base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace ringline::base {
namespace {

TEST(Random, fills_every_byte) {
  std::vector<std::byte> bytes(100'000);
  random_bytes(bytes);
  EXPECT_LT(std::ranges::count(bytes, std::byte{0}), 1000);
  random_bytes({});
}

TEST(Random, numbers_differ) {
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 1000; ++i) numbers.insert(random_u64());
  EXPECT_EQ(numbers.size(), 1000U);
}

TEST(Random, tokens_are_base64url_without_padding) {
  EXPECT_EQ(random_token(0), "");
  EXPECT_EQ(random_token(1).size(), 2U);
  EXPECT_EQ(random_token(2).size(), 3U);
  EXPECT_EQ(random_token(3).size(), 4U);
  const std::string token = random_token(32);
  EXPECT_EQ(token.size(), 43U);
  EXPECT_EQ(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            std::string::npos);
  EXPECT_NE(token, random_token(32));
}

}  // namespace
}  // namespace ringline::base
