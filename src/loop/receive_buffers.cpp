#include "receive_buffers.hpp"

#include <sys/mman.h>

#include <bit>
#include <cerrno>

#include "asan.hpp"
#include "ringline/base/assert.hpp"

namespace ringline::loop {
namespace {

// The kernel takes buffers in turn, so all are in use after as many receives: they are there from the start.
void* map(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

ReceiveBuffers::~ReceiveBuffers() {
  if (memory_ != nullptr) {
    unpoison(memory_, count_ * bytes_each_);
    ::munmap(memory_, count_ * bytes_each_);
  }
  if (ring_ != nullptr) ::munmap(ring_, count_ * sizeof(io_uring_buf));
}

int ReceiveBuffers::provide(io_uring& ring, unsigned count, std::size_t bytes_each) {
  ASSERT(ring_ == nullptr);
  ASSERT(std::has_single_bit(count) && count <= 32768 && bytes_each > 0);
  count_ = count;
  bytes_each_ = bytes_each;
  memory_ = static_cast<std::byte*>(map(count * bytes_each));
  ring_ = static_cast<io_uring_buf_ring*>(map(count * sizeof(io_uring_buf)));
  if (memory_ == nullptr || ring_ == nullptr) return ENOMEM;
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(ring_);
  registration.ring_entries = count;
  registration.bgid = kGroup;
  if (const int result = io_uring_register_buf_ring(&ring, &registration, 0); result < 0) return -result;
  io_uring_buf_ring_init(ring_);
  taken_ = count;
  for (unsigned id = 0; id < count; ++id) give_back(id);
  return 0;
}

std::span<const std::byte> ReceiveBuffers::take(unsigned id, std::size_t filled) {
  ASSERT(id < count_ && filled <= bytes_each_);
  ++taken_;
  unpoison(at(id), filled);
  return {at(id), filled};
}

void ReceiveBuffers::give_back(unsigned id) {
  ASSERT(taken_ > 0);
  --taken_;
  poison(at(id), bytes_each_);
  io_uring_buf_ring_add(ring_, at(id), static_cast<unsigned>(bytes_each_), static_cast<unsigned short>(id),
                        io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(ring_, 1);
}

}  // namespace ringline::loop
