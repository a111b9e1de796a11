// The signals that an operator sends: SIGTERM, SIGINT, SIGHUP. The first thread waits for them; all others leave them to it, else the kernel may give them
// to one for which they end the process at once.
#pragma once

#include <csignal>
#include <initializer_list>

namespace ringline::base {

inline sigset_t operators_signals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// For the calling thread.
inline void block_operators_signals() noexcept {
  const sigset_t set = operators_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace ringline::base
