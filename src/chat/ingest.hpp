// Ingest: takes what is committed into the store, in the log's order, in batches, one batch at a time. What waits is held by the tails; the log keeps
// its segments until the store has them.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ringline/base/memory.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/event.hpp"
#include "ringline/chat/objects.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

class Ingest {
 public:
  static constexpr std::size_t kBatchEvents = 1000;
  static constexpr std::int64_t kRetryMs = 1000;

  explicit Ingest(Shard::Parts& parts) : p_(parts) {}

  // `subject`: whose membership the event changes; 0: nobody's.
  void add(std::uint64_t ticket, const Event& event, UserId subject);
  // Starts a batch when enough waits; `now`: whatever waits.
  void pump(bool now);
  std::size_t waiting() const noexcept { return waiting_.size(); }
  bool running() const noexcept { return running_; }
  void rest() noexcept;  // what was needed for many at once goes
  // Changes of a user's memberships that the store may not have yet, oldest first: room, joined or left.
  std::vector<std::pair<RoomId, bool>> memberships_of(UserId user) const;

 private:
  struct Waiting {
    std::uint64_t ticket;
    Event event;
    UserId subject;
  };
  base::Task<void> run();

  Shard::Parts& p_;
  std::deque<Waiting, base::Apart<Waiting>> waiting_;
  struct Change {
    std::uint64_t ticket;
    RoomId room;
    bool joined;
  };
  std::unordered_map<UserId, std::vector<Change>> memberships_;
  bool running_ = false;
  std::int64_t retry_ms_ = 0;
};

}  // namespace ringline::chat
