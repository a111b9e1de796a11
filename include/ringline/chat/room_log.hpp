// Port: the durable log of one core's rooms. Embedded it is the journal (backend/journal.hpp).
//
// Appends of a turn are committed together. Tickets number the appends of one log from 1 without a gap; commits are told in ticket order.
#pragma once

#include <cstdint>

#include "ringline/chat/event.hpp"

namespace ringline::chat {

class RoomLogListener {
 public:
  // All up to `last` is durable.
  virtual void on_committed(std::uint64_t last) = 0;
  // None of `first`..`last` (all that was appended and is not committed) is or will ever be there: it is voided on disk before any later append is.
  virtual void on_failed(std::uint64_t first, std::uint64_t last) = 0;

 protected:
  ~RoomLogListener() = default;
};

class RoomLog {
 public:
  virtual ~RoomLog() = default;

  // The event's ticket; 0: refused, since too much is waiting (limits::kJournalBatchBytes), the event is larger than limits::kJournalRecordBytes,
  // or the log cannot write now. The commit starts at the end of the turn.
  virtual std::uint64_t append(const Event& event) = 0;
  // False while the disk is full or failing; the log tries by itself to come back.
  virtual bool healthy() const noexcept = 0;
  // The store has all up to `last` durably: segments that hold nothing newer are removed.
  virtual void on_stored(std::uint64_t last) = 0;
};

}  // namespace ringline::chat
