// See connection.hpp: the socket, its output, its end. HTTP and WebSocket are in files of their own.
#include "net/connection.hpp"

#include <cerrno>

#include "net/http_state.hpp"
#include "net/server_impl.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::net {

using base::limits::kReplyQueueBytes;

Connection::Connection(Server::Impl& server, loop::Fd socket, base::ConnectionId id)
    : server_(server), session_(id, *this), socket_(socket) {}

Connection::~Connection() { ASSERT(state_ == State::dead); }

void Connection::start() {
  http_ = std::make_unique<HttpState>();
  server_.loop.ring().receive_multishot(receive_, socket_);
  wait_for(Wait::head, base::limits::kHttpHeadTimeout);
}

std::string Connection::address() const {
  return peer_ ? *peer_ : loop::peer_address(socket_);
}

void Connection::wait_for(Wait what, std::chrono::milliseconds time) {
  wait_ = what;
  server_.loop.timers().arm(timer_, server_.loop.now_ms() + time.count());
}

void Connection::on_receive(loop::Completion completion) {
  if (completion.result == -ENOBUFS) {
    ++server_.metrics.receive_buffers_empty;
  } else if (completion.result <= 0) {
    // End of stream, a reset, or our own cancel to stop reading.
    if (!(completion.result == -ECANCELED && paused_)) close_now();
  } else {
    server_.metrics.received_bytes += completion.bytes.size();
    std::string_view bytes(reinterpret_cast<const char*>(completion.bytes.data()), completion.bytes.size());
    if (state_ == State::open || state_ == State::closing) {
      if (kind_ == Kind::http) {
        take_http(bytes);
      } else {
        take_frames(bytes);
      }
    }
  }
  if (completion.more) return;
  if (state_ == State::joining) return join();
  if (state_ != State::dead && !paused_ && !receive_.in_kernel())
    server_.loop.ring().receive_multishot(receive_, socket_);
}

void Connection::stop_reading() {
  if (paused_ || state_ != State::open) return;
  paused_ = true;
  server_.loop.ring().cancel(receive_);
}

void Connection::read_again() {
  if (!paused_ || state_ == State::joining || state_ == State::dead) return;
  paused_ = false;
  if (!receive_.in_kernel()) server_.loop.ring().receive_multishot(receive_, socket_);
}

void Connection::mark_dirty() {
  if (dirty_) return;
  dirty_ = true;
  server_.dirty.push_back(this);
}

std::string& Connection::urgent() {
  if (!outbox_) outbox_ = server_.take_outbox();
  mark_dirty();
  return outbox_->urgent(server_.chunks);
}

bool Connection::send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) {
  if (state_ != State::open || full_) return false;
  if (from == to) return true;
  if (!outbox_) outbox_ = server_.take_outbox();
  std::size_t waiting = outbox_->shared_bytes();
  if (waiting > 0 && waiting + (to - from) > server_.options.settings.send_queue_bytes) {
    full_ = true;
    return false;
  }
  outbox_->add_shared(chunk, from, to);
  mark_dirty();
  return true;
}

void Connection::flush() {
  dirty_ = false;
  if (state_ == State::joining || state_ == State::dead || send_.in_kernel()) return;
  if (outbox_ && state_ == State::closing) outbox_->drop_shared();
  if (!outbox_ || outbox_->empty()) return after_output();
  const msghdr* message = outbox_->begin_send();
  if (progress_ms_ == 0) progress_ms_ = server_.loop.now_ms();
  ++server_.metrics.sends;
  if (message->msg_iovlen == 1) {
    server_.loop.ring().send(send_, socket_, {static_cast<const std::byte*>(message->msg_iov[0].iov_base), message->msg_iov[0].iov_len});
  } else {
    server_.loop.ring().send_message(send_, socket_, message);
  }
  if (outbox_->urgent_bytes() > kReplyQueueBytes) stop_reading();
}

void Connection::on_sent(loop::Completion completion) {
  if (state_ == State::joining) return join();
  if (completion.result <= 0) return close_now();
  auto bytes = static_cast<std::size_t>(completion.result);
  server_.metrics.sent_bytes += bytes;
  progress_ms_ = server_.loop.now_ms();
  outbox_->sent(bytes);
  if (!outbox_->empty()) mark_dirty();
  after_output();
}

// What follows when output has left: reading and feeding go on, an empty outbox is given back, a polite close takes its next step.
void Connection::after_output() {
  if (!outbox_ || outbox_->empty()) {
    progress_ms_ = 0;
    if (outbox_ && !send_.in_kernel()) server_.give_back(std::move(outbox_));
    if (peer_closed_ || (http_ && http_->close_after_output)) return close_now();
  }
  std::size_t urgent_bytes = outbox_ ? outbox_->urgent_bytes() : 0;
  std::size_t shared_bytes = outbox_ ? outbox_->shared_bytes() : 0;
  if (paused_ && urgent_bytes < kReplyQueueBytes / 2 && in_flight_ < base::limits::kCommandsInFlight / 2 &&
      !(http_ && http_->exchange_open))
    read_again();
  if (full_ && shared_bytes < server_.options.settings.send_queue_bytes / 4) {
    full_ = false;
    if (state_ == State::open && kind_ != Kind::http) server_.shard->drained(session_);
  }
}

void Connection::on_due() {
  switch (wait_) {
    case Wait::head:
      if (http_->input.empty() && http_->requests == 0) return close_now();
      [[fallthrough]];
    case Wait::body:
      ++server_.metrics.closed_timeout;
      return refuse_http(408, "the request took too long");
    case Wait::idle:
    case Wait::linger:
      return close_now();
    case Wait::answer:
      return;
    case Wait::connect:
      ++server_.metrics.closed_timeout;
      return close(chat::CloseCode::connect_timed_out, "no connect in time");
    case Wait::ping:
      return ping();
    case Wait::pong:
      return stalled_or_ping_timed_out();
  }
}

void Connection::close_now() {
  if (state_ == State::joining || state_ == State::dead) return;
  state_ = State::joining;
  timer_.disarm();
  if (kind_ != Kind::http) server_.shard->disconnected(session_);
  server_.loop.ring().shutdown(socket_);
  join();
}

void Connection::join() {
  if (receive_.in_kernel() || send_.in_kernel()) return;
  state_ = State::dead;
  if (outbox_) server_.give_back(std::move(outbox_));
  frames_.release(server_.frames);
  server_.loop.ring().close(std::exchange(socket_, loop::Fd{}));
  server_.dead.push_back(session_.id);
}

}  // namespace ringline::net
