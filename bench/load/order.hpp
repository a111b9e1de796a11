// One order: what all members of a room receive is compared, message by message, with the order in which the first of them got it.
//
// The room keeps that reference as a list of keys; a member keeps only how far along it he is. Memory is O(1) a connection, and the reference is cut
// behind its slowest member. Invariant: base_ <= every member's position <= end_, unless the room is kReferenceMax messages ahead of him.
// Losses are not counted here but by the totals of a step; what is counted here is what totals cannot see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ringline::bench {

inline constexpr std::size_t kReferenceMax = 1U << 17;  // keys; further back nothing can be told apart
inline constexpr std::size_t kSkippedMax = 1024;  // of one member, remembered to tell a late message from a duplicate

enum class Verdict : std::uint8_t {
  in_order,
  skipped,    // in the reference, but ones before it have not come
  late,       // one that was skipped: out of order
  duplicate,  // it has come before
  unknown,    // the reference has it nowhere: the order differs
};

struct Position {
  std::uint64_t next = 0;
  std::unique_ptr<std::vector<std::uint64_t>> skipped;  // made by the first fault
};

class RoomOrder {
 public:
  // `newest`: the key is later than all that any member got of its sender, so it may extend the reference.
  Verdict take(Position& reader, std::uint64_t key, bool newest) {
    if (reader.next == end_) return newest ? append(reader, key) : Verdict{look_behind(reader, key)};
    if (reader.next >= base_ && at(reader.next) == key) {
      ++reader.next;
      return Verdict::in_order;
    }
    return resolve(reader, key);
  }

  bool full() const noexcept { return end_ - base_ == keys_.size(); }
  // Makes room for more, nobody being behind `slowest`.
  void make_room(std::uint64_t slowest);
  std::uint64_t end() const noexcept { return end_; }

 private:
  std::uint64_t& at(std::uint64_t position) noexcept { return keys_[position & (keys_.size() - 1)]; }
  Verdict append(Position& reader, std::uint64_t key) noexcept {
    at(end_++) = key;
    ++reader.next;
    return Verdict::in_order;
  }
  Verdict resolve(Position& reader, std::uint64_t key);
  Verdict look_behind(Position& reader, std::uint64_t key);

  std::vector<std::uint64_t> keys_ = std::vector<std::uint64_t>(64);  // a ring; its size is a power of two
  std::uint64_t base_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace ringline::bench
