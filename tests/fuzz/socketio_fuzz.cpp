// Socket.IO packets, as they stand in an Engine.IO message. What is decoded is written the same again but for what may be left out; the payload goes
// through the JSON reader as it does in a connection; and answers to it are packets that decode.
#include <algorithm>
#include <string>

#include "input.hpp"
#include "ringline/base/json.hpp"
#include "ringline/protocol/engineio.hpp"
#include "ringline/protocol/socketio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace {

using namespace ringline;
namespace socketio = protocol::socketio;
using base::json::Value;
using socketio::Packet;
using socketio::PacketType;

bool is_binary(PacketType type) { return type == PacketType::binary_event || type == PacketType::binary_ack; }

std::string written(const Packet& packet) {
  std::string text(1, static_cast<char>(packet.type));
  if (is_binary(packet.type)) text += std::to_string(packet.attachments) + "-";
  if (packet.name_space != "/") text.append(packet.name_space).append(",");
  return text.append(packet.ack).append(packet.payload);
}

void check_form(const Packet& packet, std::string_view text) {
  ASSERT(packet.attachments <= socketio::kAttachmentsMax && (packet.attachments == 0 || is_binary(packet.type)));
  ASSERT(packet.name_space.starts_with('/') && packet.name_space.size() <= socketio::kNamespaceBytesMax);
  ASSERT(packet.name_space.find(',') == std::string_view::npos);
  ASSERT(packet.ack.size() <= socketio::kAckDigitsMax);
  ASSERT(std::ranges::all_of(packet.ack, [](char c) { return c >= '0' && c <= '9'; }));
  ASSERT(packet.payload.empty() || text.ends_with(packet.payload));
  const std::string again = written(packet);
  const auto decoded = socketio::decode(again);
  ASSERT(decoded && decoded->type == packet.type && decoded->name_space == packet.name_space);
  ASSERT(decoded->ack == packet.ack && decoded->payload == packet.payload &&
         decoded->attachments == packet.attachments);
}

// The payload of the one frame in `frame`, as a client of ours sees it.
std::string_view message_in(const std::string& frame) {
  const protocol::OwnFrame own = protocol::first_frame(frame);
  ASSERT(own.bytes == frame.size() && own.opcode == protocol::Opcode::text);
  const auto packet = protocol::engineio::decode(own.payload);
  ASSERT(packet && packet->type == protocol::engineio::PacketType::message);
  return packet->data;
}

std::string json_of(std::string_view text) {
  base::json::Writer out;
  return std::string(out.string(text).view());
}

bool mark_anywhere(const Value& value) {
  if (value.IsArray()) return std::any_of(value.Begin(), value.End(), mark_anywhere);
  if (!value.IsObject()) return false;
  return std::any_of(value.MemberBegin(), value.MemberEnd(), [](const auto& member) {
    return (base::json::view(member.name) == "_placeholder" && member.value.IsTrue()) || mark_anywhere(member.value);
  });
}

void check_event(const Packet& packet, const Value& payload, base::json::Reader& reader) {
  // Of a name that is there twice the first counts, which is no reason to find more than there is.
  ASSERT(mark_anywhere(payload) || socketio::placeholders_fit(payload, 1));
  const auto event = socketio::read_event(payload);
  if (!event) return;
  ASSERT(event->array == &payload && event->arguments + 1 == payload.Size());
  ASSERT(event->name != "connect" && event->name != "disconnect");
  const std::string name(event->name);
  base::json::Writer body;
  body.value(event->arguments > 0 ? event->argument(0) : payload);

  std::string frame;
  const std::string quoted = json_of(name);
  socketio::append_event_frame(frame, std::string_view(quoted).substr(1, quoted.size() - 2), body.view());
  const auto sent = socketio::decode(message_in(frame));
  ASSERT(sent && sent->type == PacketType::event && sent->name_space == "/" && sent->ack.empty());
  const Value* again = reader.parse(sent->payload);
  ASSERT(again != nullptr || reader.error() == base::json::ParseError::depth);  // it lies one deeper now
  if (again) ASSERT(again->Size() == 2 && base::json::view((*again)[0]) == name);

  frame.clear();
  socketio::append_command_failed_frame(frame, name, R"({"code":"invalid"})");
  const auto failed = socketio::decode(message_in(frame));
  const Value* told = failed ? reader.parse(failed->payload) : nullptr;
  ASSERT(told && base::json::find_string((*told)[1], "cmd") == name);
  if (packet.ack.empty()) return;
  frame.clear();
  socketio::append_reply_frame(frame, packet.ack, true, "{}");
  const auto answer = socketio::decode(message_in(frame));
  ASSERT(answer && answer->type == PacketType::ack && answer->ack == packet.ack &&
         answer->payload == R"([{"ok":true,"data":{}}])");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static base::json::Reader reader;
  fuzz::Input input(data, size);
  const std::string text(input.text());
  const auto packet = socketio::decode(text);
  if (!packet) return 0;
  check_form(*packet, text);
  if (const Value* payload = packet->payload.empty() ? nullptr : reader.parse(packet->payload)) {
    ASSERT(packet->type == PacketType::connect ? payload->IsObject() : payload->IsArray());
    if (payload->IsArray()) check_event(*packet, *payload, reader);
  }
  std::string frame;
  socketio::append_connect_frame(frame, packet->name_space, "abc");
  const auto connected = socketio::decode(message_in(frame));
  ASSERT(connected && connected->type == PacketType::connect && connected->name_space == packet->name_space);
  frame.clear();
  socketio::append_disconnect_frame(frame, packet->name_space);
  const auto gone = socketio::decode(message_in(frame));
  ASSERT(gone && gone->type == PacketType::disconnect && gone->name_space == packet->name_space);
  return 0;
}
