// What this build is: for --version, /health and the metric ringline_build_info.
#pragma once

#include <string_view>

namespace ringline::base {

std::string_view version() noexcept;   // "0.1.0"
std::string_view compiler() noexcept;  // "clang 19.1.7"

}  // namespace ringline::base
