// Times as text. Apart from clock.cpp, which a simulation replaces.
#include <algorithm>
#include <array>

#include "ringline/base/clock.hpp"

namespace ringline::base {
namespace {

// What four digits of a year can say: 0000-01-01 to 9999-12-31T23:59:59.999.
constexpr std::int64_t kFirstMs = -62'167'219'200'000;
constexpr std::int64_t kLastMs = 253'402'300'799'999;

void put(char* at, unsigned number, unsigned digits) noexcept {
  for (unsigned i = digits; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
}

}  // namespace

void append_rfc3339(std::string& out, std::int64_t wall_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> when{milliseconds(std::clamp(wall_ms, kFirstMs, kLastMs))};
  const auto day = floor<days>(when);
  const year_month_day date{day};
  const hh_mm_ss time{when - day};
  std::array<char, 24> text{};
  std::copy_n("0000-00-00T00:00:00.000Z", text.size(), text.begin());
  put(text.data(), static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put(text.data() + 5, static_cast<unsigned>(date.month()), 2);
  put(text.data() + 8, static_cast<unsigned>(date.day()), 2);
  put(text.data() + 11, static_cast<unsigned>(time.hours().count()), 2);
  put(text.data() + 14, static_cast<unsigned>(time.minutes().count()), 2);
  put(text.data() + 17, static_cast<unsigned>(time.seconds().count()), 2);
  put(text.data() + 20, static_cast<unsigned>(time.subseconds().count()), 3);
  out.append(text.data(), text.size());
}

std::string rfc3339(std::int64_t wall_ms) {
  std::string out;
  append_rfc3339(out, wall_ms);
  return out;
}

}  // namespace ringline::base
