// Frames out. wslay 1.1.1 can only write through callbacks into a connection's own queue; ours are appended to a buffer that many connections share.
#include <cstring>

#include "ringline/base/assert.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {

namespace {

constexpr std::size_t kCloseReasonBytesMax = 123;
constexpr std::uint8_t kMaskBit = 0x80;

// Byte 1 carries the mask bit; lengths follow in network order.
void append_header(std::string& out, std::uint8_t first, std::size_t size, std::uint8_t mask_bit) {
  out.push_back(static_cast<char>(first));
  auto append_number = [&](unsigned bytes) {
    for (unsigned i = bytes; i-- > 0;)
      out.push_back(static_cast<char>((static_cast<std::uint64_t>(size) >> (8 * i)) & 0xff));
  };
  if (size < 126) {
    out.push_back(static_cast<char>(mask_bit | size));
  } else if (size <= 0xffff) {
    out.push_back(static_cast<char>(mask_bit | 126));
    append_number(2);
  } else {
    out.push_back(static_cast<char>(mask_bit | 127));
    append_number(8);
  }
}

std::uint8_t first_byte(Opcode opcode, bool fin, bool rsv1) noexcept {
  return static_cast<std::uint8_t>((fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | static_cast<unsigned>(opcode));
}

}  // namespace

void append_frame_header(std::string& out, Opcode opcode, std::size_t payload_bytes, bool rsv1) {
  append_header(out, first_byte(opcode, true, rsv1), payload_bytes, 0);
}

void append_frame(std::string& out, Opcode opcode, std::string_view payload) {
  append_frame_header(out, opcode, payload.size());
  out.append(payload);
}

void append_close_frame(std::string& out, std::uint16_t code, std::string_view reason) {
  if (code == close_code::kNone) return append_frame(out, Opcode::close, {});
  std::size_t size = std::min(reason.size(), kCloseReasonBytesMax);
  if (size < reason.size())
    while (size > 0 && (static_cast<unsigned char>(reason[size]) & 0xc0) == 0x80) --size;
  append_frame_header(out, Opcode::close, size + 2);
  out.push_back(static_cast<char>(code >> 8));
  out.push_back(static_cast<char>(code & 0xff));
  out.append(reason.substr(0, size));
}

void append_client_frame(std::string& out, Opcode opcode, std::string_view payload, std::array<std::uint8_t, 4> mask,
                         bool fin, bool rsv1) {
  append_header(out, first_byte(opcode, fin, rsv1), payload.size(), kMaskBit);
  for (std::uint8_t byte : mask) out.push_back(static_cast<char>(byte));
  std::size_t start = out.size();
  out.append(payload);
  for (std::size_t i = 0; i < payload.size(); ++i)
    out[start + i] = static_cast<char>(static_cast<std::uint8_t>(out[start + i]) ^ mask[i % 4]);
}

OwnFrame first_frame(std::string_view frames) noexcept {
  ASSERT(frames.size() >= 2);
  auto byte = [&](std::size_t index) { return static_cast<std::uint8_t>(frames[index]); };
  std::size_t size = byte(1);
  ASSERT(size < 0x80);  // ours are never masked
  std::size_t number_bytes = size < 126 ? 0U : size == 126 ? 2U : 8U;
  ASSERT(frames.size() >= 2 + number_bytes);
  if (number_bytes > 0) size = 0;
  for (std::size_t i = 0; i < number_bytes; ++i) size = size << 8 | byte(2 + i);
  std::size_t header = 2 + number_bytes;
  ASSERT(size <= frames.size() - header);
  return {static_cast<Opcode>(byte(0) & 0x0f), frames.substr(header, size), header + size};
}

}  // namespace ringline::protocol
