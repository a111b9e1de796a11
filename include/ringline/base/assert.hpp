// ASSERT: our own mistakes, checked in release builds too.
// A failed assertion ends the process; the service manager restarts it and the journal keeps what was acked.
#pragma once

namespace ringline::base {

// Writes one line to standard error and aborts. Never returns.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace ringline::base

#define ASSERT(expression)                              \
  (static_cast<bool>(expression) ? static_cast<void>(0) \
                                 : ::ringline::base::assertion_failed(#expression, __FILE__, __LINE__))
