// Ingest: takes what is committed into the store, in batches, one at a time: room by room, the one first that has waited longest, and of each all that
// waits. So a batch touches few places of the database, however many rooms are busy. What waits is held by the tails; the log keeps its segments until
// the store has all that is in them, and would not lose it with one of its servers.
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

struct HomeRoom;

class Ingest {
 public:
  static constexpr std::int64_t kRetryMs = 1000;

  explicit Ingest(Shard::Parts& parts) : p_(parts) {}

  struct Taken {
    RoomId room;
    std::uint64_t last;
    std::uint64_t epoch;
    EventId last_id;
  };

  // `subject`: whose membership the event changes; 0: nobody's.
  void add(std::uint64_t ticket, const Event& event, UserId subject);
  // Once a turn: starts a batch when a full one waits (ShardOptions::store_batch); `now`: whatever waits. True: another turn is wanted at once.
  bool pump(bool now);
  void was_stored(HomeRoom& room, std::uint64_t seq);
  // The room's events are of another epoch: they are taken in no more.
  void forget(RoomId room);
  std::uint64_t first_ticket() const noexcept { return order_.empty() ? UINT64_MAX : order_.front().ticket; }
  std::size_t waiting() const noexcept { return waiting_; }  // events that the store has not
  bool idle() const noexcept { return order_.empty() && !running_; }
  void rest() noexcept;  // what was needed for many at once goes
  // Changes of a user's memberships that the store may not have yet, oldest first: room, joined or left.
  std::vector<std::pair<RoomId, bool>> memberships_of(UserId user) const;

 private:
  struct Entry {
    std::uint64_t ticket;
    RoomId room;
    std::uint64_t seq;
    UserId subject;
  };
  base::Task<void> run();
  std::vector<Taken> choose(std::vector<Event>& batch);
  bool is_stored(const Entry& entry) const noexcept;
  bool sweep();
  void let_go();

  Shard::Parts& p_;
  // As the log has them. Of those behind the first some may be stored: their rooms were taken with others.
  std::deque<Entry, base::Apart<Entry>> order_;
  std::size_t waiting_ = 0;
  struct Change {
    std::uint64_t ticket;
    RoomId room;
    bool joined;
  };
  std::unordered_map<UserId, std::vector<Change>> memberships_;
  // What the store has and the log not yet let go of: up to which ticket, and since when the store has it. Some each second.
  struct Stored {
    std::uint64_t ticket;
    std::int64_t at_ms;
  };
  std::deque<Stored, base::Apart<Stored>> stored_;
  bool running_ = false;
  std::size_t looked_ = 0;  // of order_: what is before that is for others to take in
  std::int64_t retry_ms_ = 0;
};

}  // namespace ringline::chat
