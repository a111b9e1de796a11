// permessage-deflate (RFC 7692) without a socket: what is agreed on, messages in, frames out.
//
// No context is kept between messages, in either direction. So the compressor and the decompressor are a core's and not a connection's, an idle
// connection pays nothing for compression, and one compression serves every receiver of a broadcast.
//
// zlib's raw deflate cannot write a window of 8 bits (256 bytes), and one window for all is what lets receivers share a frame: ours is always 15 bits.
// Who asked for a smaller one is answered as asked and sent plain frames, which the extension allows for any message. What clients send is read with
// 15 bits, which reads every smaller window too.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {

inline constexpr unsigned kDeflateWindowBits = 15;
inline constexpr std::size_t kDeflateBytesMin = 1024;  // messages below are sent plain: it costs more than it saves

// What was agreed on. Bits are 0 where the client did not name any: 15 then.
struct DeflateAgreement {
  unsigned server_bits = 0;
  unsigned client_bits = 0;

  // Whether this client takes the frames of a Deflater. Otherwise it gets plain ones.
  bool takes_ours() const noexcept { return server_bits == 0 || server_bits == kDeflateWindowBits; }
  // The value of our Sec-WebSocket-Extensions.
  void append_header_value(std::string& out) const;
};

// `offers`: the client's Sec-WebSocket-Extensions, several lines joined by commas. The first offer that can be met; one with a parameter that is
// unknown, repeated or out of range is passed over, and so are other extensions. None: nothing can be agreed on, or the value is malformed.
std::optional<DeflateAgreement> negotiate_deflate(std::string_view offers);

// Reads compressed messages. One a core; zlib's memory is taken when there is one to read.
class Inflater {
 public:
  static constexpr std::size_t kKeptBytes = 128 * 1024;  // a larger buffer is given back at the next message

  Inflater() noexcept = default;
  ~Inflater() { forget(); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // The message whose compressed payload (of all its fragments) is `payload`, until the next call; it is not yet known to be UTF-8. Or the code to
  // close with: kTooBig (more than `limit` bytes; no more than that is ever inflated) or kEncoding (this is not deflate).
  std::expected<std::string_view, std::uint16_t> inflate(std::string_view payload, std::size_t limit);
  void forget() noexcept;  // gives its memory back until the next message

 private:
  enum class Step : std::uint8_t { taken, ended, too_big, broken };
  Step take(std::string_view bytes);
  bool make_room();

  z_stream stream_{};
  std::string out_;  // all of its size is room
  std::size_t size_ = 0;
  std::size_t limit_ = 0;
};

// Writes compressed frames. One a core; zlib's memory, a quarter of a megabyte, is taken when there is one to write.
class Deflater {
 public:
  static constexpr std::size_t kKeptBytes = 128 * 1024;

  Deflater() noexcept = default;
  ~Deflater() { forget(); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Appends a server's frame of a whole message (text or binary): compressed, with RSV1, if the payload is kDeflateBytesMin or more and becomes
  // smaller; else as append_frame does. Whether it is compressed.
  bool append_frame(std::string& out, Opcode opcode, std::string_view payload);
  void forget() noexcept;  // gives its memory back until the next frame

 private:
  std::string_view compress(std::string_view payload);

  z_stream stream_{};
  std::string compressed_;
};

}  // namespace ringline::protocol
