// Times as text. Apart from clock.cpp, which a simulation replaces.
#include <algorithm>
#include <array>
#include <charconv>

#include "ringline/base/clock.hpp"

namespace ringline::base {
namespace {

// What four digits of a year can say: 0000-01-01 to 9999-12-31T23:59:59.999.
constexpr std::int64_t kFirstMs = -62'167'219'200'000;
constexpr std::int64_t kLastMs = 253'402'300'799'999;

constexpr std::int64_t kDayMs = 24 * 3600 * 1000;

void put(char* at, unsigned number, unsigned digits) noexcept {
  for (unsigned i = digits; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
}

// The date of a day, with its T. Most times that are written together are of one day: the last one is kept.
struct Day {
  std::int64_t number = INT64_MIN;  // since 1970
  std::array<char, 11> text{};
};

const Day& day_of(std::int64_t number) noexcept {
  using namespace std::chrono;
  static thread_local Day last;
  if (last.number == number) return last;
  const year_month_day date{sys_days(days(number))};
  last.number = number;
  std::copy_n("0000-00-00T", last.text.size(), last.text.begin());
  put(last.text.data(), static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put(last.text.data() + 5, static_cast<unsigned>(date.month()), 2);
  put(last.text.data() + 8, static_cast<unsigned>(date.day()), 2);
  return last;
}

}  // namespace

void put_rfc3339(char* to, std::int64_t wall_ms) noexcept {
  const std::int64_t when = std::clamp(wall_ms, kFirstMs, kLastMs);
  const std::int64_t number = (when - (when < 0 ? kDayMs - 1 : 0)) / kDayMs;  // rounded down
  const auto in_day = static_cast<unsigned>(when - number * kDayMs);
  const Day& day = day_of(number);
  std::copy_n(day.text.begin(), day.text.size(), to);
  std::copy_n("00:00:00.000Z", kRfc3339Bytes - day.text.size(), to + day.text.size());
  put(to + 11, in_day / 3'600'000, 2);
  put(to + 14, in_day / 60'000 % 60, 2);
  put(to + 17, in_day / 1000 % 60, 2);
  put(to + 20, in_day % 1000, 3);
}

void append_rfc3339(std::string& out, std::int64_t wall_ms) {
  std::array<char, kRfc3339Bytes> text{};
  put_rfc3339(text.data(), wall_ms);
  out.append(text.data(), text.size());
}

std::string rfc3339(std::int64_t wall_ms) {
  std::string out;
  append_rfc3339(out, wall_ms);
  return out;
}

std::optional<std::int64_t> parse_rfc3339(std::string_view text) noexcept {
  if (text.size() != 24 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
      text[19] != '.' || text[23] != 'Z')
    return std::nullopt;
  auto number = [&](std::size_t at, std::size_t size) {
    unsigned value = 0;
    const char* end = text.data() + at + size;
    auto [stop, error] = std::from_chars(text.data() + at, end, value);
    return error == std::errc{} && stop == end ? static_cast<int>(value) : -1;
  };
  int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  int hour = number(11, 2), minute = number(14, 2), second = number(17, 2), milli = number(20, 3);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0 || milli < 0) return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli;
}

}  // namespace ringline::base
