// The buffers that the kernel receives into (a provided buffer ring). A buffer is the kernel's, except between its completion and the end of that
// completion's handler.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringline::loop {

class ReceiveBuffers {
 public:
  static constexpr std::uint16_t kGroup = 0;

  ReceiveBuffers() = default;
  ReceiveBuffers(const ReceiveBuffers&) = delete;
  ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;
  ~ReceiveBuffers();  // after the ring's exit: until then the kernel may write

  // 0 or errno.
  int provide(io_uring& ring, unsigned count, std::size_t bytes_each);
  std::span<const std::byte> take(unsigned id, std::size_t filled);
  void give_back(unsigned id);
  bool all_given() const noexcept { return taken_ == 0; }
  bool provided() const noexcept { return ring_ != nullptr; }

 private:
  std::byte* at(unsigned id) const noexcept { return memory_ + id * bytes_each_; }

  io_uring_buf_ring* ring_ = nullptr;
  std::byte* memory_ = nullptr;
  unsigned count_ = 0;
  std::size_t bytes_each_ = 0;
  unsigned taken_ = 0;
};

}  // namespace ringline::loop
