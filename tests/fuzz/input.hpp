// What the targets share: an input taken apart. Its text stands in front, so that a corpus file can be read; the choices of the run (limits, where the
// text is cut) are taken off its back, so that mutations of the one leave the other alone. An input that has no more says 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ringline/base/assert.hpp"

namespace ringline::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const char*>(data), size) {}

  std::size_t choose(std::size_t below) {
    ASSERT(below > 0 && below <= 65536);
    std::size_t number = take();
    if (below > 256) number = number << 8 | take();
    return number % below;
  }
  // What is left, after all choices.
  std::string_view text() const noexcept { return left_; }

 private:
  std::size_t take() noexcept {
    if (left_.empty()) return 0;
    const auto byte = static_cast<std::uint8_t>(left_.back());
    left_.remove_suffix(1);
    return byte;
  }
  std::string_view left_;
};

// How a stream arrives.
struct Cut {
  std::size_t first = 0;  // bytes of the first piece
  std::size_t then = 0;   // of each further one; 0: all that is left
};

inline constexpr Cut kWhole{.first = SIZE_MAX};

inline Cut choose_cut(Input& input) {
  const std::size_t first = input.choose(4096);
  return {.first = first, .then = input.choose(8)};
}

// Calls f(piece) until it says false.
template <class Function>
void for_each_piece(std::string_view text, Cut cut, Function f) {
  for (std::size_t size = cut.first; !text.empty(); size = cut.then == 0 ? text.size() : cut.then) {
    const std::string_view piece = text.substr(0, size);
    text.remove_prefix(piece.size());
    if (!piece.empty() && !f(piece)) return;
  }
}

}  // namespace ringline::fuzz
