#include "fixtures.hpp"

#include <algorithm>
#include <array>
#include <functional>

#include "ringline/base/clock.hpp"
#include "ringline/base/random.hpp"
#include "ringline/protocol/engineio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::conformance {
namespace {

using base::json::Value;
using base::json::Writer;
using protocol::socketio::PacketType;
namespace socketio = protocol::socketio;

constexpr std::size_t kEchoBytes = 64 * 1024 * 1024;
constexpr std::chrono::seconds kAnswerTime{10};
constexpr std::string_view kBytes = "asdfasdf";  // what binary events of the JavaScript client's suite carry

class WebSocketEcho final : public net::Speaker {
 public:
  explicit WebSocketEcho(net::Transport& transport) : transport_(transport) {}
  void on_message(std::string_view payload, bool binary) override {
    protocol::Opcode opcode = binary ? protocol::Opcode::binary : protocol::Opcode::text;
    protocol::append_frame(transport_.output(), opcode, payload);
  }

 private:
  net::Transport& transport_;
};

class EngineIoEcho final : public net::Speaker {
 public:
  explicit EngineIoEcho(net::Transport& transport) : transport_(transport) {}
  void on_message(std::string_view payload, bool binary) override {
    if (binary) return protocol::append_frame(transport_.output(), protocol::Opcode::binary, payload);
    protocol::engineio::append_frame(transport_.output(), protocol::engineio::PacketType::message, payload);
  }

 private:
  net::Transport& transport_;
};

// The query of a request as an object, and whether it has `fail`.
struct Query {
  std::string json;
  bool fail = false;
};
Query query_of(const protocol::Request& request) {
  Query query;
  Writer out;
  out.begin_object();
  for (std::string_view name : {"EIO", "transport", "t", "foo", "key1", "key2", "fail", "b64", "%26%3D%3Fa", "&=?a"})
    if (auto value = request.query(name)) out.key(name).string(*value);
  out.end_object();
  query.json = out.view();
  query.fail = request.query("fail").has_value();
  return query;
}

class Fixture final : public net::SocketIoSpeaker {
 public:
  Fixture(net::Transport& transport, base::json::Reader& reader, const Limits& limits, Hub& hub, Query query)
      : SocketIoSpeaker(transport, reader, limits.connect_timeout, limits.payload_bytes),
        limits_(limits),
        hub_(hub),
        query_(std::move(query)) {}

  void on_closed() override {
    for (auto& [name, socket] : sockets_) {
      hub_.keep(*socket);
      hub_.remove(*socket);
    }
    sockets_.clear();
    *alive_ = false;
  }

 private:
  struct Socket final : HubSocket {
    explicit Socket(Fixture& of) : fixture(of) {}
    void deliver(const Emission& emission) override {
      fixture.send(emission.attachments.empty() ? PacketType::event : PacketType::binary_event, name_space, "",
                   emission.payload, emission.attachments);
    }
    Fixture& fixture;
  };
  using Handler = void (Fixture::*)(Socket&, const Event&);
  struct Row {
    std::string_view name;
    Handler handler;
  };
  static const std::array<Row, 30> kEvents;

  bool is_connected(std::string_view name_space) const noexcept override {
    return sockets_.contains(std::string(name_space));
  }
  void on_connect_late() override { transport_.close(protocol::close_code::kNormal, "no CONNECT in time"); }
  void on_connect(std::string_view name_space, const Value* auth) override;
  void on_disconnect(std::string_view name_space) override { leave_namespace(name_space); }
  void on_event(const Event& event) override {
    Socket& socket = *sockets_.at(std::string(event.name_space));
    auto row = std::ranges::find(kEvents, event.event.name, &Row::name);
    if (row != kEvents.end()) (this->*row->handler)(socket, event);
  }
  std::string_view refusal(std::string_view name_space, const Value* auth, std::string_view& data) const;
  void accept(const std::string& name_space, const std::string& auth, std::optional<Recovered> recovered);
  void leave_namespace(std::string_view name_space) {
    auto found = sockets_.find(std::string(name_space));
    if (found == sockets_.end()) return;
    hub_.remove(*found->second);
    sockets_.erase(found);
  }

  // The event's arguments from the `first` one on, behind a name if it is not empty.
  static std::string array(std::string_view name, const Event& event, std::size_t first = 0) {
    Writer out;
    out.begin_array();
    if (!name.empty()) out.string(name);
    for (std::size_t i = first; i < event.event.arguments; ++i) out.value(event.event.argument(i));
    out.end_array();
    return std::string(out.view());
  }
  static std::vector<std::string> attachments(const Event& event) {
    return {event.attachments.begin(), event.attachments.end()};
  }
  void emit(const Socket& socket, std::string payload, std::vector<std::string> bytes = {}) {
    hub_.emit({.name_space = socket.name_space,
               .payload = std::move(payload),
               .attachments = std::move(bytes),
               .room = socket.sid,
               .except = {}});
  }
  void emit_json(const Socket& socket, std::string_view name, std::string_view json) {
    Writer out;
    out.begin_array().string(name).raw(json).end_array();
    emit(socket, std::string(out.view()));
  }
  void emit_name(const Socket& socket, std::string_view name) { emit(socket, "[\"" + std::string(name) + "\"]"); }
  void emit_bytes(const Socket& socket, std::string_view name) {
    emit(socket, "[\"" + std::string(name) + R"(",{"_placeholder":true,"num":0}])", {std::string(kBytes)});
  }
  void ack(const Event& event, std::string_view arguments, std::span<const std::string> bytes = {}) {
    if (event.ack.empty()) return;
    send(bytes.empty() ? PacketType::ack : PacketType::binary_ack, event.name_space, event.ack, arguments, bytes);
  }
  void ack_string(const Event& event, std::string_view text) {
    Writer out;
    out.begin_array().string(text).end_array();
    ack(event, out.view());
  }
  std::string handshake(const Socket& socket) const;
  static std::string date() {
    Writer out;
    out.time(base::wall_ms());
    return std::string(out.view());
  }
  static bool is_binary(const Value& value) { return value.IsObject() && value.HasMember("_placeholder"); }
  static std::optional<std::string> text_argument(const Event& event) {
    if (event.event.arguments == 0 || !event.event.argument(0).IsString()) return {};
    return std::string(base::json::view(event.event.argument(0)));
  }

  // The suites' events.
  void message(Socket& socket, const Event& event) { emit(socket, array("message-back", event), attachments(event)); }
  void message_with_ack(Socket&, const Event& event) { ack(event, array("", event), event.attachments); }
  void join(Socket& socket, const Event& event) {
    if (auto room = text_argument(event)) {
      socket.rooms.insert(*room);
      ack(event, R"(["ok"])");
    }
  }
  void leave(Socket& socket, const Event& event) {
    if (auto room = text_argument(event)) {
      if (*room != socket.sid) socket.rooms.erase(*room);
      ack(event, R"(["ok"])");
    }
  }
  void to_room(Socket& socket, const Event& event) {
    auto room = text_argument(event);
    if (!room) return;
    send_others(socket, array("room", event, 1), event, *room);
  }
  void broadcast(Socket& socket, const Event& event) { send_others(socket, array("broadcast", event), event, ""); }
  void send_others(Socket& socket, std::string payload, const Event& event, std::string room) {
    hub_.emit({.name_space = socket.name_space,
               .payload = std::move(payload),
               .attachments = attachments(event),
               .room = std::move(room),
               .except = socket.sid});
    ack(event, R"(["ok"])");
  }
  void ask_back(Socket& socket, const Event& event);
  void kick(Socket& socket, const Event&) {
    socketio::append_disconnect_frame(transport_.output(), socket.name_space);
    leave_namespace(std::string(socket.name_space));
  }
  void kick_hard(Socket&, const Event&) { transport_.close(protocol::close_code::kNormal, ""); }

  // Those of the JavaScript client's own suite.
  void hi(Socket& socket, const Event&) { emit_name(socket, "hi"); }
  void echo(Socket&, const Event& event) { ack(event, array("", event), event.attachments); }
  void ask_ack(Socket& socket, const Event&);
  void ack_date(Socket&, const Event& event) { ack(event, "[" + date() + "]"); }
  void take_date(Socket& socket, const Event&) { emit_json(socket, "takeDate", date()); }
  void take_date_object(Socket& socket, const Event&) { emit_json(socket, "takeDateObj", "{\"date\":" + date() + "}"); }
  void take_utf8(Socket& socket, const Event&) {
    for (std::string_view text : {"てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"}) {
      Writer json;
      json.string(text);
      emit_json(socket, "takeUtf8", json.view());
    }
  }
  void say_false(Socket& socket, const Event&) { emit_json(socket, "false", "false"); }
  void doge(Socket& socket, const Event&) { emit_bytes(socket, "doge"); }
  void take_binary(Socket& socket, const Event&) { emit_bytes(socket, "takebin"); }
  void acknowledge(Socket& socket, const Event& event, std::string_view name) {
    if (!event.attachments.empty()) emit_name(socket, name);
  }
  void buffa(Socket& socket, const Event& event) { acknowledge(socket, event, "buffack"); }
  void jsonbuff(Socket& socket, const Event& event) { acknowledge(socket, event, "jsonbuff-ack"); }
  void abuff2(Socket& socket, const Event& event) { acknowledge(socket, event, "abuff2-ack"); }
  void blob(Socket& socket, const Event& event) { emit(socket, array("back", event), attachments(event)); }
  void jsonblob(Socket& socket, const Event& event) { acknowledge(socket, event, "jsonblob-ack"); }
  void blob3(Socket& socket, const Event& event) { acknowledge(socket, event, "blob3-ack"); }
  void take_silently(Socket&, const Event&) {}
  void get_handshake(Socket& socket, const Event& event) { ack(event, "[" + handshake(socket) + "]"); }
  void get_id(Socket& socket, const Event& event) { ack_string(event, socket.sid); }

  const Limits& limits_;
  Hub& hub_;
  Query query_;
  std::string auth_ = "{}";  // the last CONNECT's
  std::map<std::string, std::unique_ptr<Socket>> sockets_;
  std::set<std::string> connecting_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what comes back later
};

constexpr std::array<std::string_view, 9> kNamespaces = {"/",      "/custom", "/private", "/foo", "/timeout_socket",
                                                         "/valid", "/asd",    "/abc",     "/no"};

const std::array<Fixture::Row, 30> Fixture::kEvents = {{
    {"message", &Fixture::message},
    {"message-with-ack", &Fixture::message_with_ack},
    {"join", &Fixture::join},
    {"leave", &Fixture::leave},
    {"to-room", &Fixture::to_room},
    {"broadcast", &Fixture::broadcast},
    {"ask", &Fixture::ask_back},
    {"kick", &Fixture::kick},
    {"kick-hard", &Fixture::kick_hard},
    {"hi", &Fixture::hi},
    {"echo", &Fixture::echo},
    {"ack", &Fixture::ask_ack},
    {"getAckDate", &Fixture::ack_date},
    {"getDate", &Fixture::take_date},
    {"getDateObj", &Fixture::take_date_object},
    {"getUtf8", &Fixture::take_utf8},
    {"false", &Fixture::say_false},
    {"doge", &Fixture::doge},
    {"getbin", &Fixture::take_binary},
    {"buffa", &Fixture::buffa},
    {"jsonbuff", &Fixture::jsonbuff},
    {"abuff1", &Fixture::take_silently},
    {"abuff2", &Fixture::abuff2},
    {"blob", &Fixture::blob},
    {"jsonblob", &Fixture::jsonblob},
    {"blob1", &Fixture::take_silently},
    {"blob2", &Fixture::take_silently},
    {"blob3", &Fixture::blob3},
    {"getHandshake", &Fixture::get_handshake},
    {"getId", &Fixture::get_id},
}};

// Why a namespace is refused; empty: it is not.
std::string_view Fixture::refusal(std::string_view name_space, const Value* auth, std::string_view& data) const {
  if (std::ranges::find(kNamespaces, name_space) == kNamespaces.end()) return "Invalid namespace";
  if (name_space == "/" && query_.fail) return "Auth failed (main namespace)";
  if (name_space == "/no") return "Auth failed (custom namespace)";
  if (name_space != "/private" || (auth && base::json::find_string(*auth, "token") == "secret")) return {};
  data = R"({"code":401})";
  return "unauthorized";
}

void Fixture::on_connect(std::string_view name_space, const Value* auth) {
  std::string_view data;
  std::string_view refused = refusal(name_space, auth, data);
  if (!refused.empty()) return socketio::append_connect_error_frame(transport_.output(), name_space, refused, data);
  std::string name(name_space);
  if (sockets_.contains(name) || !connecting_.insert(name).second) return;
  transport_.expect_nothing();
  Writer out;
  auth ? out.value(*auth) : out.begin_object().end_object();
  std::string payload(out.view());
  std::optional<std::string_view> pid = auth ? base::json::find_string(*auth, "pid") : std::nullopt;
  std::optional<std::string_view> offset = auth ? base::json::find_string(*auth, "offset") : std::nullopt;
  if (hub_.recovery() && pid && offset)
    return hub_.recover(std::string(*pid), std::string(*offset),
                        [this, alive = alive_, name, payload](std::optional<Recovered> found) {
                          if (*alive) accept(name, payload, std::move(found));
                        });
  if (limits_.connect_delay.count() == 0) return accept(name, payload, {});
  auto later = [](Fixture* self, loop::Loop& loop, std::chrono::milliseconds delay, std::shared_ptr<bool> alive,
                  std::string in, std::string with) -> base::Task<void> {
    co_await loop.sleep(delay);
    if (*alive) self->accept(in, with, {});
  };
  transport_.loop().scope().spawn(
      later(this, transport_.loop(), limits_.connect_delay, alive_, std::move(name), std::move(payload)));
}

void Fixture::accept(const std::string& name_space, const std::string& auth, std::optional<Recovered> recovered) {
  connecting_.erase(name_space);
  auth_ = auth;
  auto made = std::make_unique<Socket>(*this);
  Socket& socket = *made;
  socket.name_space = name_space;
  socket.sid = recovered ? recovered->session.sid : base::random_token(15);
  if (recovered) socket.rooms = std::move(recovered->session.rooms);
  socket.rooms.insert(socket.sid);
  Writer out;
  out.begin_object().key("sid").string(socket.sid);
  if (hub_.recovery()) {
    socket.pid = recovered ? recovered->session.pid : base::random_token(15);
    out.key("pid").string(socket.pid);
  }
  out.end_object();
  send(PacketType::connect, name_space, "", out.view(), {});
  sockets_[name_space] = std::move(made);
  hub_.add(socket);
  if (recovered) {
    for (const Emission& missed : recovered->missed) socket.deliver(missed);
    return;
  }
  emit_json(socket, "auth", auth);
  if (name_space == "/abc") emit_json(socket, "handshake", handshake(socket));
}

std::string Fixture::handshake(const Socket&) const {
  Writer out;
  out.begin_object().key("headers").begin_object().end_object().key("time").raw(date());
  out.key("address").string("127.0.0.1").key("xdomain").boolean(false).key("secure").boolean(false);
  out.key("issued").integer(base::wall_ms()).key("url").string("/socket.io/").key("query").raw(query_.json);
  out.key("auth").raw(auth_).end_object();
  return std::string(out.view());
}

// `question` with an ack; what comes back is emitted as `answer`, and what does not as `no-answer`.
void Fixture::ask_back(Socket& socket, const Event& event) {
  ask(socket.name_space, array("question", event), event.attachments, kAnswerTime,
      [this, name = socket.name_space](const Acked* acked) {
        auto found = sockets_.find(name);
        if (found == sockets_.end()) return;
        if (!acked) return emit_name(*found->second, "no-answer");
        Writer out;
        out.begin_array().string("answer");
        for (const Value& value : acked->arguments->GetArray()) out.value(value);
        out.end_array();
        emit(*found->second, std::string(out.view()), {acked->attachments.begin(), acked->attachments.end()});
      });
}

void Fixture::ask_ack(Socket& socket, const Event&) {
  ask(socket.name_space, R"(["ack"])", {}, kAnswerTime, [this, name = socket.name_space](const Acked* acked) {
    auto found = sockets_.find(name);
    if (!acked || found == sockets_.end() || acked->arguments->Size() != 2) return;
    const Value& number = (*acked->arguments)[0];
    const Value& object = (*acked->arguments)[1];
    bool right =
        number.IsInt() && number.GetInt() == 5 && object.IsObject() && base::json::find_bool(object, "test") == true;
    if (right) emit_name(*found->second, "got it");
  });
}

}  // namespace

FixtureDoors::FixtureDoors(Hub& hub, const Limits& limits)
    : hub_(hub),
      limits_(limits),
      doors_{net::Door{.path = "/ws", .message_bytes = kEchoBytes, .pings = false},
             net::Door{.path = "/engine.io/",
                       .kind = net::Door::Kind::engineio,
                       .message_bytes = limits.payload_bytes,
                       .deflate = limits.deflate},
             net::Door{.path = "/socket.io/",
                       .kind = net::Door::Kind::engineio,
                       .message_bytes = limits.payload_bytes,
                       .deflate = limits.deflate}} {}

std::unique_ptr<net::Speaker> FixtureDoors::open(const net::Door& door, const protocol::Request& request,
                                                 net::Transport& transport) {
  if (door.kind == net::Door::Kind::websocket) return std::make_unique<WebSocketEcho>(transport);
  if (door.path == "/engine.io/") return std::make_unique<EngineIoEcho>(transport);
  return std::make_unique<Fixture>(transport, reader_, limits_, hub_, query_of(request));
}

}  // namespace ringline::conformance
