// The users whose home is this core: their connections wherever these are, their rooms, their allowance of messages, their sessions' state.
// A user is in memory while he has a connection, and a minute longer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ringline/base/few.hpp"
#include "ringline/base/id_map.hpp"
#include "ringline/base/memory.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

// At most `limit` in any `window_ms`: the times of the last ones, oldest first.
class RateWindow {
 public:
  // 0: taken. Otherwise how long to wait.
  std::uint32_t take(std::int64_t now_ms, unsigned limit, std::int64_t window_ms);
  bool empty_at(std::int64_t now_ms, std::int64_t window_ms) const noexcept;
  const std::vector<std::int64_t>& times() const noexcept { return times_; }  // in any order

 private:
  std::vector<std::int64_t> times_;  // at most `limit`; full, it is a ring
  std::size_t oldest_ = 0;
};

struct PassingState;

// What one sends is counted only while it counts for something.
struct Sends {
  RateWindow window;
  std::int64_t last_ms = 0;
};

// There is one for each user who is here: see SizesOfWhatAUserIs in tests/unit/chat/delivery_test.cpp.
struct HomeUser {
  explicit HomeUser(UserId id) noexcept : id_(id) {}
  UserId id() const noexcept { return id_; }

  UserCard card;
  base::Few<ConnectionId> connections;
  base::Few<SessionId> live_sessions;  // known to be alive
  struct InRoom {
    RoomId id;
    std::uint64_t joined_seq = 0;  // of a room joined while the user was in memory
  };
  base::Few<InRoom> rooms;
  std::unique_ptr<Sends> sends;  // null: none for a while
  std::int64_t last_seen_ms = 0;
  std::uint32_t idle_since_s = 0;
  Status status = Status::offline;
  // His presence was told a moment ago; `due`: and has changed since.
  enum class Told : std::uint8_t { no, just_now, due };
  Told told = Told::no;
  bool banned = false;
  bool elsewhere : 1 = false;  // he is online at another host too
  bool doubted : 1 = false;    // one of his sessions may have ended, and this was not heard
  bool is_online() const noexcept { return !connections.empty() || elsewhere; }

 private:
  UserId id_;
};

struct Admission {
  std::optional<base::Error> error;
  std::optional<CloseCode> close;  // with an error
  UserCard card;
  std::vector<RoomId> rooms;
};

// The code that a refused sign-in closes with; none: it may try again on the same connection.
std::optional<CloseCode> close_code_of(const base::Error& error) noexcept;

class People {
 public:
  explicit People(Shard::Parts& parts) : p_(parts) {}

  using Waiting = std::move_only_function<void(base::Result<HomeUser*>)>;
  // Runs `then` with the user, loaded from the store if need be.
  void with(UserId id, Waiting then);
  // A guest or account that was just made: needs no loading.
  void introduce(const User& user, SessionId session);
  HomeUser* find(UserId id) noexcept { return users_.find(id); }
  void fetch(UserId id) const noexcept { users_.fetch(id); }

  // A connection signs in.
  base::Task<Admission> admit(UserId user, SessionId session, ConnectionId connection);
  void leave(UserId user, ConnectionId connection);
  // Is the session alive? (For REST.)
  base::Task<base::Result<UserCard>> check(UserId user, SessionId session);
  void end_session(UserId user, SessionId session);
  void end_session_here(UserId user, SessionId session);
  void changed(const User& user);  // profile
  void changed_here(const User& user);

  // 0, or how long to wait.
  std::uint32_t take_send(UserId user);
  std::uint32_t take_guest(const std::string& address);
  RateVerdict take_rest(const std::string& who, bool changes);

  void joined(UserId user, RoomId room, std::uint64_t from_seq);
  void left(UserId user, RoomId room);
  // Seats a connection in all rooms of its user in which it has no seat.
  void hear_all(UserId user, ConnectionId connection);

  // presence_changed to whoever shares a room of at most limits::kPresenceRoomMembers, at most one a second.
  void show_presence(HomeUser& user);
  // The presence of users whose home this is, as presence_changed tells it.
  std::vector<PassingState> presence_of(const std::vector<UserCard>& cards);

  void on_tick(std::int64_t now_ms);
  std::size_t online() const noexcept { return online_; }
  std::size_t active(std::int64_t now_ms) const;  // sent something within five minutes
  std::size_t loaded() const noexcept { return users_.size(); }
  template <class Function>
  void for_each(Function function) {
    for (const HomeUser& user : users_) function(user);
  }

 private:
  base::Task<void> load(UserId id);
  void finish_load(UserId id, base::Result<HomeUser*> user);
  PassingState presence(UserId user, Status status, std::int64_t last_seen_ms);
  PassingState presence(const HomeUser& user);
  void show_due(std::int64_t now_ms);
  void sweep(std::int64_t now_ms);

  Shard::Parts& p_;
  base::IdMap<UserId, HomeUser> users_;
  std::unordered_map<UserId, std::vector<Waiting>> loading_;
  std::unordered_map<UserId, std::vector<std::pair<RoomId, bool>>> changed_while_loading_;
  std::unordered_map<std::string, RateWindow> guests_;  // by address
  struct RestWindow {
    std::int64_t began_ms = 0;
    unsigned calls = 0;
  };
  std::unordered_map<std::string, RestWindow> rest_;  // by user or address, and by whether it changes things
  std::deque<std::pair<std::int64_t, UserId>, base::Apart<std::pair<std::int64_t, UserId>>>
      told_;  // whose presence was told, and when: for kPresenceEveryMs
  std::size_t online_ = 0;
  std::int64_t swept_ms_ = 0;
};

}  // namespace ringline::chat
