// --hosts: people at several hosts of one service, who are told the same or something is wrong. The hosts, and what is behind them, may fail meanwhile;
// whoever makes them fail says so on standard input, a word a line:
//
//   trouble, quiet   latencies are those of trouble from now on, or of quiet times again
//   forget           what was acked as pending so far may be lost
//   count            nothing; after this and the others a line `sent N acked N pending N` is printed
//   stop             nothing new is sent; when all has come to everybody, the record is written and a line `at rest` printed
//   end              the same again, and then the report
//
// SIGTERM, SIGINT and the end of --seconds are `stop` and `end`. A first line, `ready ID...`, names the rooms.
#pragma once

#include "options.hpp"

namespace ringline::bench {

// The exit code.
int run_hosts(const Options& options);

}  // namespace ringline::bench
