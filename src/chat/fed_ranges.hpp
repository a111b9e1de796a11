// Frames that were made of the log for one session that was behind, kept for a moment for others that want the same: when a server was away, all members of
// a room come back at once and lack the same events.
//
// A range is whole frames of the events first to last of a room, in the order of their seqs, and is never changed. A session takes the part from its next seq on.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "ringline/base/chunk.hpp"
#include "ringline/chat/session.hpp"

namespace ringline::chat {

struct FedRange {
  RoomId room;
  Wire wire;
  std::uint64_t first = 0;
  std::vector<std::uint32_t> ends;  // where each event's frame ends
  base::ChunkRef frames;
  std::int64_t made_ms = 0;

  std::uint64_t last() const noexcept { return first + ends.size() - 1; }
  bool holds(std::uint64_t seq) const noexcept { return seq >= first && seq - first < ends.size(); }
  std::uint32_t begin_of(std::uint64_t seq) const noexcept { return seq == first ? 0 : ends[seq - first - 1]; }
  std::uint32_t size() const noexcept { return ends.back(); }
};

class FedRanges {
 public:
  static constexpr std::size_t kRangesMax = 256;
  static constexpr std::size_t kBytesMax = 16 * 1024 * 1024;  // of a core; above either, the oldest go
  static constexpr std::chrono::seconds kKept{2};  // however much it is used: a message in it may be deleted by now

  // The one that holds an event; null: none. It lives until the next call.
  const FedRange* find(RoomId room, Wire wire, std::uint64_t seq) const noexcept;
  // Not empty.
  void add(FedRange range);
  void forget_all() noexcept;
  void on_tick(std::int64_t now_ms);

 private:
  std::vector<FedRange> ranges_;  // the oldest first
  std::size_t bytes_ = 0;
};

}  // namespace ringline::chat
