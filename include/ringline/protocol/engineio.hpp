// Engine.IO 4 packets: one character of type, then the data. Over WebSocket a packet is a frame; a binary frame is a message packet without the type.
// Polling carries payloads: packets with a record separator (0x1e) between them, binary ones as `b` and base64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringline::protocol::engineio {

enum class PacketType : char {
  open = '0',
  close = '1',
  ping = '2',
  pong = '3',
  message = '4',
  upgrade = '5',
  noop = '6',
};

struct Packet {
  PacketType type;
  std::string_view data;
};

// Of a text frame. None: empty, or an unknown type.
std::optional<Packet> decode(std::string_view text) noexcept;

// Whether no packet of a payload is empty at its end: what `next_packet` cannot tell.
bool is_payload(std::string_view payload) noexcept;
// The next packet of a payload, which is not empty, and what follows it. `text` is base64 if `binary`.
struct PayloadPacket {
  bool binary = false;
  std::string_view text;
};
PayloadPacket next_packet(std::string_view& payload) noexcept;
// Standard base64 with its padding. False: it is not; `out` is then of no use.
bool decode_base64(std::string_view text, std::string& out);
// Appends what complete frames of ours hold, as packets of a payload.
void append_payload(std::string& payload, std::string_view frames);
void append_packet(std::string& payload, PacketType type);

struct Open {
  std::string_view sid;
  bool upgradable;  // polling: "upgrades":["websocket"]
  std::int64_t ping_interval_ms;
  std::int64_t ping_timeout_ms;
  std::size_t max_payload;
};
// The packet's text, 0{…}.
void append_open(std::string& out, const Open& open);
// The same as a WebSocket frame.
void append_open_frame(std::string& out, const Open& open);
void append_frame(std::string& out, PacketType type, std::string_view data = {});

// Refusals of a request, as the reference server numbers them. Status 400, but forbidden: 403.
enum class RequestError : std::uint8_t {
  unknown_transport = 0,
  unknown_sid = 1,
  bad_handshake_method = 2,
  bad_request = 3,
  forbidden = 4,
  unsupported_version = 5,
};
std::string_view error_body(RequestError error) noexcept;  // {"code":0,"message":"Transport unknown"}

}  // namespace ringline::protocol::engineio
