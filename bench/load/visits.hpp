// The runs in which connections come back, or the server is watched rather than loaded: storm, resume, pages of history, single messages.
#pragma once

#include "driver.hpp"
#include "report.hpp"

namespace ringline::bench {

// CPU and memory of the server, if it is known.
std::optional<ServerUse> ask(const ServerProbe& probe);
// Turns until everybody is in, or nobody has come in for a long time.
void let_all_in(Driver& driver, Crowd& crowd);
void finish_step(Report& report, Driver& driver, StepResult result);

// Each sender asks for a page of its room, and for the next when it has it.
void ask_pages(const Options& options, Driver& driver, Crowd& crowd, StepRunner& steps, Report& report);
// One message at a time; nothing is received until the server must be done with it.
void send_bursts(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report);
// Everybody goes, and comes again.
void come_again(const Options& options, Driver& driver, Crowd& crowd, const ServerProbe& probe, Report& report);
// One of each room stays and speaks; the server is stopped and started by whoever reads our output; everybody comes back and gets what he missed.
void resume_all(const Options& options, Driver& driver, Crowd& crowd, Report& report);

}  // namespace ringline::bench
