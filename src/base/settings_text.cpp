// Small rules for texts that an operator writes.
#include "settings_text.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>

#include "ringline/base/settings.hpp"

namespace ringline::base {
namespace {

struct Unit {
  std::string_view suffix;
  std::uint64_t factor;
};
// Larger first: that is how a value is shown.
constexpr auto kDurationUnits = std::to_array<Unit>({{"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}});
constexpr auto kSizeUnits = std::to_array<Unit>({{"G", 1ULL << 30}, {"M", 1ULL << 20}, {"K", 1ULL << 10}});

// "12s" by the units; digits alone count `plain` each.
template <std::size_t kCount>
std::optional<std::uint64_t> parse_scaled(std::string_view text, const std::array<Unit, kCount>& units,
                                          std::uint64_t plain) noexcept {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = text_to_number(text.substr(0, digits));
  const std::string_view suffix = text.substr(digits);
  std::uint64_t factor = suffix.empty() ? plain : 0;
  for (const Unit& unit : units)
    if (unit.suffix == suffix) factor = unit.factor;
  if (!number || factor == 0) return std::nullopt;
  if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor) return std::nullopt;
  return *number * factor;
}

template <std::size_t kCount>
std::string show_scaled(std::uint64_t value, const std::array<Unit, kCount>& units) {
  for (const Unit& unit : units)
    if (value > 0 && value % unit.factor == 0) return std::to_string(value / unit.factor).append(unit.suffix);
  return std::to_string(value);
}

bool is_host(std::string_view host) noexcept {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-.:[]_").contains(c);
  });
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) noexcept {
  const auto value = parse_scaled(text, kDurationUnits, 1000);
  if (!value) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(*value));
}

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept { return parse_scaled(text, kSizeUnits, 1); }

std::optional<std::uint64_t> text_to_number(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<bool> text_to_switch(std::string_view text) noexcept {
  if (text == "on" || text == "true" || text == "yes" || text == "1") return true;
  if (text == "off" || text == "false" || text == "no" || text == "0") return false;
  return std::nullopt;
}

std::string duration_to_text(std::chrono::milliseconds duration) {
  return show_scaled(static_cast<std::uint64_t>(duration.count()), kDurationUnits);
}

std::string size_to_text(std::uint64_t size) { return show_scaled(size, kSizeUnits); }

std::string_view strip(std::string_view text) noexcept {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(",\n"), text.size());
    if (const std::string_view part = strip(text.substr(0, end)); !part.empty()) parts.emplace_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::string join_list(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text.append(text.empty() ? "" : ",").append(part);
  return text;
}

std::string upper_name(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return upper;
}

std::string flag_name(std::string_view name) {
  constexpr std::string_view kOurs = "RINGLINE_";
  if (name.starts_with(kOurs)) name.remove_prefix(kOurs.size());
  std::string flag(name);
  for (char& c : flag) c = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return flag;
}

bool is_cidr(std::string_view text) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  const std::string address(text.substr(0, slash));
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  const bool v4 = ::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1;
  if (!v4 && ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) return false;
  if (slash == text.size()) return true;
  const auto bits = text_to_number(text.substr(slash + 1));
  return bits && *bits <= (v4 ? 32U : 128U);
}

bool is_origin(std::string_view text) {
  if (text == "*") return true;
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || (text.substr(0, colon) != "http" && text.substr(0, colon) != "https"))
    return false;
  std::string_view host = text.substr(colon + 3);
  if (host.starts_with("*.")) host.remove_prefix(2);
  return is_host(host);
}

bool is_http_url(std::string_view text) noexcept {
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || (text.substr(0, colon) != "http" && text.substr(0, colon) != "https"))
    return false;
  const std::string_view rest = text.substr(colon + 3);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  return is_host(rest.substr(0, slash)) && std::ranges::all_of(rest.substr(slash), [](char c) {
           return c > ' ' && c <= '~' && c != '?' && c != '#' && c != '"' && c != '\\';
         });
}

std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> steps(to.size() + 1);  // of the prefix of `from` so far to each prefix of `to`
  std::iota(steps.begin(), steps.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = std::exchange(steps[0], i + 1);
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replace = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = std::exchange(steps[j + 1], std::min({replace, steps[j] + 1, steps[j + 1] + 1}));
    }
  }
  return steps.back();
}

}  // namespace ringline::base
