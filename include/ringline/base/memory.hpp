// Memory that goes back to the system when it is quiet again, and how much there is.
#pragma once

#include <cstddef>
#include <new>

namespace ringline::base {

// For what is kept a while by the thousand and then goes together, as events do: apart from what stays, so that whole pages of the allocator become free.
// Freed by operator delete, on any thread.
void* allocate_apart(std::size_t bytes);
// Likewise, as the allocator of a container.
template <class T>
struct Apart {
  using value_type = T;
  Apart() noexcept = default;
  template <class Other>
  explicit Apart(const Apart<Other>&) noexcept {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_apart(count * sizeof(T))); }
  void deallocate(T* place, std::size_t) noexcept { ::operator delete(place); }
  bool operator==(const Apart&) const noexcept = default;
};
// Likewise, as a base of what is made with `new`.
struct MadeApart {
  static void* operator new(std::size_t bytes) { return allocate_apart(bytes); }
  static void operator delete(void* place) noexcept { ::operator delete(place); }
};

// From now on a page of the allocator without anything in it belongs to the system. For the start of the program.
void give_pages_back_at_once() noexcept;

// What the allocator keeps for the next use, for a thread that was busy and is quiet now: the calling one. It takes a millisecond or so for each hundred
// megabytes in use.
void give_memory_back() noexcept;

// What this process may use: the machine's memory, or the limit of its control group (cgroup v2, systemd's MemoryMax=) where that is lower.
std::size_t usable_memory();

}  // namespace ringline::base
