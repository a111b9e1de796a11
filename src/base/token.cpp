// Random bytes as text. Apart from random.cpp, which a simulation replaces.
#include <string_view>
#include <vector>

#include "ringline/base/random.hpp"

namespace ringline::base {

std::string random_token(std::size_t bytes) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::vector<std::byte> raw(bytes);
  random_bytes(raw);
  std::string text;
  text.reserve((bytes * 4 + 2) / 3);
  std::uint32_t pending = 0;
  unsigned bits = 0;
  for (const std::byte byte : raw) {
    pending = (pending << 8 | std::to_integer<std::uint32_t>(byte)) & 0xffff;
    for (bits += 8; bits >= 6; bits -= 6) text.push_back(kLetters[pending >> (bits - 6) & 63]);
  }
  if (bits > 0) text.push_back(kLetters[pending << (6 - bits) & 63]);
  return text;
}

}  // namespace ringline::base
