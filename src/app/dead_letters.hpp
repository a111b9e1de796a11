// The command dead-letters: what the database refused, for people.
#pragma once

#include "ringline/base/settings.hpp"

namespace ringline::app {

// The exit status: 1 where something is still refused, or went wrong (said on standard error).
int run_dead_letters(const base::Settings& settings);

}  // namespace ringline::app
