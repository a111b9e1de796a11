// Hub: the Socket.IO sockets of one core, and what is emitted between cores.
//
// With connection state recovery every event takes the way over core 0, which numbers it (its offset), keeps it and the sessions that were cut off for
// kKept, and hands it on; without, events go straight to where they are wanted.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/loop/loop.hpp"

namespace ringline::conformance {

// An event on its way to the sockets of a namespace: all, those of a room (a socket is in the room of its own id), but one.
struct Emission {
  std::string name_space;
  std::string payload;  // the array: ["name",…]
  std::vector<std::string> attachments;
  std::string room;    // empty: all
  std::string except;  // a socket's id; empty: nobody
};

// A socket that lost its connection and may come back.
struct CutOff {
  std::string name_space;
  std::string sid;
  std::string pid;
  std::set<std::string> rooms;
};
struct Recovered {
  CutOff session;
  std::vector<Emission> missed;
};

class HubSocket {
 public:
  virtual void deliver(const Emission& emission) = 0;
  std::string name_space;
  std::string sid;
  std::string pid;  // empty: nothing is recovered
  std::set<std::string> rooms;

 protected:
  ~HubSocket() = default;
};

class Hub {
 public:
  static constexpr std::chrono::minutes kKept{2};

  // `hubs`: those of all cores by number; complete before the first event.
  Hub(loop::Loop& loop, std::vector<Hub*>& hubs, bool recovery) : loop_(loop), hubs_(hubs), recovery_(recovery) {}

  bool recovery() const noexcept { return recovery_; }
  void add(HubSocket& socket) { sockets_.insert(&socket); }
  void remove(HubSocket& socket) { sockets_.erase(&socket); }
  void emit(Emission emission);
  // A socket's connection was cut.
  void keep(const HubSocket& socket);
  // `done` is called on this core, then or later. None: that session is not known (any more).
  using Done = std::move_only_function<void(std::optional<Recovered>)>;
  void recover(std::string pid, std::string offset, Done done);

 private:
  struct Kept {
    std::uint64_t offset;
    std::int64_t at_ms;
    Emission emission;
  };
  struct KeptSession {
    std::int64_t at_ms;
    CutOff session;
  };
  void number(Emission emission);
  void spread(const Emission& emission);
  void deliver(const Emission& emission);
  std::optional<Recovered> look_up(const std::string& pid, const std::string& offset);
  void forget_old();

  loop::Loop& loop_;
  std::vector<Hub*>& hubs_;
  bool recovery_;
  std::set<HubSocket*> sockets_;
  // On core 0.
  std::uint64_t last_offset_ = 0;
  std::deque<Kept> log_;
  std::map<std::string, KeptSession> cut_off_;
};

}  // namespace ringline::conformance
