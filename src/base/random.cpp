// Random numbers from the kernel. Nothing but the seam stands here, so that a simulation's own definitions keep this object out of its link.
#include "ringline/base/random.hpp"

#include <sys/random.h>

#include <cerrno>

#include "ringline/base/assert.hpp"

namespace ringline::base {

void random_bytes(std::span<std::byte> out) noexcept {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      ASSERT(errno == EINTR);  // nothing else can happen, and going on without randomness is worse than stopping
      continue;
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t random_u64() noexcept {
  std::uint64_t number = 0;
  random_bytes(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

}  // namespace ringline::base
