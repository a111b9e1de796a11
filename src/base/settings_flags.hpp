// The command line, apart from what the values mean: CLI11 is seen by one file only.
#pragma once

#include <string>
#include <vector>

#include "ringline/base/settings.hpp"

namespace ringline::base {

struct FlagValue {
  std::string name;  // as in the environment
  std::string flag;  // as it was written: --port
  std::string text;
};

struct Flags {
  RunMode mode = RunMode::serve;
  DeadLetterCommand dead_letters = {};
  DataCommand data_command = {};
  std::string config_path;
  std::vector<FlagValue> values;
};

// Answers --help and --version on standard output.
Result<Flags> read_flags(int argc, const char* const* argv);

}  // namespace ringline::base
