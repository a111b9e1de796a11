// See copy_text.hpp. Escaped is what PostgreSQL itself escapes: lines of both engines are compared byte by byte.
#include "backend/copy_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ringline::backend::copy_text {

namespace {

constexpr auto kEscapes = std::to_array<std::pair<char, char>>(
    {{'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\v', 'v'}, {'\\', '\\'}});

}  // namespace

void append(std::string& line, std::string_view text) {
  for (const char c : text) {
    const auto* escape = std::ranges::find(kEscapes, c, &std::pair<char, char>::first);
    if (escape == kEscapes.end()) {
      line += c;
    } else {
      line += '\\';
      line += escape->second;
    }
  }
}

std::string unescape(std::string_view cell) {
  std::string text;
  text.reserve(cell.size());
  for (std::size_t i = 0; i < cell.size(); ++i) {
    if (cell[i] != '\\' || i + 1 == cell.size()) {
      text += cell[i];
      continue;
    }
    const char next = cell[++i];
    const auto* escape = std::ranges::find(kEscapes, next, &std::pair<char, char>::second);
    text += escape == kEscapes.end() ? next : escape->first;
  }
  return text;
}

Cells split(std::string_view line) {
  Cells cells;
  for (;;) {
    const std::size_t tab = line.find('\t');
    const std::string_view cell = line.substr(0, tab);
    if (cell == kNull) {
      cells.emplace_back(std::nullopt);
    } else {
      cells.emplace_back(unescape(cell));
    }
    if (tab == line.npos) return cells;
    line.remove_prefix(tab + 1);
  }
}

std::string_view cell_at(std::string_view line, std::size_t column) noexcept {
  for (; column > 0; --column) {
    const std::size_t tab = line.find('\t');
    if (tab == line.npos) return {};
    line.remove_prefix(tab + 1);
  }
  return line.substr(0, line.find('\t'));
}

}  // namespace ringline::backend::copy_text
