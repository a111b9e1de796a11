// The opening handshake (RFC 6455, section 4.2).
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "protocol/text.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {

namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t kKeyBytes = 24;  // base64 of 16

bool good_key(std::string_view key) noexcept {
  if (key.size() != kKeyBytes || !key.ends_with("==")) return false;
  return std::ranges::all_of(key.substr(0, kKeyBytes - 2), [](char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '+' || c == '/';
  });
}

}  // namespace

std::string accept_key(std::string_view client_key) {
  std::string text(client_key);
  text.append(kGuid);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1> encoded{};
  int size = EVP_EncodeBlock(encoded.data(), digest.data(), SHA_DIGEST_LENGTH);
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<std::size_t>(size)};
}

UpgradeCheck check_upgrade(const Request& request, std::span<const std::string_view> subprotocols) {
  if (!request.upgrade_websocket)
    return {.status = 400, .problem = "not a WebSocket upgrade", .accept = {}, .subprotocol = {}};
  if (request.header("Sec-WebSocket-Version") != "13")
    return {.status = 426, .problem = "WebSocket version 13 is spoken here", .accept = {}, .subprotocol = {}};
  auto key = request.header("Sec-WebSocket-Key");
  if (!key || !good_key(*key))
    return {.status = 400, .problem = "bad Sec-WebSocket-Key", .accept = {}, .subprotocol = {}};
  UpgradeCheck check{.status = 101, .problem = {}, .accept = accept_key(*key), .subprotocol = {}};
  auto offered = std::ranges::find_if(
      subprotocols, [&](std::string_view ours) { return request.header_has("Sec-WebSocket-Protocol", ours); });
  if (offered != subprotocols.end()) check.subprotocol = *offered;
  return check;
}

void append_upgrade_response(std::string& out, const UpgradeCheck& check, std::string_view extensions) {
  out.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
  out.append(check.accept).append("\r\n");
  if (!check.subprotocol.empty()) out.append("Sec-WebSocket-Protocol: ").append(check.subprotocol).append("\r\n");
  if (!extensions.empty()) out.append("Sec-WebSocket-Extensions: ").append(extensions).append("\r\n");
  out.append("\r\n");
}

}  // namespace ringline::protocol
