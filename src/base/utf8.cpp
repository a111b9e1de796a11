// One decoder for all of it. It may trust its input everywhere but in `valid_utf8`.
#include "ringline/base/utf8.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "fold_table.hpp"

namespace ringline::base {
namespace {

struct Point {
  std::uint32_t value;
  std::size_t size;  // bytes; 0: not UTF-8
};

constexpr Point kBad{0, 0};

std::uint32_t byte_at(std::string_view text, std::size_t index) noexcept {
  return static_cast<unsigned char>(text[index]);
}

// The first code point of a text that is not empty.
Point decode(std::string_view text) noexcept {
  const std::uint32_t lead = byte_at(text, 0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return kBad;
  std::uint32_t value = lead & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte_at(text, i) & 0xc0) != 0x80) return kBad;
    value = value << 6 | (byte_at(text, i) & 0x3f);
  }
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  return overlong || surrogate || value > 0x10ffff ? kBad : Point{value, size};
}

void append(std::string& out, std::uint32_t point) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xc0 | point >> 6);
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
  }
  put(0x80 | (point & 0x3f));
}

bool is_control(std::uint32_t point) noexcept { return point < 0x20 || (point >= 0x7f && point <= 0x9f); }

bool is_space(std::uint32_t point) noexcept {
  return point == ' ' || (point >= '\t' && point <= '\r') || point == 0x85 || point == 0xa0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 || point == 0x202f ||
         point == 0x205f || point == 0x3000;
}

std::uint32_t fold(std::uint32_t point) noexcept {
  const auto* run = std::ranges::upper_bound(kFoldRuns, point, {}, &FoldRun::first);
  if (run == kFoldRuns.begin()) return point;
  --run;
  if (point > run->last || (point - run->first) % run->step != 0) return point;
  return point + static_cast<std::uint32_t>(run->delta);
}

}  // namespace

bool valid_utf8(std::string_view text) noexcept {
  constexpr std::uint64_t kHighBits = 0x8080808080808080ULL;
  while (!text.empty()) {
    std::uint64_t eight = 0;
    if (text.size() >= sizeof eight) {
      std::memcpy(&eight, text.data(), sizeof eight);
      if ((eight & kHighBits) == 0) {  // most texts are ASCII
        text.remove_prefix(sizeof eight);
        continue;
      }
    }
    const Point point = decode(text);
    if (point.size == 0) return false;
    text.remove_prefix(point.size);
  }
  return true;
}

std::size_t count_points(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string sanitize_text(std::string_view text) {
  bool plain = true;  // no early end: so it is many bytes at once
  for (const char c : text) plain &= c >= ' ' && c <= '~';
  if (plain) return std::string(text);
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Point point = decode(text);
    if (point.size == 0) break;
    if (!is_control(point.value) || point.value == '\t' || point.value == '\n') out.append(text, 0, point.size);
    text.remove_prefix(point.size);
  }
  return out;
}

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty()) {
    const Point point = decode(text);
    if (!is_space(point.value)) break;
    text.remove_prefix(point.size);
  }
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (byte_at(text, start) & 0xc0) == 0x80) --start;
    if (!is_space(decode(text.substr(start)).value)) break;
    text = text.substr(0, start);
  }
  return text;
}

bool is_clean_name(std::string_view name) noexcept {
  while (!name.empty()) {
    const Point point = decode(name);
    if (point.size == 0 || is_control(point.value)) return false;
    if (point.value == 0x2028 || point.value == 0x2029) return false;
    if (point.value >= 0x202a && point.value <= 0x202e) return false;  // embeddings and overrides
    if (point.value >= 0x2066 && point.value <= 0x2069) return false;  // isolates
    name.remove_prefix(point.size);
  }
  return true;
}

std::string fold_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Point point = decode(text);
    if (point.size == 0) break;
    append(out, fold(point.value));
    text.remove_prefix(point.size);
  }
  return out;
}

}  // namespace ringline::base
