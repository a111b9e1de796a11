// The only object that knows the version: a new one compiles nothing else.
#include "ringline/base/version.hpp"

namespace ringline::base {

std::string_view version() noexcept { return RINGLINE_VERSION; }
std::string_view compiler() noexcept { return RINGLINE_COMPILER; }

}  // namespace ringline::base
