// Pinning is best effort: a sandbox that refuses it costs speed, not correctness.
#include "ringline/loop/thread.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>
#include <vector>

#include "ringline/base/signals.hpp"

namespace ringline::loop {
namespace {

// Read once: a thread's own affinity is one processor after it was pinned.
const std::vector<unsigned>& allowed() {
  static const std::vector<unsigned> cpus = [] {
    std::vector<unsigned> found;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
      for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
      }
    }
    return found;
  }();
  return cpus;
}

}  // namespace

unsigned usable_cpus() { return allowed().empty() ? 1 : static_cast<unsigned>(allowed().size()); }

void pin_thread(unsigned index) {
  if (allowed().empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(allowed()[index % allowed().size()], &set);
  static_cast<void>(::sched_setaffinity(0, sizeof set, &set));
}

// On Linux a nice value is a thread's own; 0 is the calling one (setpriority(2), "C library/kernel differences").
void give_way(Niceness how) { static_cast<void>(::setpriority(PRIO_PROCESS, 0, static_cast<int>(how))); }

void begin_thread(const std::string& name) {
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
  base::block_operators_signals();
}

// close_range does the unsharing too: sandboxes that let nobody call unshare, which also makes namespaces, let this pass.
// TSan takes a number for one file in all threads: it would call two closings a race, and writes to what it takes for its symbolizer.
base::Result<void> unshare_descriptors(std::vector<Fd> keep) {
  if (!kOwnDescriptors) return {};
  std::ranges::sort(keep, {}, &Fd::value);
  keep.push_back(Fd{INT_MAX});
  unsigned from = STDERR_FILENO + 1;
  for (const Fd kept : keep) {
    const auto number = static_cast<unsigned>(kept.value);
    if (number > from && ::close_range(from, number - 1, CLOSE_RANGE_UNSHARE) != 0)
      return base::fail_sys(
          errno, "a thread cannot have descriptors of its own: close_range: " + std::generic_category().message(errno));
    from = std::max(from, number + 1);
  }
  return {};
}

}  // namespace ringline::loop
