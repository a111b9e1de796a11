#include "wire.hpp"

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

#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr std::size_t kResponseBytesMax = 8192;
constexpr std::size_t kShownBytes = 300;  // of what a server said, in an error
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

void Wires::on_turn_end() {
  for (std::size_t i = 0; i < dirty_.size(); ++i) dirty_[i]->flush();
  dirty_.clear();
}

void Wire::open(loop::Fd socket, const loop::Address& address, std::string request) {
  ASSERT(state_ == State::idle || state_ == State::closed);
  ASSERT(!socket_);
  waiting_ = std::move(request);
  partial_.clear();
  socket_ = socket;
  state_ = State::connecting;
  wires_.ring().connect(connect_, socket_, address.get(), address.length);
}

void Wire::on_connect(loop::Completion completion) {
  ++wires_.activity_;
  if (state_ == State::closing) return finish_closing();
  if (completion.result < 0) return fail(fmt::format("connect: {}", std::strerror(-completion.result)));
  state_ = State::upgrading;
  flush();
  wires_.ring().receive_multishot(receive_, socket_);
}

// Sending.

void Wire::say(Opcode opcode, std::string_view payload) {
  if (state_ != State::open) return;
  protocol::append_client_frame(waiting_, opcode, payload, next_mask());
  if (!std::exchange(dirty_, true)) wires_.dirty_.push_back(this);
}

void Wire::flush() {
  dirty_ = false;
  if (send_.in_kernel() || waiting_.empty() || state_ >= State::closing) return;
  flying_.swap(waiting_);
  waiting_.clear();
  sent_ = 0;
  wires_.ring().send(send_, socket_, bytes_of(flying_));
}

void Wire::on_send(loop::Completion completion) {
  ++wires_.activity_;
  if (state_ == State::closing) return finish_closing();
  if (completion.result < 0) return fail(fmt::format("send: {}", std::strerror(-completion.result)));
  sent_ += static_cast<std::size_t>(completion.result);
  acknowledge_at_once(socket_);
  if (sent_ < flying_.size()) return wires_.ring().send(send_, socket_, bytes_of(flying_).subspan(sent_));
  flush();
}

// Receiving.

void Wire::on_receive(loop::Completion completion) {
  ++wires_.activity_;
  if (state_ == State::closing) return finish_closing();
  if (completion.result == -ENOBUFS) return wires_.ring().receive_multishot(receive_, socket_);
  if (completion.result < 0) return fail(fmt::format("receive: {}", std::strerror(-completion.result)));
  if (completion.result == 0) return fail("the server closed the connection");
  take({reinterpret_cast<const char*>(completion.bytes.data()), completion.bytes.size()});
  if (state_ < State::closing && !receive_.in_kernel()) wires_.ring().receive_multishot(receive_, socket_);
}

void Wire::take(std::string_view bytes) {
  std::string& joined = wires_.pieces_;
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
  if (!bytes.empty() && state_ == State::open) take_frames(bytes);
}

// What follows the response's head; the head stays in `partial_` until it is whole.
std::string_view Wire::take_response(std::string_view bytes) {
  const std::size_t end = bytes.find(kHeadEnd);
  if (end == std::string_view::npos && bytes.size() <= kResponseBytesMax) {
    partial_ = bytes;
    return {};
  }
  if (end == std::string_view::npos || !bytes.starts_with("HTTP/1.1 101")) {
    fail(fmt::format("the upgrade was answered: {}", bytes.substr(0, kShownBytes)));
    return {};
  }
  state_ = State::open;
  owner_.on_open();
  return bytes.substr(end + kHeadEnd.size());
}

void Wire::take_frames(std::string_view bytes) {
  const std::int64_t now_ns = base::monotonic_ns();
  Frame frame;
  while (take_frame(bytes, frame)) {
    on_frame(frame, now_ns);
    if (state_ >= State::closing) return;
  }
  partial_.assign(bytes);
}

void Wire::on_frame(const Frame& frame, std::int64_t now_ns) {
  if (!frame.whole) return fail("a frame with fragments, reserved bits or a mask");
  switch (frame.opcode) {
    case Opcode::text:
    case Opcode::binary:
      return owner_.on_text(frame.payload, now_ns);
    case Opcode::ping:
      return say(Opcode::pong, frame.payload);
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

// The end.

void Wire::fail(std::string why) {
  if (state_ >= State::closing) return;
  owner_.on_lost(std::move(why));
  close();
}

void Wire::close() {
  if (state_ == State::idle || state_ >= State::closing) return;
  state_ = State::closing;
  wires_.ring().cancel(connect_);
  wires_.ring().shutdown(socket_);
  finish_closing();
}

void Wire::finish_closing() {
  if (connect_.in_kernel() || receive_.in_kernel() || send_.in_kernel()) return;
  wires_.ring().close(std::exchange(socket_, {}));
  state_ = State::closed;
  owner_.on_closed();
}

}  // namespace ringline::bench
