// See progress.hpp.
#include "app/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "ringline/base/clock.hpp"

namespace ringline::app {

namespace {

constexpr std::int64_t kEveryMs = 1000;
constexpr std::int64_t kEveryOnTerminalMs = 100;

}  // namespace

Progress::Progress() : on_terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::begin(std::string_view what, std::uint64_t total) {
  end();
  what_ = what;
  total_ = total;
  done_ = 0;
  began_ms_ = base::monotonic_ms();
  show(false);
}

void Progress::advance(std::uint64_t steps) {
  done_ += steps;
  if (base::monotonic_ms() >= next_ms_) show(false);
}

void Progress::say(const std::string& what) {
  if (on_terminal_ && !what_.empty()) std::fputs("\r\033[K", stderr);
  std::printf("%s\n", what.c_str());
  if (on_terminal_) std::fflush(stdout);
}

void Progress::end() {
  if (!what_.empty()) show(true);
  what_.clear();
}

// "messages: 120000 of 1000000 (12 %), 45000 a second, 20 s left"
void Progress::show(bool last) {
  const std::int64_t now = base::monotonic_ms();
  const double seconds = static_cast<double>(std::max<std::int64_t>(1, now - began_ms_)) / 1000;
  const double rate = static_cast<double>(done_) / seconds;
  const std::uint64_t total = std::max(total_, done_);
  std::string line = fmt::format("{}: {} of {} ({} %)", what_, done_, total, total == 0 ? 100 : done_ * 100 / total);
  if (done_ > 0) line += fmt::format(", {:.0f} a second", rate);
  if (done_ > 0 && !last) line += fmt::format(", {:.0f} s left", static_cast<double>(total - done_) / rate);
  std::fprintf(stderr, on_terminal_ ? "\r\033[K%s%s" : "%s%s", line.c_str(), last || !on_terminal_ ? "\n" : "");
  next_ms_ = now + (on_terminal_ ? kEveryOnTerminalMs : kEveryMs);
}

}  // namespace ringline::app
