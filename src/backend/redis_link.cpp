// See redis_link.hpp.
#include "backend/redis_link.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include "ringline/base/assert.hpp"

namespace ringline::backend {

namespace {

constexpr std::size_t kKeptBytes = 64 * 1024;  // a buffer that grew beyond is freed when it is empty
constexpr std::size_t kPlainBytes = 16 * 1024;

std::string text_of(int result) { return std::generic_category().message(-result); }

void tidy(std::string& buffer) {
  buffer.clear();
  if (buffer.capacity() > kKeptBytes) buffer.shrink_to_fit();
}

}  // namespace

void RedisFlush::flush() {
  flushing_.swap(dirty_);
  for (RedisLink* link : flushing_) link->flush();
  flushing_.clear();
}

RedisLink::~RedisLink() {
  ASSERT(state_ == State::closed);
  flush_.remove(*this);
}

base::Result<void> RedisLink::open(const loop::Address& address, std::unique_ptr<TlsStream> tls) {
  ASSERT(state_ == State::closed);
  why_.clear();
  if (tls && !tls->failure().empty()) return base::fail(base::Errc::invalid, tls->failure());
  auto socket = loop::socket_tcp(address);
  if (!socket) return std::unexpected(socket.error());
  socket_ = *socket;
  address_ = address;
  tls_ = std::move(tls);
  state_ = State::connecting;
  loop_.ring().connect(connect_, socket_, address_.get(), address_.length);
  return {};
}

void RedisLink::on_connect(loop::Completion completion) {
  if (state_ == State::closing) return join();
  if (completion.result < 0) return close(text_of(completion.result));
  loop_.ring().receive_multishot(receive_, socket_);
  if (!tls_) {
    state_ = State::open;
    return listener_.on_link_open();
  }
  state_ = State::securing;
  take_secured({});  // our part of the handshake begins it
}

void RedisLink::on_receive(loop::Completion completion) {
  if (state_ != State::closing) {
    if (completion.result > 0) {
      counters_.bytes_received += completion.bytes.size();
      take(completion.bytes);
    } else if (completion.result == 0) {
      close("the server has closed the connection");
    } else if (completion.result != -ENOBUFS) {
      close(text_of(completion.result));
    }
  }
  if (completion.more || receive_.in_kernel()) return;
  if (state_ == State::closing) return join();
  if (state_ != State::closed) loop_.ring().receive_multishot(receive_, socket_);
}

void RedisLink::take(std::span<const std::byte> bytes) {
  if (tls_) return take_secured(bytes);
  listener_.on_link_bytes(bytes);
}

void RedisLink::take_secured(std::span<const std::byte> bytes) {
  for (;;) {
    const std::size_t taken = bytes.empty() ? 0 : tls_->feed(bytes);
    bytes = bytes.subspan(taken);
    if (!read_secured()) return;
    if (!tls_->failure().empty()) return close(tls_->failure());
    if (bytes.empty()) break;
    if (taken == 0) return close("TLS takes no more");
  }
  if (state_ == State::securing && tls_->ready()) {
    state_ = State::open;
    listener_.on_link_open();
  }
  flush();
}

// False: the link was closed meanwhile.
bool RedisLink::read_secured() {
  std::array<std::byte, kPlainBytes> plain;
  for (;;) {
    const std::size_t count = tls_->read(plain);
    if (count == 0) return true;
    listener_.on_link_bytes(std::span(plain).first(count));
    if (state_ != State::open && state_ != State::securing) return false;
  }
}

std::string& RedisLink::output() {
  if (!dirty_) flush_.add(*this);
  dirty_ = true;
  return output_;
}

void RedisLink::flush() {
  dirty_ = false;
  if ((state_ != State::open && state_ != State::securing) || send_.in_kernel()) return;
  ASSERT(sending_.empty());
  const std::size_t waiting = output_.size();
  if (!tls_) {
    sending_.swap(output_);
  } else {
    std::size_t taken = 0;
    for (std::size_t some = 1; some > 0; taken += some) {
      some = tls_->write(std::string_view(output_).substr(taken));
      tls_->take_output(sending_);
    }
    output_.erase(0, taken);
    if (!tls_->failure().empty()) return close(tls_->failure());
  }
  if (output_.size() < waiting) listener_.on_link_flushed();
  if (output_.empty()) tidy(output_);
  if (sending_.empty()) return;
  sent_ = 0;
  send();
}

void RedisLink::send() { loop_.ring().send(send_, socket_, std::as_bytes(std::span(sending_).subspan(sent_))); }

void RedisLink::on_sent(loop::Completion completion) {
  if (state_ == State::closing) return join();
  if (completion.result <= 0) return close(text_of(completion.result));
  sent_ += static_cast<std::size_t>(completion.result);
  counters_.bytes_sent += static_cast<std::uint64_t>(completion.result);
  if (sent_ < sending_.size()) return send();
  tidy(sending_);
  flush();
}

void RedisLink::close(std::string_view why) {
  if (state_ == State::closed || state_ == State::closing) return;
  state_ = State::closing;
  why_ = why;
  loop_.ring().cancel(connect_);
  loop_.ring().shutdown(socket_);
  join();
}

void RedisLink::join() {
  ASSERT(state_ == State::closing);
  if (connect_.in_kernel() || receive_.in_kernel() || send_.in_kernel()) return;
  loop_.ring().close(std::exchange(socket_, loop::Fd{}));
  state_ = State::closed;
  tidy(output_);
  tidy(sending_);
  listener_.on_link_closed();
}

}  // namespace ringline::backend
