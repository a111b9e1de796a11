#include "frames.hpp"

#include <array>

namespace ringline::bench {
namespace {

// A key has to be different from frame to frame, not secret: nothing between us and the server is to be fooled.
std::uint32_t next_key() noexcept {
  static std::uint32_t state = 0x9e3779b9;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

}  // namespace

void append_masked(std::string& out, Opcode opcode, std::string_view payload) {
  std::array<char, 14> head{};
  std::size_t length = 2;
  head[0] = static_cast<char>(0x80U | static_cast<unsigned>(opcode));
  if (payload.size() < 126) {
    head[1] = static_cast<char>(0x80U | payload.size());
  } else if (payload.size() <= 0xffff) {
    head[1] = static_cast<char>(0x80U | 126U);
    const std::uint16_t wide = htobe16(static_cast<std::uint16_t>(payload.size()));
    std::memcpy(head.data() + length, &wide, sizeof wide);
    length += sizeof wide;
  } else {
    head[1] = static_cast<char>(0x80U | 127U);
    const std::uint64_t wide = htobe64(payload.size());
    std::memcpy(head.data() + length, &wide, sizeof wide);
    length += sizeof wide;
  }
  const std::uint32_t key = next_key();
  std::array<char, 4> mask{};
  std::memcpy(mask.data(), &key, sizeof key);
  std::memcpy(head.data() + length, &key, sizeof key);
  out.append(head.data(), length + sizeof key);
  const std::size_t start = out.size();
  out.append(payload);
  for (std::size_t i = 0; i < payload.size(); ++i) out[start + i] = static_cast<char>(out[start + i] ^ mask[i & 3]);
}

}  // namespace ringline::bench
