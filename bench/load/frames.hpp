// Frames from a server, taken where they lie: a batch of deliveries is walked without a copy and without a parser's state.
// A fragmented message is refused: no server that is driven here sends one, and reassembling would cost a copy of each delivery.
#pragma once

#include <endian.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ringline/protocol/websocket.hpp"

namespace ringline::bench {

using protocol::Opcode;

struct Frame {
  Opcode opcode = Opcode::text;
  bool whole = true;  // the last fragment, without reserved bits and mask
  std::string_view payload;
};

// Takes the first frame off `bytes`; false: it is not all there yet.
inline bool take_frame(std::string_view& bytes, Frame& out) noexcept {
  if (bytes.size() < 2) return false;
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  const auto second = static_cast<std::uint8_t>(bytes[1]);
  std::size_t head = 2;
  std::uint64_t length = second & 0x7fU;
  if (length == 126) {
    std::uint16_t wide = 0;
    head += sizeof wide;
    if (bytes.size() < head) return false;
    std::memcpy(&wide, bytes.data() + 2, sizeof wide);
    length = be16toh(wide);
  } else if (length == 127) {
    std::uint64_t wide = 0;
    head += sizeof wide;
    if (bytes.size() < head) return false;
    std::memcpy(&wide, bytes.data() + 2, sizeof wide);
    length = be64toh(wide);
  }
  if (bytes.size() - head < length) return false;
  out.opcode = static_cast<Opcode>(first & 0x0fU);
  out.whole = (first & 0xf0U) == 0x80 && (second & 0x80U) == 0;
  out.payload = bytes.substr(head, length);
  bytes.remove_prefix(head + length);
  return true;
}

}  // namespace ringline::bench
