// Which form of an answer a client wants: compressed or not, a part of it, or none because it has it already (RFC 9110, 12.5.3, 13.1.2 and 14).
// What is malformed asks for nothing: the plain, whole answer suits everybody.
#include <algorithm>
#include <charconv>
#include <optional>

#include "protocol/text.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::protocol {

namespace {

// What stands before the next comma; that and the comma are taken off.
std::string_view next_element(std::string_view& list) noexcept {
  auto comma = std::min(list.find(','), list.size());
  std::string_view element = trimmed(list.substr(0, comma));
  list.remove_prefix(std::min(comma + 1, list.size()));
  return element;
}

// ";q=0.5" in thousandths; 1000 without one, -1 where it is malformed.
int weight_of(std::string_view parameter) noexcept {
  if (parameter.empty()) return 1000;
  parameter = trimmed(parameter.substr(1));
  if (parameter.size() < 3 || lower(parameter[0]) != 'q' || parameter[1] != '=') return -1;
  parameter.remove_prefix(2);
  if (parameter.size() > 5 || (parameter[0] != '0' && parameter[0] != '1')) return -1;
  if (parameter.size() > 1 && parameter[1] != '.') return -1;
  int weight = (parameter[0] - '0') * 1000;
  int unit = 100;
  for (char c : parameter.substr(std::min<std::size_t>(2, parameter.size()))) {
    if (!is_digit(c)) return -1;
    weight += (c - '0') * unit;
    unit /= 10;
  }
  return weight <= 1000 ? weight : -1;
}

}  // namespace

bool wants_gzip(std::string_view accept_encoding) noexcept {
  constexpr int kNotNamed = -1;
  int gzip = kNotNamed;
  int identity = kNotNamed;
  int others = kNotNamed;
  while (!accept_encoding.empty()) {
    std::string_view element = next_element(accept_encoding);
    auto end = std::min(element.find(';'), element.size());
    std::string_view coding = trimmed(element.substr(0, end));
    int weight = weight_of(element.substr(end));
    if (weight < 0) continue;
    if (same_text(coding, "gzip") || same_text(coding, "x-gzip")) gzip = weight;
    if (same_text(coding, "identity")) identity = weight;
    if (coding == "*") others = weight;
  }
  if (gzip == kNotNamed) gzip = others;
  return gzip > 0 && gzip >= identity;
}

bool names_etag(std::string_view if_none_match, std::string_view etag) noexcept {
  std::string_view rest = trimmed(if_none_match);
  if (rest == "*") return true;
  while (!rest.empty()) {
    rest = trimmed(rest);
    if (rest.starts_with(',')) {
      rest.remove_prefix(1);
      continue;
    }
    if (rest.starts_with("W/")) rest.remove_prefix(2);
    if (!rest.starts_with('"')) return false;
    auto end = rest.find('"', 1);
    if (end == std::string_view::npos) return false;
    if (rest.substr(0, end + 1) == etag) return true;
    rest = trimmed(rest.substr(end + 1));
    if (!rest.empty() && !rest.starts_with(',')) return false;
  }
  return false;
}

namespace {

// Digits alone; none where there are none, or too many.
std::optional<std::uint64_t> number_of(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

ByteRange parse_range(std::string_view header, std::uint64_t size) noexcept {
  constexpr std::string_view kUnit = "bytes=";
  const ByteRange whole{.first = 0, .count = size};
  if (!header.starts_with(kUnit)) return whole;
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos || header.contains(',')) return whole;
  const auto first = number_of(header.substr(0, dash));
  const auto last = number_of(header.substr(dash + 1));
  if (dash == 0) {  // the last so many
    if (!last) return whole;
    if (*last == 0 || size == 0) return {.partial = true, .satisfiable = false};
    const std::uint64_t count = std::min(*last, size);
    return {.first = size - count, .count = count, .partial = true};
  }
  const bool open_ended = dash + 1 == header.size();
  if (!first || (!last && !open_ended) || (last && *last < *first)) return whole;
  if (*first >= size) return {.partial = true, .satisfiable = false};
  const std::uint64_t end = open_ended ? size : std::min(*last, size - 1) + 1;
  return {.first = *first, .count = end - *first, .partial = true};
}

}  // namespace ringline::protocol
