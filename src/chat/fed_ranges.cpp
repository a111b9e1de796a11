// See fed_ranges.hpp.
#include "chat/fed_ranges.hpp"

#include <algorithm>

namespace ringline::chat {

// From the newest on: who comes back now lacks what others lacked just before.
const FedRange* FedRanges::find(RoomId room, Wire wire, std::uint64_t seq) const noexcept {
  auto found = std::find_if(ranges_.rbegin(), ranges_.rend(), [&](const FedRange& range) {
    return range.room == room && range.wire == wire && range.holds(seq);
  });
  return found == ranges_.rend() ? nullptr : &*found;
}

void FedRanges::add(FedRange range) {
  ASSERT(!range.ends.empty());
  bytes_ += range.size();
  ranges_.push_back(std::move(range));
  auto kept = ranges_.begin();
  for (; kept + 1 != ranges_.end(); ++kept) {
    if (bytes_ <= kBytesMax && static_cast<std::size_t>(ranges_.end() - kept) <= kRangesMax) break;
    bytes_ -= kept->size();
  }
  ranges_.erase(ranges_.begin(), kept);
}

void FedRanges::forget_all() noexcept {
  ranges_.clear();
  bytes_ = 0;
}

void FedRanges::on_tick(std::int64_t now_ms) {
  std::erase_if(ranges_, [&](const FedRange& range) {
    bool old = now_ms - range.made_ms > std::chrono::milliseconds(kKept).count();
    if (old) bytes_ -= range.size();
    return old;
  });
  if (ranges_.empty()) ranges_.shrink_to_fit();
}

}  // namespace ringline::chat
