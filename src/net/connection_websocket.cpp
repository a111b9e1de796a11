// A connection once it is a WebSocket: frames in, the two protocols above them, pings, the closing handshake.
#include "net/connection.hpp"
#include "net/http_state.hpp"
#include "net/server_impl.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"
#include "ringline/protocol/engineio.hpp"
#include "ringline/protocol/plain.hpp"
#include "ringline/protocol/socketio.hpp"

namespace ringline::net {

using base::Errc;
using base::json::Writer;
using protocol::FrameEvent;
using protocol::Opcode;
namespace engineio = protocol::engineio;
namespace plain = protocol::plain;
namespace socketio = protocol::socketio;

namespace {

constexpr std::chrono::seconds kLinger{2};                 // for the peer's answer to a close frame
constexpr std::size_t kEventQueueBytes = 4 * 1024 * 1024;  // of events to one user and replies that are not taken

std::string error_json(const base::Error& error) {
  Writer out;
  base::json::write_error(out, error);
  return std::string(out.view());
}

}  // namespace

std::array<chat::FrameEvent, chat::kWires> frame_functions() noexcept {
  return {&plain::append_event_frame, &socketio::append_event_frame};
}

// ---- In

void Connection::take_frames(std::string_view bytes) {
  protocol::FrameRules rules{.message_bytes = kind_ == Kind::plain ? server_.options.settings.frame_bytes
                                                                   : base::limits::kSocketIoPayloadBytes};
  std::span<const std::byte> input = std::as_bytes(std::span(bytes));
  while (!input.empty() && !input_ended_ && (state_ == State::open || state_ == State::closing)) {
    if (paused_) {
      if (!unread_) unread_ = std::make_unique<std::string>();
      unread_->append(bytes.substr(bytes.size() - input.size()));
      break;
    }
    FrameEvent event = frames_.next(server_.frames, input, rules);
    input = input.subspan(event.consumed);
    take_frame(event);
    bound_output();
  }
  frames_.park(server_.frames);
}

void Connection::take_frame(const FrameEvent& event) {
  switch (event.kind) {
    case FrameEvent::Kind::none:
      return;
    case FrameEvent::Kind::message:
      if (state_ == State::open) take_message(event.payload, event.opcode == Opcode::binary);
      return;
    case FrameEvent::Kind::ping:
      if (state_ == State::open) protocol::append_frame(urgent(), Opcode::pong, event.payload);
      return;
    case FrameEvent::Kind::pong:
      if (wait_ == Wait::pong) wait_for(Wait::ping, server_.options.settings.ping_interval);
      return;
    case FrameEvent::Kind::close:
      input_ended_ = true;
      peer_closed_ = true;
      if (state_ == State::closing) return mark_dirty();  // ours may not be sent yet; then the connection goes
      return send_close_frame(event.code, "");
    case FrameEvent::Kind::failed:
      input_ended_ = true;
      ++server_.metrics.closed_protocol;
      base::log::info("protocol_broken",
                      {{"connection", session_.id.text()}, {"code", event.code}, {"why", event.payload}});
      return send_close_frame(event.code, event.payload);
  }
}

void Connection::take_message(std::string_view text, bool binary) {
  if (kind_ == Kind::socketio) {
    if (binary) return send_close_frame(protocol::close_code::kUnsupported, "binary messages are not taken here");
    return take_socketio(text);
  }
  if (binary) return send_close_frame(protocol::close_code::kUnsupported, "text frames only");
  take_plain(text);
}

void Connection::take_plain(std::string_view text) {
  plain::Command command = plain::decode(server_.reader, text);
  if (!command.bad_field.empty()) {
    base::Error error{
        .code = Errc::invalid, .message = std::string(command.problem), .field = std::string(command.bad_field)};
    plain::append_reply_frame(urgent(), command.id.view(), false, error_json(error));
    return;
  }
  chat::ReplyTag tag(command.id.view());
  if (command.cmd == "connect") return take_connect(tag, command.data);
  take_command(tag, command.cmd, command.data);
}

void Connection::take_socketio(std::string_view text) {
  auto packet = engineio::decode(text);
  if (!packet) return send_close_frame(protocol::close_code::kProtocol, "not an Engine.IO packet");
  switch (packet->type) {
    case engineio::PacketType::ping:
      return engineio::append_frame(urgent(), engineio::PacketType::pong, packet->data);
    case engineio::PacketType::pong:
      if (wait_ == Wait::pong) wait_for(Wait::ping, server_.options.settings.ping_interval);
      return;
    case engineio::PacketType::message:
      return take_socketio_packet(packet->data);
    case engineio::PacketType::close:
      return send_close_frame(protocol::close_code::kNormal, "");
    case engineio::PacketType::noop:
      return;
    case engineio::PacketType::open:
    case engineio::PacketType::upgrade:
      return send_close_frame(protocol::close_code::kProtocol, "this packet is not a client's");
  }
}

void Connection::take_socketio_packet(std::string_view text) {
  auto packet = socketio::decode(text);
  if (!packet) return send_close_frame(protocol::close_code::kProtocol, "not a Socket.IO packet");
  const base::json::Value* payload = packet->payload.empty() ? nullptr : server_.reader.parse(packet->payload);
  if (!packet->payload.empty() && !payload)
    return send_close_frame(protocol::close_code::kProtocol, "the payload is not JSON");
  if (packet->type == socketio::PacketType::connect && packet->name_space != "/")
    return socketio::append_connect_error_frame(urgent(), packet->name_space, "Invalid namespace");
  switch (packet->type) {
    case socketio::PacketType::connect:
      return take_connect({}, payload);
    case socketio::PacketType::disconnect:
      return send_close_frame(protocol::close_code::kNormal, "");
    case socketio::PacketType::event: {
      auto event = payload ? socketio::read_event(*payload) : std::nullopt;
      if (!event) return send_close_frame(protocol::close_code::kProtocol, "not an event");
      chat::ReplyTag tag(packet->ack);
      if (event->arguments > 1) {
        base::Error error{
            .code = Errc::invalid, .message = "one argument at most: the command's data", .field = "data"};
        return answer_failed(tag, event->name, error);
      }
      return take_command(tag, event->name, event->arguments == 1 ? &event->argument(0) : nullptr);
    }
    case socketio::PacketType::ack:
      return;  // we ask for none
    case socketio::PacketType::connect_error:
    case socketio::PacketType::binary_event:
    case socketio::PacketType::binary_ack:
      return send_close_frame(protocol::close_code::kUnsupported, "binary packets are not taken here");
  }
}

void Connection::take_connect(const chat::ReplyTag& tag, const base::json::Value* data) {
  if (session_.state != chat::Session::State::fresh) {
    if (kind_ == Kind::socketio) return;  // connected already
    return answer_failed(tag, "connect", {.code = Errc::conflict, .message = "connected already", .field = {}});
  }
  chat::ConnectData connect;
  if (data) {
    auto read = chat::read_connect(*data);
    if (!read) return refused(tag, read.error(), std::nullopt);
    connect = std::move(*read);
  }
  wait_for(Wait::ping, server_.options.settings.ping_interval);
  server_.shard->connect(session_, tag, std::move(connect));
}

void Connection::take_command(const chat::ReplyTag& tag, std::string_view name, const base::json::Value* data) {
  if (++in_flight_ >= base::limits::kCommandsInFlight) stop_reading();
  server_.shard->command(session_, tag, name, data);
}

// ---- Out

void Connection::reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) {
  ASSERT(in_flight_ > 0);
  --in_flight_;
  if (state_ != State::open) return;
  if (paused_) mark_dirty();  // reading goes on at the flush
  append_reply(tag, cmd, ok, body);
}

void Connection::append_reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) {
  if (kind_ == Kind::plain) {
    if (!tag.empty()) plain::append_reply_frame(urgent(), tag.view(), ok, body);
  } else if (!tag.empty()) {
    socketio::append_reply_frame(urgent(), tag.view(), ok, body);
  } else if (!ok) {
    socketio::append_command_failed_frame(urgent(), cmd, body);
  }
}

void Connection::answer_failed(const chat::ReplyTag& tag, std::string_view cmd, const base::Error& error) {
  append_reply(tag, cmd, false, error_json(error));
}

void Connection::signed_in(const chat::ReplyTag& tag) {
  if (state_ != State::open) return;
  peer_.reset();
  if (kind_ == Kind::socketio) {
    std::string sid = session_.id.text() + "-" + base::random_token(6);
    return socketio::append_connect_frame(urgent(), "/", sid);
  }
  if (!tag.empty())
    plain::append_reply_frame(urgent(), tag.view(), true, R"({"connectionId":")" + session_.id.text() + R"("})");
}

void Connection::refused(const chat::ReplyTag& tag, const base::Error& error,
                         std::optional<chat::CloseCode> close_with) {
  if (state_ != State::open) return;
  wait_for(Wait::connect, server_.options.settings.connect_timeout);  // it may try again
  std::string body = error_json(error);
  if (kind_ == Kind::socketio) {
    socketio::append_connect_error_frame(urgent(), "/", base::name_of(error.code), body);
    return;
  }
  if (!tag.empty()) plain::append_reply_frame(urgent(), tag.view(), false, body);
  if (close_with) close(*close_with, error.message);
}

void Connection::send_event(std::string_view name, std::string_view body) {
  if (state_ != State::open) return;
  if (kind_ == Kind::plain) {
    plain::append_event_frame(urgent(), name, body);
  } else {
    socketio::append_event_frame(urgent(), name, body);
  }
  // Events to one user are not in a log to be fed from: who does not take them has to come back and ask.
  if (outbox_->urgent_bytes() > kEventQueueBytes) close_slow();
}

// ---- Pings and the end

void Connection::ping() {
  if (stalled()) return close_slow();
  if (kind_ == Kind::plain) {
    protocol::append_frame(urgent(), Opcode::ping, {});
  } else {
    engineio::append_frame(urgent(), engineio::PacketType::ping);
  }
  wait_for(Wait::pong, server_.options.settings.ping_timeout);
}

// A peer that still takes what is sent is alive: the ping may be behind much else. And the pong may be behind what is not read yet.
void Connection::no_pong() {
  if (stalled()) return close_slow();
  if (send_.in_kernel()) {
    std::int64_t silent_ms = server_.loop.now_ms() - progress_ms_;
    return wait_for(Wait::pong, server_.options.times.stalled_send - std::chrono::milliseconds(silent_ms));
  }
  if (paused_) return wait_for(Wait::pong, server_.options.settings.ping_timeout);
  ++server_.metrics.closed_timeout;
  close(chat::CloseCode::ping_timed_out, "no pong in time");
}

// It may begin to read within the linger, and then sees the code.
void Connection::close_slow() {
  ++server_.metrics.closed_slow;
  base::log::info("connection_closed", {{"connection", session_.id.text()}, {"why", "it does not take what is sent"}});
  close(chat::CloseCode::too_slow, "too slow");
}

void Connection::close(chat::CloseCode code, std::string_view reason) {
  if (state_ != State::open) return;
  if (kind_ == Kind::http) {
    if (!http_->exchange_open) return close_now();
    http_->keep_alive = false;  // the request is answered first
    return;
  }
  auto number = static_cast<std::uint16_t>(code);
  if (kind_ == Kind::socketio && number >= 4500) {
    Writer out;
    out.begin_object().key("code").integer(number).key("reason").string(reason).end_object();
    socketio::append_event_frame(urgent(), "session_ended", out.view());
    socketio::append_disconnect_frame(urgent(), "/");
  }
  send_close_frame(number, reason);
}

// The last frame: nothing follows it, and room events that are queued and not begun give way to it.
void Connection::send_close_frame(std::uint16_t code, std::string_view reason) {
  if (state_ != State::open) return;
  protocol::append_close_frame(urgent(), code, reason);
  state_ = State::closing;
  outbox_->drop_shared();
  if (std::exchange(unread_, nullptr))
    input_ended_ = true;  // frames are lost, so the stream cannot be followed any more
  read_again();
  wait_for(Wait::linger, kLinger);
}

}  // namespace ringline::net
