// The socket of a connection to Redis, with or without TLS: bytes out, bytes in, one send in the kernel at a time.
//
// LIFETIME. `close` shuts the socket down and cancels a connect; each completion calls `join`, and when no operation is in the kernel any more the
// descriptor is closed and the listener told (on_link_closed, once for each `open`). Then it may be opened again, or destroyed. What is appended to
// `output` goes at the end of the turn, or when the send before it completes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/redis_tls.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::backend {

class RedisLink;

// All links of a core that have something to send: flushed at the turn's end.
class RedisFlush {
 public:
  void add(RedisLink& link) { dirty_.push_back(&link); }
  void remove(RedisLink& link) { std::erase(dirty_, &link); }
  void flush();
  bool empty() const noexcept { return dirty_.empty(); }

 private:
  std::vector<RedisLink*> dirty_;
  std::vector<RedisLink*> flushing_;
};

class RedisLink {
 public:
  class Listener {
   public:
    virtual void on_link_open() = 0;
    virtual void on_link_bytes(std::span<const std::byte> bytes) = 0;  // may close the link
    virtual void on_link_flushed() = 0;                                // `output` was taken to be sent, or part of it
    virtual void on_link_closed() = 0;                                 // `why` says why

   protected:
    ~Listener() = default;
  };
  RedisLink(loop::Loop& loop, RedisFlush& flush, RedisCounters& counters, Listener& listener)
      : loop_(loop), flush_(flush), counters_(counters), listener_(listener) {}
  ~RedisLink();
  RedisLink(const RedisLink&) = delete;
  RedisLink& operator=(const RedisLink&) = delete;

  // Begins to connect; `tls` may be null. Fails if there is no socket to be had.
  base::Result<void> open(const loop::Address& address, std::unique_ptr<TlsStream> tls);
  void close(std::string_view why);
  bool is_open() const noexcept { return state_ == State::open; }
  bool is_closed() const noexcept { return state_ == State::closed; }
  const std::string& why() const noexcept { return why_; }

  std::string& output();  // while it is open
  void flush();

 private:
  enum class State : std::uint8_t {
    closed,      // nothing is in the kernel
    connecting,  // the connect is
    securing,    // connected; the handshake of TLS is under way
    open,
    closing,  // shut down; waits for its operations to complete
  };
  void on_connect(loop::Completion completion);
  void on_receive(loop::Completion completion);
  void on_sent(loop::Completion completion);
  void take(std::span<const std::byte> bytes);
  void take_secured(std::span<const std::byte> bytes);
  bool read_secured();
  void send();
  void join();

  loop::Loop& loop_;
  RedisFlush& flush_;
  RedisCounters& counters_;
  Listener& listener_;
  State state_ = State::closed;
  bool dirty_ = false;
  std::string why_;
  loop::Address address_;
  loop::Fd socket_;
  std::unique_ptr<TlsStream> tls_;
  std::string output_;    // collected, before TLS
  std::string sending_;   // what the kernel reads from
  std::size_t sent_ = 0;  // of it
  loop::OpOf<RedisLink, &RedisLink::on_connect> connect_{*this};
  loop::OpOf<RedisLink, &RedisLink::on_receive> receive_{*this};
  loop::OpOf<RedisLink, &RedisLink::on_sent> send_{*this};
};

}  // namespace ringline::backend
