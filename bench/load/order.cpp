#include "order.hpp"

#include <algorithm>

#include "ringline/base/assert.hpp"

namespace ringline::bench {

void RoomOrder::make_room(std::uint64_t slowest) {
  base_ = std::clamp(slowest, base_, end_);
  if (end_ - base_ <= keys_.size() / 2) return;
  if (keys_.size() == kReferenceMax) {
    base_ = std::max(base_, end_ - kReferenceMax / 2);
    return;
  }
  std::vector<std::uint64_t> wider(keys_.size() * 2);
  for (std::uint64_t i = base_; i < end_; ++i) wider[i & (wider.size() - 1)] = at(i);
  keys_.swap(wider);
  ASSERT(!full());
}

Verdict RoomOrder::resolve(Position& reader, std::uint64_t key) {
  for (std::uint64_t i = std::max(reader.next, base_); i < end_; ++i) {
    if (at(i) != key) continue;
    if (!reader.skipped) reader.skipped = std::make_unique<std::vector<std::uint64_t>>();
    for (std::uint64_t missing = std::max(reader.next, base_); missing < i; ++missing) {
      if (reader.skipped->size() < kSkippedMax) reader.skipped->push_back(at(missing));
    }
    reader.next = i + 1;
    return Verdict::skipped;
  }
  return look_behind(reader, key);
}

Verdict RoomOrder::look_behind(Position& reader, std::uint64_t key) {
  if (reader.skipped) {
    const auto found = std::ranges::find(*reader.skipped, key);
    if (found != reader.skipped->end()) {
      reader.skipped->erase(found);
      return Verdict::late;
    }
  }
  for (std::uint64_t i = base_; i < std::min(reader.next, end_); ++i) {
    if (at(i) == key) return Verdict::duplicate;
  }
  return Verdict::unknown;
}

}  // namespace ringline::bench
