// One group commit of 1, 16, 256 records of 500 bytes on real files in the working directory (a disk, not tmpfs, or the figures mean nothing).
// The time is from the first append to on_committed.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ringline/backend/journal.hpp"
#include "ringline/base/clock.hpp"

namespace {

namespace backend = ringline::backend;
namespace base = ringline::base;
namespace chat = ringline::chat;
namespace loop = ringline::loop;

constexpr std::size_t kRecordBytes = 500;

struct Bench final : chat::RoomLogListener {
  Bench() {
    path = std::filesystem::current_path() / "journal-bench-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    auto ring = loop::Ring::open({.entries = 64, .receive_buffers = 0, .receive_buffer_bytes = 0});
    if (!ring) {
      std::fprintf(stderr, "%s\n", ring.error().message.c_str());
      std::abort();
    }
    core = std::make_unique<loop::Loop>(0, mailboxes, std::move(*ring));
    workers = std::make_unique<loop::Workers>(1, "bench", 16);
    journal = std::move(*backend::Journal::open({.data_dir = path}, *core, *workers, *this));
    core->add_hook(*journal);
  }
  ~Bench() {
    bool closed = false;
    const auto close = [](backend::Journal& open, bool& done) -> base::Task<void> {
      co_await open.close();
      done = true;
    };
    core->scope().spawn(close(*journal, closed));
    while (!closed) core->turn(true);
    workers.reset();
    journal.reset();
    std::filesystem::remove_all(path);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  void on_committed(std::uint64_t last) override { committed = last; }
  void on_failed(std::uint64_t, std::uint64_t) override { std::abort(); }

  std::string path;
  loop::Mailboxes mailboxes{1};
  std::unique_ptr<loop::Loop> core;
  std::unique_ptr<loop::Workers> workers;
  std::unique_ptr<backend::Journal> journal;
  std::uint64_t committed = 0;
};

void commit(benchmark::State& state) {
  Bench bench;
  const auto records = static_cast<std::uint64_t>(state.range(0));
  chat::Event event{.room = {1},
                    .id = {1},
                    .actor = {1},
                    .body = base::Blob::copy_of(std::string(kRecordBytes - backend::journal::kEventHeadBytes, 'x'))};
  std::vector<double> times_us;
  for (auto _ : state) {
    const std::int64_t start = base::monotonic_ns();
    std::uint64_t last = 0;
    for (std::uint64_t i = 0; i < records; ++i) {
      ++event.seq;
      last = bench.journal->append(event);
    }
    bench.core->turn(false);
    while (bench.committed < last) bench.core->turn(true);
    times_us.push_back(static_cast<double>(base::monotonic_ns() - start) / 1000);
    if (times_us.size() % 1024 == 0) bench.journal->on_stored(last);
  }
  std::ranges::sort(times_us);
  state.counters["median_us"] = times_us[times_us.size() / 2];
  state.counters["p99_us"] = times_us[times_us.size() * 99 / 100];
  state.counters["commits"] = benchmark::Counter(static_cast<double>(times_us.size()), benchmark::Counter::kIsRate);
  state.SetItemsProcessed(static_cast<std::int64_t>(times_us.size() * records));
}
BENCHMARK(commit)->Name("journal/commit")->Arg(1)->Arg(16)->Arg(256)->UseRealTime()->MinTime(2);

}  // namespace
