// What to tell an operator whose kernel, sandbox or limits refuse the ring.
#pragma once

#include <string>
#include <string_view>

#include "ringline/base/result.hpp"

namespace ringline::loop {

struct RingRefusal {
  int sys = 0;            // errno of the call
  std::string_view call;  // "io_uring_setup" or "io_uring_register"
  int disabled = 0;       // kernel.io_uring_disabled; 0 also where the kernel has no such switch
  std::string kernel;     // uname -r
};

base::Error explain(const RingRefusal& refusal);
// A kernel that has io_uring, but not this of it.
base::Error explain_missing(std::string_view feature, std::string_view kernel);

}  // namespace ringline::loop
