// A thread's own descriptors, and rings that wake each other from different tables.
#include "ringline/loop/thread.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <atomic>
#include <barrier>
#include <thread>

#include "support.hpp"

namespace ringline::loop::test {
namespace {

bool is_open(Fd fd) { return ::fcntl(fd.value, F_GETFD) >= 0; }
Fd open_eventfd() { return Fd{::eventfd(0, EFD_CLOEXEC)}; }

// Restored at the end: the limit is the process's.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lower{.rlim_cur = limit, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(Thread, HasWhatItKeepsAndNothingElse) {
  if (!kOwnDescriptors) GTEST_SKIP() << "one table a process under TSan";
  const std::array files{open_eventfd(), open_eventfd(), open_eventfd(), open_eventfd()};
  std::thread([&] {
    ASSERT_TRUE(unshare_descriptors({files[2], files[0]}).has_value());
    EXPECT_TRUE(is_open(Fd{STDERR_FILENO}));
    EXPECT_TRUE(is_open(files[0]));
    EXPECT_FALSE(is_open(files[1]));
    EXPECT_TRUE(is_open(files[2]));
    EXPECT_FALSE(is_open(files[3]));
    EXPECT_EQ(::eventfd_write(files[2].value, 5), 0);
  }).join();
  eventfd_t value = 0;
  EXPECT_EQ(::eventfd_read(files[2].value, &value), 0);
  EXPECT_EQ(value, 5U) << "the number names the same file in both tables";
  for (const Fd file : files) {
    EXPECT_TRUE(is_open(file)) << "closed there, not here";
    ::close(file.value);
  }
}

TEST(Thread, WhatItOpensIsInItsTableOnly) {
  if (!kOwnDescriptors) GTEST_SKIP() << "one table a process under TSan";
  Fd theirs;
  std::barrier step(2);
  std::thread thread([&] {
    ASSERT_TRUE(unshare_descriptors({}).has_value());
    theirs = Fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 900)};
    step.arrive_and_wait();
    step.arrive_and_wait();
    EXPECT_TRUE(is_open(theirs));
  });
  step.arrive_and_wait();
  EXPECT_EQ(theirs, Fd{900});
  EXPECT_FALSE(is_open(theirs));
  step.arrive_and_wait();
  thread.join();
}

TEST(Thread, TheLimitCountsByTable) {
  if (!kOwnDescriptors) GTEST_SKIP() << "one table a process under TSan";
  constexpr unsigned kThreads = 4;
  constexpr unsigned kEach = 80;
  const DescriptorLimit limit(100);
  std::atomic<unsigned> opened{0};
  std::barrier all_open(kThreads);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      EXPECT_TRUE(unshare_descriptors({}).has_value());
      for (unsigned file = 0; file < kEach; ++file) opened += open_eventfd() ? 1 : 0;
      all_open.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(opened, kThreads * kEach);
}

TEST(Thread, RingsWakeEachOtherFromTablesOfTheirOwn) {
  std::unique_ptr<Ring> sleeper = prepare_ring();
  std::unique_ptr<Ring> waker = prepare_ring();
  const Ring& bell = *sleeper;
  std::vector<Fd> shared;
  for (const auto& ring : {std::cref(*sleeper), std::cref(*waker)})
    for (const Fd fd : ring.get().descriptors()) shared.push_back(fd);
  std::atomic<unsigned> woken{0};
  std::barrier step(2);
  std::thread thread([&] {
    ASSERT_TRUE(unshare_descriptors(shared).has_value());
    ASSERT_TRUE(sleeper->begin().has_value());
    step.arrive_and_wait();
    for (unsigned i = 0; i < 2; ++i) {
      sleeper->enter(true, base::monotonic_ns() + 10'000'000'000);
      woken += sleeper->reap();
      step.arrive_and_wait();
    }
    sleeper.reset();
  });
  std::thread other([&] {
    ASSERT_TRUE(unshare_descriptors(shared).has_value());
    ASSERT_TRUE(waker->begin().has_value());
    step.arrive_and_wait();
    waker->wake(bell);
    waker->enter(false, 0);
    step.arrive_and_wait();
    waker.reset();
    bell.wake_from_thread();
    step.arrive_and_wait();
  });
  thread.join();
  other.join();
  EXPECT_EQ(woken, 2U);
}

}  // namespace
}  // namespace ringline::loop::test
