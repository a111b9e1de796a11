// Engine.IO packets of text frames: what is decoded is written the same again, and our own frames carry what was put into them.
#include <string>

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
  check_open(input.text());
  return 0;
}
