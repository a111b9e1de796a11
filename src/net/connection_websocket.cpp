// A connection once it is a WebSocket, or an Engine.IO session: frames in, heartbeats, the closing handshake.
#include <algorithm>

#include "net/connection.hpp"
#include "net/polling.hpp"
#include "net/server_impl.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::net {

using protocol::FrameEvent;
using protocol::Opcode;
namespace engineio = protocol::engineio;

namespace {

constexpr std::chrono::seconds kLinger{2};  // for the peer's answer to a close frame
constexpr std::int64_t kBeatTicks = 64;     // of a ping interval at least; more where so many are connected that
constexpr std::int64_t kBeatsAtOnce = 64;   // more than these would be due at one
constexpr unsigned kGoldenRatio = 40503;    // of 65536: parts of it lie evenly, however many there are

}  // namespace

// ---- In

void Connection::take_frames(std::string_view bytes) {
  protocol::FrameRules rules{.message_bytes = door().message_bytes, .allow_rsv1 = inflates_};
  std::span<const std::byte> input = std::as_bytes(std::span(bytes));
  while (!input.empty() && !input_ended_ && state_ != State::joining && state_ != State::dead) {
    if (paused_ || state_ == State::leaving) {
      aside().unread.append(bytes.substr(bytes.size() - input.size()));
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
      if (state_ == State::open) take_message(event);
      return;
    case FrameEvent::Kind::ping:
      if (state_ == State::open) protocol::append_frame(output(), Opcode::pong, event.payload);
      return;
    case FrameEvent::Kind::pong:
      if (kind_ == Kind::websocket) on_pong();
      return;
    case FrameEvent::Kind::close:
      input_ended_ = true;
      peer_closed_ = true;
      if (state_ == State::closing) return mark_dirty();  // ours may not be sent yet; then the connection goes
      return send_close_frame(event.code, "");
    case FrameEvent::Kind::failed:
      input_ended_ = true;
      return fail(event.code, event.payload);
  }
}

// The frame again, as it was before it was compressed.
void Connection::take_compressed(const FrameEvent& event) {
  auto message = server_.inflater.inflate(event.payload, door().message_bytes);
  bool text = event.opcode == Opcode::text;
  if (!message || (text && !base::valid_utf8(*message))) {
    input_ended_ = true;
    return fail(message ? protocol::close_code::kEncoding : message.error(), "bad compressed message");
  }
  FrameEvent plain = event;
  plain.compressed = false;
  plain.payload = *message;
  take_message(plain);
}

void Connection::take_message(const FrameEvent& event) {
  if (event.compressed) return take_compressed(event);
  bool binary = event.opcode == Opcode::binary;
  if (kind_ == Kind::websocket || (kind_ == Kind::engineio && binary))
    return speaker_->on_message(event.payload, binary);
  if (binary) return fail(protocol::close_code::kUnsupported, "a probe is text");
  kind_ == Kind::probe ? take_probe(event.payload) : take_engineio(event.payload);
}

// ---- Life: heartbeats

void Connection::start_living(const Door& door) {
  set_door(door);
  wait_ = Wait::live;
  if (kind_ == Kind::engineio || door.pings) wait_until(next_beat_ms());
}

// When the interval is over, or a moment later: on a tick that the connections of a core share, so that many idle ones wake it for all that are due and not
// for each. A tick has few enough of them not to be felt, and the cores' ticks lie apart.
std::int64_t Connection::next_beat_ms() const noexcept {
  const std::int64_t interval = server_.options.settings.ping_interval.count();
  const auto connections = static_cast<std::int64_t>(server_.connections.size());
  const std::int64_t tick = std::max<std::int64_t>(interval / std::max(kBeatTicks, connections / kBeatsAtOnce), 1);
  const std::int64_t phase = tick * (server_.options.core * kGoldenRatio & 0xffff) >> 16;
  const std::int64_t due_ms = server_.loop.now_ms() + interval + tick - 1;
  return due_ms - (due_ms - phase) % tick;
}

// From one due time to the next, and not from now: a turn that came late makes nobody's time longer.
void Connection::beat() {
  if (stalled()) return close_slow();
  if (kind_ == Kind::websocket) {
    protocol::append_frame(output(), Opcode::ping, {});
  } else {
    engineio::append_frame(output(), engineio::PacketType::ping);
  }
  pong_due_ = true;
  wait_until(timer().due_ms() + server_.options.settings.ping_timeout.count());
}

void Connection::on_pong() {
  if (!pong_due_ || wait_ != Wait::live) return;
  pong_due_ = false;
  wait_until(next_beat_ms());
}

// A peer that still takes what is sent is alive: the ping may be behind much else. And the pong may be behind what is not read yet.
void Connection::no_pong() {
  if (stalled()) return close_slow();
  if (send_op().in_kernel()) return wait_until(outbox_->progress_ms + server_.options.times.stalled_send.count());
  if (paused_) return wait_until(timer().due_ms() + server_.options.settings.ping_timeout.count());
  ++server_.metrics.closed_timeout;
  if (polling_) {  // nobody is there to be told
    base::log::info("connection_closed", {{"connection", id_.text()}, {"why", "no pong in time"}});
    return close_now();
  }
  close(static_cast<std::uint16_t>(chat::CloseCode::ping_timed_out), "no pong in time");
}

// ---- The end

// It may begin to read within the linger, and then sees the code.
void Connection::close_slow() {
  ++server_.metrics.closed_slow;
  close(static_cast<std::uint16_t>(chat::CloseCode::too_slow), "it does not take what is sent");
}

// The peer breaks the protocol.
void Connection::fail(std::uint16_t code, std::string_view why) {
  note_broken(code, why);
  send_close_frame(code, why);
}

void Connection::note_broken(std::uint16_t code, std::string_view why) {
  ++server_.metrics.closed_protocol;
  base::log::info("protocol_broken", {{"connection", id_.text()}, {"code", code}, {"why", why}});
}

void Connection::close(std::uint16_t code, std::string_view reason) {
  if (state_ != State::open) return;
  if (kind_ == Kind::http) return close_http();
  if (protocol::close_code::is_peers_fault(code)) {
    note_broken(code, reason);
  } else if (code != protocol::close_code::kNormal && code != protocol::close_code::kGoingAway) {
    base::log::info("connection_closed", {{"connection", id_.text()}, {"code", code}, {"why", reason}});
  }
  if (polling_) return close_polling();
  if (kind_ == Kind::engineio && code == protocol::close_code::kGoingAway) return hang_up();
  send_close_frame(code, reason);
}

// Sends what is queued and ends the stream. A close frame would keep Socket.IO's Java client waiting for the end of its heartbeat (OkHttp stops reading
// at the frame and leaves the answer to its user, which gives none); that the stream ends it sees at once, and comes back.
void Connection::hang_up() {
  state_ = State::closing;
  peer_closed_ = true;
  if (outbox_) outbox_->drop_shared();
  wait_for(Wait::linger, kLinger);
  mark_dirty();
}

// The last frame: nothing follows it, and room events that are queued and not begun give way to it.
void Connection::send_close_frame(std::uint16_t code, std::string_view reason) {
  if (state_ != State::open) return;
  protocol::append_close_frame(output(), code, reason);
  state_ = State::closing;
  outbox_->drop_shared();
  if (!take_unread().empty()) input_ended_ = true;  // frames are lost, so the stream cannot be followed any more
  read_again();
  wait_for(Wait::linger, kLinger);
}

}  // namespace ringline::net
