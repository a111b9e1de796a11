// Few: one, none, and many.
#include "ringline/base/few.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace ringline::base {
namespace {

template <class T>
std::vector<T> all(const Few<T>& few) {
  return {few.begin(), few.end()};
}

TEST(Few, costs_eight_bytes_beside_one) { EXPECT_EQ(sizeof(Few<std::uint64_t>), 16U); }

TEST(Few, grows_from_none_to_many_and_back) {
  Few<int> few;
  EXPECT_TRUE(few.empty());
  std::vector<int> model;
  for (int i = 0; i < 20; ++i) {
    few.push_back(i);
    model.push_back(i);
    EXPECT_EQ(all(few), model);
    EXPECT_EQ(few.back(), i);
  }
  EXPECT_EQ(few.erase(7), 1U);
  EXPECT_EQ(few.erase(7), 0U);
  EXPECT_EQ(few.erase_if([](int value) { return value > 2; }), 16U);
  EXPECT_EQ(all(few), (std::vector{0, 1, 2}));
  few.pop_back();
  few[0] = 5;
  EXPECT_EQ(all(few), (std::vector{5, 1}));
}

TEST(Few, is_copied_and_moved) {
  for (int count : {0, 1, 2, 9}) {
    Few<int> few;
    for (int i = 0; i < count; ++i) few.push_back(i);
    Few<int> copy = few;
    EXPECT_EQ(all(copy), all(few));
    copy.push_back(100);
    EXPECT_EQ(few.size(), static_cast<std::size_t>(count));
    Few<int> moved = std::move(copy);
    EXPECT_EQ(moved.size(), static_cast<std::size_t>(count) + 1);
    EXPECT_EQ(moved.back(), 100);
    moved = few;
    EXPECT_EQ(all(moved), all(few));
  }
}

}  // namespace
}  // namespace ringline::base
