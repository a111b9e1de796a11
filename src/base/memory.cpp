// See memory.hpp. mimalloc is linked into executables only, and not with a sanitizer: without it there is nothing to give back.
#include "ringline/base/memory.hpp"

#include <mimalloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>
#include <string>

#include "ringline/base/allocations.hpp"

#pragma weak mi_collect
#pragma weak mi_heap_collect
#pragma weak mi_heap_malloc
#pragma weak mi_heap_new
#pragma weak mi_option_set

namespace ringline::base {

namespace {
// Made with the first that is in it. It ends with its thread; what is in it does not.
thread_local mi_heap_t* apart = nullptr;
}  // namespace

void* allocate_apart(std::size_t bytes) {
  if (&mi_heap_new == nullptr) return ::operator new(bytes);
  if (!apart) apart = mi_heap_new();
  void* memory = apart ? mi_heap_malloc(apart, bytes) : nullptr;
  if (!memory) throw std::bad_alloc();
  count_allocation();
  return memory;
}

// Otherwise some time after it was freed, at a call that may never come. Measured at full load, this costs nothing: pages seldom become free there.
void give_pages_back_at_once() noexcept {
  if (&mi_option_set != nullptr) mi_option_set(mi_option_decommit_delay, 0);
}

void give_memory_back() noexcept {
  if (&mi_collect == nullptr) return;
  if (apart) mi_heap_collect(apart, true);
  mi_collect(true);
}

std::size_t usable_memory() {
  const std::size_t all =
      static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::string group;
  for (std::ifstream groups("/proc/self/cgroup"); std::getline(groups, group);)
    if (group.starts_with("0::")) break;
  if (!group.starts_with("0::")) return all;
  std::size_t limit = 0;  // it says "max" where there is none
  return std::ifstream("/sys/fs/cgroup" + group.substr(3) + "/memory.max") >> limit ? std::min(all, limit) : all;
}

}  // namespace ringline::base
