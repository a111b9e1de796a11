// The loop's turn, mail, sleep and stop, on real rings and threads.
#include "ringline/loop/loop.hpp"

#include <algorithm>
#include <latch>

#include "cores.hpp"
#include "ringline/base/limits.hpp"

namespace ringline::loop::test {
namespace {

struct Alone {
  Mailboxes mailboxes{1};
  Loop loop{0, mailboxes, open_ring()};
};

class Recording final : public TurnHook {
 public:
  explicit Recording(std::function<void()> then) : then_(std::move(then)) {}
  void on_turn_end() override { then_(); }
  bool has_work() const noexcept override { return work; }
  bool work = false;

 private:
  std::function<void()> then_;
};

TEST(Loop, ATurnIsCompletionsThenMailThenTimersThenHooks) {
  Alone alone;
  Loop& loop = alone.loop;
  std::string order;
  struct Due {
    std::string& order;
    void on_due() { order += 't'; }
    TimerOf<Due, &Due::on_due> timer{*this};
  } due{order};
  loop.timers().arm(due.timer, 0);
  Recording first([&] { order += '1'; });
  Recording second([&] { order += '2'; });
  loop.add_hook(first);
  loop.add_hook(second);
  loop.send(0, make_mail([&] { order += 'm'; }));
  loop.post(make_mail([&] { order += 'p'; }));
  SocketPair pair;
  Recorder receive;
  receive.then = [&] { order += 'c'; };
  pair.write("x");
  loop.ring().receive_multishot(receive.op, pair.ours);
  loop.turn(true);
  EXPECT_EQ(order, "cmpt12");
  EXPECT_EQ(loop.metrics().turns, 1U);
  EXPECT_EQ(loop.metrics().turn_seconds.count, 1U);
  loop.ring().shutdown(pair.ours);
  while (receive.op.in_kernel()) loop.turn(true);
}

TEST(Loop, ABurstIsDrainedBeforeTheHooks) {
  Mailboxes mailboxes(1);
  Loop loop(0, mailboxes, open_ring(16, 256, 1024));
  constexpr unsigned kBurst = 60;  // the kernel hands over about twenty at once
  std::vector<std::unique_ptr<SocketPair>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  unsigned completed = 0;
  for (unsigned i = 0; i < kBurst; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    receives.push_back(std::make_unique<Recorder>());
    receives.back()->then = [&] { ++completed; };
    loop.ring().receive_multishot(receives.back()->op, pairs.back()->ours);
  }
  loop.turn(false);
  unsigned seen = 0;
  Recording hook([&] { seen = completed; });
  loop.add_hook(hook);
  for (const auto& pair : pairs) pair->close_theirs();
  loop.turn(true);
  EXPECT_EQ(seen, kBurst);
}

TEST(Loop, DoesNotSleepWhileThereIsWork) {
  Alone alone;
  Loop& loop = alone.loop;
  int turns = 0;
  Recording hook([&] {
    if (++turns == 3) alone.loop.stop();
  });
  hook.work = true;
  loop.add_hook(hook);
  loop.run();
  EXPECT_EQ(turns, 3);
  hook.work = false;
  loop.send(0, make_mail([&] { loop.stop(); }));
  loop.run();
  EXPECT_EQ(turns, 4);
}

TEST(Loop, MailToItselfThatBringsMailDoesNotHoldTheTurn) {
  Alone alone;
  Loop& loop = alone.loop;
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    loop.send(0, make_mail(again));
  };
  again();
  loop.turn(true);
  EXPECT_EQ(runs, 2);
  loop.turn(true);
  EXPECT_EQ(runs, 3);
}

TEST(Loop, SleepsUntilATimerIsDue) {
  Alone alone;
  Loop& loop = alone.loop;
  bool woke = false;
  const auto sleeper = [](Loop& on, bool& done) -> base::Task<void> {
    co_await on.sleep(30ms);
    done = true;
  };
  const std::int64_t before = loop.now_ms();
  loop.scope().spawn(sleeper(loop, woke));
  while (!woke) loop.turn(true);
  EXPECT_GE(loop.now_ms(), before + 30);
  EXPECT_LT(loop.metrics().turns, 10U);  // it slept, it did not spin
  EXPECT_EQ(loop.scope().running(), 0U);
}

base::Task<void> wander(Loop& loop, unsigned seed, unsigned& done) {
  for (unsigned i = 0; i < 3; ++i) {
    const std::chrono::milliseconds nap((seed * 7 + i * 13) % 20);
    co_await loop.sleep(nap);
  }
  ++done;
}

TEST(Loop, ManyCoroutines) {
  Alone alone;
  unsigned done = 0;
  constexpr unsigned kTasks = 10'000;
  for (unsigned i = 0; i < kTasks; ++i) alone.loop.scope().spawn(wander(alone.loop, i, done));
  EXPECT_EQ(alone.loop.scope().running(), kTasks);
  while (done < kTasks) alone.loop.turn(true);
  EXPECT_EQ(alone.loop.scope().running(), 0U);
}

TEST(Loop, MailFromAnyThreadInItsOrder) {
  std::vector<int> seen;
  Cores cores(1, [](Loop&) {});
  for (int i = 0; i < 1000; ++i) cores[0].post(make_mail([&seen, i] { seen.push_back(i); }));
  cores.stop();
  ASSERT_EQ(seen.size(), 1000U);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

// Each core sends to each other one in bursts with pauses in which all sleep.
class Chatter {
 public:
  Chatter(unsigned count, unsigned rounds)
      : count_(count), rounds_(rounds), seen_(count * count), left_(count * count) {}

  void begin(Loop& loop) { loop.scope().spawn(talk(loop)); }
  void wait() { left_.wait(); }
  std::uint64_t seen(unsigned from, unsigned to) const { return seen_[from * count_ + to]; }

 private:
  base::Task<void> talk(Loop& loop) {
    std::uint64_t number = 0;
    for (unsigned round = 0; round < rounds_; ++round) {
      const unsigned burst = round % 7 == 0 ? 300 : 1;
      for (unsigned i = 0; i < burst; ++i) {
        ++number;
        for (unsigned to = 0; to < count_; ++to) say(loop, to, number);
      }
      const std::chrono::milliseconds nap(round % 3);
      co_await loop.sleep(nap);
    }
    for (unsigned to = 0; to < count_; ++to) say(loop, to, 0);
  }
  void say(Loop& loop, unsigned to, std::uint64_t number) {
    const unsigned from = loop.core();
    loop.send(to, make_mail([this, from, to, number] { hear(from, to, number); }));
  }
  void hear(unsigned from, unsigned to, std::uint64_t number) {
    std::uint64_t& seen = seen_[from * count_ + to];
    if (number == 0) {
      left_.count_down();
      return;
    }
    EXPECT_EQ(number, seen + 1);
    seen = number;
  }

  unsigned count_;
  unsigned rounds_;
  std::vector<std::uint64_t> seen_;
  std::latch left_;
};

TEST(Loop, CoresTalkInOrder) {
  constexpr unsigned kCores = 3;
  constexpr unsigned kRounds = 100;
  Chatter chatter(kCores, kRounds);
  Cores cores(
      kCores, [&](Loop& loop) { chatter.begin(loop); },
      [](Loop& loop) {
        EXPECT_GT(loop.metrics().mails, 0U);
        EXPECT_EQ(loop.metrics().mailbox_stash, 0U);
      });
  chatter.wait();
  cores.stop();
  const std::uint64_t expected = (kRounds + 6) / 7 * 300 + kRounds - (kRounds + 6) / 7;
  for (unsigned from = 0; from < kCores; ++from) {
    for (unsigned to = 0; to < kCores; ++to) EXPECT_EQ(chatter.seen(from, to), expected);
  }
}

// One mail goes round; nothing else happens and no timer is armed, so a wake-up that is lost hangs the test.
struct Ball {
  Cores& cores;
  unsigned left;
  std::latch& ended;
  void pass(unsigned to) {
    if (left-- == 0) return ended.count_down();
    // Now and then at once, else when the other core had time to fall asleep, or is about to.
    for (unsigned i = 0; i < left % 64 * 50; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
    const unsigned next = 1 - to;
    cores[to].send(next, make_mail([this, next] { pass(next); }));
  }
};

TEST(Loop, NoWakeUpIsLost) {
  Cores cores(2, [](Loop&) {});
  std::latch ended(1);
  Ball ball{cores, 50'000, ended};
  cores[0].post(make_mail([&] { ball.pass(0); }));
  ended.wait();
  cores.stop();
}

// Work that arrives just after a loop has looked for it and before it says that it sleeps: the moment is hit by giving it from within the look.
class LateWork final : public TurnHook {
 public:
  explicit LateWork(std::function<void()> give) : give_(std::move(give)) {}
  void on_turn_end() override {}
  bool has_work() const noexcept override {
    if (!std::exchange(given_, true)) give_();
    return false;
  }

 private:
  std::function<void()> give_;
  mutable bool given_ = false;
};

TEST(Loop, LooksOnceMoreBeforeItSleeps) {
  for (const bool from_a_core : {true, false}) {
    Mailboxes mailboxes(2);
    Loop loop(0, mailboxes, open_ring());
    Loop other(1, mailboxes, open_ring());
    const std::array<Loop*, 2> loops{&loop, &other};
    loop.set_peers(loops);
    other.set_peers(loops);
    bool ran = false;
    LateWork late([&] {
      auto mail = make_mail([&] { ran = true; });
      if (from_a_core)
        other.send(0, std::move(mail));
      else
        loop.post(std::move(mail));
    });
    loop.add_hook(late);
    struct Alarm {
      void on_due() {}
      TimerOf<Alarm, &Alarm::on_due> timer{*this};
    } alarm;
    const std::int64_t before = base::monotonic_ms();
    loop.timers().arm(alarm.timer, before + 2000);
    loop.turn(true);
    EXPECT_TRUE(ran);
    EXPECT_LT(base::monotonic_ms(), before + 1000);
  }
}

TEST(Loop, AFullMailboxStashesInOrderAndSaysOverloaded) {
  Mailboxes mailboxes(2);
  Loop sender(0, mailboxes, open_ring());
  Loop receiver(1, mailboxes, open_ring());
  const std::array<Loop*, 2> loops{&sender, &receiver};
  sender.set_peers(loops);
  receiver.set_peers(loops);
  const std::size_t count = base::limits::kMailboxSlots + base::limits::kMailboxStash + 1;
  std::size_t seen = 0;
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_FALSE(sender.overloaded());
    sender.send(1, make_mail([&seen, i] { EXPECT_EQ(seen++, i); }));
  }
  EXPECT_EQ(sender.metrics().mailbox_stash, base::limits::kMailboxStash + 1);
  EXPECT_TRUE(sender.overloaded());
  while (seen < count) {
    receiver.turn(false);
    sender.turn(sender.metrics().mailbox_stash > 0);  // sleeps, but looks for room
  }
  EXPECT_FALSE(sender.overloaded());
  EXPECT_EQ(sender.metrics().mailbox_stash, 0U);
}

TEST(Loop, StopsWithOperationsInFlightWhichAreThenDrained) {
  SocketPair pair;
  Recorder receive;
  Cores cores(
      1, [&](Loop& loop) { loop.ring().receive_multishot(receive.op, pair.ours); },
      [&](Loop& loop) {
        EXPECT_TRUE(receive.op.in_kernel());
        loop.ring().shutdown(pair.ours);
        while (loop.ring().in_kernel() > 0) loop.turn(true);
      },
      {pair.ours});
  cores.stop();
  EXPECT_EQ(receive.last(), 0);
}

TEST(Loop, MailThatWasNotRunIsDestroyed) {
  auto token = std::make_shared<int>(1);
  {
    Mailboxes mailboxes(2);
    Loop loop(0, mailboxes, open_ring());
    loop.send(0, make_mail([token] {}));
    loop.post(make_mail([token] {}));
    loop.send(1, make_mail([token] {}));
    EXPECT_EQ(token.use_count(), 4);
  }
  EXPECT_EQ(token.use_count(), 1);
}

}  // namespace
}  // namespace ringline::loop::test
