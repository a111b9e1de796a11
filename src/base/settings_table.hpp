// The settings, one row each: how a text becomes a field and back. Flags, --help, the environment, the file and --check-config all come from the rows.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "ringline/base/settings.hpp"

namespace ringline::base {

enum class Secrecy : std::uint8_t {
  none,
  masked,   // may hold a password: never shown
  by_file,  // nothing but a secret: as a flag only --NAME-file, since anybody may read a process' arguments
};

struct SettingRow {
  std::string_view group;
  std::string_view name;  // in environment and file; as a flag it is lower case with dashes
  std::string_view hint;  // what --help shows for the value
  std::string_view help;
  Secrecy secrecy;
  // Empty, or what a right value would be.
  std::string (*apply)(Settings& settings, std::string_view text);
  std::string (*show)(const Settings& settings);
};

std::span<const SettingRow> setting_rows() noexcept;
const SettingRow* find_row(std::string_view name) noexcept;

// Names of the contract whose part of the server is not there yet. Those that would change where data goes are refused; the others are named in a warning.
struct LaterName {
  std::string_view name;
  std::string_view part;
  bool refused;
};
const LaterName* find_later(std::string_view name) noexcept;

// The new name of an old one; empty if it is none.
std::string_view renamed(std::string_view name) noexcept;

// The known name that is nearest to a wrong one, or nothing if none is near.
std::string_view nearest_name(std::string_view wrong) noexcept;

}  // namespace ringline::base
