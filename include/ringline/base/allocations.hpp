// How much a thread allocates: what is on the hot path must not, and the suite looks.
#pragma once

#include <cstdint>

namespace ringline::base {

// Calls of operator new on this thread since it began. 0 under a sanitizer, which has its own.
std::uint64_t allocations() noexcept;
// Counts one that was not made by operator new.
void count_allocation() noexcept;

}  // namespace ringline::base
