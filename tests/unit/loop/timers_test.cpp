// The wheel against a model that just keeps a list: random times, random jumps, handlers that arm, disarm and destroy.
#include "ringline/loop/timers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace ringline::loop::test {
namespace {

struct Owner {
  std::function<void()> then;
  int fired = 0;
  void on_due() {
    ++fired;
    if (then) then();
  }
  TimerOf<Owner, &Owner::on_due> timer{*this};
};

static_assert(sizeof(TimerOf<Owner, &Owner::on_due>) == 40);

TEST(Timers, FiresWhenDueAndOnce) {
  Timers timers(1000);
  Owner owner;
  EXPECT_EQ(timers.next_due_ms(), INT64_MAX);
  timers.arm(owner.timer, 1005);
  EXPECT_TRUE(owner.timer.armed());
  EXPECT_EQ(timers.next_due_ms(), 1005);
  timers.advance(1004);
  EXPECT_EQ(owner.fired, 0);
  timers.advance(1005);
  EXPECT_EQ(owner.fired, 1);
  EXPECT_FALSE(owner.timer.armed());
  timers.advance(90'000);
  EXPECT_EQ(owner.fired, 1);
}

TEST(Timers, ThePastFiresAtTheNextAdvance) {
  Timers timers(1000);
  Owner owner;
  timers.arm(owner.timer, 5);
  EXPECT_LE(timers.next_due_ms(), 1000);
  timers.advance(1000);
  EXPECT_EQ(owner.fired, 1);
}

TEST(Timers, OneThatArmsItselfForNowFiresOnceAnAdvance) {
  Timers timers(1000);
  Owner owner;
  owner.then = [&] { timers.arm(owner.timer, 0); };
  timers.arm(owner.timer, 0);
  for (int i = 1; i <= 5; ++i) {
    timers.advance(1000 + i * 500);
    EXPECT_EQ(owner.fired, i);
  }
}

TEST(Timers, ArmingAgainMovesIt) {
  Timers timers(0);
  Owner owner;
  timers.arm(owner.timer, 10);
  timers.arm(owner.timer, 100'000);
  timers.advance(99'999);
  EXPECT_EQ(owner.fired, 0);
  timers.arm(owner.timer, 100'000'000);
  timers.advance(100'000);
  EXPECT_EQ(owner.fired, 0);
  owner.timer.disarm();
  EXPECT_EQ(timers.next_due_ms(), INT64_MAX);
  timers.advance(200'000'000);
  EXPECT_EQ(owner.fired, 0);
}

TEST(Timers, BeyondTheSpanOfTheWheel) {
  constexpr std::int64_t kSpan = std::int64_t{1} << 36;
  Timers timers(kSpan - 3);
  Owner near;
  Owner far;
  timers.arm(near.timer, kSpan + 2);
  timers.arm(far.timer, 5 * kSpan + 7);
  for (std::int64_t now = kSpan - 3; now < kSpan + 2; ++now) {
    timers.advance(now);
    EXPECT_EQ(near.fired, 0) << now - kSpan;
    EXPECT_LE(timers.next_due_ms(), kSpan + 2);
  }
  timers.advance(kSpan + 2);
  EXPECT_EQ(near.fired, 1);
  timers.advance(5 * kSpan + 6);
  EXPECT_EQ(far.fired, 0);
  timers.advance(5 * kSpan + 7);
  EXPECT_EQ(far.fired, 1);
}

TEST(Timers, AHandlerMayDestroyItselfAndOthersThatAreDue) {
  Timers timers(0);
  std::vector<std::unique_ptr<Owner>> owners;
  for (int i = 0; i < 10; ++i) {
    owners.push_back(std::make_unique<Owner>());
    owners.back()->then = [&owners] {
      auto gone = std::move(owners);  // the one that runs too
    };
    timers.arm(owners.back()->timer, 7);
  }
  timers.advance(7);
  EXPECT_TRUE(owners.empty());
}

TEST(Timers, WhatIsArmedOutlivesTheWheel) {
  Owner owner;
  {
    Timers timers(0);
    timers.arm(owner.timer, 50);
  }
  EXPECT_FALSE(owner.timer.armed());
}

// The model: what should fire at each advance, by the rules of the header.
class Model {
 public:
  explicit Model(unsigned seed) : random_(seed), now_(start()), timers_(now_) {}

  void step() {
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2:
        return arm(pick(), due());
      case 3:
        return disarm(pick());
      case 4:
        return destroy(pick());
      default:
        return advance();
    }
  }

 private:
  struct Entry : Owner {
    bool armed = false;
    std::int64_t due_ms = 0;
    bool expected = false;
  };

  std::int64_t start() {
    constexpr std::int64_t kSpan = std::int64_t{1} << 36;
    return random_() % 2 == 0 ? static_cast<std::int64_t>(random_() % 1'000'000)
                              : kSpan - static_cast<std::int64_t>(random_() % 100'000);
  }
  int pick() { return static_cast<int>(random_() % 40); }
  std::int64_t length() { return static_cast<std::int64_t>(random_() % (std::uint64_t{1} << (random_() % 22))); }
  std::int64_t due() { return random_() % 16 == 0 ? now_ - length() : now_ + length(); }

  Entry& at(int key) {
    auto& entry = entries_[key];
    if (!entry) {
      entry = std::make_unique<Entry>();
      entry->then = [this, key] { on_fired(key); };
    }
    return *entry;
  }
  void arm(int key, std::int64_t due_ms) {
    Entry& entry = at(key);
    entry.armed = true;
    entry.expected = false;
    entry.due_ms = due_ms;
    timers_.arm(entry.timer, due_ms);
  }
  void disarm(int key) {
    Entry& entry = at(key);
    entry.armed = entry.expected = false;
    entry.timer.disarm();
  }
  void destroy(int key) { entries_.erase(key); }

  void on_fired(int key) {
    Entry& entry = *entries_.at(key);
    EXPECT_TRUE(entry.expected) << "due " << entry.due_ms << " now " << now_;
    EXPECT_GE(entry.due_ms, last_due_) << "out of order";
    if (entry.due_ms > before_) last_due_ = entry.due_ms;
    entry.armed = entry.expected = false;
    switch (random_() % 6) {
      case 0:
        return arm(key, due());
      case 1:
        return arm(pick(), due());
      case 2:
        return disarm(pick());
      case 3:
        return destroy(pick());
      case 4: {
        // `then` runs inside the entry; it may go all the same.
        const auto keep = std::move(entry.then);
        return destroy(key);
      }
      default:
        return;
    }
  }

  void advance() {
    std::int64_t earliest = INT64_MAX;
    for (const auto& [key, entry] : entries_) {
      if (entry->armed) earliest = std::min(earliest, entry->due_ms);
    }
    const std::int64_t next = timers_.next_due_ms();
    EXPECT_LE(next, std::max(earliest, now_));
    EXPECT_EQ(next == INT64_MAX, earliest == INT64_MAX);
    before_ = now_;
    now_ += random_() % 4 == 0 ? 0 : length();
    // Sometimes exactly at the time that the wheel asks for.
    if (next != INT64_MAX && random_() % 3 == 0) now_ = std::max(before_, next);
    last_due_ = INT64_MIN;
    for (const auto& [key, entry] : entries_) entry->expected = entry->armed && entry->due_ms <= now_;
    timers_.advance(now_);
    for (const auto& [key, entry] : entries_) {
      EXPECT_FALSE(entry->expected) << "due " << entry->due_ms << " now " << now_;
      EXPECT_EQ(entry->timer.armed(), entry->armed);
    }
  }

  std::mt19937_64 random_;
  std::int64_t now_;
  std::int64_t before_ = 0;
  std::int64_t last_due_ = 0;
  Timers timers_;
  std::map<int, std::unique_ptr<Entry>> entries_;
};

TEST(Timers, BehavesLikeTheModel) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(seed);
    for (int i = 0; i < 400; ++i) model.step();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace ringline::loop::test
