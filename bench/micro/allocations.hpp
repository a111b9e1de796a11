// Counts what a thread allocates, so that each benchmark says how much an operation does. What is on the hot path must not allocate at all: a
// benchmark that claims so and does is an error, and the program's exit status says it.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

namespace ringline::bench {

enum class Path : std::uint8_t { hot, cold };

// Lives around a benchmark's loop; do one operation before it, so that buffers have grown.
class CountAllocations {
 public:
  CountAllocations(benchmark::State& state, Path path) noexcept;
  ~CountAllocations();
  CountAllocations(const CountAllocations&) = delete;
  CountAllocations& operator=(const CountAllocations&) = delete;

 private:
  benchmark::State& state_;
  Path path_;
  std::uint64_t before_;
};

// Benchmarks of the hot path that have allocated.
unsigned hot_paths_that_allocate() noexcept;

}  // namespace ringline::bench
