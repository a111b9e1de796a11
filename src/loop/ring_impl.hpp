// What ring.cpp and ring_open.cpp share: the io_uring itself, and how a completion finds its op.
//
// `user_data` is the op's address; its three low bits say which kind of completion it is. Invariant: the ring's own requests (doorbell, close, cancel,
// wake) never count as operations and never reach a handler.
#pragma once

#include <liburing.h>

#include <array>
#include <cstdint>

#include "receive_buffers.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::loop {

enum class Tag : std::uint8_t {
  op,            // a user's operation
  linked_write,  // first half of write_sync
  linked_sync,   // second half
  doorbell,      // the poll on our eventfd
  woken,         // another ring's message
  wake_failed,   // our message to another ring was not delivered
  close_failed,
  cancel_failed,  // there was nothing to cancel, or too late: the op's own completion tells
};
inline constexpr std::uint64_t kTagBits = 7;
static_assert(alignof(Op) > kTagBits);

struct Ring::Impl {
  static constexpr unsigned kBatch = 256;  // completions copied out at once
  static constexpr unsigned kDiskEntries = 64;
  static constexpr unsigned kSubmitTries = 64;  // with a full queue, before the kernel's refusal is taken as final

  RingOptions options{};
  io_uring ring{};
  // Writes with their sync have a queue of their own: in `ring` they would complete behind all that came in before them, a few at each `enter`, and under
  // load wait longer for that than for the disk. Its completions ring the doorbell.
  io_uring disk{};
  int doorbell = -1;  // an eventfd that is never read: each write wakes its multishot poll anew
  bool doorbell_armed = false;
  bool can_message = false;  // IORING_OP_MSG_RING
  bool closing = false;
  bool reaping = false;
  unsigned in_kernel = 0;
  unsigned reap_max = 0;  // the completion queue's length
  ReceiveBuffers buffers;

  static std::uint64_t data_of(const Op& op, Tag tag) noexcept {
    return reinterpret_cast<std::uintptr_t>(&op) | static_cast<std::uint64_t>(tag);
  }
  // Room for `count` requests that must be submitted together.
  static void reserve(io_uring& queue, unsigned count);
  static void submit(io_uring& queue);
  static io_uring_sqe& request(io_uring& queue);
  io_uring_sqe& request() { return request(ring); }
  io_uring_sqe& request(Op& op);
  void arm_doorbell();
  unsigned reap(io_uring& queue, unsigned most);
  void handle(const io_uring_cqe& completion);
  void handle_op(Op& op, const io_uring_cqe& completion);
  void handle_half(Op& op, int result, bool is_sync);
};

}  // namespace ringline::loop
