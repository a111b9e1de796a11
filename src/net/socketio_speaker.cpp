#include "ringline/net/socketio_speaker.hpp"

#include <charconv>
#include <utility>

#include "ringline/protocol/websocket.hpp"

namespace ringline::net {

using base::json::Value;
namespace socketio = protocol::socketio;
namespace close_code = protocol::close_code;

struct SocketIoSpeaker::Assembling {
  std::string text;
  std::vector<std::string> attachments;
  std::uint32_t expected = 0;
  std::size_t bytes = 0;
};

struct SocketIoSpeaker::Ask {
  Ask(SocketIoSpeaker& of, std::uint64_t number, OnAck to) : speaker(of), id(number), on_ack(std::move(to)) {}
  void on_due() {
    auto own = std::move(speaker.asks_.find(id)->second);
    speaker.asks_.erase(id);
    on_ack(nullptr);
  }
  SocketIoSpeaker& speaker;
  std::uint64_t id;
  OnAck on_ack;
  loop::TimerOf<Ask, &Ask::on_due> timer{*this};
};

SocketIoSpeaker::SocketIoSpeaker(Transport& transport, base::json::Reader& reader,
                                 std::chrono::milliseconds connect_time, std::size_t payload_bytes_max)
    : transport_(transport), reader_(reader), payload_bytes_max_(payload_bytes_max) {
  transport_.expect_within(connect_time);
}

SocketIoSpeaker::~SocketIoSpeaker() = default;

void SocketIoSpeaker::on_message(std::string_view payload, bool binary) {
  if (binary) return take_attachment(payload);
  if (assembling_) return break_off(close_code::kProtocol, "attachments are missing");
  auto packet = socketio::decode(payload);
  if (!packet) return break_off(close_code::kProtocol, "not a Socket.IO packet");
  if (packet->attachments == 0) return take_packet(*packet, {});
  assembling_ = std::make_unique<Assembling>();
  assembling_->text = payload;
  assembling_->expected = packet->attachments;
  assembling_->bytes = payload.size();
  transport_.expect_within(kAttachmentsTime);
}

void SocketIoSpeaker::take_attachment(std::string_view bytes) {
  if (!assembling_) return break_off(close_code::kProtocol, "no attachment was announced");
  assembling_->bytes += bytes.size();
  if (assembling_->bytes > payload_bytes_max_) return break_off(close_code::kTooBig, "a packet is too large");
  assembling_->attachments.emplace_back(bytes);
  if (assembling_->attachments.size() < assembling_->expected) return;
  std::unique_ptr<Assembling> whole = std::move(assembling_);
  transport_.expect_nothing();
  auto packet = socketio::decode(whole->text);
  take_packet(*packet, whole->attachments);
}

void SocketIoSpeaker::on_late() {
  if (!assembling_) return on_connect_late();
  break_off(static_cast<std::uint16_t>(chat::CloseCode::policy), "attachments did not come in time");
}

void SocketIoSpeaker::break_off(std::uint16_t code, std::string_view why) {
  assembling_.reset();
  transport_.close(code, why);
}

void SocketIoSpeaker::take_packet(const socketio::Packet& packet, std::span<const std::string> attachments) {
  const Value* payload = packet.payload.empty() ? nullptr : reader_.parse(packet.payload);
  if (!packet.payload.empty() && !payload) return break_off(close_code::kProtocol, "the payload is not JSON");
  bool connected = is_connected(packet.name_space);
  bool connects = packet.type == socketio::PacketType::connect;
  if (connects && !connected) return on_connect(packet.name_space, payload);
  if (connects || !connected)
    return break_off(close_code::kProtocol,
                     connects ? "this namespace is connected already" : "this namespace is not connected");
  switch (packet.type) {
    case socketio::PacketType::disconnect:
      return on_disconnect(packet.name_space);
    case socketio::PacketType::event:
    case socketio::PacketType::binary_event:
      return take_event(packet, *payload, attachments);
    case socketio::PacketType::ack:
    case socketio::PacketType::binary_ack:
      return take_ack(packet, *payload, attachments);
    case socketio::PacketType::connect:
    case socketio::PacketType::connect_error:
      return break_off(close_code::kProtocol, "this packet is not a client's");
  }
}

void SocketIoSpeaker::take_event(const socketio::Packet& packet, const Value& payload,
                                 std::span<const std::string> attachments) {
  auto event = socketio::read_event(payload);
  if (!event) return break_off(close_code::kProtocol, "not an event");
  if (!socketio::placeholders_fit(payload, attachments.size()))
    return break_off(close_code::kProtocol, "a placeholder without its attachment");
  on_event({.name_space = packet.name_space, .ack = packet.ack, .event = *event, .attachments = attachments});
}

// One that nobody waits for (any more) is dropped.
void SocketIoSpeaker::take_ack(const socketio::Packet& packet, const Value& payload,
                               std::span<const std::string> attachments) {
  std::uint64_t id = 0;
  std::from_chars(packet.ack.data(), packet.ack.data() + packet.ack.size(), id);
  auto found = asks_.find(id);
  if (found == asks_.end()) return;
  std::unique_ptr<Ask> ask = std::move(found->second);
  asks_.erase(found);
  ask->timer.disarm();
  Acked acked{.arguments = &payload, .attachments = attachments};
  ask->on_ack(&acked);
}

void SocketIoSpeaker::send(socketio::PacketType type, std::string_view name_space, std::string_view ack,
                           std::string_view payload, std::span<const std::string> attachments) {
  socketio::append_packet_frame(transport_.output(), {.type = type,
                                                      .name_space = name_space,
                                                      .ack = ack,
                                                      .payload = payload,
                                                      .attachments = static_cast<std::uint32_t>(attachments.size())});
  for (const std::string& bytes : attachments)
    protocol::append_frame(transport_.output(), protocol::Opcode::binary, bytes);
}

bool SocketIoSpeaker::ask(std::string_view name_space, std::string_view payload,
                          std::span<const std::string> attachments, std::chrono::milliseconds time, OnAck on_ack) {
  if (asks_.size() >= kAsksMax) return false;
  std::uint64_t id = last_ask_++;
  auto& ask = asks_[id];
  ask = std::make_unique<Ask>(*this, id, std::move(on_ack));
  transport_.loop().timers().arm(ask->timer, transport_.loop().now_ms() + time.count());
  auto type = attachments.empty() ? socketio::PacketType::event : socketio::PacketType::binary_event;
  send(type, name_space, std::to_string(id), payload, attachments);
  return true;
}

}  // namespace ringline::net
