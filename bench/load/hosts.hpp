// --hosts: people at several hosts of one service, who are told the same or something is wrong. The hosts, and what is behind them, may fail meanwhile;
// whoever makes them fail says so on standard input, a word a line:
//
//   trouble, quiet   latencies are those of trouble from now on, or of quiet times again; a line `sent N` is printed
//   stop             nothing new is sent; when all has come to everybody, a line `at rest N` is printed, N being the messages that were acked
//   end              the same again, and then the report
//
// SIGTERM, SIGINT and the end of --seconds are `stop` and `end`. A first line, `ready ID...`, names the rooms.
#pragma once

#include "options.hpp"

namespace ringline::bench {

// The exit code.
int run_hosts(const Options& options);

}  // namespace ringline::bench
