// The things that a run can be: one rate, the search for the highest one, idling, send and answer; visits.hpp has the rest.
#pragma once

#include "driver.hpp"
#include "report.hpp"

namespace ringline::bench {

// Connects the crowd; false: something failed, and the report says what.
bool set_up(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report);
void run_mode(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report);
// Closes all sockets and waits until the kernel has let go of them.
void tear_down(loop::Loop& loop, Crowd& crowd);

}  // namespace ringline::bench
