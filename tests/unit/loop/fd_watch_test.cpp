#include "ringline/loop/fd_watch.hpp"

#include <fcntl.h>
#include <poll.h>

#include <optional>

#include "support.hpp"

namespace ringline::loop::test {
namespace {

struct Pipe {
  Pipe() {
    std::array<int, 2> both{};
    if (::pipe2(both.data(), O_CLOEXEC | O_NONBLOCK) != 0) std::abort();
    out = both[0];
    in = both[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    ::close(in);
    if (out >= 0) ::close(out);
  }
  int in;
  int out;
};

bool close_and_join(Ring& ring, FdWatch& watch) {
  bool closed = false;
  watch.close([&] { closed = true; });
  return run_until(ring, [&] { return closed; });
}

TEST(FdWatch, TellsAsLongAsThereIsSomething) {
  auto ring = open_ring();
  Pipe pipe;
  int told = 0;
  FdWatch watch(*ring, [&](unsigned events) {
    EXPECT_NE(events & POLLIN, 0U);
    char byte = 0;
    if (++told % 2 == 0) EXPECT_EQ(::read(pipe.out, &byte, 1), 1);  // every other time only
  });
  watch.watch({pipe.out}, POLLIN);
  ASSERT_EQ(::write(pipe.in, "abc", 3), 3);
  ASSERT_TRUE(run_until(*ring, [&] { return told == 6; }));
  ring->enter(true, base::monotonic_ns() + 20'000'000);
  ring->reap();
  EXPECT_EQ(told, 6);
  EXPECT_TRUE(close_and_join(*ring, watch));
}

TEST(FdWatch, WhatIsWatchedMayChangeAtAnyTime) {
  auto ring = open_ring();
  Pipe one;
  Pipe other;
  std::vector<unsigned> told;
  std::optional<FdWatch> watch;
  watch.emplace(*ring, [&](unsigned events) {
    told.push_back(events);
    watch->watch({}, 0);
  });
  watch->watch({one.out}, POLLIN);
  ring->enter(false, 0);
  watch->watch({other.in}, POLLOUT);  // while the first is in the kernel
  ASSERT_TRUE(run_until(*ring, [&] { return told.size() == 1; }));
  EXPECT_EQ(told[0], static_cast<unsigned>(POLLOUT));
  watch->watch({one.out}, POLLIN);
  ASSERT_EQ(::write(one.in, "x", 1), 1);
  ASSERT_TRUE(run_until(*ring, [&] { return told.size() == 2; }));
  EXPECT_EQ(told[1], static_cast<unsigned>(POLLIN));
  EXPECT_EQ(ring->in_kernel(), 0U);
  bool closed = false;
  watch->close([&] {
    closed = true;
    watch.reset();  // it may go in its own last word
  });
  EXPECT_TRUE(closed);
}

TEST(FdWatch, TheLibraryMayCloseItsDescriptorFirst) {
  auto ring = open_ring();
  auto pipe = std::make_unique<Pipe>();
  FdWatch watch(*ring, [](unsigned) {});
  watch.watch({pipe->out}, POLLIN);
  ring->enter(false, 0);
  pipe.reset();
  EXPECT_TRUE(close_and_join(*ring, watch));
}

TEST(FdWatch, ClosedInsideItsCallback) {
  auto ring = open_ring();
  Pipe pipe;
  bool closed = false;
  std::optional<FdWatch> watch;
  watch.emplace(*ring, [&](unsigned) {
    watch->watch({pipe.out}, POLLIN);
    watch->close([&] {
      closed = true;
      watch.reset();
    });
    EXPECT_FALSE(closed);
  });
  watch->watch({pipe.in}, POLLOUT);
  EXPECT_TRUE(run_until(*ring, [&] { return closed; }));
  EXPECT_EQ(ring->in_kernel(), 0U);
}

TEST(FdWatch, WhatCannotBePolledIsToldOnceAsAnError) {
  auto ring = open_ring();
  std::vector<unsigned> told;
  FdWatch watch(*ring, [&](unsigned events) { told.push_back(events); });
  watch.watch({19'999}, POLLIN);
  ASSERT_TRUE(run_until(*ring, [&] { return !told.empty(); }));
  EXPECT_EQ(told, std::vector<unsigned>{POLLERR});
  EXPECT_EQ(ring->in_kernel(), 0U);
  EXPECT_TRUE(close_and_join(*ring, watch));
}

}  // namespace
}  // namespace ringline::loop::test
