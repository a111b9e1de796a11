// The queue between two cores, alone and under two threads (the run under ThreadSanitizer is the point of it).
#include "ringline/loop/mailbox.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace ringline::loop::test {
namespace {

struct Counted final : Mail {
  explicit Counted(std::uint64_t number) : number_(number) { ++alive; }
  ~Counted() override { --alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  void run() override {}
  std::uint64_t number_;
  static inline std::atomic<int> alive{0};
};

TEST(SpscQueue, TakesAsManyAsItHasSlotsAndKeepsTheirOrder) {
  SpscQueue queue(5);  // rounded up to 8
  std::array<Counted*, 9> mail{};
  for (unsigned i = 0; i < mail.size(); ++i) mail[i] = new Counted(i);
  EXPECT_TRUE(queue.empty());
  for (unsigned round = 0; round < 5; ++round) {
    for (unsigned i = 0; i < 8; ++i) EXPECT_TRUE(queue.push(mail[i]));
    EXPECT_FALSE(queue.push(mail[8]));
    EXPECT_FALSE(queue.empty());
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(queue.pop(), mail[i]);
    EXPECT_EQ(queue.pop(), nullptr);
    EXPECT_TRUE(queue.empty());
  }
  for (Counted* one : mail) delete one;
}

TEST(SpscQueue, DestroysWhatWasNotTaken) {
  const int before = Counted::alive;
  {
    SpscQueue queue(8);
    for (unsigned i = 0; i < 3; ++i) EXPECT_TRUE(queue.push(new Counted(i)));
    EXPECT_EQ(Counted::alive, before + 3);
  }
  EXPECT_EQ(Counted::alive, before);
}

TEST(SpscQueue, TwoThreads) {
  constexpr std::uint64_t kCount = 200'000;
  SpscQueue queue(64);
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kCount; ++i) {
      auto* mail = new Counted(i);
      while (!queue.push(mail)) std::this_thread::yield();
    }
  });
  for (std::uint64_t expected = 0; expected < kCount;) {
    const std::unique_ptr<Mail> mail(queue.pop());
    if (!mail) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(static_cast<Counted&>(*mail).number_, expected);
    ++expected;
  }
  producer.join();
  EXPECT_TRUE(queue.empty());
}

TEST(Mailboxes, AQueueEachWay) {
  Mailboxes mailboxes(3);
  EXPECT_NE(&mailboxes.between(0, 1), &mailboxes.between(1, 0));
  EXPECT_NE(&mailboxes.between(0, 1), &mailboxes.between(0, 2));
  EXPECT_FALSE(mailboxes.sleeping(2));
}

}  // namespace
}  // namespace ringline::loop::test
