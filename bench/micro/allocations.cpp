#include "allocations.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

thread_local std::uint64_t allocated = 0;
unsigned offenders = 0;
constexpr std::uint64_t kOfTheLoop = 8;  // Google Benchmark's own, once a loop and not once an operation

void* counted(std::size_t bytes) {
  ++allocated;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

void* counted(std::size_t bytes, std::align_val_t alignment) {
  ++allocated;
  void* memory = nullptr;
  if (::posix_memalign(&memory, static_cast<std::size_t>(alignment), bytes > 0 ? bytes : 1) != 0)
    throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted(bytes, alignment); }
void* operator new[](std::size_t bytes, std::align_val_t alignment) { return counted(bytes, alignment); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace ringline::bench {

std::uint64_t allocations() noexcept { return allocated; }
unsigned hot_paths_that_allocate() noexcept { return offenders; }

CountAllocations::~CountAllocations() {
  const std::uint64_t all = allocated - before_;
  const std::uint64_t count = all > kOfTheLoop ? all : 0;
  state_.counters["allocs"] = benchmark::Counter(static_cast<double>(count), benchmark::Counter::kAvgIterations);
  if (path_ == Path::cold || count == 0) return;
  ++offenders;
  state_.SetLabel("ALLOCATES ON THE HOT PATH");
}

}  // namespace ringline::bench
