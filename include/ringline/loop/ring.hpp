// Ring: one thread's io_uring, and the rule by which everything given to the kernel is freed.
//
// LIFETIMES, in one place. The kernel owns an Op, and every buffer named with it, from the call that starts it until the completion that does not
// say `more`. So:
//   * an Op is a member of its owner, never moves, and asserts in its destructor that the kernel does not have it;
//   * an owner that wants to go shuts its socket down or cancels its ops, waits until none is in the kernel, and only then frees itself, at the
//     end of the turn. close(fd) cancels nothing: a receive would still write into the old buffer after the number is reused;
//   * handlers run from `reap`, after the completions were copied out of the ring; a handler may start operations, never reap.
// An operation is started in the submission queue; the kernel sees it at the next `enter`. The queue full: `enter` happens at once.
//
// One thread uses and destroys a Ring: the one that calls `begin`. Rings whose threads have descriptor tables of their own (thread.hpp) are prepared
// before that, and kept in each table: only so they can wake each other. The simulation links another ring.cpp (tests/sim) behind this header.
#pragma once

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "ringline/base/assert.hpp"
#include "ringline/base/result.hpp"

namespace ringline::loop {

// A descriptor. A type of its own, so that no number is taken for one.
struct Fd {
  int value = -1;
  explicit operator bool() const noexcept { return value >= 0; }
  bool operator==(const Fd&) const = default;
};

struct Completion {
  int result = 0;     // as of the system call: >= 0, or -errno
  bool more = false;  // a multishot operation goes on
  // A receive with a provided buffer: its bytes, valid until the handler returns; the ring gives the buffer back then.
  std::span<const std::byte> bytes = {};
};

class Ring;

// One operation that is or can be given to the kernel.
class Op {
 public:
  using Handler = void (*)(Op&, Completion);
  explicit Op(Handler handler) noexcept : handler_(handler) {}
  ~Op() { ASSERT(!in_kernel_); }
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  bool in_kernel() const noexcept { return in_kernel_; }

 private:
  friend class Ring;
  Handler handler_;
  bool in_kernel_ = false;  // the ring alone sets it at the start and clears it at the last completion
  // write_sync only: how many of its two completions are outstanding, and what the first one said.
  [[maybe_unused]] std::uint8_t halves_ = 0;
  [[maybe_unused]] std::int32_t first_half_ = 0;
};
static_assert(sizeof(Op) == 16);

// An Op that calls a member function of its owner: `OpOf<Connection, &Connection::on_recv> recv_{*this};`
template <class Owner, void (Owner::*on_complete)(Completion)>
class OpOf : public Op {
 public:
  explicit OpOf(Owner& owner) noexcept
      : Op([](Op& self, Completion completion) { (static_cast<OpOf&>(self).owner_.*on_complete)(completion); }),
        owner_(owner) {}

 private:
  Owner& owner_;
};

struct RingOptions {
  unsigned entries;          // submission queue; the completion queue is four times as long
  unsigned receive_buffers;  // a power of two; 0: no provided buffers
  std::size_t receive_buffer_bytes;
};

class Ring {
 public:
  // Says exactly what is missing and how to get it: ENOSYS (no io_uring in this kernel), EPERM (seccomp or kernel.io_uring_disabled),
  // ENOMEM (memlock limit), or the feature that the kernel lacks.
  static base::Result<std::unique_ptr<Ring>> prepare(const RingOptions& options);
  // On the thread that uses it, before anything else.
  base::Result<void> begin();
  // Both, for a thread that makes its own.
  static base::Result<std::unique_ptr<Ring>> open(const RingOptions& options);
  ~Ring();                                         // no op may be in the kernel
  std::array<Fd, 3> descriptors() const noexcept;  // its own, and what `wake` and `wake_from_thread` use

  // Sockets. Accepted sockets are blocking and close-on-exec; completions: result = the new descriptor.
  void accept_multishot(Op& op, Fd listener);
  // result 0: end of stream. -ENOBUFS ends it and is normal load (end of stream can look like it): start it again.
  void receive_multishot(Op& op, Fd socket);
  // May be short. `bytes` stays in the kernel's hands until completion. Waits in the kernel while the socket is full: a completion is progress.
  void send(Op& op, Fd socket, std::span<const std::byte> bytes);
  void send_message(Op& op, Fd socket, const msghdr* message);  // the msghdr and all it names stay likewise
  void receive_message(Op& op, Fd socket, msghdr* message);
  void connect(Op& op, Fd socket, const sockaddr* address, socklen_t length);
  // Makes a receive and a send on the socket complete (a connect is ended by `cancel`). At once, no completion of its own.
  void shutdown(Fd socket);
  void shutdown_send(Fd socket);  // nothing more is sent; receiving goes on
  // Only when no op on it is in the kernel. No completion of its own.
  void close(Fd fd);

  // Files. Direct I/O alignment, if the file was opened so, is the caller's.
  // One write and its fdatasync, linked: one completion when both are done. result: bytes written, or the first error. A short write is -EIO
  // after which nothing is known to be on disk.
  void write_sync(Op& op, Fd file, std::span<const std::byte> bytes, std::uint64_t offset);
  void write(Op& op, Fd file, std::span<const std::byte> bytes, std::uint64_t offset);
  void read(Op& op, Fd file, std::span<std::byte> bytes, std::uint64_t offset);

  // Readiness of a foreign descriptor (a library's). result: poll(2) events. `poll` completes once, at once if it is ready; the other each time
  // something happens to it (an edge: what was ready before is not told again).
  void poll(Op& op, Fd fd, unsigned events);
  void poll_multishot(Op& op, Fd fd, unsigned events);
  // Asks for an op to end; of one that is not in the kernel: nothing. The op's own completion says what became of it (-ECANCELED, or it still
  // succeeded).
  void cancel(Op& op);

  // Rings the other ring's doorbell, at this ring's next `enter`: the other's `enter` returns. No completion here.
  void wake(const Ring& other);
  // The same from a thread that has no ring (a worker): one eventfd write.
  void wake_from_thread() const noexcept;

  // Gives what was started to the kernel and runs what it had to run. `wait`: until at least one completion is there or `deadline_ns`
  // (monotonic; INT64_MAX: none) passes; otherwise returns at once.
  void enter(bool wait, std::int64_t deadline_ns);
  // Copies out and handles what has completed: how many, doorbells too.
  unsigned reap();

  unsigned in_kernel() const noexcept;  // operations that have not completed
  bool has_unsubmitted() const noexcept;

 private:
  struct Impl;
  explicit Ring(std::unique_ptr<Impl> impl);
  static void start(Op& op);
  static void finish(Op& op, const Completion& completion);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringline::loop
