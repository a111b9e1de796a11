// The rooms whose home is this core: members, the tail of recent events, who listens, who types.
//
// Invariant: `tail` holds committed events only, without a hole, ending at room.last_seq; what is not in the store is never trimmed from it. So every
// event is in the tail or in the store, and what is older than the tail's first is in the store.
//
// A tail is long while its room is busy: then many ask for the same. A room that is quiet keeps none: there are many such rooms, and the events by which
// their members came would be most of what they take. Who missed something there is given it from the store.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "ringline/base/blob.hpp"
#include "ringline/base/few.hpp"
#include "ringline/base/id_map.hpp"
#include "ringline/base/memory.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

// The last events of a room, oldest first. Rooms that have none have allocated nothing for it.
class Tail {
 public:
  using Entries = std::deque<RoomEvent, base::Apart<RoomEvent>>;  // there is one for each room that is busy
  const Entries& entries() const noexcept;
  std::size_t size() const noexcept { return entries_ ? entries_->size() : 0; }
  bool empty() const noexcept { return !entries_; }
  const RoomEvent& front() const noexcept { return entries_->front(); }
  void push_back(RoomEvent entry) {
    if (!entries_) entries_ = std::make_unique<Entries>();
    entries_->push_back(std::move(entry));
  }
  void pop_front() noexcept {
    entries_->pop_front();
    if (entries_->empty()) entries_.reset();
  }

 private:
  std::unique_ptr<Entries> entries_;  // null, or not empty
};

struct PassingState;

// There is one for each user in each room, so nothing lies between its parts.
struct HomeMember {
  [[no_unique_address]] Member member;
  UserId id() const noexcept { return member.user; }
  std::uint32_t online : 30 = 0;     // sessions that listen
  std::uint32_t elsewhere : 1 = 0;   // he is at another host
  std::uint32_t unread_due : 1 = 0;  // his unread count changed and is to be told: see Marks
  bool is_here() const noexcept { return online > 0 || elsewhere; }
  UserCard user;
};
static_assert(sizeof(HomeMember) == 56);

struct HomeRoom {
  explicit HomeRoom(Room of) : room(std::move(of)) {}
  RoomId id() const noexcept { return room.id; }

  Room room;
  std::uint64_t next_seq = 1;
  std::uint64_t stored_seq = 0;
  std::int64_t used_ms = 0;
  std::uint32_t uncommitted = 0;
  std::uint32_t online_users = 0;
  base::IdMap<UserId, HomeMember> members;
  std::vector<UserId> changing;        // members whose membership has a change that is not committed
  base::Few<std::uint32_t> listeners;  // sessions, by core
  Tail tail;
  base::Slice last_message;  // JSON; empty: none
  std::uint64_t last_message_seq = 0;
  std::vector<std::move_only_function<void()>> after_change;  // what waits for a membership
  struct Typer {
    UserId user;
    std::string username;
    std::int64_t due_ms;
  };
  std::vector<Typer> typers;
  bool keys_complete = true;  // every client key of the last 24 h is in `seen`
  bool online_changed = false;
  bool settling = false;   // its tail is to be cut once it is quiet
  bool streamed = false;   // its order comes from the bus: Streams keeps more of it
  bool beginning = false;  // then: its room_created is proposed
  bool opening = false;    // then: its stream is being read for the first time, and calls wait

  std::uint64_t tail_first() const noexcept { return room.last_seq + 1 - tail.size(); }
  HomeMember* find(UserId user) noexcept { return members.find(user); }
  bool is_changing(UserId user) const noexcept;
  // Made in the store, and its room_created is neither committed nor about to be. (The lobby has no maker and no such event.)
  bool is_new() const noexcept { return next_seq == 1 && room.created_by && !beginning; }
};

// What a core asks for when one of its sessions is to hear a room, and what it gets.
struct Subscribe {
  ConnectionId connection;
  UserId user;
  unsigned core = 0;
  std::uint64_t from_seq = 0;  // the first event wanted; 0: only what is still to come
  std::uint64_t epoch = 0;     // with from_seq: the epoch it was seen in; 0: not asked
};
struct FedEvent {
  std::uint64_t seq;
  EventKind kind;
  base::Blob body;
};
struct Subscription {
  RoomId room;
  bool member = false;
  bool complete = true;  // from_seq was taken; false: it reloads
  bool anew = false;     // the room has begun another epoch since this was said: room_json is of the one before
  std::uint64_t epoch = 0;
  std::uint64_t last_seq = 0;
  std::uint64_t first_seq = 0;  // the session's next event
  std::uint32_t member_count = 0;
  std::int64_t active_ms = 0;
  std::string room_json;
};
// Who is here: the members, or of a large room (limits::kPresenceRoomMembers) their number.
struct RoomPresence {
  std::vector<UserCard> members;
  std::vector<PassingState> count;  // at most one
};
struct Feed {
  RoomId room;
  std::uint64_t epoch = 0;
  bool ok = false;
  std::vector<FedEvent> events;  // without a hole
  std::uint64_t last(std::uint64_t after) const noexcept { return after + events.size(); }
};

class Rooms {
 public:
  explicit Rooms(Shard::Parts& parts) : p_(parts) {}

  HomeRoom* find(RoomId id) noexcept { return rooms_.find(id); }
  void fetch(RoomId id) const noexcept { rooms_.fetch(id); }
  using Waiting = std::move_only_function<void(base::Result<HomeRoom*>)>;
  // Runs `then` with the room, at once if it is in memory.
  void with(RoomId id, Waiting then);
  // A room that was just made in the store.
  HomeRoom& adopt(StoredRoom stored);
  void forget(RoomId id);
  // The room began anew in the store: it is as it is there, and all who hear it are told to reload.
  void replace(HomeRoom& room, StoredRoom stored);

  Subscription subscribe(HomeRoom& room, const Subscribe& request);
  void unsubscribe(RoomId room, UserId user, unsigned core);
  base::Task<Feed> read_after(RoomId room, std::uint64_t after);
  // A passing event, to every core with listeners, and every other host.
  void pass(HomeRoom& room, std::string name, std::string body);
  void pass_here(HomeRoom& room, const std::string& name, const std::string& body);
  // Presence of a member, to every other host; and from one.
  void pass_presence(RoomId room, const PassingState& state);
  void take_presence(HomeRoom& room, std::string_view body);
  // How many are at another host, of a large room.
  void take_count(HomeRoom& room, unsigned host, std::string_view body);
  void set_elsewhere(HomeRoom& room, UserId user, bool elsewhere);
  RoomPresence presence(RoomId id);

  void start_typing(HomeRoom& room, const Person& user);
  void stop_typing(HomeRoom& room, UserId user);
  void trim(HomeRoom& room);
  void on_tick(std::int64_t now_ms);

  std::size_t count() const noexcept { return rooms_.size(); }
  template <class Function>
  void for_each(Function function) {
    for (HomeRoom& room : rooms_) function(room);
  }

 private:
  base::Task<void> load(RoomId id);
  PassingState online_count(const HomeRoom& room);
  void show_here(HomeRoom& room, const PassingState& state);
  void pass_typing(HomeRoom& room, std::string_view name, UserId user, std::string_view username);
  void begin_new();
  void fill(HomeRoom& room, StoredRoom stored);
  void cut_tail(HomeRoom& room, std::size_t keep, std::uint64_t seq);
  void settle_quiet(std::int64_t now_ms);
  void evict_idle(std::int64_t now_ms);

  Shard::Parts& p_;
  base::IdMap<RoomId, HomeRoom> rooms_;
  std::unordered_map<RoomId, std::vector<Waiting>> loading_;
  std::vector<RoomId> with_typers_;
  std::vector<RoomId> new_;  // loaded before they had an event
  struct Settling {
    RoomId room;
    std::int64_t due_ms;
  };
  std::deque<Settling> settling_;  // rooms with a tail that is stored at least in part, the next that is due first
  std::int64_t began_ms_ = 0;
  std::int64_t presence_sent_ms_ = 0;
  std::int64_t evicted_ms_ = 0;
};

// The JSON of a room as `user` sees it.
std::string room_json(Shard::Parts& p, const HomeRoom& room, UserId user);

}  // namespace ringline::chat
