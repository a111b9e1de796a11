// What the allocator keeps for the next use goes back to the system: for a thread that was busy and is quiet now.
#pragma once

#include <cstddef>

namespace ringline::base {

// Of the calling thread. It takes a millisecond or so for each hundred megabytes in use.
void give_memory_back() noexcept;

// What this process may use: the machine's memory, or the limit of its control group (cgroup v2, systemd's MemoryMax=) where that is lower.
std::size_t usable_memory();

}  // namespace ringline::base
