// See fd_watch.hpp. Invariant: at most one poll is in the kernel; one that is not wanted any more was asked to end.
#include "ringline/loop/fd_watch.hpp"

#include <poll.h>

#include <utility>

namespace ringline::loop {

void FdWatch::watch(Fd fd, unsigned events) {
  ASSERT(!closing_);
  // The same number may be another file by now, so an equal call is not skipped.
  fd_ = fd;
  events_ = events;
  if (poll_.in_kernel()) {
    stale_ = true;
    ring_.cancel(poll_);
  } else {
    rearm();
  }
}

void FdWatch::rearm() {
  stale_ = false;
  if (events_ != 0) ring_.poll(poll_, fd_, events_);
}

void FdWatch::on_poll(Completion completion) {
  if (closing_) return tell_closed();
  if (stale_) return rearm();
  unsigned events = static_cast<unsigned>(completion.result);
  if (completion.result < 0) {
    // Nothing that can be polled: told once, the library finds out what it is.
    events = POLLERR;
    events_ = 0;
  }
  telling_ = true;
  on_ready_(events);
  telling_ = false;
  if (poll_.in_kernel()) return;
  if (closing_) return tell_closed();
  rearm();
}

void FdWatch::close(OnClosed on_closed) {
  ASSERT(!closing_);
  closing_ = true;
  on_closed_ = std::move(on_closed);
  ring_.cancel(poll_);
  if (!poll_.in_kernel() && !telling_) tell_closed();
}

void FdWatch::tell_closed() {
  OnClosed told = std::move(on_closed_);
  told();  // may destroy this
}

}  // namespace ringline::loop
