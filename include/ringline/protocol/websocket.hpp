// WebSocket (RFC 6455) without a socket. Incoming frames are wslay's; outgoing ones are built here, since a room's frames are appended to one buffer
// that many connections share.
//
// A wslay context is more than 8 KiB, so contexts are a core's, not a connection's: a FrameReader borrows one when bytes arrive and gives it back when
// the stream stands between two messages. Only a connection in the middle of a frame or of a fragmented message keeps one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/protocol/http.hpp"

namespace ringline::protocol {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

// The codes that the protocol itself closes with.
namespace close_code {
inline constexpr std::uint16_t kNormal = 1000;
inline constexpr std::uint16_t kGoingAway = 1001;
inline constexpr std::uint16_t kProtocol = 1002;
inline constexpr std::uint16_t kUnsupported = 1003;
inline constexpr std::uint16_t kNone = 1005;  // never sent: the peer's close frame had no code
inline constexpr std::uint16_t kEncoding = 1007;
inline constexpr std::uint16_t kTooBig = 1009;
inline constexpr std::uint16_t kInternal = 1011;
inline constexpr std::uint16_t kOverloaded = 1013;
// Protocol, type, encoding, policy, size.
constexpr bool is_peers_fault(std::uint16_t code) noexcept {
  return code == kProtocol || code == kUnsupported || (code >= kEncoding && code <= kTooBig);
}
}  // namespace close_code

// --- Opening handshake ---

struct UpgradeCheck {
  int status = 101;               // else 400 or 426 (then answer with Sec-WebSocket-Version: 13)
  std::string_view problem = {};  // a literal, when refused
  std::string accept;             // Sec-WebSocket-Accept
  std::string_view subprotocol;   // the first of ours that the client offers; empty: none
};
UpgradeCheck check_upgrade(const Request& request, std::span<const std::string_view> subprotocols);
std::string accept_key(std::string_view client_key);
// The 101 answer. `extensions`: the value of Sec-WebSocket-Extensions; empty: none.
void append_upgrade_response(std::string& out, const UpgradeCheck& check, std::string_view extensions = {});

// --- Frames out ---

inline constexpr std::size_t kFrameHeaderBytesMax = 10;
// Header of an unmasked frame with FIN set: 2, 4 or 10 bytes.
void append_frame_header(std::string& out, Opcode opcode, std::size_t payload_bytes, bool rsv1 = false);
void append_frame(std::string& out, Opcode opcode, std::string_view payload);
// `code` kNone: an empty close frame. The reason is cut to 123 bytes, between characters.
void append_close_frame(std::string& out, std::uint16_t code, std::string_view reason);
// A client's frame, for the load tool and tests.
void append_client_frame(std::string& out, Opcode opcode, std::string_view payload, std::array<std::uint8_t, 4> mask,
                         bool fin = true, bool rsv1 = false);
// The payload of the first frame of `frames`, which are complete unmasked ones, and the bytes it takes with its header: for what carries our frames
// over another transport than WebSocket.
struct OwnFrame {
  Opcode opcode;
  std::string_view payload;
  std::size_t bytes;
};
OwnFrame first_frame(std::string_view frames) noexcept;

// --- Frames in ---

enum class Role : std::uint8_t { server, client };

struct FrameRules {
  std::size_t message_bytes;  // above: 1009
  bool allow_rsv1 = false;    // permessage-deflate was negotiated; the caller inflates and checks UTF-8
};

// The wslay contexts of one core.
class FrameContexts {
 public:
  static constexpr std::size_t kKeptMax = 64;  // idle contexts kept
  static constexpr std::size_t kKeptMessageBytes =
      64 * 1024;  // message buffers above are freed when a context comes back
  static constexpr std::size_t kUnfinishedBytesMax =
      256 * 1024 * 1024;  // of all unfinished messages of the core; above: 1013

  explicit FrameContexts(Role role);
  ~FrameContexts();  // all readers are parked or released
  FrameContexts(const FrameContexts&) = delete;
  FrameContexts& operator=(const FrameContexts&) = delete;
  std::size_t in_use() const noexcept { return in_use_; }
  std::size_t unfinished_bytes() const noexcept { return unfinished_bytes_; }

  struct Context;

 private:
  friend class FrameReader;
  Context* borrow();
  void give_back(Context* context, bool reusable) noexcept;

  Role role_;
  std::vector<std::unique_ptr<Context>> kept_;
  std::size_t in_use_ = 0;
  std::size_t unfinished_bytes_ = 0;
};

// What one step of reading brought.
struct FrameEvent {
  enum class Kind : std::uint8_t {
    none,     // more bytes are needed
    message,  // opcode text or binary, payload; text is valid UTF-8 unless compressed
    ping,     // to be answered by a pong with the payload
    pong,
    close,  // the peer's close frame: code (kNone: it had none), payload its reason. Echo it and close. Reads no further
    failed,  // the peer broke the protocol: close with code, payload a reason. Reads no further
  };
  std::size_t consumed = 0;
  Kind kind = Kind::none;
  Opcode opcode = Opcode::text;
  bool compressed = false;
  std::uint16_t code = 0;
  std::string_view payload = {};  // until the next call on this reader
};

// One connection's side: a pointer.
class FrameReader {
 public:
  FrameReader() noexcept = default;
  ~FrameReader();  // parked or released
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // Reads up to the end of one frame. Call again with the rest until all is consumed or the event is close or failed.
  FrameEvent next(FrameContexts& contexts, std::span<const std::byte> input, const FrameRules& rules);
  // After the last `next` of a batch of bytes: gives the context back if nothing is unfinished.
  void park(FrameContexts& contexts) noexcept;
  // The connection ends: gives it back whatever is unfinished.
  void release(FrameContexts& contexts) noexcept;
  bool idle() const noexcept { return context_ == nullptr; }

 private:
  FrameContexts::Context* context_ = nullptr;
};

}  // namespace ringline::protocol
