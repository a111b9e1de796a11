// Memory that goes back to the system when it is quiet again, and how much there is.
#pragma once

#include <cstddef>

namespace ringline::base {

// For what is kept a while by the thousand and then goes together, as events do: apart from what stays, so that whole pages of the allocator become free.
// Freed by operator delete, on any thread.
void* allocate_apart(std::size_t bytes);

// From now on a page of the allocator without anything in it belongs to the system. For the start of the program.
void give_pages_back_at_once() noexcept;

// What the allocator keeps for the next use, for a thread that was busy and is quiet now: the calling one. It takes a millisecond or so for each hundred
// megabytes in use.
void give_memory_back() noexcept;

// What this process may use: the machine's memory, or the limit of its control group (cgroup v2, systemd's MemoryMax=) where that is lower.
std::size_t usable_memory();

}  // namespace ringline::base
