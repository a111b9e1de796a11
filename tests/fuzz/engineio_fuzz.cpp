// Engine.IO: packets of text frames and payloads of polling. What is decoded is written the same again, base64 is held against a naive reader of it, and
// our own frames carry what was put into them.
#include <optional>
#include <string>
#include <vector>

#include "input.hpp"
#include "ringline/base/json.hpp"
#include "ringline/protocol/engineio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace {

using namespace ringline;
namespace engineio = protocol::engineio;

void check_packet(std::string_view text) {
  const auto packet = engineio::decode(text);
  const bool known = !text.empty() && text[0] >= '0' && text[0] <= '6';
  ASSERT(packet.has_value() == known);
  if (!packet) return;
  std::string frame;
  engineio::append_frame(frame, packet->type, packet->data);
  const protocol::OwnFrame own = protocol::first_frame(frame);
  ASSERT(own.opcode == protocol::Opcode::text && own.payload == text && own.bytes == frame.size());
}

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Bit by bit; what stands behind the last whole byte is not looked at.
std::optional<std::string> naive_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  std::string out;
  unsigned bits = 0;
  unsigned held = 0;
  for (char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    held = (held << 6 | static_cast<unsigned>(digit)) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out.push_back(static_cast<char>(held >> bits & 0xff));
  }
  return out;
}

void check_payload(std::string_view text) {
  std::vector<engineio::PayloadPacket> packets;
  std::string frames;
  bool good = true;
  for (std::string_view left = text; !left.empty();) {
    const std::size_t before = left.size();
    packets.push_back(engineio::next_packet(left));
    ASSERT(left.size() < before && packets.back().text.find('\x1e') == std::string_view::npos);
    std::string bytes;
    const auto expected = naive_base64(packets.back().text);
    const bool decoded = engineio::decode_base64(packets.back().text, bytes);
    ASSERT(decoded == expected.has_value() && (!decoded || bytes == *expected));
    good &= packets.back().binary ? decoded : !packets.back().text.empty();
    if (packets.back().binary)
      protocol::append_frame(frames, protocol::Opcode::binary, bytes);
    else
      protocol::append_frame(frames, protocol::Opcode::text, packets.back().text);
  }
  ASSERT(packets.size() <= text.size());
  if (!good || packets.empty()) return;
  std::string payload;
  engineio::append_payload(payload, frames);
  if (!text.ends_with('\x1e')) ASSERT(payload.size() == text.size());
  std::string_view left = payload;
  for (const engineio::PayloadPacket& packet : packets) {
    const engineio::PayloadPacket again = engineio::next_packet(left);
    ASSERT(again.binary == packet.binary);
    ASSERT(packet.binary ? naive_base64(again.text) == naive_base64(packet.text) : again.text == packet.text);
  }
  ASSERT(left.empty());
  engineio::append_packet(payload, engineio::PacketType::noop);
  ASSERT(
      payload.ends_with("\x1e"
                        "6"));
}

// An open packet with numbers from the text: a client must be able to read it.
void check_open(std::string_view text) {
  std::int64_t number = 0;
  for (char c : text.substr(0, 7)) number = number << 8 | static_cast<std::uint8_t>(c);
  const engineio::Open open{.sid = "s-1",
                            .upgradable = number % 2 == 0,
                            .ping_interval_ms = number,
                            .ping_timeout_ms = number / 3,
                            .max_payload = text.size()};
  std::string frame;
  engineio::append_open_frame(frame, open);
  const auto packet = engineio::decode(protocol::first_frame(frame).payload);
  ASSERT(packet && packet->type == engineio::PacketType::open);
  static base::json::Reader reader;
  const base::json::Value* data = reader.parse(packet->data);
  ASSERT(data && base::json::find_string(*data, "sid") == open.sid);
  ASSERT(base::json::find_integer(*data, "pingInterval") == number &&
         base::json::find_integer(*data, "pingTimeout") == number / 3);
  ASSERT(base::json::find_integer(*data, "maxPayload") == static_cast<std::int64_t>(text.size()));
  ASSERT(base::json::find(*data, "upgrades")->Size() == (open.upgradable ? 1 : 0));
  const auto error = static_cast<engineio::RequestError>(text.size() % 6);
  const base::json::Value* told = reader.parse(engineio::error_body(error));
  ASSERT(told && base::json::find_integer(*told, "code") == static_cast<std::int64_t>(error));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  check_packet(input.text());
  check_payload(input.text());
  check_open(input.text());
  return 0;
}
