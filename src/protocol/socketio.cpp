#include "ringline/protocol/socketio.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "protocol/frame_text.hpp"
#include "protocol/text.hpp"

namespace ringline::protocol::socketio {

namespace {

using base::json::Value;
using base::json::Writer;

// Names that the libraries use for themselves: the reference refuses them from a client.
constexpr auto kReserved = std::to_array<std::string_view>(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"});

std::string_view take_digits(std::string_view& text) noexcept {
  std::size_t count = 0;
  while (count < text.size() && is_digit(text[count])) ++count;
  std::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

// "N-" of a packet with attachments.
bool take_attachments(std::string_view& text, std::uint32_t& attachments) noexcept {
  std::string_view digits = take_digits(text);
  if (digits.empty() || digits.size() > 4 || !text.starts_with('-')) return false;
  text.remove_prefix(1);
  std::from_chars(digits.data(), digits.data() + digits.size(), attachments);
  return attachments <= kAttachmentsMax;
}

// "/name," — the comma may be missing at the end of the text.
bool take_namespace(std::string_view& text, std::string_view& name_space) noexcept {
  if (!text.starts_with('/')) return true;
  auto comma = text.find(',');
  name_space = text.substr(0, comma);
  text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  return name_space.size() <= kNamespaceBytesMax;
}

// What may stand behind the head of a packet of each type. The first character of JSON tells its type.
bool payload_fits(const Packet& packet) noexcept {
  char first = packet.payload.empty() ? '\0' : packet.payload.front();
  bool has_ack = !packet.ack.empty();
  switch (packet.type) {
    case PacketType::connect:
      return !has_ack && (first == '\0' || first == '{');
    case PacketType::disconnect:
      return !has_ack && first == '\0';
    case PacketType::event:
    case PacketType::binary_event:
      return first == '[';
    case PacketType::ack:
    case PacketType::binary_ack:
      return has_ack && first == '[';
    case PacketType::connect_error:
      return false;  // a server's
  }
  return false;
}

// The head of a packet to a namespace: nothing for "/".
struct Address {
  std::string_view name;
  std::string_view comma;
};
Address address(std::string_view name_space) noexcept {
  return name_space == "/" ? Address{} : Address{name_space, ","};
}

}  // namespace

std::optional<Packet> decode(std::string_view text) noexcept {
  if (text.empty() || text.front() < '0' || text.front() > '6') return std::nullopt;
  Packet packet{.type = static_cast<PacketType>(text.front()), .ack = {}, .payload = {}};
  text.remove_prefix(1);
  bool binary = packet.type == PacketType::binary_event || packet.type == PacketType::binary_ack;
  if (binary && !take_attachments(text, packet.attachments)) return std::nullopt;
  if (!take_namespace(text, packet.name_space)) return std::nullopt;
  packet.ack = take_digits(text);
  if (packet.ack.size() > kAckDigitsMax) return std::nullopt;
  packet.payload = text;
  if (!payload_fits(packet)) return std::nullopt;
  return packet;
}

std::optional<Event> read_event(const Value& payload) noexcept {
  if (!payload.IsArray() || payload.Empty() || !payload[0].IsString()) return std::nullopt;
  Event event{.name = base::json::view(payload[0]), .array = &payload, .arguments = payload.Size() - 1};
  if (std::ranges::find(kReserved, event.name) != kReserved.end()) return std::nullopt;
  return event;
}

bool placeholders_fit(const Value& value, std::size_t attachments) noexcept {
  auto fits = [attachments](const Value& item) { return placeholders_fit(item, attachments); };
  if (value.IsArray()) return std::all_of(value.Begin(), value.End(), fits);
  if (!value.IsObject()) return true;
  const Value* mark = base::json::find(value, "_placeholder");
  if (mark && mark->IsTrue() && attachments > 0) {
    const Value* number = base::json::find(value, "num");
    return number && number->IsUint() && number->GetUint() < attachments;
  }
  return std::all_of(value.MemberBegin(), value.MemberEnd(), [&](const auto& member) { return fits(member.value); });
}

void append_packet_frame(std::string& out, const Packet& packet) {
  char type = static_cast<char>(packet.type);
  std::string attachments = packet.attachments == 0 ? std::string() : std::to_string(packet.attachments) + "-";
  auto [name, comma] = address(packet.name_space);
  append_text_frame(out, {"4", std::string_view(&type, 1), attachments, name, comma, packet.ack, packet.payload});
}

void append_event_frame(std::string& out, std::string_view name, std::string_view body, std::string_view offset) {
  if (offset.empty()) return append_text_frame(out, {R"(42[")", name, R"(",)", body, "]"});
  append_text_frame(out, {R"(42[")", name, R"(",)", body, R"(,")", offset, R"("])"});
}

void append_ack_frame(std::string& out, std::string_view ack, std::string_view body) {
  append_text_frame(out, {"43", ack, "[", body, "]"});
}

void append_reply_frame(std::string& out, std::string_view ack, bool ok, std::string_view body) {
  append_text_frame(out, {"43", ack, ok ? R"([{"ok":true,"data":)" : R"([{"ok":false,"error":)", body, "}]"});
}

void append_command_failed_frame(std::string& out, std::string_view cmd, std::string_view body) {
  Writer name;
  name.string(cmd);
  append_text_frame(out, {R"(42["command_failed",{"cmd":)", name.view(), R"(,"error":)", body, "}]"});
}

void append_connect_frame(std::string& out, std::string_view name_space, std::string_view sid, std::string_view pid) {
  auto [name, comma] = address(name_space);
  append_text_frame(out, {"40", name, comma, R"({"sid":")", sid, pid.empty() ? "" : R"(","pid":")", pid, R"("})"});
}

void append_connect_error_frame(std::string& out, std::string_view name_space, std::string_view message,
                                std::string_view data) {
  auto [name, comma] = address(name_space);
  Writer text;
  text.string(message);
  append_text_frame(out,
                    {"44", name, comma, R"({"message":)", text.view(), data.empty() ? "" : R"(,"data":)", data, "}"});
}

void append_disconnect_frame(std::string& out, std::string_view name_space) {
  auto [name, comma] = address(name_space);
  append_text_frame(out, {"41", name, comma});
}

}  // namespace ringline::protocol::socketio
