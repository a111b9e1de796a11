// Threads and processors.
#pragma once

#include <string>

namespace ringline::loop {

// Processors that this process may use (its affinity, as taskset or a cpuset set it), at least 1.
unsigned usable_cpus();
// Pins the calling thread to the `index`-th of those, counted from 0 and around. What the process may use is taken as of the first call of either.
void pin_thread(unsigned index);
// The calling thread gives way where a processor is wanted by others too: it gets about a tenth of one that a core's thread would fill (nice(2): 10).
void give_way();
// The calling thread's name in ps and gdb; cut to 15 bytes.
void name_thread(const std::string& name);

}  // namespace ringline::loop
