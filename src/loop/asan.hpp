// AddressSanitizer does not see what the kernel does to memory. Two remedies, both nothing in other builds: what is handed to the kernel is checked
// at that moment, and provided buffers are poisoned while no handler may look at them.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define RINGLINE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RINGLINE_ASAN 1
#endif
#endif

#ifdef RINGLINE_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace ringline::loop {

#ifdef RINGLINE_ASAN
inline void poison(const void* memory, std::size_t bytes) noexcept { __asan_poison_memory_region(memory, bytes); }
inline void unpoison(const void* memory, std::size_t bytes) noexcept { __asan_unpoison_memory_region(memory, bytes); }
inline bool addressable(const void* memory, std::size_t bytes) noexcept {
  return bytes == 0 || __asan_region_is_poisoned(const_cast<void*>(memory), bytes) == nullptr;
}
#else
inline void poison(const void* /*memory*/, std::size_t /*bytes*/) noexcept {}
inline void unpoison(const void* /*memory*/, std::size_t /*bytes*/) noexcept {}
inline bool addressable(const void* /*memory*/, std::size_t /*bytes*/) noexcept { return true; }
#endif

}  // namespace ringline::loop
