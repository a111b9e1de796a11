// Threads and processors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::loop {

// Processors that this process may use (its affinity, as taskset or a cpuset set it), at least 1.
unsigned usable_cpus();
// Pins the calling thread to the `index`-th of those, counted from 0 and around. What the process may use is taken as of the first call of either.
void pin_thread(unsigned index);
// How much the calling thread gives way where a core's thread wants the same processor: its share of that is about a quarter, or a seventieth (nice(2);
// sched(7), "The nice value").
enum class Niceness : std::uint8_t { worker = 5, background = 19 };
void give_way(Niceness how);
// What each thread but the first begins with: its name in ps and gdb, cut to 15 bytes; and signals are not its (base/signals.hpp).
void begin_thread(const std::string& name);
// False under TSan, which knows one table a process: there, unshare_descriptors does nothing.
#if defined(__has_feature) && __has_feature(thread_sanitizer)
inline constexpr bool kOwnDescriptors = false;
#else
inline constexpr bool kOwnDescriptors = true;
#endif
// Gives the calling thread a descriptor table of its own: in it are the standard streams and `keep`, under the numbers they had. The limit on descriptors
// counts by table, so each such thread may open as many. What is not kept stays open in the others' table; a copy here would outlive its closing there.
base::Result<void> unshare_descriptors(std::vector<Fd> keep);

}  // namespace ringline::loop
