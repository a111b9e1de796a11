// The simulation itself: that it forgets, tears, reorders and repeats by seed. A disk that forgets too little would let bad code pass.
#include "world.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "ringline/base/clock.hpp"
#include "ringline/base/random.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::sim::test {
namespace {

using namespace std::chrono_literals;
namespace disk = loop::disk;
using loop::Fd;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

struct Recorder {
  std::vector<int> results;
  void on_complete(loop::Completion completion) { results.push_back(completion.result); }
  loop::OpOf<Recorder, &Recorder::on_complete> op{*this};
};

struct Simulated {
  explicit Simulated(std::uint64_t seed) : world(seed) {}
  World world;
  loop::Mailboxes mailboxes{1};
  loop::Loop loop{0, mailboxes, open_ring()};

  bool finish(const Recorder& recorder) {
    return world.run_until(loop, [&] { return !recorder.results.empty(); });
  }
};

Fd create(const char* path) {
  const auto file = disk::open(path, disk::Open::create);
  EXPECT_TRUE(file.has_value());
  EXPECT_TRUE(disk::sync_directory("."));
  return file.value_or(Fd{});
}

// What is in the file, or "gone".
std::string content(const char* path) {
  const auto file = disk::open(path, disk::Open::read);
  if (!file) return "gone";
  std::string text(*disk::size(*file), ' ');
  EXPECT_EQ(*disk::read_at(*file, std::as_writable_bytes(std::span(text)), 0), text.size());
  disk::close(*file);
  return text;
}

// What stands in the file after `work` and a crash, over many seeds.
template <class Work>
std::set<std::string> outcomes(Work work, const char* path = "f") {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    World world(seed);
    work(world);
    world.crash();
    EXPECT_FALSE(disk::open(path, disk::Open::read).has_value());  // the power is off
    world.reboot();
    seen.insert(content(path));
  }
  return seen;
}

TEST(Sim, TimePassesByItself) {
  Simulated sim(1);
  bool woke = false;
  const auto sleeper = [](loop::Loop& on, bool& done) -> base::Task<void> {
    co_await on.sleep(3h);
    done = true;
  };
  const std::int64_t wall = base::wall_ms();
  sim.loop.scope().spawn(sleeper(sim.loop, woke));
  EXPECT_FALSE(sim.world.run_until(sim.loop, [&] { return woke; }, 3600s));
  EXPECT_TRUE(sim.world.run_until(sim.loop, [&] { return woke; }, 24h));
  EXPECT_GE(base::wall_ms(), wall + 3 * 3'600'000);
  EXPECT_FALSE(sim.world.run_until(sim.loop, [] { return false; }));  // nothing can happen any more
}

TEST(Sim, ALoopThatWaitsByItselfIsServed) {
  Simulated sim(1);
  const Fd file = create("f");
  Recorder write;
  sim.loop.ring().write_sync(write.op, file, bytes_of("x"), 0);
  while (write.results.empty()) sim.loop.turn(true);
  EXPECT_EQ(write.results, std::vector{1});
}

TEST(Sim, WhatWasSyncedIsThere) {
  const auto seen = outcomes([](World& world) {
    const Fd file = create("f");
    loop::Mailboxes mailboxes(1);
    loop::Loop loop(0, mailboxes, open_ring());
    Recorder write;
    loop.ring().write_sync(write.op, file, bytes_of("kept"), 0);
    EXPECT_TRUE(world.run_until(loop, [&] { return !write.results.empty(); }));
    EXPECT_EQ(write.results, std::vector{4});
  });
  EXPECT_EQ(seen, std::set<std::string>{"kept"});
}

TEST(Sim, WhatWasNotMayBeThereOrNotEachForItself) {
  const auto seen = outcomes([](World&) {
    const Fd file = create("f");
    EXPECT_TRUE(disk::write_at(file, bytes_of("--"), 0));
    EXPECT_TRUE(disk::sync(file));
    EXPECT_TRUE(disk::write_at(file, bytes_of("1"), 0));
    EXPECT_TRUE(disk::write_at(file, bytes_of("2"), 1));
  });
  EXPECT_EQ(seen, (std::set<std::string>{"--", "1-", "-2", "12"}));
}

TEST(Sim, AWriteIsTornAtSectors) {
  const std::string text = std::string(512, 'a') + std::string(512, 'b') + std::string(512, 'c');
  std::set<std::string> shapes;
  const auto seen = outcomes([&](World&) {
    const Fd file = create("f");
    EXPECT_TRUE(disk::preallocate(file, text.size()));
    EXPECT_TRUE(disk::write_at(file, bytes_of(text), 0));
  });
  for (const std::string& one : seen) {
    std::string shape;
    for (std::size_t at = 0; at < one.size(); at += 512) {
      EXPECT_EQ(one.substr(at, 512), std::string(512, one[at]));
      shape += one[at] == '\0' ? '-' : one[at];
    }
    shapes.insert(shape);
  }
  EXPECT_TRUE(shapes.contains("---") && shapes.contains("a--") && shapes.contains("--c") && shapes.contains("a-c") &&
              shapes.contains("abc"));
}

TEST(Sim, ANameIsCertainOnlyWithItsDirectory) {
  const auto seen = outcomes([](World&) {
    const auto file = disk::open("f", disk::Open::create);
    EXPECT_TRUE(disk::write_at(*file, bytes_of("x"), 0));
    EXPECT_TRUE(disk::sync(*file));
  });
  EXPECT_EQ(seen, (std::set<std::string>{"gone", "x"}));
  const auto renamed = outcomes([](World&) {
    const Fd file = create("g");
    EXPECT_TRUE(disk::write_at(file, bytes_of("x"), 0));
    EXPECT_TRUE(disk::sync(file));
    EXPECT_TRUE(disk::rename("g", "f"));
  });
  EXPECT_EQ(renamed, std::set<std::string>{"x"});
  const auto removed = outcomes([](World&) {
    create("f");
    EXPECT_TRUE(disk::remove("f"));
    EXPECT_EQ(content("f"), "gone");
  });
  EXPECT_EQ(removed, (std::set<std::string>{"gone", ""}));
}

TEST(Sim, ASyncThatFailedForgetsAndTheNextOneDoesNotBringItBack) {
  const auto seen = outcomes([](World& world) {
    const Fd file = create("f");
    EXPECT_TRUE(disk::preallocate(file, 1));
    world.disk().fail_syncs(1);
    EXPECT_TRUE(disk::write_at(file, bytes_of("x"), 0));
    EXPECT_EQ(disk::sync(file).error().sys, EIO);
    EXPECT_TRUE(disk::sync(file));
    EXPECT_EQ(content("f"), "x");  // still seen
  });
  EXPECT_EQ(seen, (std::set<std::string>{std::string(1, '\0'), "x"}));
}

TEST(Sim, ADiskThatLiesIsNoticed) {
  const auto seen = outcomes([](World& world) {
    const Fd file = create("f");
    world.disk().lie(true);
    EXPECT_TRUE(disk::write_at(file, bytes_of("x"), 0));
    EXPECT_TRUE(disk::sync(file));
    EXPECT_EQ(world.disk().syncs(), 1U);
  });
  EXPECT_TRUE(seen.contains(""));
}

TEST(Sim, AFullDiskCutsShort) {
  Simulated sim(1);
  sim.world.disk().set_capacity(6000);
  const Fd file = create("f");
  const std::string text(4096, 't');
  std::vector<int> results;
  for (const std::uint64_t offset : {0, 4096, 8192}) {
    Recorder write;
    sim.loop.ring().write_sync(write.op, file, bytes_of(text), offset);
    ASSERT_TRUE(sim.finish(write));
    results.push_back(write.results[0]);
  }
  EXPECT_EQ(results, (std::vector{4096, -EIO, -ENOSPC}));
  EXPECT_EQ(disk::preallocate(file, 100'000).error().sys, ENOSPC);
  EXPECT_EQ(*disk::free_bytes("."), 0U);
  EXPECT_TRUE(disk::write_at(file, bytes_of("in place"), 0));
  EXPECT_TRUE(disk::remove("f"));
  EXPECT_EQ(*disk::free_bytes("."), 6000U);
}

TEST(Sim, FaultsReachTheRing) {
  Simulated sim(1);
  const Fd file = create("f");
  const auto write = [&](std::string_view text) {
    Recorder one;
    sim.loop.ring().write_sync(one.op, file, bytes_of(text), 0);
    EXPECT_TRUE(sim.finish(one));
    return one.results[0];
  };
  sim.world.disk().fail_syncs(1, EIO);
  EXPECT_EQ(write("ab"), -EIO);
  sim.world.disk().fail_writes(1, ENOSPC);
  EXPECT_EQ(write("ab"), -ENOSPC);
  sim.world.disk().shorten_writes(1);
  EXPECT_EQ(write("abcdef"), -EIO);
  EXPECT_EQ(write("ab"), 2);
}

TEST(Sim, ACrashFreesWhatWasInTheKernelAndMayStillHaveWrittenIt) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    World world(seed);
    const Fd file = create("f");
    Recorder write;
    {
      loop::Mailboxes mailboxes(1);
      loop::Loop loop(0, mailboxes, open_ring());
      loop.ring().write_sync(write.op, file, bytes_of("x"), 0);
      loop.turn(false);
      EXPECT_TRUE(write.op.in_kernel());
      world.crash();
    }
    EXPECT_FALSE(write.op.in_kernel());
    EXPECT_TRUE(write.results.empty());
    world.reboot();
    seen.insert(content("f"));
  }
  EXPECT_TRUE(seen.contains("") && seen.contains("x"));
}

TEST(Sim, ACrashMayFailWhatWasInTheKernelInstead) {
  Simulated sim(1);
  const Fd file = create("f");
  Recorder write;
  sim.loop.ring().write_sync(write.op, file, bytes_of("x"), 0);
  sim.loop.turn(false);
  sim.world.crash(true);
  ASSERT_TRUE(sim.finish(write));
  EXPECT_EQ(write.results, std::vector{-EIO});
  sim.world.reboot();
  Recorder again;
  sim.loop.ring().write(again.op, file, bytes_of("x"), 0);  // opened before the cut
  ASSERT_TRUE(sim.finish(again));
  EXPECT_EQ(again.results, std::vector{-EIO});
}

TEST(Sim, ThePowerMayGoInTheMiddleOfASync) {
  Simulated sim(1);
  const Fd file = create("f");
  Recorder first;
  Recorder second;
  sim.world.set_delay(0ns, 0ns);
  sim.world.disk().on_sync = [&](const std::string& path) {
    EXPECT_EQ(path, "f");
    sim.world.crash();
  };
  sim.loop.ring().write_sync(first.op, file, bytes_of("x"), 0);
  sim.loop.ring().write_sync(second.op, file, bytes_of("y"), 1);
  EXPECT_FALSE(sim.world.run_until(sim.loop, [&] { return !first.results.empty() || !second.results.empty(); }));
  EXPECT_FALSE(first.op.in_kernel() || second.op.in_kernel());
}

TEST(Sim, DamageIsCertain) {
  World world(1);
  const Fd file = create("f");
  EXPECT_TRUE(disk::write_at(file, bytes_of("abc"), 0));
  EXPECT_TRUE(disk::sync(file));
  EXPECT_FALSE(world.disk().damage("f", 3, 1));
  EXPECT_TRUE(world.disk().damage("f", 1, 1));
  world.crash();
  world.reboot();
  const std::string damaged = content("f");
  EXPECT_EQ(damaged.front(), 'a');
  EXPECT_NE(damaged[1], 'b');
  EXPECT_EQ(damaged.back(), 'c');
}

TEST(Sim, DirectoriesAndLists) {
  World world(1);
  EXPECT_FALSE(disk::open("d/e/f", disk::Open::create).has_value());
  ASSERT_TRUE(disk::make_directories("d/e/"));
  disk::close(*disk::open("d/e/f", disk::Open::create));
  EXPECT_FALSE(disk::make_directories("d/e/f").has_value());
  EXPECT_EQ(*disk::list("d"), std::vector<std::string>{"e"});
  EXPECT_EQ(*disk::list("d/e"), std::vector<std::string>{"f"});
  EXPECT_TRUE(disk::list("nowhere")->empty());
  EXPECT_EQ(world.disk().open_files(), 0U);
}

base::Task<void> preallocate(loop::Workers& workers, loop::Loop& on, std::vector<std::string>& order,
                             const char* name) {
  auto job = workers.run(on, [name] {
    const auto file = disk::open(name, disk::Open::create);
    return file ? disk::preallocate(*file, 1000) : base::fail_sys(file.error().sys, file.error().message);
  });
  const auto done = co_await job;
  order.emplace_back(done && *done ? name : "failed");
}

TEST(Sim, WorkersRunInTheSameStory) {
  std::set<std::vector<std::string>> orders;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Simulated sim(seed);
    std::vector<std::string> order;
    {
      loop::Workers workers(2, "none", 3);
      for (const char* name : {"a", "b", "c", "d"}) sim.loop.scope().spawn(preallocate(workers, sim.loop, order, name));
      EXPECT_EQ(order, std::vector<std::string>{"failed"});  // the fourth: the queue is full
      EXPECT_TRUE(sim.world.run_until(sim.loop, [&] { return order.size() == 4; }));
      sim.loop.scope().spawn(preallocate(workers, sim.loop, order, "e"));
      sim.world.crash();
    }
    EXPECT_TRUE(sim.world.run_until(sim.loop, [&] { return order.size() == 5; }));
    EXPECT_EQ(order.back(), "failed");
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 1U);
}

// What several loops that write and send mail see, in one text.
std::string trace(std::uint64_t seed) {
  World world(seed);
  loop::Mailboxes mailboxes(2);
  loop::Loop first(0, mailboxes, open_ring());
  loop::Loop second(1, mailboxes, open_ring());
  const std::array<loop::Loop*, 2> loops{&first, &second};
  for (loop::Loop* one : loops) one->set_peers(loops);
  const Fd file = create("f");
  std::string text;
  std::array<Recorder, 8> writes;
  for (std::size_t i = 0; i < writes.size(); ++i) loops[i % 2]->ring().write(writes[i].op, file, bytes_of("x"), i);
  first.send(1, loop::make_mail([&] { second.send(0, loop::make_mail([&] { text += "mail "; })); }));
  std::array<bool, 8> seen{};
  const bool ended = world.run_until(loops, [&] {
    for (std::size_t i = 0; i < writes.size(); ++i) {
      if (!seen[i] && !writes[i].results.empty()) {
        seen[i] = true;
        text += std::to_string(i) + " at " + std::to_string(world.now_ns()) + " ";
      }
    }
    return text.contains("mail") && std::ranges::all_of(seen, std::identity());
  });
  EXPECT_TRUE(ended);
  return text + std::to_string(base::random_u64());
}

TEST(Sim, OneSeedIsOneStory) {
  std::set<std::string> stories;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::string story = trace(seed);
    EXPECT_EQ(story, trace(seed));
    stories.insert(story);
  }
  EXPECT_EQ(stories.size(), 20U);
}

}  // namespace
}  // namespace ringline::sim::test
