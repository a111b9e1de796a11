// The randomness seam. Cryptographic in the product (getrandom(2)); seeded in the simulation, which links another random.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ringline::base {

void random_bytes(std::span<std::byte> out) noexcept;
std::uint64_t random_u64() noexcept;
// A secret of `bytes` random bytes in base64url without padding.
std::string random_token(std::size_t bytes);

}  // namespace ringline::base
