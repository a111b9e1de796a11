// The end of a failed ASSERT. Uses nothing that could allocate, lock or fail in its turn.
#include "ringline/base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace ringline::base {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "ringline: assertion failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace ringline::base
