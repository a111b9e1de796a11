// A socket of a transfer: bytes in and out, awaited one at a time on the loop. Each wait has its time; `cut` ends the one that is under way.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <span>
#include <string_view>

#include "ringline/base/task.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::net {

class Line {
 public:
  Line(loop::Loop& loop, loop::Fd socket) noexcept : loop_(loop), socket_(socket) {}
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  // Bytes; 0: the peer has ended its side; negative: -errno, -ETIMEDOUT where none came in time.
  base::Task<int> receive(std::span<std::byte> into, std::chrono::milliseconds time);
  // All of it, each piece that the kernel takes in its time. 0, or -errno.
  base::Task<int> send(std::string_view bytes, std::chrono::milliseconds time);
  void end_sending() { loop_.ring().shutdown_send(socket_); }
  void cut() { loop_.ring().shutdown(socket_); }
  void close() { loop_.ring().close(socket_); }  // the last call; nothing is under way

 private:
  class Step;
  loop::Loop& loop_;
  loop::Fd socket_;
};

}  // namespace ringline::net
