// The server as /proc sees it: CPU time by thread, and memory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ringline/base/result.hpp"

namespace ringline::bench {

struct ServerUse {
  std::int64_t cpu_ns = 0;                         // user and system, of all threads, also those that have ended
  std::map<std::string, std::int64_t> threads_ns;  // by name
  std::uint64_t resident_bytes = 0;
  std::uint64_t anonymous_bytes = 0;  // smaps_rollup: what is not a file's, as the heap is

  ServerUse operator-(const ServerUse& before) const;
};

class ServerProbe {
 public:
  explicit ServerProbe(std::vector<pid_t> pids) : pids_(std::move(pids)) {}
  bool present() const noexcept { return !pids_.empty(); }
  // Of all processes together. Fails if one is gone. Memory is slow to ask (the kernel walks the pages) and therefore an option.
  base::Result<ServerUse> ask(bool memory) const;

 private:
  std::vector<pid_t> pids_;
};

// This process's CPU time.
std::int64_t own_cpu_ns();

}  // namespace ringline::bench
