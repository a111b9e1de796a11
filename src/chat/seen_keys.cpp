// See seen_keys.hpp; and client_key of store.hpp.
#include "ringline/chat/seen_keys.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "ringline/base/ids.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kLineWords = 8;  // 512 bits
constexpr std::size_t kLines = SeenKeys::kBytes / (kLineWords * sizeof(std::uint64_t));
constexpr unsigned kBitsSet = 7;  // nine bits of a hash each

struct Place {
  std::size_t word;  // the line's first
  std::uint64_t bits;
};

Place place_of(std::uint64_t key) noexcept {
  std::uint64_t hash = base::mix(key + 0x9e3779b97f4a7c15ULL);
  return {static_cast<std::size_t>(hash % kLines) * kLineWords, base::mix(hash)};
}

bool has(const std::uint64_t* filter, Place place) noexcept {
  for (unsigned i = 0; i < kBitsSet; ++i, place.bits >>= 9)
    if ((filter[place.word + (place.bits >> 6 & 7)] >> (place.bits & 63) & 1) == 0) return false;
  return true;
}

}  // namespace

SeenKeys::SeenKeys() : newer_(make()), older_(make()) {}

// Pages that nobody has touched, so a core that sees few keys holds few of them. An allocator may write its zeros.
SeenKeys::Filter SeenKeys::make() {
  void* words = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (words == MAP_FAILED) throw std::bad_alloc();
  return Filter(static_cast<std::uint64_t*>(words));
}

void SeenKeys::Free::operator()(void* words) const noexcept { ::munmap(words, kBytes); }

bool SeenKeys::maybe_seen(std::uint64_t key) const noexcept {
  Place place = place_of(key);
  return has(newer_.get(), place) || has(older_.get(), place);
}

void SeenKeys::add(std::uint64_t key, std::int64_t now_ms) {
  if (began_ms_ == 0) began_ms_ = now_ms;
  if (now_ms - began_ms_ >= kGenerationMs) {
    older_ = std::exchange(newer_, make());
    began_ms_ = now_ms;
  }
  Place place = place_of(key);
  for (unsigned i = 0; i < kBitsSet; ++i, place.bits >>= 9)
    newer_[place.word + (place.bits >> 6 & 7)] |= std::uint64_t{1} << (place.bits & 63);
}

std::uint64_t client_key(UserId sender, std::string_view client_id) noexcept {
  std::uint64_t hash = base::mix(sender.value ^ (client_id.size() << 56));
  while (!client_id.empty()) {
    std::uint64_t word = 0;
    std::size_t size = std::min(client_id.size(), sizeof word);
    std::memcpy(&word, client_id.data(), size);
    hash = base::mix(hash ^ word) + 0x9e3779b97f4a7c15ULL;
    client_id.remove_prefix(size);
  }
  return hash != 0 ? hash : 1;  // 0 means "none" to who keeps it
}

}  // namespace ringline::chat
