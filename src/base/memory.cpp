// See memory.hpp. mimalloc is linked into executables only, and not with a sanitizer: without it there is nothing to do.
#include "ringline/base/memory.hpp"

#include <mimalloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#pragma weak mi_collect
#pragma weak mi_option_get
#pragma weak mi_option_set

namespace ringline::base {

// Memory that is found free would otherwise be given back some time after that, at a call that may never come.
void give_memory_back() noexcept {
  if (&mi_collect == nullptr) return;
  static const long delay_ms = mi_option_get(mi_option_decommit_delay);
  mi_option_set(mi_option_decommit_delay, 0);
  mi_collect(true);
  mi_option_set(mi_option_decommit_delay, delay_ms);
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
