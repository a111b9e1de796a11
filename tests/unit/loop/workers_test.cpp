// Workers: jobs run elsewhere, their waiters go on on their own loop.
#include "ringline/loop/workers.hpp"

#include <latch>

#include "cores.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::loop::test {
namespace {

std::string thread_name() {
  std::array<char, 16> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  return name.data();
}

TEST(Workers, RunsWhatIsQueuedBeforeItGoes) {
  std::atomic<int> ran{0};
  {
    Workers workers(3, "test-worker", 1000);
    for (int i = 0; i < 3; ++i) workers.submit([] { std::this_thread::sleep_for(20ms); });
    for (int i = 0; i < 500; ++i) EXPECT_TRUE(workers.submit([&] { ++ran; }));
  }
  EXPECT_EQ(ran, 500);
}

TEST(Workers, AFullQueueIsRefused) {
  std::latch go(1);
  std::latch begun(1);
  Workers workers(1, "a-name-longer-than-fifteen", 2);
  EXPECT_TRUE(workers.submit([&] {
    EXPECT_EQ(thread_name(), "a-name-longer-t");
    begun.count_down();
    go.wait();
  }));
  begun.wait();
  EXPECT_TRUE(workers.submit([] {}));
  EXPECT_TRUE(workers.submit([] {}));
  EXPECT_FALSE(workers.submit([] {}));
  go.count_down();
}

base::Task<void> compute(Workers& workers, Loop& loop, unsigned rounds, std::atomic<unsigned>& done) {
  const std::thread::id home = std::this_thread::get_id();
  for (unsigned i = 0; i < rounds; ++i) {
    auto job = workers.run(loop, [i, home] { return std::this_thread::get_id() == home ? 0U : i; });
    const auto result = co_await job;
    EXPECT_EQ(result.value(), i);
    EXPECT_EQ(std::this_thread::get_id(), home);
  }
  auto nothing = workers.run(loop, [] {});
  const auto result = co_await nothing;
  EXPECT_TRUE(result.has_value());
  ++done;
}

TEST(Workers, ResumesOnTheLoopThatWaited) {
  constexpr unsigned kCores = 2;
  std::atomic<unsigned> done{0};
  Workers workers(2, "test-worker", 1000);
  Cores cores(kCores, [&](Loop& loop) {
    for (int i = 0; i < 20; ++i) loop.scope().spawn(compute(workers, loop, 50, done));
  });
  while (done < kCores * 20) std::this_thread::yield();
  cores.stop();
}

base::Task<void> refused(Workers& workers, Loop& loop, base::Errc& code) {
  auto job = workers.run(loop, [] { return 1; });
  const auto result = co_await job;
  code = result.error().code;
}

TEST(Workers, AWaiterIsToldAtOnceThatTooMuchWaits) {
  Mailboxes mailboxes(1);
  Loop loop(0, mailboxes, open_ring());
  std::latch go(1);
  std::latch begun(1);
  Workers workers(1, "test-worker", 1);
  workers.submit([&] {
    begun.count_down();
    go.wait();
  });
  begun.wait();
  workers.submit([] {});
  base::Errc code = base::Errc::internal;
  loop.scope().spawn(refused(workers, loop, code));
  EXPECT_EQ(code, base::Errc::unavailable);
  go.count_down();
}

TEST(Threads, PinsToWhatMayBeUsed) {
  const unsigned cpus = usable_cpus();
  ASSERT_GE(cpus, 1U);
  std::thread([&] {
    pin_thread(cpus);  // around: the first
    cpu_set_t set;
    ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
    EXPECT_EQ(CPU_COUNT(&set), 1);
    EXPECT_EQ(usable_cpus(), cpus);
  }).join();
}

}  // namespace
}  // namespace ringline::loop::test
