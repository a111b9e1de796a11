// See chat_doors.hpp. Both speakers are thin: bytes to a command, answers and events to bytes.
#include "ringline/net/chat_doors.hpp"

#include "ringline/base/limits.hpp"
#include "ringline/base/random.hpp"
#include "ringline/net/socketio_speaker.hpp"
#include "ringline/protocol/plain.hpp"
#include "ringline/protocol/socketio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::net {

using base::Errc;
using base::json::Value;
using base::json::Writer;
namespace plain = protocol::plain;
namespace socketio = protocol::socketio;

namespace {

constexpr std::size_t kEventQueueBytes = 4 * 1024 * 1024;  // of events to one user and replies that are not taken
constexpr std::size_t kPlainWires = 2;                     // the compressed ones follow in the same order
constexpr std::uint16_t kStayAway = 4500;                  // close codes from here on: the client is not to come back

std::string error_json(const base::Error& error) {
  Writer out;
  base::json::write_error(out, error);
  return std::string(out.view());
}

void append_event_frame(std::string& out, bool socketio, std::string_view name, std::string_view body,
                        std::string_view offset) {
  socketio ? socketio::append_event_frame(out, name, body, offset) : plain::append_event_frame(out, name, body);
}

// What both speakers of chat are: a session, and its outlet.
class ChatOutlet : public chat::Outlet {
 public:
  ChatOutlet(Transport& transport, ChatCore& core)
      : transport_of_(transport), core_(core), session_(transport.id(), *this) {}
  virtual ~ChatOutlet() = default;

  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) final {
    return transport_of_.send_shared(chunk, from, to);
  }
  bool has_room() const noexcept final { return transport_of_.has_room(); }
  std::string address() const final { return transport_of_.address(); }
  void reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) final {
    transport_of_.command_answered();
    if (transport_of_.is_open()) append_reply(tag, cmd, ok, body);
  }
  void send_event(std::string_view name, std::string_view body) final {
    if (!transport_of_.is_open()) return;
    append_event(name, body);
    // Events to one user are not in a log to be fed from: who does not take them has to come back and ask.
    if (transport_of_.output_bytes() > kEventQueueBytes) transport_of_.close_slow();
  }
  void close(chat::CloseCode code, std::string_view reason) override {
    transport_of_.close(static_cast<std::uint16_t>(code), reason);
  }

 protected:
  // `append` puts a frame of about `bytes` into what it is given: compressed, if that pays and was agreed upon.
  template <class Append>
  void send_frame(std::size_t bytes, Append append) {
    if (bytes < protocol::kDeflateBytesMin || !transport_of_.deflates()) return append(transport_of_.output());
    core_.scratch.clear();
    append(core_.scratch);
    core_.deflater.append_frame(transport_of_.output(), protocol::Opcode::text,
                                protocol::first_frame(core_.scratch).payload);
  }
  virtual void append_reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) = 0;
  virtual void append_event(std::string_view name, std::string_view body) = 0;

  // What a client sends to sign in. An error is for `refused`.
  void connect(const chat::ReplyTag& tag, const Value* data) {
    chat::ConnectData connect_data;
    if (data) {
      auto read = chat::read_connect(*data);
      if (!read) return refused(tag, read.error(), std::nullopt);
      connect_data = std::move(*read);
    }
    connect_with(tag, std::move(connect_data));
  }
  void connect_with(const chat::ReplyTag& tag, chat::ConnectData data) {
    transport_of_.expect_nothing();
    core_.shard->connect(session_, tag, std::move(data));
  }
  void command(const chat::ReplyTag& tag, std::string_view name, const Value* data) {
    transport_of_.command_taken();
    core_.shard->command(session_, tag, name, data);
  }
  void connect_timed_out() { close(chat::CloseCode::connect_timed_out, "no connect in time"); }

  Transport& transport_of_;
  ChatCore& core_;
  chat::Session session_;
};

class PlainSpeaker final : public Speaker, public ChatOutlet {
 public:
  // `token`: of the upgrade; empty: `connect` is to bring one.
  PlainSpeaker(Transport& transport, ChatCore& core, std::string_view token) : ChatOutlet(transport, core) {
    transport.expect_within(core.settings.connect_timeout);
    core.opening_token = token;
  }

  void on_open() override {
    std::string token = std::exchange(core_.opening_token, {});
    if (!token.empty()) connect_with({}, {.token = std::move(token), .has_token = true, .name = {}, .resume = {}});
  }

  void on_message(std::string_view payload, bool binary) override {
    if (binary) return transport_of_.close(protocol::close_code::kUnsupported, "text frames only");
    core_.shard->expect(session_);
    plain::Command command = plain::decode(core_.reader, payload);
    chat::ReplyTag tag(command.id.view());
    if (!command.bad_field.empty()) {
      base::Error error{
          .code = Errc::invalid, .message = std::string(command.problem), .field = std::string(command.bad_field)};
      return plain::append_reply_frame(transport_of_.output(), tag.view(), false, error_json(error));
    }
    if (command.cmd != "connect") return ChatOutlet::command(tag, command.cmd, command.data);
    if (session_.state == chat::Session::State::fresh) return connect(tag, command.data);
    base::Error error{.code = Errc::conflict, .message = "connected already", .field = {}};
    append_reply(tag, "connect", false, error_json(error));
  }
  void on_room() override { core_.shard->drained(session_); }
  void on_late() override { connect_timed_out(); }
  void on_closed() override { core_.shard->disconnected(session_); }
  chat::Session* session() noexcept override { return &session_; }

  chat::Wire wire() const noexcept override {
    return transport_of_.deflates() ? chat::Wire::plain_deflate : chat::Wire::plain;
  }
  void signed_in(const chat::ReplyTag& tag) override {
    if (!transport_of_.is_open()) return;
    transport_of_.forget_address();
    if (tag.empty()) return;
    plain::append_reply_frame(transport_of_.output(), tag.view(), true,
                              R"({"connectionId":")" + session_.id.text() + R"("})");
  }
  void refused(const chat::ReplyTag& tag, const base::Error& error,
               std::optional<chat::CloseCode> close_with) override {
    if (!transport_of_.is_open()) return;
    transport_of_.expect_within(core_.settings.connect_timeout);  // it may try again
    if (!tag.empty()) plain::append_reply_frame(transport_of_.output(), tag.view(), false, error_json(error));
    if (close_with) close(*close_with, error.message);
  }

 private:
  void append_reply(const chat::ReplyTag& tag, std::string_view, bool ok, std::string_view body) override {
    if (tag.empty()) return;
    send_frame(body.size(), [&](std::string& out) { plain::append_reply_frame(out, tag.view(), ok, body); });
  }
  void append_event(std::string_view name, std::string_view body) override {
    send_frame(body.size(), [&](std::string& out) { plain::append_event_frame(out, name, body); });
  }
};

class SocketIoChatSpeaker final : public SocketIoSpeaker, public ChatOutlet {
 public:
  SocketIoChatSpeaker(Transport& transport, ChatCore& core)
      : SocketIoSpeaker(transport, core.reader, core.settings.connect_timeout, base::limits::kSocketIoPayloadBytes),
        ChatOutlet(transport, core) {}

  void on_room() override { core_.shard->drained(session_); }
  void on_closed() override { core_.shard->disconnected(session_); }
  chat::Session* session() noexcept override { return &session_; }

  chat::Wire wire() const noexcept override {
    return transport_.deflates() ? chat::Wire::socketio_deflate : chat::Wire::socketio;
  }
  void signed_in(const chat::ReplyTag&) override {
    if (!transport_.is_open()) return;
    transport_.forget_address();
    const chat::RecoveryIds* ids = session_.recovery.get();
    std::string sid = ids ? ids->sid : session_.id.text() + "-" + base::random_token(6);
    socketio::append_connect_frame(transport_.output(), "/", sid, ids ? std::string_view(ids->pid) : "");
  }
  void refused(const chat::ReplyTag&, const base::Error& error, std::optional<chat::CloseCode>) override {
    if (!transport_.is_open()) return;
    transport_.expect_within(core_.settings.connect_timeout);  // it may try again
    socketio::append_connect_error_frame(transport_.output(), "/", base::name_of(error.code), error_json(error));
  }
  void close(chat::CloseCode code, std::string_view reason) override {
    auto number = static_cast<std::uint16_t>(code);
    if (number >= kStayAway) session_.recovery.reset();
    if (number >= kStayAway && transport_.is_open()) {
      Writer out;
      out.begin_object().key("code").integer(number).key("reason").string(reason).end_object();
      append_event("session_ended", out.view());
      socketio::append_disconnect_frame(transport_.output(), "/");
    }
    ChatOutlet::close(code, reason);
  }

 private:
  bool is_connected(std::string_view name_space) const noexcept override {
    return name_space == "/" && session_.state != chat::Session::State::fresh;
  }
  void on_connect(std::string_view name_space, const Value* auth) override {
    if (name_space != "/")
      return socketio::append_connect_error_frame(transport_.output(), name_space, "Invalid namespace");
    connect({}, auth);
  }
  void on_disconnect(std::string_view) override {
    session_.recovery.reset();  // it wanted to go
    transport_.close(protocol::close_code::kNormal, "");
  }
  void on_connect_late() override { connect_timed_out(); }
  void on_event(const Event& event) override {
    chat::ReplyTag tag(event.ack);
    std::string_view name = event.event.name;
    bool binary = !event.attachments.empty();
    if (binary || event.event.arguments > 1) {
      base::Error error{.code = Errc::invalid,
                        .message = binary ? "binary is not taken" : "one argument at most: the command's data",
                        .field = "data"};
      return append_reply(tag, name, false, error_json(error));
    }
    command(tag, name, event.event.arguments == 1 ? &event.event.argument(0) : nullptr);
  }
  void append_reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) override {
    if (!tag.empty()) {
      send_frame(body.size(), [&](std::string& out) { socketio::append_reply_frame(out, tag.view(), ok, body); });
    } else if (!ok) {
      socketio::append_command_failed_frame(transport_.output(), cmd, body);
    }
  }
  void append_event(std::string_view name, std::string_view body) override {
    send_frame(body.size(), [&](std::string& out) { socketio::append_event_frame(out, name, body); });
  }
};

std::string_view bearer(const protocol::Request& request) noexcept {
  std::string_view header = request.header("Authorization").value_or("");
  return header.starts_with("Bearer ") ? header.substr(7) : std::string_view();
}

}  // namespace

ChatDoors::ChatDoors(const base::Settings& settings)
    : core_{.settings = settings},
      doors_{Door{.path = "/ws", .message_bytes = settings.frame_bytes, .subprotocol = "ringline.v1"},
             Door{.path = "/socket.io/",
                  .kind = Door::Kind::engineio,
                  .message_bytes = base::limits::kSocketIoPayloadBytes}} {}

protocol::HttpLimits ChatDoors::http_limits() const noexcept {
  const Door& polling = doors_.back();
  return {.large_body_path = polling.path, .large_body_bytes = polling.message_bytes};
}

std::optional<Doors::Refusal> ChatDoors::check(const Door& door, const protocol::Request& request) {
  bool checked = door.kind == Door::Kind::websocket && request.header("Authorization");
  if (!checked || core_.shard->token_holds(bearer(request))) return {};
  return Refusal{.status = 401, .why = "the access token is not valid"};
}

std::unique_ptr<Speaker> ChatDoors::open(const Door& door, const protocol::Request& request, Transport& transport) {
  if (door.kind == Door::Kind::engineio) return std::make_unique<SocketIoChatSpeaker>(transport, core_);
  return std::make_unique<PlainSpeaker>(transport, core_, bearer(request));
}

void ChatDoors::append_event(std::string& out, chat::Wire wire, std::string_view name, std::string_view body,
                             std::string_view offset) {
  auto index = static_cast<std::size_t>(wire);
  bool socketio = index % kPlainWires == static_cast<std::size_t>(chat::Wire::socketio);
  if (index < kPlainWires || body.size() < protocol::kDeflateBytesMin)
    return append_event_frame(out, socketio, name, body, offset);
  core_.scratch.clear();
  append_event_frame(core_.scratch, socketio, name, body, offset);
  core_.deflater.append_frame(out, protocol::Opcode::text, protocol::first_frame(core_.scratch).payload);
}

}  // namespace ringline::net
