// Blob and Chunk: bytes that several owners hold.
#include "ringline/base/blob.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "ringline/base/chunk.hpp"

namespace ringline::base {
namespace {

TEST(Blob, holds_a_copy) {
  std::string text = "hello";
  const Blob blob = Blob::copy_of(text);
  text = "other";
  EXPECT_EQ(blob.view(), "hello");
  EXPECT_EQ(blob.size(), 5U);
  EXPECT_TRUE(blob);
}

TEST(Blob, empty_ones_are_told_apart) {
  EXPECT_FALSE(Blob());
  EXPECT_TRUE(Blob::copy_of(""));
  EXPECT_EQ(Blob::copy_of("").view(), "");
  EXPECT_EQ(Blob().view(), "");
}

TEST(Blob, copies_share_and_moves_leave_nothing) {
  Blob first = Blob::copy_of("x");
  Blob second = first;
  EXPECT_EQ(first.view().data(), second.view().data());
  const Blob third = std::move(first);
  EXPECT_FALSE(first);  // NOLINT: what a move leaves is promised
  second = third;
  EXPECT_EQ(second.view(), "x");
}

TEST(Blob, the_last_thread_frees_it) {
  const Blob blob = Blob::copy_of(std::string(1000, 'b'));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([blob] {
      for (int round = 0; round < 1000; ++round) EXPECT_EQ(Blob(blob).size(), 1000U);
    });
}

TEST(Chunk, is_used_again_with_its_capacity) {
  ChunkPool pool;
  const char* first = nullptr;
  {
    ChunkRef chunk = pool.take();
    chunk->bytes.assign(500, 'c');
    first = chunk->bytes.data();
    const ChunkRef other = chunk;
    EXPECT_TRUE(chunk.shared());
    EXPECT_EQ(pool.in_use(), 1U);
  }
  EXPECT_EQ(pool.in_use(), 0U);
  ChunkRef again = pool.take();
  EXPECT_TRUE(again->bytes.empty());
  EXPECT_EQ(again->bytes.data(), first);
}

TEST(Chunk, one_that_grew_is_not_kept) {
  ChunkPool pool;
  pool.take()->bytes.assign(ChunkPool::kKeptBytesMax + 1, 'c');
  EXPECT_LE(pool.take()->bytes.capacity(), ChunkPool::kKeptBytesMax);
}

TEST(Chunk, those_that_are_kept_are_bounded_together) {
  constexpr std::size_t kEach = ChunkPool::kKeptBytesMax;
  constexpr std::size_t kCrowd = 2 * ChunkPool::kKeptBytesOfAll / kEach;
  ChunkPool pool;
  const auto crowd = [&pool] {
    std::vector<ChunkRef> taken;
    while (taken.size() < kCrowd) taken.push_back(pool.take());
    return taken;
  };
  for (int round = 0; round < 2; ++round)
    for (ChunkRef& chunk : crowd()) chunk->bytes.resize(kEach);
  std::size_t kept = 0;
  for (const ChunkRef& chunk : crowd()) kept += chunk->bytes.capacity();
  EXPECT_GT(kept, ChunkPool::kKeptBytesOfAll / 2);
  EXPECT_LE(kept, ChunkPool::kKeptBytesOfAll + kCrowd * std::string().capacity());
}

}  // namespace
}  // namespace ringline::base
