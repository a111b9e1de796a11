// Ring on Linux: io_uring with a single issuer and deferred task work: the kernel completes operations only while this thread is inside `enter`.
// How a ring is opened, and what is said when it cannot be, stands in ring_open.cpp.
#include "ringline/loop/ring.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "asan.hpp"
#include "ring_impl.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/fetch.hpp"

namespace ringline::loop {
namespace {

constexpr std::size_t kTransferMax =
    0x7ffff000;  // what one read or write moves at most (read(2)): more would look like a short write

bool whole_message_addressable(const msghdr& message) {
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
    if (!addressable(message.msg_iov[i].iov_base, message.msg_iov[i].iov_len)) return false;
  }
  return addressable(message.msg_control, message.msg_controllen);
}

unsigned length_of(std::size_t bytes) {
  ASSERT(bytes <= kTransferMax);
  return static_cast<unsigned>(bytes);
}

}  // namespace

void Ring::start(Op& op) {
  ASSERT(!op.in_kernel_);
  op.in_kernel_ = true;
}

void Ring::finish(Op& op, const Completion& completion) {
  ASSERT(op.in_kernel_);
  op.in_kernel_ = completion.more;
  op.handler_(op, completion);  // may free the op
}

// Requests.

// What is not submitted now stays queued for the next time.
void Ring::Impl::submit(io_uring& queue) {
  const int result = io_uring_submit(&queue);
  ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY);
}

void Ring::Impl::reserve(io_uring& queue, unsigned count) {
  for (unsigned tries = 0; io_uring_sq_space_left(&queue) < count; ++tries) {
    submit(queue);
    ASSERT(tries < kSubmitTries);
  }
}

io_uring_sqe& Ring::Impl::request(io_uring& queue) {
  reserve(queue, 1);
  io_uring_sqe* sqe = io_uring_get_sqe(&queue);
  ASSERT(sqe != nullptr);
  return *sqe;
}

io_uring_sqe& Ring::Impl::request(Op& op) {
  start(op);
  ++in_kernel;
  io_uring_sqe& sqe = request();
  // liburing's prep functions leave user_data alone.
  io_uring_sqe_set_data64(&sqe, data_of(op, Tag::op));
  return sqe;
}

void Ring::Impl::arm_doorbell() {
  io_uring_sqe& sqe = request();
  io_uring_prep_poll_multishot(&sqe, doorbell, POLLIN);
  io_uring_sqe_set_data64(&sqe, static_cast<std::uint64_t>(Tag::doorbell));
  doorbell_armed = true;
}

void Ring::accept_multishot(Op& op, Fd listener) {
  io_uring_prep_multishot_accept(&impl_->request(op), listener.value, nullptr, nullptr, SOCK_CLOEXEC);
}

void Ring::receive_multishot(Op& op, Fd socket) {
  ASSERT(impl_->buffers.provided());
  io_uring_sqe& sqe = impl_->request(op);
  io_uring_prep_recv_multishot(&sqe, socket.value, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = ReceiveBuffers::kGroup;
}

void Ring::send(Op& op, Fd socket, std::span<const std::byte> bytes) {
  ASSERT(addressable(bytes.data(), bytes.size()));
  io_uring_prep_send(&impl_->request(op), socket.value, bytes.data(), length_of(bytes.size()), MSG_NOSIGNAL);
}

void Ring::send_message(Op& op, Fd socket, const msghdr* message) {
  ASSERT(whole_message_addressable(*message));
  io_uring_prep_sendmsg(&impl_->request(op), socket.value, message, MSG_NOSIGNAL);
}

void Ring::receive_message(Op& op, Fd socket, msghdr* message) {
  ASSERT(whole_message_addressable(*message));
  io_uring_prep_recvmsg(&impl_->request(op), socket.value, message, MSG_CMSG_CLOEXEC);
}

void Ring::connect(Op& op, Fd socket, const sockaddr* address, socklen_t length) {
  io_uring_prep_connect(&impl_->request(op), socket.value, address, length);
}

// Not through the ring: the kernel gives IORING_OP_SHUTDOWN to a worker thread, which may look the descriptor up after `close` freed its number and a
// new connection got it.
void Ring::shutdown(Fd socket) { ::shutdown(socket.value, SHUT_RDWR); }
void Ring::shutdown_send(Fd socket) { ::shutdown(socket.value, SHUT_WR); }

void Ring::close(Fd fd) {
  ASSERT(fd);
  io_uring_sqe& sqe = impl_->request();
  io_uring_prep_close(&sqe, fd.value);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(&sqe, static_cast<std::uint64_t>(Tag::close_failed));
}

void Ring::write_sync(Op& op, Fd file, std::span<const std::byte> bytes, std::uint64_t offset) {
  ASSERT(addressable(bytes.data(), bytes.size()));
  start(op);
  ++impl_->in_kernel;
  Impl::reserve(impl_->disk, 2);  // a link does not reach over two submissions
  io_uring_sqe& write = Impl::request(impl_->disk);
  io_uring_prep_write(&write, file.value, bytes.data(), length_of(bytes.size()), offset);
  io_uring_sqe_set_data64(&write, Impl::data_of(op, Tag::linked_write));
  write.flags |= IOSQE_IO_LINK;
  io_uring_sqe& sync = Impl::request(impl_->disk);
  io_uring_prep_fsync(&sync, file.value, IORING_FSYNC_DATASYNC);
  io_uring_sqe_set_data64(&sync, Impl::data_of(op, Tag::linked_sync));
  op.halves_ = 2;
}

void Ring::write(Op& op, Fd file, std::span<const std::byte> bytes, std::uint64_t offset) {
  ASSERT(addressable(bytes.data(), bytes.size()));
  io_uring_prep_write(&impl_->request(op), file.value, bytes.data(), length_of(bytes.size()), offset);
}

void Ring::read(Op& op, Fd file, std::span<std::byte> bytes, std::uint64_t offset) {
  ASSERT(addressable(bytes.data(), bytes.size()));
  io_uring_prep_read(&impl_->request(op), file.value, bytes.data(), length_of(bytes.size()), offset);
}

void Ring::poll(Op& op, Fd fd, unsigned events) { io_uring_prep_poll_add(&impl_->request(op), fd.value, events); }

void Ring::poll_multishot(Op& op, Fd fd, unsigned events) {
  io_uring_prep_poll_multishot(&impl_->request(op), fd.value, events);
}

void Ring::cancel(Op& op) {
  if (!op.in_kernel_) return;
  io_uring& queue = op.halves_ == 0 ? impl_->ring : impl_->disk;
  const auto ask = [&queue](std::uint64_t target) {
    io_uring_sqe& sqe = Impl::request(queue);
    io_uring_prep_cancel64(&sqe, target, 0);
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(&sqe, static_cast<std::uint64_t>(Tag::cancel_failed));
  };
  if (op.halves_ == 0) return ask(Impl::data_of(op, Tag::op));
  ask(Impl::data_of(op, Tag::linked_write));
  ask(Impl::data_of(op, Tag::linked_sync));
}

// Doorbells.

void Ring::wake(const Ring& other) {
  ASSERT(this != &other);
  if (!impl_->can_message) return other.wake_from_thread();
  io_uring_sqe& sqe = impl_->request();
  io_uring_prep_msg_ring(&sqe, other.impl_->ring.ring_fd, 0, static_cast<std::uint64_t>(Tag::woken), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(&sqe, static_cast<std::uint64_t>(Tag::wake_failed));
}

void Ring::wake_from_thread() const noexcept {
  const std::uint64_t one = 1;
  const ssize_t written = ::write(impl_->doorbell, &one, sizeof one);
  ASSERT(written == sizeof one);
}

// Completions.

void Ring::enter(bool wait, std::int64_t deadline_ns) {
  if (io_uring_sq_ready(&impl_->disk) > 0) Impl::submit(impl_->disk);
  io_uring& ring = impl_->ring;
  int result = 0;
  if (!wait) {
    result = io_uring_submit_and_get_events(&ring);
  } else if (deadline_ns == INT64_MAX) {
    result = io_uring_submit_and_wait(&ring, 1);
  } else {
    const std::int64_t rest_ns = std::max<std::int64_t>(deadline_ns - base::monotonic_ns(), 0);
    __kernel_timespec time{.tv_sec = rest_ns / 1'000'000'000, .tv_nsec = rest_ns % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring, &first, 1, &time, nullptr);
  }
  // What is not submitted now stays queued for the next `enter`.
  ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN || result == -EBUSY);
}

namespace {

constexpr unsigned kFetchAhead = 4;  // completions

// An operation lies in what it belongs to, and of many connections none is in the cache: it is fetched while those before it are handled. (Of the
// ring's own requests there is nothing at that address.)
void fetch(std::uint64_t address) noexcept {
  constexpr std::size_t kBytes = 4 * base::kCacheLineBytes;
  base::fetch_lines(reinterpret_cast<const void*>(static_cast<std::uintptr_t>(address)), kBytes);
}

}  // namespace

unsigned Ring::reap() {
  ASSERT(!impl_->reaping);
  impl_->reaping = true;
  const unsigned reaped = impl_->reap(impl_->disk, Impl::kDiskEntries) + impl_->reap(impl_->ring, impl_->reap_max);
  impl_->reaping = false;
  return reaped;
}

unsigned Ring::Impl::reap(io_uring& queue, unsigned most) {
  unsigned reaped = 0;
  while (reaped < most) {
    std::array<io_uring_cqe*, kBatch> pointers;
    const unsigned count = io_uring_peek_batch_cqe(&queue, pointers.data(), kBatch);
    std::array<io_uring_cqe, kBatch> batch;
    for (unsigned i = 0; i < count; ++i) batch[i] = *pointers[i];
    io_uring_cq_advance(&queue, count);
    for (unsigned i = 0; i < count; ++i) {
      if (i + kFetchAhead < count) fetch(batch[i + kFetchAhead].user_data & ~kTagBits);
      handle(batch[i]);
    }
    reaped += count;
    if (count < kBatch) break;
  }
  return reaped;
}

void Ring::Impl::handle(const io_uring_cqe& completion) {
  const auto tag = static_cast<Tag>(completion.user_data & kTagBits);
  Op* op = reinterpret_cast<Op*>(static_cast<std::uintptr_t>(completion.user_data & ~kTagBits));
  switch (tag) {
    case Tag::op:
      return handle_op(*op, completion);
    case Tag::linked_write:
      return handle_half(*op, completion.res, false);
    case Tag::linked_sync:
      return handle_half(*op, completion.res, true);
    case Tag::doorbell:
      if ((completion.flags & IORING_CQE_F_MORE) != 0) return;
      doorbell_armed = false;
      if (!closing) arm_doorbell();
      return;
    case Tag::close_failed:
      ASSERT(completion.res != -EBADF);  // closed twice: it may have been another's already
      return;
    case Tag::woken:
    case Tag::wake_failed:  // the other ring is gone, or so full of completions that it is awake
    case Tag::cancel_failed:
      return;
  }
}

void Ring::Impl::handle_op(Op& op, const io_uring_cqe& completion) {
  Completion said{.result = completion.res, .more = (completion.flags & IORING_CQE_F_MORE) != 0};
  if (!said.more) --in_kernel;
  if ((completion.flags & IORING_CQE_F_BUFFER) == 0) return finish(op, said);
  const unsigned id = completion.flags >> IORING_CQE_BUFFER_SHIFT;
  said.bytes = buffers.take(id, static_cast<std::size_t>(std::max(completion.res, 0)));
  finish(op, said);
  buffers.give_back(id);
}

// The halves may come in any order. The kernel cancels the sync when the write failed or was short.
void Ring::Impl::handle_half(Op& op, int result, bool is_sync) {
  ASSERT(op.halves_ > 0);
  if (--op.halves_ > 0) {
    op.first_half_ = result;
    return;
  }
  const int write = is_sync ? op.first_half_ : result;
  const int sync = is_sync ? result : op.first_half_;
  int both = write;
  if (write >= 0 && sync < 0) both = sync == -ECANCELED ? -EIO : sync;
  --in_kernel;
  finish(op, Completion{.result = both});
}

unsigned Ring::in_kernel() const noexcept { return impl_->in_kernel; }

bool Ring::has_unsubmitted() const noexcept {
  return io_uring_sq_ready(&impl_->ring) > 0 || io_uring_sq_ready(&impl_->disk) > 0;
}

}  // namespace ringline::loop
