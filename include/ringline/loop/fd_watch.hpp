// FdWatch: readiness of a descriptor that a library owns (libpq, libcurl), on our ring. It owns the poll and tells as long as there is something to
// tell (level, not edge): after a callback the descriptor is looked at again.
//
// The library may close its descriptor at any time: the poll holds the file, not the number, and is cancelled by op. So a watch is never just
// destroyed: `close` it and wait until it says that the kernel has let go. The callback may call any member.
#pragma once

#include <functional>

#include "ringline/loop/ring.hpp"

namespace ringline::loop {

class FdWatch {
 public:
  using OnReady = std::move_only_function<void(unsigned events)>;  // poll(2) events, POLLERR and POLLHUP too
  using OnClosed = std::move_only_function<void()>;

  FdWatch(Ring& ring, OnReady on_ready) : ring_(ring), on_ready_(std::move(on_ready)) {}
  ~FdWatch() { ASSERT(!poll_.in_kernel()); }
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  // Watches `fd` for `events` from now on, in place of what it watched before; no events: for nothing.
  void watch(Fd fd, unsigned events);
  // Nothing is told any more. `on_closed` is called once the watch may be destroyed (it may do so itself): at once if that is now.
  void close(OnClosed on_closed);

 private:
  void on_poll(Completion completion);
  void rearm();
  void tell_closed();

  Ring& ring_;
  OnReady on_ready_;
  OnClosed on_closed_;
  Fd fd_;
  unsigned events_ = 0;
  bool stale_ = false;  // the poll in the kernel is not for what is watched now
  bool telling_ = false;
  bool closing_ = false;
  OpOf<FdWatch, &FdWatch::on_poll> poll_{*this};
};

}  // namespace ringline::loop
