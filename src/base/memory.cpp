// See memory.hpp. mimalloc is linked into executables only, and not with a sanitizer: without it there is nothing to do.
#include "ringline/base/memory.hpp"

#include <mimalloc.h>

#pragma weak mi_collect
#pragma weak mi_option_get
#pragma weak mi_option_set

namespace ringline::base {

// Memory that is found free would otherwise be given back some time after that, at a call that may never come.
void give_memory_back() noexcept {
  if (&mi_collect == nullptr) return;
  long delay_ms = mi_option_get(mi_option_decommit_delay);
  mi_option_set(mi_option_decommit_delay, 0);
  mi_collect(true);
  mi_option_set(mi_option_decommit_delay, delay_ms);
}

}  // namespace ringline::base
