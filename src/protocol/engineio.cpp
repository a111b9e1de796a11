#include "ringline/protocol/engineio.hpp"

#include <fmt/format.h>

#include <utility>

#include "protocol/frame_text.hpp"

namespace ringline::protocol::engineio {

std::optional<Packet> decode(std::string_view text) noexcept {
  if (text.empty() || text.front() < '0' || text.front() > '6') return std::nullopt;
  return Packet{static_cast<PacketType>(text.front()), text.substr(1)};
}

void append_open(std::string& out, const Open& open) {
  fmt::format_to(
      std::back_inserter(out), R"(0{{"sid":"{}","upgrades":[{}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}})",
      open.sid, open.upgradable ? R"("websocket")" : "", open.ping_interval_ms, open.ping_timeout_ms, open.max_payload);
}

void append_open_frame(std::string& out, const Open& open) {
  std::string text;
  append_open(text, open);
  append_text_frame(out, {text});
}

void append_frame(std::string& out, PacketType type, std::string_view data) {
  char character = static_cast<char>(type);
  append_text_frame(out, {std::string_view(&character, 1), data});
}

std::string_view error_body(RequestError error) noexcept {
  switch (error) {
    case RequestError::unknown_transport:
      return R"({"code":0,"message":"Transport unknown"})";
    case RequestError::unknown_sid:
      return R"({"code":1,"message":"Session ID unknown"})";
    case RequestError::bad_handshake_method:
      return R"({"code":2,"message":"Bad handshake method"})";
    case RequestError::bad_request:
      return R"({"code":3,"message":"Bad request"})";
    case RequestError::forbidden:
      return R"({"code":4,"message":"Forbidden"})";
    case RequestError::unsupported_version:
      return R"({"code":5,"message":"Unsupported protocol version"})";
  }
  std::unreachable();
}

}  // namespace ringline::protocol::engineio
