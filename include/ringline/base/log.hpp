// Logs: one JSON object a line, {"time","level","event","core",…fields}. A line is built by its caller and handed to a bounded queue of spdlog's
// (the oldest give way under a flood, their number is logged), so no core waits for a disk.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "ringline/base/settings.hpp"

namespace ringline::base::log {

struct Field {
  std::string_view name;
  std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool> value;

  Field(std::string_view n, std::string_view v) : name(n), value(v) {}
  Field(std::string_view n, const std::string& v) : name(n), value(std::string_view(v)) {}
  Field(std::string_view n, const char* v) : name(n), value(std::string_view(v)) {}
  Field(std::string_view n, bool v) : name(n), value(v) {}
  Field(std::string_view n, double v) : name(n), value(v) {}
  template <std::signed_integral T>
  Field(std::string_view n, T v) : name(n), value(static_cast<std::int64_t>(v)) {}
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  Field(std::string_view n, T v) : name(n), value(static_cast<std::uint64_t>(v)) {}
};
using Fields = std::initializer_list<Field>;

// Before the first line; without it lines go to standard error as they come. `stop` writes what is queued.
Result<void> start(const Settings& settings);
void stop();
// SIGHUP after a rotation: opens the log file again.
void reopen();

bool enabled(LogLevel level) noexcept;
// `event` is a stable word such as "connection_closed": people search for it.
void write(LogLevel level, std::string_view event, Fields fields = {});
inline void debug(std::string_view event, Fields fields = {}) {
  if (enabled(LogLevel::debug)) write(LogLevel::debug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) { write(LogLevel::info, event, fields); }
inline void warn(std::string_view event, Fields fields = {}) { write(LogLevel::warn, event, fields); }
inline void error(std::string_view event, Fields fields = {}) { write(LogLevel::error, event, fields); }

// The number in the "core" field of this thread's lines.
void set_core(unsigned core) noexcept;

}  // namespace ringline::base::log
