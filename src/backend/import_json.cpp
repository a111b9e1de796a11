// See import_json.hpp.
#include "backend/import_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <utility>

#include "ringline/base/utf8.hpp"

namespace ringline::backend {

using base::json::Value;

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::size_t kLevelsMax = 3;  // {"messages": {"room": [ … ]}}
constexpr double kSecondsMax = 1e11;   // a smaller number of milliseconds is before 1973: it is seconds

// The whole of `text`, or nothing.
std::optional<std::int64_t> to_number(std::string_view text) noexcept {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::int64_t from_number(double number) noexcept {
  if (!(number > 0) || number > 1e15) return 0;
  return static_cast<std::int64_t>(std::llround(number < kSecondsMax ? number * 1000 : number));
}

// Takes `digits` digits off the front of `text`; -1: they are not there.
int take_digits(std::string_view& text, std::size_t digits) noexcept {
  if (text.size() < digits || text.substr(0, digits).find_first_not_of("0123456789") != text.npos) return -1;
  const int number = static_cast<int>(to_number(text.substr(0, digits)).value_or(-1));
  text.remove_prefix(digits);
  return number;
}
bool take_char(std::string_view& text, std::string_view any) noexcept {
  if (text.empty() || !any.contains(text.front())) return false;
  text.remove_prefix(1);
  return true;
}

struct DayTime {
  int hour = 0;
  int minute = 0;
  int second = 0;
  int milli = 0;
  int zone_minutes = 0;
};

// "10:20", "10:20:30.123456", then "Z", "+02:00", "+0200" or nothing.
std::optional<DayTime> take_time(std::string_view text) noexcept {
  DayTime time{.hour = take_digits(text, 2)};
  time.minute = take_char(text, ":") ? take_digits(text, 2) : -1;
  if (take_char(text, ":")) time.second = take_digits(text, 2);
  if (take_char(text, ".,")) {
    int scale = 100;
    for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1), scale /= 10)
      time.milli += (text.front() - '0') * scale;
  }
  if (time.hour < 0 || time.hour > 23 || time.minute < 0 || time.minute > 59 || time.second < 0 || time.second > 60)
    return std::nullopt;
  if (text.empty() || take_char(text, "Zz")) return text.empty() ? std::optional(time) : std::nullopt;
  const bool west = text.front() == '-';
  if (!take_char(text, "+-")) return std::nullopt;
  const int hours = take_digits(text, 2);
  take_char(text, ":");
  const int minutes = text.empty() ? 0 : take_digits(text, 2);
  if (hours < 0 || minutes < 0 || !text.empty()) return std::nullopt;
  time.zone_minutes = (hours * 60 + minutes) * (west ? -1 : 1);
  return time;
}

std::int64_t from_date(std::string_view text) noexcept {
  const int year = take_digits(text, 4);
  const int month = take_char(text, "-") ? take_digits(text, 2) : -1;
  const int day = take_char(text, "-") ? take_digits(text, 2) : -1;
  if (year < 0 || month < 0 || day < 0) return 0;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return 0;
  std::optional<DayTime> time = DayTime();
  if (!text.empty()) time = take_char(text, "Tt ") ? take_time(text) : std::nullopt;
  if (!time) return 0;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t minutes = (days * 24 + time->hour) * 60 + time->minute - time->zone_minutes;
  return (minutes * 60 + time->second) * 1000 + time->milli;
}

bool is_blank(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

std::string json_text(const Value& value) {
  if (value.IsString()) return base::sanitize_text(base::json::view(value));
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  if (value.IsUint64()) return std::to_string(value.GetUint64());
  if (!value.IsObject()) return {};
  const Value* id = base::json::find(value, "$oid");
  return id && id->IsString() ? json_text(*id) : std::string();
}

std::int64_t json_time(const Value& value) {
  if (value.IsNumber()) return from_number(value.GetDouble());
  if (value.IsString()) {
    const std::string_view text = base::trim(base::json::view(value));
    const auto number = to_number(text);
    return number ? from_number(static_cast<double>(*number)) : from_date(text);
  }
  if (!value.IsObject()) return 0;
  const Value* inner = base::json::find(value, "$date");
  if (!inner) inner = base::json::find(value, "$numberLong");
  return inner ? json_time(*inner) : 0;
}

const Value* JsonFields::any(std::initializer_list<std::string_view> names) {
  const Value* found = nullptr;
  for (const std::string_view name : names) {
    asked_.push_back(name);
    if (!found) found = base::json::find(object_, name);
  }
  return found;
}

std::string JsonFields::text(std::initializer_list<std::string_view> names) {
  const Value* value = any(names);
  return value ? json_text(*value) : std::string();
}

bool JsonFields::flag(std::initializer_list<std::string_view> names) {
  const Value* value = any(names);
  if (!value) return false;
  if (value->IsBool()) return value->GetBool();
  const std::string text = json_text(*value);
  return text == "1" || text == "true";
}

std::optional<std::int64_t> JsonFields::time_ms(std::initializer_list<std::string_view> names) {
  const Value* value = any(names);
  return value ? std::optional(json_time(*value)) : std::nullopt;
}

void JsonFields::count_others(std::map<std::string, std::uint64_t>& counts, std::string_view file) const {
  for (const auto& member : object_.GetObject()) {
    const std::string_view name = base::json::view(member.name);
    const bool empty = member.value.IsNull() || (member.value.IsArray() && member.value.Empty()) ||
                       (member.value.IsString() && member.value.GetStringLength() == 0);
    if (!empty && std::ranges::find(asked_, name) == asked_.end()) ++counts[fmt::format("{}: {}", file, name)];
  }
}

JsonRows::JsonRows(std::string_view text, std::string_view wrapper)
    : text_(text), wrapper_(fmt::format("\"{}\"", wrapper)) {
  if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
}

std::nullopt_t JsonRows::fail(std::string_view what) {
  error_ = fmt::format("line {}: {}", line_, what);
  levels_.clear();
  return std::nullopt;
}

void JsonRows::move_to(std::size_t end) noexcept {
  line_ += static_cast<std::size_t>(std::ranges::count(text_.substr(at_, end - at_), '\n'));
  at_ = end;
}

void JsonRows::skip_blanks() noexcept {
  std::size_t end = at_;
  while (end < text_.size() && is_blank(text_[end])) ++end;
  move_to(end);
}

bool JsonRows::skip_to(char wanted) {
  skip_blanks();
  if (at_ == text_.size() || text_[at_] != wanted) return false;
  ++at_;
  return true;
}

// Into the list or object that begins here.
bool JsonRows::open(std::string_view key) {
  if (levels_.size() == kLevelsMax || at_ == text_.size() || (text_[at_] != '[' && text_[at_] != '{')) return false;
  levels_.push_back({.end = text_[at_] == '[' ? ']' : '}', .key = key});
  ++at_;
  return true;
}

std::optional<std::string_view> JsonRows::take_string() {
  if (at_ == text_.size() || text_[at_] != '"') return fail("a name in quotes is expected here");
  std::size_t end = at_ + 1;
  while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
  if (end >= text_.size()) return fail("the file ends within a text");
  const std::string_view taken = text_.substr(at_, end + 1 - at_);
  move_to(end + 1);
  return taken;
}

std::optional<std::string_view> JsonRows::take_key() {
  skip_blanks();
  auto key = take_string();
  if (!key) return std::nullopt;
  if (!skip_to(':')) return fail("a colon is expected here");
  return key;
}

// Up to its end, whatever it is: its brackets are counted, its texts passed over.
std::optional<std::string_view> JsonRows::take_value() {
  std::size_t depth = 0;
  std::size_t end = at_;
  for (bool ended = false; !ended && end < text_.size();) {
    const char c = text_[end];
    const bool plain = depth == 0 && c != '"' && c != '{' && c != '[';  // of a number, true, false, null
    if (plain && (is_blank(c) || c == ',' || c == '}' || c == ']')) break;
    if (c == '"')
      for (++end; end < text_.size() && text_[end] != '"'; ++end)
        if (text_[end] == '\\') ++end;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ended = depth == 0 && !plain;
    ++end;
  }
  if (end > text_.size() || depth > 0 || at_ == text_.size()) return fail("the file ends within a row");
  if (end == at_) return fail("a row is expected here");
  const std::string_view taken = text_.substr(at_, end - at_);
  move_to(end);
  return taken;
}

std::optional<JsonRow> JsonRows::next() {
  if (!std::exchange(begun_, true)) {
    skip_blanks();
    if (!open({})) return fail("a list or an object is expected here");
  }
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (skip_to(level.end)) {
      levels_.pop_back();
      if (!levels_.empty()) continue;
      skip_blanks();
      if (at_ == text_.size()) return std::nullopt;
      return fail("there is more behind the end");
    }
    if (!std::exchange(level.first, false) && !skip_to(',')) return fail("a comma, or the end, is expected here");
    std::string_view key = level.key;
    if (level.end == '}') {
      auto name = take_key();
      if (!name) return std::nullopt;
      key = *name;
      skip_blanks();
      const bool wraps = key == wrapper_ && levels_.size() == 1;
      if ((wraps || (at_ < text_.size() && text_[at_] == '[')) && open(wraps ? std::string_view() : key)) continue;
    }
    skip_blanks();
    const std::size_t line = line_;
    auto value = take_value();
    if (!value) return std::nullopt;
    return JsonRow{.text = *value, .key = key, .in_list = level.end == ']', .number = ++rows_, .line = line};
  }
  return std::nullopt;
}

}  // namespace ringline::backend
