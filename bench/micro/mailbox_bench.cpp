// A message from core to core, the threads pinned to two: through the bare queue while both spin, in a stream, and between two loops of which the other sleeps.
#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "allocations.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/mailbox.hpp"
#include "ringline/loop/thread.hpp"

namespace {

namespace loop = ringline::loop;
using ringline::bench::CountAllocations;
using ringline::bench::Path;

constexpr std::size_t kSlots = 4096;

// False: there is only one processor, and two threads that spin on it would measure the scheduler.
bool pin_first(benchmark::State& state) {
  if (loop::usable_cpus() < 2) {
    state.SkipWithError("needs two processors");
    return false;
  }
  loop::pin_thread(0);
  return true;
}

struct Nothing final : loop::Mail {
  void run() override {}
};

// There and back between two threads that look all the time: two hops.
void bounce(benchmark::State& state) {
  if (!pin_first(state)) return;
  loop::SpscQueue there(kSlots);
  loop::SpscQueue back(kSlots);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    loop::pin_thread(1);
    while (!stop.load(std::memory_order_relaxed)) {
      if (loop::Mail* mail = there.pop()) back.push(mail);
    }
  });
  Nothing mail;
  {
    const CountAllocations count(state, Path::hot);
    for (auto _ : state) {
      there.push(&mail);
      while (back.pop() == nullptr) {
      }
    }
  }
  stop = true;
  other.join();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(bounce)->Name("mailbox/bounce")->UseRealTime();

void stream(benchmark::State& state) {
  if (!pin_first(state)) return;
  loop::SpscQueue queue(kSlots);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    loop::pin_thread(1);
    while (!stop.load(std::memory_order_relaxed)) {
      while (queue.pop() != nullptr) {
      }
    }
  });
  Nothing mail;
  {
    const CountAllocations count(state, Path::hot);
    for (auto _ : state) {
      while (!queue.push(&mail)) {
      }
    }
  }
  stop = true;
  other.join();
  while (queue.pop() != nullptr) {  // the queue owns what is left in it, and this mail is not its
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(stream)->Name("mailbox/stream")->UseRealTime();

std::unique_ptr<loop::Loop> make_loop(unsigned core, loop::Mailboxes& mailboxes) {
  auto ring = loop::Ring::open({.entries = 64, .receive_buffers = 0, .receive_buffer_bytes = 0});
  if (!ring) {
    std::fprintf(stderr, "%s\n", ring.error().message.c_str());
    std::abort();
  }
  return std::make_unique<loop::Loop>(core, mailboxes, std::move(*ring));
}

// The other loop sleeps in the kernel: doorbell, turn, answer. A ring belongs to its thread, so each is made and destroyed there.
void wake(benchmark::State& state) {
  if (!pin_first(state)) return;
  loop::Mailboxes mailboxes(2);
  std::array<loop::Loop*, 2> loops{};
  std::barrier both(2);
  const std::unique_ptr<loop::Loop> mine = make_loop(0, mailboxes);
  loops[0] = mine.get();
  std::thread thread([&] {
    loop::pin_thread(1);
    const std::unique_ptr<loop::Loop> theirs = make_loop(1, mailboxes);
    loops[1] = theirs.get();
    both.arrive_and_wait();  // both are made
    theirs->set_peers(loops);
    both.arrive_and_wait();  // and know each other
    theirs->run();
    both.arrive_and_wait();  // neither goes while the other may still ring it
  });
  both.arrive_and_wait();
  mine->set_peers(loops);
  both.arrive_and_wait();
  {
    const CountAllocations count(state, Path::cold);
    for (auto _ : state) {
      bool answered = false;
      mine->send(1, loop::make_mail([&] { loops[1]->send(0, loop::make_mail([&answered] { answered = true; })); }));
      while (!answered) mine->turn(true);
    }
  }
  mine->send(1, loop::make_mail([&] { loops[1]->stop(); }));
  mine->turn(false);  // the doorbell leaves with it
  both.arrive_and_wait();
  thread.join();
}
BENCHMARK(wake)->Name("mailbox/wake_and_answer")->UseRealTime();

}  // namespace
