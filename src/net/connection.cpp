// See connection.hpp: the socket, its output, its end. HTTP, Engine.IO and WebSocket are in files of their own.
#include "net/connection.hpp"

#include <cerrno>

#include "net/http_state.hpp"
#include "net/polling.hpp"
#include "net/server_impl.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::net {

using base::limits::kReplyQueueBytes;

namespace {

constexpr std::chrono::seconds kRefusedLinger{1};  // what follows a refused request is thrown away for so long
constexpr std::chrono::seconds kProgressCheck{1};

}  // namespace

Connection::Connection(Server::Impl& server, loop::Fd socket, base::ConnectionId id)
    : server_(server), id_(id), socket_(socket) {}

Connection::~Connection() { ASSERT(state_ == State::dead); }

void Connection::start() {
  http_ = std::make_unique<HttpState>();
  server_.loop.ring().receive_multishot(receive_op(), socket_);
  wait_for(Wait::head, server_.options.times.head);
}

Connection::Aside& Connection::aside() {
  if (!aside_) aside_ = std::make_unique<Aside>(*this);
  return *aside_;
}

void Connection::tidy_aside() noexcept {
  if (aside_ && aside_->address.empty() && aside_->unread.empty() && !aside_->late.armed()) aside_.reset();
}

std::string Connection::address() const { return aside_ ? aside_->address : std::string(); }

void Connection::forget_address() noexcept {
  if (aside_) aside_->address.clear();
  tidy_aside();
}

std::string Connection::take_unread() {
  std::string unread;
  if (aside_) unread.swap(aside_->unread);
  tidy_aside();
  return unread;
}

void Connection::expect_within(std::chrono::milliseconds time) {
  server_.loop.timers().arm(aside().late, server_.loop.now_ms() + time.count());
}

void Connection::expect_nothing() noexcept {
  if (aside_) aside_->late.disarm();
  tidy_aside();
}

void Connection::on_late() {
  tidy_aside();
  if (state_ != State::open) return;
  ++server_.metrics.closed_timeout;
  speaker_->on_late();
}

loop::Loop& Connection::loop() noexcept { return server_.loop; }

void Connection::wait_for(Wait what, std::chrono::milliseconds time) {
  wait_ = what;
  wait_until(server_.loop.now_ms() + time.count());
}

const Door& Connection::door() const noexcept { return server_.options.doors->all()[door_]; }

void Connection::set_door(const Door& door) noexcept {
  door_ = static_cast<std::uint8_t>(&door - server_.options.doors->all().data());
}

void Connection::wait_until(std::int64_t due_ms) noexcept { server_.loop.timers().arm(timer(), due_ms); }

void Connection::on_receive(loop::Completion completion) {
  if (completion.result > 0) {
    server_.metrics.received_bytes += completion.bytes.size();
    take_bytes({reinterpret_cast<const char*>(completion.bytes.data()), completion.bytes.size()});
  } else if (completion.result == 0) {
    on_input_end();
  } else if (completion.result == -ENOBUFS) {
    ++server_.metrics.receive_buffers_empty;
  } else if (completion.result != -ECANCELED) {  // that one is ours: reading was to stop
    close_now();
  }
  if (completion.more) return;
  if (state_ == State::joining) return join();
  if (state_ == State::leaving) return leave_when_quiet();
  receive();
}

void Connection::take_bytes(std::string_view bytes) {
  if (state_ == State::joining || state_ == State::dead) return;
  if (kind_ == Kind::http) return take_http(bytes);
  if (state_ != State::leaving) return take_frames(bytes);
  aside().unread.append(bytes);  // for the session that gets the socket
}

// The peer has closed its side. Of a client of HTTP this may be its last request's end: it still gets its answers.
void Connection::on_input_end() {
  if (state_ == State::leaving) return;  // who gets the socket will see it too
  bool answers_wait = kind_ == Kind::http && state_ == State::open && (http_->exchange_open || outbox_) &&
                      !http_->refused && !http_->session;  // an aborted poll ends its session
  if (!answers_wait) return close_now();
  http_->input_over = true;
}

void Connection::receive() {
  bool open = state_ == State::open || state_ == State::closing;
  if (open && socket_ && !paused_ && !receive_op().in_kernel() && !(http_ && http_->input_over))
    server_.loop.ring().receive_multishot(receive_op(), socket_);
}

void Connection::stop_reading() {
  if (paused_ || state_ != State::open) return;
  paused_ = true;
  if (receive_op().in_kernel()) server_.loop.ring().cancel(receive_op());
}

bool Connection::may_read() const noexcept {
  if (outbox_ && outbox_->urgent_bytes() >= kReplyQueueBytes / 2) return false;
  if (kind_ == Kind::http) return http_->input.size() <= kHttpInputBytes / 2;
  return in_flight_ < base::limits::kCommandsInFlight / 2;
}

void Connection::read_again() {
  if (!paused_) return;
  paused_ = false;
  if (std::string unread = take_unread(); !unread.empty())  // which may stop reading again
    polling_ ? take_payload(unread) : take_frames(unread);
  receive();
}

void Connection::command_taken() {
  if (++in_flight_ >= base::limits::kCommandsInFlight) stop_reading();
}

void Connection::command_answered() {
  ASSERT(in_flight_ > 0);
  --in_flight_;
  if (paused_ && state_ == State::open) mark_dirty();  // reading goes on at the flush
}

void Connection::bound_output() {
  if (outbox_ && outbox_->urgent_bytes() > kReplyQueueBytes) stop_reading();
}

void Connection::mark_dirty() {
  if (dirty_) return;
  dirty_ = true;
  server_.dirty.push_back(this);
}

std::string& Connection::output() {
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
  if (state_ == State::joining || state_ == State::dead || send_op().in_kernel()) return;
  if (polling_) return flush_poll();
  if (outbox_ && state_ == State::closing) outbox_->drop_shared();
  if (!outbox_ || outbox_->empty()) return after_output();
  const msghdr* message = outbox_->begin_send();
  if (outbox_->progress_ms == 0) outbox_->progress_ms = server_.loop.now_ms();
  ++server_.metrics.sends;
  if (message->msg_iovlen == 1) {
    server_.loop.ring().send(
        send_op(), socket_, {static_cast<const std::byte*>(message->msg_iov[0].iov_base), message->msg_iov[0].iov_len});
  } else {
    server_.loop.ring().send_message(send_op(), socket_, message);
  }
  bound_output();
}

void Connection::on_sent(loop::Completion completion) {
  if (state_ == State::joining) return join();
  if (completion.result <= 0) return close_now();
  auto bytes = static_cast<std::size_t>(completion.result);
  server_.metrics.sent_bytes += bytes;
  outbox_->progress_ms = server_.loop.now_ms();
  outbox_->sent(bytes);
  if (!outbox_->empty()) mark_dirty();
  after_output();
}

// What follows when output has left: reading and feeding go on, an empty outbox is given back, a polite close takes its next step.
void Connection::after_output() {
  if (state_ == State::open && kind_ == Kind::http) next_request();  // it may have waited for room
  if (!outbox_ || outbox_->empty()) {
    if (outbox_) outbox_->progress_ms = 0;
    if (outbox_ && !send_op().in_kernel()) server_.give_back(std::move(outbox_));
    if (state_ == State::leaving) return leave_when_quiet();
    if (peer_closed_) return close_now();
    // Its answer could not be read any more; who sees the end goes. Closing at once would reset what is under way to it.
    if (state_ == State::closing && input_ended_) server_.loop.ring().shutdown_send(socket_);
    if (http_ && http_->refused && !http_->input_over && wait_ != Wait::linger)
      return wait_for(Wait::linger, kRefusedLinger);
    if (http_ && (http_->close_after_output || (http_->input_over && !http_->exchange_open))) return close_now();
  }
  if (paused_ && may_read()) read_again();
  std::size_t shared_bytes = outbox_ ? outbox_->shared_bytes() : 0;
  if (full_ && shared_bytes < server_.options.settings.send_queue_bytes / 4) {
    full_ = false;
    if (state_ == State::open && speaker_) speaker_->on_room();
  }
}

void Connection::on_due() {
  switch (wait_) {
    case Wait::head:
      if (!http_->reader && http_->requests == 0) return close_now();  // it never said a word
      [[fallthrough]];
    case Wait::body:
      ++server_.metrics.closed_timeout;
      return refuse_http(408, "the request took too long");
    case Wait::idle:
    case Wait::linger:
      if (send_op().in_kernel() && !stalled()) return wait_for(wait_, kProgressCheck);  // it still takes what is sent
      return close_now();
    case Wait::answer:
      return;
    case Wait::live:
      return pong_due_ ? no_pong() : beat();
  }
}

bool Connection::stalled() const noexcept {
  return send_op().in_kernel() &&
         server_.loop.now_ms() - outbox_->progress_ms >= server_.options.times.stalled_send.count();
}

void Connection::close_now() {
  if (state_ == State::joining || state_ == State::dead) return;
  state_ = State::joining;
  timer().disarm();
  if (http_ && http_->session) request_gone();
  if (kind_ == Kind::probe) probe_gone();
  if (polling_) end_polling();
  if (speaker_) speaker_->on_closed();
  if (socket_) server_.loop.ring().shutdown(socket_);
  join();
}

void Connection::join() {
  if (receive_op().in_kernel() || send_op().in_kernel()) return;
  state_ = State::dead;
  if (outbox_) server_.give_back(std::move(outbox_));
  frames_.release(server_.frames);
  if (socket_) server_.loop.ring().close(std::exchange(socket_, loop::Fd{}));
  server_.dead.push_back(id_);
}

}  // namespace ringline::net
