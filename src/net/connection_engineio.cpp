// Engine.IO 4 (github.com/socketio/engine.io-protocol): handshake, long-polling, and the change from polling to WebSocket.
//
// A session that polls is a Connection without a socket: its outbox fills with the same frames that a WebSocket would get, and each GET takes what is
// there, the frames' headers off. A WebSocket that is to take over is a connection of its own (`Kind::probe`) until its client sends `5`. Then it gives its
// socket to the session and is gone, so the session's id, speaker and queue are the same before and after.
//
// The order that clients rely on: whoever sends a request after `5` finds the session upgraded, since `5` is acted upon as soon as it is read, on the
// session's core, and the request comes to that core later.
#include "net/connection.hpp"
#include "net/http_state.hpp"
#include "net/polling.hpp"
#include "net/server_impl.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"

namespace ringline::net {

using protocol::Method;
using protocol::Request;
namespace engineio = protocol::engineio;
using engineio::PacketType;
using engineio::RequestError;

namespace {

constexpr std::chrono::seconds kLastPoll{2};  // a closed session waits so long for the poll that takes its last packets
constexpr std::chrono::milliseconds kLatePoll{50};  // a session that its client has ended, likewise
constexpr std::chrono::seconds kUpgradeTime{10};    // from a probe's first packet to `5`
constexpr std::string_view kText = "text/plain; charset=UTF-8";

}  // namespace

std::string Connection::sid() const { return id_.text() + "-" + std::to_string(secret_); }

// ---- Requests

void Connection::answer_engineio(const Door& door, Request request) {
  http_->origin = std::string(request.header("Origin").value_or(""));
  if (!http_->origin.empty() &&
      !origin_allowed(server_.options.settings, http_->origin, request.header("Host").value_or(""))) {
    http_->origin.clear();
    return refuse_engineio(RequestError::forbidden);
  }
  if (request.method == Method::options) return preflight(request);
  std::string transport = request.query("transport").value_or("");
  if (transport != "polling" && transport != "websocket") return refuse_engineio(RequestError::unknown_transport);
  if (request.query("EIO") != "4") return refuse_engineio(RequestError::unsupported_version);
  bool websocket = transport == "websocket";
  auto sid = request.query("sid");
  if (!sid) {
    if (request.method != Method::get) return refuse_engineio(RequestError::bad_handshake_method);
    if (websocket != request.upgrade_websocket) return refuse_engineio(RequestError::bad_request);
    return websocket ? open_websocket(door, request) : open_polling(door, request);
  }
  Connection* session = server_.find_session(*sid);
  if (!session || &session->door() != &door) return refuse_engineio(RequestError::unknown_sid);
  if (request.upgrade_websocket) {
    if (!websocket) return refuse_engineio(RequestError::bad_request);
    return probe(door, request, *session);
  }
  if (websocket || !session->polling_ || session->polling_->upgrading)
    return refuse_engineio(RequestError::bad_request);
  if (request.method == Method::get) return session->take_poll(*this);
  if (request.method == Method::post) return session->take_post(*this, std::move(request.body));
  refuse_engineio(RequestError::bad_request);
}

void Connection::respond_engineio(int status, std::string_view content_type, std::string body) {
  HttpResponse response{
      .status = status, .content_type = std::string(content_type), .body = std::move(body), .headers = {}};
  response.headers.emplace_back("Cache-Control", "no-store");
  if (!http_->origin.empty()) {
    response.headers.emplace_back("Access-Control-Allow-Origin", http_->origin);
    response.headers.emplace_back("Access-Control-Allow-Credentials", "true");
    response.headers.emplace_back("Vary", "Origin");
  }
  respond(std::move(response));
}

void Connection::refuse_engineio(RequestError error) {
  respond_engineio(error == RequestError::forbidden ? 403 : 400, "application/json",
                   std::string(engineio::error_body(error)));
}

void Connection::preflight(const Request& request) {
  HttpResponse response{.status = 204, .content_type = {}, .body = {}, .headers = {{"Vary", "Origin"}}};
  if (!http_->origin.empty()) {
    response.headers.emplace_back("Access-Control-Allow-Origin", http_->origin);
    response.headers.emplace_back("Access-Control-Allow-Credentials", "true");
    response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST");
    response.headers.emplace_back("Access-Control-Allow-Headers",
                                  request.header("Access-Control-Request-Headers").value_or("Content-Type"));
    response.headers.emplace_back("Access-Control-Max-Age", "600");
  } else {
    response.headers.emplace_back("Allow", "GET, POST, OPTIONS");
  }
  respond(std::move(response));
}

// ---- Handshakes

engineio::Open Connection::open_packet(std::string_view sid, bool upgradable) const {
  const base::Settings& settings = server_.options.settings;
  return {.sid = sid,
          .upgradable = upgradable,
          .ping_interval_ms = settings.ping_interval.count(),
          .ping_timeout_ms = settings.ping_timeout.count(),
          .max_payload = door().message_bytes};
}

// A session begins: on its own socket, or on none.
void Connection::start_session(const Door& door, const Request& request) {
  kind_ = Kind::engineio;
  secret_ = base::random_u64();
  start_living(door);
  if (!polling_) engineio::append_open_frame(output(), open_packet(sid(), false));
  speaker_ = server_.options.doors->open(door, request, *this);
  speaker_->on_open();
}

void Connection::open_websocket(const Door& door, const Request& request) {
  if (!accept_upgrade(door, request, door.deflate)) return;
  std::string input = std::move(http_->input);
  http_.reset();
  start_session(door, request);
  if (!input.empty()) take_frames(input);
}

void Connection::open_polling(const Door& door, const Request& request) {
  if (auto refusal = server_.options.doors->check(door, request)) return refuse_http(refusal->status, refusal->why);
  Connection* session = server_.add(loop::Fd{});
  if (!session) return refuse_http(503, "too many connections");
  session->aside().address = http_->address;
  session->polling_ = std::make_unique<Polling>();
  session->start_session(door, request);
  std::string packet;
  engineio::append_open(packet, session->open_packet(session->sid(), true));
  respond_engineio(200, kText, std::move(packet));
}

// ---- Polling

// Two polls at once are a client's error: which of them would get what comes next?
void Connection::take_poll(Connection& from) {
  if (polling_->poll) {
    from.refuse_engineio(RequestError::bad_request);
    return close_now();
  }
  polling_->poll = from.id_;
  from.http_->session = id_;
  mark_dirty();
}

// A poll takes what is queued, at most about a payload; it is held while there is nothing.
void Connection::flush_poll() {
  if (!polling_->poll || polling_->upgrading) return;
  bool last = state_ == State::closing;
  std::string payload;
  while (outbox_ && !outbox_->empty() && payload.size() < door().message_bytes) {
    std::string_view frames = outbox_->front();
    engineio::append_payload(payload, frames);
    outbox_->sent(frames.size());
  }
  bool all = !outbox_ || outbox_->empty();
  if (last && all) {
    engineio::append_packet(payload, polling_->left ? PacketType::noop : PacketType::close);
  } else if (payload.empty()) {
    if (!polling_->probed) return;
    engineio::append_packet(payload, PacketType::noop);
  }
  answer_poll(std::move(payload));
  if (last && all) return close_now();
  after_output();
}

void Connection::answer_poll(std::string payload) {
  Connection* poll = server_.find(std::exchange(polling_->poll, {}));
  ASSERT(poll != nullptr);
  server_.metrics.sent_bytes += payload.size();
  poll->respond_engineio(200, kText, std::move(payload));
}

// The request that polls or posts has lost its connection: its session ends.
void Connection::request_gone() {
  Connection* session = server_.find(std::exchange(http_->session, {}));
  if (!session || !session->polling_) return;
  if (session->polling_->poll == id_) session->polling_->poll = {};
  if (session->polling_->post == id_) session->polling_->post = {};
  session->close_now();
}

void Connection::take_post(Connection& from, std::string payload) {
  if (payload.size() > door().message_bytes) return from.refuse_http(413, "larger than maxPayload");
  if (polling_->post || state_ != State::open) {
    from.refuse_engineio(RequestError::bad_request);
    return close_now();
  }
  polling_->post = from.id_;
  from.http_->session = id_;
  if (!engineio::is_payload(payload)) return break_off("not a payload");
  take_payload(payload);
}

// The packets of a payload, until reading has to stop: the rest waits, and the client waits for its answer.
void Connection::take_payload(std::string_view payload) {
  while (!payload.empty()) {
    if (paused_) {
      aside().unread = payload;
      return;
    }
    engineio::PayloadPacket packet = engineio::next_packet(payload);
    if (packet.binary) {
      std::string bytes;
      if (!engineio::decode_base64(packet.text, bytes)) return break_off("not base64");
      speaker_->on_message(bytes, true);
    } else {
      take_engineio(packet.text);
    }
    if (!polling_ || state_ != State::open) return;
    bound_output();
  }
  answer_post();
}

void Connection::answer_post() {
  if (Connection* post = server_.find(std::exchange(polling_->post, {})))
    post->respond_engineio(200, "text/html", "ok");
}

// A packet as text, over either transport.
void Connection::take_engineio(std::string_view text) {
  auto packet = engineio::decode(text);
  if (!packet) return break_off("not an Engine.IO packet");
  switch (packet->type) {
    case PacketType::pong:
      return on_pong();
    case PacketType::message:
      return speaker_->on_message(packet->data, false);
    case PacketType::close:
      if (polling_) return end_by_client();
      return send_close_frame(protocol::close_code::kNormal, "");
    case PacketType::noop:
      return;
    case PacketType::open:
    case PacketType::ping:  // since version 4 the server's
    case PacketType::upgrade:
      return break_off("this packet is not a client's");
  }
}

// ---- The end of a session that polls

// What the client sent makes no sense: both its requests are told, and the session is gone at once.
void Connection::break_off(std::string_view why) {
  if (!polling_) return fail(protocol::close_code::kProtocol, why);
  note_broken(protocol::close_code::kProtocol, why);
  close_now();
}

// Its open poll is answered. One that was sent before this packet may come after it, over another connection and another core: it is waited for a moment.
void Connection::end_by_client() {
  answer_post();
  polling_->left = true;
  if (outbox_) outbox_->clear();
  state_ = State::closing;
  wait_for(Wait::linger, kLatePoll);
  mark_dirty();
}

// The last packets go with the poll that is open or comes soon.
void Connection::close_polling() {
  state_ = State::closing;
  answer_post();
  if (outbox_) outbox_->drop_shared();
  wait_for(Wait::linger, kLastPoll);
  mark_dirty();
}

void Connection::end_polling() {
  if (polling_->poll) answer_poll(std::string(1, static_cast<char>(PacketType::close)));
  if (Connection* post = server_.find(std::exchange(polling_->post, {})))
    post->refuse_engineio(RequestError::bad_request);
  if (Connection* probe = server_.find(std::exchange(polling_->probe, {}))) probe->close_now();
}

// ---- From polling to WebSocket

// A WebSocket that names a session. One at a time: another is closed, and the first lives on.
void Connection::probe(const Door& door, const Request& request, Connection& session) {
  bool welcome = session.polling_ && !session.polling_->probe && session.state_ == State::open;
  // Without compression: what waits for the session was framed for polling.
  if (!accept_upgrade(door, request, false)) return;
  std::string input = std::move(http_->input);
  http_.reset();
  kind_ = Kind::probe;
  set_door(door);
  secret_ = session.id_.value;
  if (!welcome) return send_close_frame(protocol::close_code::kNormal, "");
  session.polling_->probe = id_;
  wait_for(Wait::linger, kUpgradeTime);
  if (!input.empty()) take_frames(input);
}

void Connection::take_probe(std::string_view packet) {
  Connection* session = server_.find(base::ConnectionId{secret_});
  bool known = session && session->polling_ && session->polling_->probe == id_ && session->state_ == State::open;
  if (!known) return send_close_frame(protocol::close_code::kNormal, "the session is gone");
  Polling& polling = *session->polling_;
  if (packet == "2probe") {
    polling.probed = true;
    session->mark_dirty();
    return engineio::append_frame(output(), PacketType::pong, "probe");
  }
  bool ready = packet == "5" && polling.probed && !polling.post;
  if (!ready) return send_close_frame(protocol::close_code::kProtocol, "not what a probe may say now");
  session->begin_upgrade();
  state_ = State::leaving;
  if (receive_op().in_kernel()) server_.loop.ring().cancel(receive_op());
  mark_dirty();  // it may be quiet already
}

// From now on there is no polling, though the socket is still on its way.
void Connection::begin_upgrade() {
  polling_->upgrading = true;
  if (polling_->poll) answer_poll(std::string(1, static_cast<char>(PacketType::noop)));
}

void Connection::probe_gone() {
  Connection* session = server_.find(base::ConnectionId{secret_});
  if (!session || !session->polling_ || session->polling_->probe != id_) return;
  session->polling_->probe = {};
  session->polling_->probed = false;
  if (session->polling_->upgrading) session->close_now();
}

void Connection::adopt(loop::Fd socket, std::string input) {
  if (state_ != State::open) return server_.loop.ring().close(socket);
  polling_.reset();
  socket_ = socket;
  receive();
  if (!input.empty()) take_frames(input);
  mark_dirty();
}

}  // namespace ringline::net
