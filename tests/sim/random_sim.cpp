// The randomness seam: the world's seed.
#include "ringline/base/random.hpp"

#include "world.hpp"

namespace ringline::base {

std::uint64_t random_u64() noexcept { return sim::World::current().product_random(); }

void random_bytes(std::span<std::byte> out) noexcept {
  for (std::byte& byte : out) byte = static_cast<std::byte>(random_u64());
}

}  // namespace ringline::base
