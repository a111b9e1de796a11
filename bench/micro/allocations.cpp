#include "allocations.hpp"

#include "ringline/base/allocations.hpp"

namespace ringline::bench {

namespace {

constexpr std::uint64_t kOfTheLoop = 8;  // Google Benchmark's own, once a loop and not once an operation
unsigned offenders = 0;

}  // namespace

CountAllocations::CountAllocations(benchmark::State& state, Path path) noexcept
    : state_(state), path_(path), before_(base::allocations()) {}
unsigned hot_paths_that_allocate() noexcept { return offenders; }

CountAllocations::~CountAllocations() {
  const std::uint64_t all = base::allocations() - before_;
  const std::uint64_t count = all > kOfTheLoop ? all : 0;
  state_.counters["allocs"] = benchmark::Counter(static_cast<double>(count), benchmark::Counter::kAvgIterations);
  if (path_ == Path::cold || count == 0) return;
  ++offenders;
  state_.SetLabel("ALLOCATES ON THE HOT PATH");
}

}  // namespace ringline::bench
