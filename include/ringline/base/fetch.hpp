// Fetching what is needed soon into the cache, while something else is done.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringline::base {

inline constexpr std::size_t kCacheLineBytes = 64;

// Any address will do, null too: a fetch of what is not there is none.
inline void fetch_lines(const void* address, std::size_t bytes) noexcept {
  const auto first = reinterpret_cast<std::uintptr_t>(address);
  for (std::size_t at = 0; at < bytes; at += kCacheLineBytes)
    __builtin_prefetch(reinterpret_cast<const void*>(first + at));
}

}  // namespace ringline::base
