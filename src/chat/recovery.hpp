// Recovery: Socket.IO's connection state recovery (SOCKETIO_RECOVERY), which stock clients ask for by themselves. A client that was cut off comes back with
// its `pid` and the offset of the last event that it got, and is sent what it missed.
//
// An offset is this core's count of events that it framed; the log says which event each is, and with which flush it went out. Flushes reach a
// connection in order, so who got an event got all that was flushed before it, in every room; in the event's own room, all up to its seq.
// A pid names the core that keeps it while its client is away. After a restart both are unknown: then the client is not recovered.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringline/base/task.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

// A connection that was cut off, and how far it had been sent the rooms it hears.
struct CutOff {
  struct Seen {
    RoomId room;
    std::uint64_t next_seq;
    std::uint64_t epoch;
  };
  UserId user;
  SessionId session;
  std::int64_t token_expires_ms = 0;
  RecoveryIds ids;
  std::vector<Seen> rooms;
};
struct Restored {
  CutOff cut_off;
  std::vector<ResumePoint> points;
};

class Recovery {
 public:
  static constexpr std::chrono::minutes kKept{2};
  static constexpr std::size_t kEventsMax = 200'000;  // beyond, the oldest are forgotten early
  static constexpr std::size_t kCutOffMax = 20'000;   // likewise

  explicit Recovery(Shard::Parts& parts) : p_(parts) {}

  bool on() const noexcept;
  // The offset of an event that is being framed, until the next call; empty when recovery is off.
  std::string_view offset_of(RoomId room, std::uint64_t seq, bool fed);
  std::uint64_t last_count() const noexcept { return first_count_ + log_.size() - 1; }
  // Events of one room go out now, by their counts; which are cleared.
  void flushed(std::vector<std::uint64_t>& counts);

  RecoveryIds make_ids() const;
  void keep(const Session& session);
  // None: it cannot be recovered. Once: it is forgotten here.
  base::Task<std::optional<Restored>> restore(std::string pid, std::string offset);
  void on_tick();

 private:
  struct Framed {
    RoomId room;
    std::uint64_t seq;
    std::uint64_t flush;  // 0: not yet
    std::int64_t at_ms;
    bool fed;  // from the log, to one connection
  };
  struct Kept {
    std::int64_t at_ms;
    CutOff cut_off;
  };
  std::optional<CutOff> take(const std::string& pid);
  std::optional<std::vector<ResumePoint>> points_after(std::uint64_t count,
                                                       const std::vector<CutOff::Seen>& rooms) const;

  Shard::Parts& p_;
  std::deque<Framed> log_;
  std::uint64_t first_count_ = 1;  // of the first in the log
  std::uint64_t flush_ = 0;
  std::string text_;
  std::unordered_map<std::string, Kept> cut_off_;
  std::deque<std::pair<std::int64_t, std::string>> by_age_;  // of cut_off_; may name some that are gone
};

}  // namespace ringline::chat
