// One decoder for all of it. It may trust its input everywhere but in `valid_utf8`.
#include "ringline/base/utf8.hpp"

#include <algorithm>
#include <array>
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

constexpr std::size_t kWordPoints = 64;

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};

// What stands between words, of all that is not ASCII: white space, punctuation, symbols, private use. Sorted.
constexpr auto kBetween = std::to_array<Range>(
    {{0x80, 0xa9},     {0xab, 0xb1},     {0xb4, 0xb4},     {0xb6, 0xb8},     {0xbb, 0xbb},       {0xbf, 0xbf},
     {0xd7, 0xd7},     {0xf7, 0xf7},     {0x37e, 0x37e},   {0x387, 0x387},   {0x55a, 0x55f},     {0x589, 0x58a},
     {0x5be, 0x5be},   {0x5c0, 0x5c0},   {0x5c3, 0x5c3},   {0x5f3, 0x5f4},   {0x60c, 0x60d},     {0x61b, 0x61f},
     {0x66a, 0x66d},   {0x6d4, 0x6d4},   {0x964, 0x965},   {0x1680, 0x1680}, {0x2000, 0x206f},   {0x20a0, 0x20cf},
     {0x2190, 0x2bff}, {0x2e00, 0x2e7f}, {0x3000, 0x3004}, {0x3008, 0x3020}, {0x3030, 0x3030},   {0x303d, 0x303f},
     {0x30a0, 0x30a0}, {0x30fb, 0x30fb}, {0xe000, 0xf8ff}, {0xfe00, 0xfe1f}, {0xfe30, 0xfe6f},   {0xfeff, 0xff0f},
     {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0xffe0, 0xffff}, {0xe0000, 0x10ffff}});
constexpr auto kAlone = std::to_array<Range>({{0x3041, 0x309f},
                                              {0x30a1, 0x30fa},
                                              {0x30fc, 0x30ff},
                                              {0x31f0, 0x31ff},
                                              {0x3400, 0x4dbf},
                                              {0x4e00, 0x9fff},
                                              {0xf900, 0xfaff},
                                              {0xff66, 0xff9f},
                                              {0x1f300, 0x1faff},
                                              {0x20000, 0x323af}});

template <std::size_t count>
bool is_in(const std::array<Range, count>& ranges, std::uint32_t point) noexcept {
  const auto* above = std::ranges::upper_bound(ranges, point, {}, &Range::first);
  return above != ranges.begin() && point <= (above - 1)->last;
}

enum class Part : std::uint8_t { between, letter, alone };

Part part_of(std::uint32_t point) noexcept {
  if (point < 0x80) {
    const std::uint32_t lower = point | 0x20U;
    return (point >= '0' && point <= '9') || (lower >= 'a' && lower <= 'z') ? Part::letter : Part::between;
  }
  if (is_in(kAlone, point)) return Part::alone;
  return is_in(kBetween, point) ? Part::between : Part::letter;
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

std::string words_of(std::string_view text) {
  std::string out;
  std::size_t points = 0;  // of the word that is being written
  while (!text.empty()) {
    const Point point = decode(text);
    if (point.size == 0) break;
    text.remove_prefix(point.size);
    const Part part = part_of(point.value);
    if (part != Part::letter) points = 0;
    if (part == Part::between) continue;
    if (points == 0 && !out.empty()) out += ' ';
    if (++points <= kWordPoints) append(out, fold(point.value));
    if (part == Part::alone) points = 0;
  }
  return out;
}

}  // namespace ringline::base
