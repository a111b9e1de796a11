// Frames from a server, taken where they lie: a batch of deliveries is walked without a copy and without a parser's state.
// A fragmented message is refused: no server that is driven here sends one, and reassembling would cost a copy of each delivery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ringline/protocol/websocket.hpp"

namespace ringline::bench {

using protocol::Opcode;

struct Frame {
  Opcode opcode = Opcode::text;
  bool whole = true;  // the last fragment, without reserved bits and mask
  std::string_view payload;
};

// Of the frame that `bytes` begins with: its size, or of its head as much as says how long the head is. More than there is: it is not all there yet.
inline std::size_t frame_bytes(std::string_view bytes) noexcept {
  if (bytes.size() < 2) return 2;
  const std::size_t length = static_cast<std::uint8_t>(bytes[1]) & 0x7fU;
  if (length < 126) return 2 + length;
  const std::size_t head = length == 126 ? 2 + sizeof(std::uint16_t) : 2 + sizeof(std::uint64_t);
  if (bytes.size() < head) return head;
  std::uint64_t wide = 0;
  for (char byte : bytes.substr(2, head - 2)) wide = wide << 8 | static_cast<std::uint8_t>(byte);
  return head + wide;
}

// Takes the first frame off `bytes`; false: it is not all there yet.
inline bool take_frame(std::string_view& bytes, Frame& out) noexcept {
  const std::size_t size = frame_bytes(bytes);
  if (bytes.size() < 2 || bytes.size() < size) return false;
  const auto first = static_cast<std::uint8_t>(bytes[0]);
  const auto second = static_cast<std::uint8_t>(bytes[1]);
  const std::size_t short_length = second & 0x7fU;
  const std::size_t head = short_length < 126 ? 2 : short_length == 126 ? 4 : 10;
  if (size < head) return false;
  out.opcode = static_cast<Opcode>(first & 0x0fU);
  out.whole = (first & 0xf0U) == 0x80 && (second & 0x80U) == 0;
  out.payload = bytes.substr(head, size - head);
  bytes.remove_prefix(size);
  return true;
}

}  // namespace ringline::bench
