#include "ringline/protocol/engineio.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "protocol/frame_text.hpp"
#include "protocol/text.hpp"

namespace ringline::protocol::engineio {

std::optional<Packet> decode(std::string_view text) noexcept {
  if (text.empty() || text.front() < '0' || text.front() > '6') return std::nullopt;
  return Packet{static_cast<PacketType>(text.front()), text.substr(1)};
}

namespace {

constexpr char kSeparator = '\x1e';
constexpr std::size_t kBase64Step = 3 * 1024;  // bytes encoded at once

void separate(std::string& payload) {
  if (!payload.empty()) payload.push_back(kSeparator);
}

void append_base64(std::string& out, std::string_view bytes) {
  while (!bytes.empty()) {
    std::string_view part = bytes.substr(0, kBase64Step);
    bytes.remove_prefix(part.size());
    std::size_t at = out.size();
    out.resize(at + (part.size() + 2) / 3 * 4 + 1);  // and its NUL
    int written = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data() + at),
                                  reinterpret_cast<const unsigned char*>(part.data()), static_cast<int>(part.size()));
    out.resize(at + static_cast<std::size_t>(written));
  }
}

bool is_base64(char c) noexcept { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '+' || c == '/'; }

}  // namespace

bool is_payload(std::string_view payload) noexcept { return !payload.empty() && !payload.ends_with(kSeparator); }

PayloadPacket next_packet(std::string_view& payload) noexcept {
  std::size_t end = std::min(payload.find(kSeparator), payload.size());
  std::string_view text = payload.substr(0, end);
  payload.remove_prefix(std::min(end + 1, payload.size()));
  bool binary = text.starts_with('b');
  if (binary) text.remove_prefix(1);
  return {.binary = binary, .text = text};
}

bool decode_base64(std::string_view text, std::string& out) {
  if (text.size() % 4 != 0) return false;
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (!std::ranges::all_of(text.substr(0, text.size() - padding), is_base64)) return false;
  out.resize(text.size() / 4 * 3);
  int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                             reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return false;
  out.resize(static_cast<std::size_t>(size) - padding);
  return true;
}

void append_payload(std::string& payload, std::string_view frames) {
  while (!frames.empty()) {
    OwnFrame frame = first_frame(frames);
    frames.remove_prefix(frame.bytes);
    separate(payload);
    if (frame.opcode != Opcode::binary) {
      payload.append(frame.payload);
      continue;
    }
    payload.push_back('b');
    append_base64(payload, frame.payload);
  }
}

void append_packet(std::string& payload, PacketType type) {
  separate(payload);
  payload.push_back(static_cast<char>(type));
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
