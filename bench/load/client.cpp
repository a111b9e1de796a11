#include "client.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "crowd.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr std::size_t kResponseBytesMax = 8192;
constexpr std::size_t kAwaitedMax = 4096;  // answers; a server so far behind is not waited for one by one
constexpr std::size_t kShownBytes = 300;   // of what a server said, in an error
constexpr std::string_view kHeadEnd = "\r\n\r\n";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A mask has to differ from frame to frame, not to be secret: nothing between us and the server is to be fooled.
std::array<std::uint8_t, 4> next_mask() noexcept {
  static std::uint32_t state = 0x9e3779b9;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return std::bit_cast<std::array<std::uint8_t, 4>>(state);
}

// What is received is acknowledged when it is read, which Linux does until a socket answers soon after something came; asked for after each send. Otherwise,
// from 40 ms of latency on, timers of ours send an acknowledgement for each delivery, and over the loopback these run on the server's core: no server on
// a network has that to bear. See tcp(7), TCP_QUICKACK.
void acknowledge_at_once(loop::Fd socket) noexcept {
  const int on = 1;
  ::setsockopt(socket.value, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

}  // namespace

void Client::open(loop::Fd socket, const loop::Address& address, std::string resume) {
  ASSERT(state_ == State::idle || state_ == State::closed);
  ASSERT(!socket_);
  resume_ = token_.empty() ? std::string() : std::move(resume);
  waiting_.clear();
  partial_.clear();
  awaited_.clear();
  socket_ = socket;
  state_ = State::connecting;
  next_id_ = kFirstSendId;
  crowd_.ring().connect(connect_, socket_, address.get(), address.length);
}

void Client::on_connect(loop::Completion completion) {
  ++crowd_.activity_;
  if (state_ == State::closing) return finish_closing();
  if (completion.result < 0) return fail(fmt::format("connect: {}", std::strerror(-completion.result)));
  state_ = State::upgrading;
  waiting_ = crowd_.dialect().upgrade(index_ / crowd_.options_.room_size);
  flush();
  crowd_.ring().receive_multishot(receive_, socket_);
}

// Sending.

void Client::say(std::string_view payload) {
  queue(crowd_.dialect().binary() ? Opcode::binary : Opcode::text, payload);
}

void Client::queue(Opcode opcode, std::string_view payload) {
  protocol::append_client_frame(waiting_, opcode, payload, next_mask());
  if (!std::exchange(dirty_, true)) crowd_.mark_dirty(*this);
}

void Client::say_message(std::string_view payload, std::uint32_t id, std::int64_t intended_ns) {
  if (id != 0 && awaited_.size() < kAwaitedMax) awaited_.push_back({id, intended_ns});
  say(payload);
}

void Client::flush() {
  dirty_ = false;
  if (send_.in_kernel() || waiting_.empty() || state_ >= State::closing) return;
  flying_.swap(waiting_);
  waiting_.clear();
  sent_ = 0;
  crowd_.ring().send(send_, socket_, bytes_of(flying_));
}

void Client::on_send(loop::Completion completion) {
  ++crowd_.activity_;
  if (state_ == State::closing) return finish_closing();
  if (completion.result < 0) return fail(fmt::format("send: {}", std::strerror(-completion.result)));
  sent_ += static_cast<std::size_t>(completion.result);
  acknowledge_at_once(socket_);
  if (sent_ < flying_.size()) return crowd_.ring().send(send_, socket_, bytes_of(flying_).subspan(sent_));
  flush();
}

// Receiving.

void Client::on_receive(loop::Completion completion) {
  ++crowd_.activity_;
  if (state_ == State::closing) return finish_closing();
  if (completion.result == -ENOBUFS) return crowd_.ring().receive_multishot(receive_, socket_);
  if (completion.result < 0) return fail(fmt::format("receive: {}", std::strerror(-completion.result)));
  if (completion.result == 0) return fail("the server closed the connection");
  take({reinterpret_cast<const char*>(completion.bytes.data()), completion.bytes.size()});
  if (state_ < State::closing && !receive_.in_kernel()) crowd_.ring().receive_multishot(receive_, socket_);
}

void Client::take(std::string_view bytes) {
  std::string& joined = crowd_.joined_pieces_;
  if (state_ == State::upgrading) {
    joined.assign(partial_).append(bytes);
    partial_.clear();
    bytes = take_response(joined);
  }
  // A frame whose beginning came before is completed; all others are taken where they lie.
  while (!partial_.empty() && !bytes.empty() && state_ < State::closing) {
    const std::size_t missing = std::min(frame_bytes(partial_) - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, missing));
    bytes.remove_prefix(missing);
    if (frame_bytes(partial_) > partial_.size()) continue;
    joined.swap(partial_);
    take_frames(joined);
  }
  if (!bytes.empty() && state_ < State::closing && state_ != State::upgrading) take_frames(bytes);
}

// What follows the response's head; the head stays in `partial_` until it is whole.
std::string_view Client::take_response(std::string_view bytes) {
  const std::size_t end = bytes.find(kHeadEnd);
  if (end == std::string_view::npos && bytes.size() <= kResponseBytesMax) {
    partial_ = bytes;
    return {};
  }
  if (end == std::string_view::npos || !bytes.starts_with("HTTP/1.1 101")) {
    fail(fmt::format("the upgrade was answered: {}", bytes.substr(0, kShownBytes)));
    return {};
  }
  state_ = State::signing_in;
  if (!crowd_.dialect().greets()) sign_in();
  return bytes.substr(end + kHeadEnd.size());
}

void Client::take_frames(std::string_view bytes) {
  const std::int64_t now_ns = base::monotonic_ns();
  Frame frame;
  while (take_frame(bytes, frame)) {
    on_frame(frame, now_ns);
    if (state_ >= State::closing) return;
  }
  partial_.assign(bytes);
}

void Client::on_frame(const Frame& frame, std::int64_t now_ns) {
  if (!frame.whole) return fail("a frame with fragments, reserved bits or a mask");
  switch (frame.opcode) {
    case Opcode::text:
    case Opcode::binary:
      return on_text(frame.payload, now_ns);
    case Opcode::ping:
      return queue(Opcode::pong, frame.payload);
    case Opcode::close: {
      const auto* code = reinterpret_cast<const unsigned char*>(frame.payload.data());
      return fail(frame.payload.size() < 2
                      ? std::string("the server closed without a code")
                      : fmt::format("the server closed: {} {}", code[0] << 8 | code[1], frame.payload.substr(2)));
    }
    case Opcode::continuation:
    case Opcode::pong:
      break;
  }
  fail(fmt::format("a frame of type {} was not expected", static_cast<unsigned>(frame.opcode)));
}

void Client::on_text(std::string_view payload, std::int64_t now_ns) {
  const Said said = crowd_.dialect().read(payload);
  switch (said.kind) {
    case Kind::event:
      if (state_ < State::joined && took_before_joining(payload)) return;
      return crowd_.on_event(*this, payload, now_ns);
    case Kind::answer:
      return on_answer(said.id, said.ok, payload, now_ns);
    case Kind::greeting:
      return sign_in();
    case Kind::connected:
      return on_answer(kConnectId, true, payload, now_ns);
    case Kind::ping:
      return say(crowd_.dialect().pong());
    case Kind::refused:
    case Kind::unknown:
      break;
  }
  fail(fmt::format("the server said: {}", payload.substr(0, kShownBytes)));
}

void Client::sign_in() {
  if (state_ != State::signing_in) return;
  if (!crowd_.dialect().signs_in()) return join();
  std::string payload;
  crowd_.dialect().connect(payload, index_, token_, resume_);
  say(payload);
}

void Client::join() {
  state_ = State::joining;
  std::string payload;
  crowd_.dialect().join(payload, index_ / crowd_.options_.room_size);
  if (!payload.empty()) say(payload);
  if (crowd_.dialect().joins()) return;
  state_ = State::joined;
  crowd_.on_joined(*this, {.kind = Kind::answer, .id = kJoinId, .ok = true, .body = {}});
}

// The token to come back with, and the end of what was missed. `ready` shows each room's last message, which is not a delivery.
bool Client::took_before_joining(std::string_view payload) {
  if (Dialect::is_ready(payload)) {
    if (crowd_.options_.returning() && token_.empty()) token_ = Dialect::token_in(payload);
    return true;
  }
  const auto complete = Dialect::resumed_in(payload);
  if (state_ != State::resuming || !complete) return false;
  resume_.clear();
  state_ = State::joined;
  crowd_.on_resumed(*complete);
  return true;
}

void Client::on_answer(std::uint32_t id, bool ok, std::string_view payload, std::int64_t now_ns) {
  if (id < kFirstSendId) {
    if (!ok)
      return fail(
          fmt::format("{} was answered: {}", id == kConnectId ? "connect" : "join", payload.substr(0, kShownBytes)));
    if (id == kConnectId && state_ == State::signing_in) {
      if (resume_.empty()) return join();
      state_ = State::resuming;
      return;
    }
    if (id == kJoinId && state_ == State::joining) {
      state_ = State::joined;
      return crowd_.on_joined(*this, crowd_.dialect().read(payload));
    }
    return fail(fmt::format("an answer that was not asked for: {}", payload.substr(0, kShownBytes)));
  }
  const auto found = std::ranges::find(awaited_, id, &Awaited::id);
  if (found == awaited_.end()) return;
  const std::int64_t intended_ns = found->intended_ns;
  awaited_.erase(found);
  crowd_.on_send_answer(*this, ok, payload, intended_ns, now_ns);
}

// The end.

void Client::fail(std::string why) {
  if (state_ >= State::closing) return;
  const State was = state_;
  crowd_.on_failed(
      *this, fmt::format("connection {} ({}): {}", index_, was == State::joined ? "joined" : "being set up", why));
  close();
}

void Client::close() {
  if (state_ == State::idle || state_ >= State::closing) return;
  state_ = State::closing;
  crowd_.ring().cancel(connect_);
  crowd_.ring().shutdown(socket_);
  finish_closing();
}

void Client::finish_closing() {
  if (connect_.in_kernel() || receive_.in_kernel() || send_.in_kernel()) return;
  crowd_.ring().close(std::exchange(socket_, {}));
  state_ = State::closed;
  crowd_.on_closed(*this);
}

}  // namespace ringline::bench
