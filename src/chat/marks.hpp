// Marks: how far each user has read in his rooms. A room's home has the marks of its members; they only move forward.
//
// A mark moves with a message of his own, at every host, since each commits that event (and the store when it takes it in: nothing else is written for it);
// or by mark_read. That is answered at once, kept here until the store has it, and told to the other hosts: on the user's channel, and noted on the bus for a
// host where he comes to a moment later. Who comes to a host brings his marks along from there and from the store, since a room may have been in memory here
// while he read elsewhere. A crash may cost the last second of marks.
//
// Invariant: a mark goes to the store only when the store has the room's events up to it, in its epoch.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "chat/rooms.hpp"
#include "ringline/base/task.hpp"

namespace ringline::chat {

std::uint64_t unread_of(const HomeRoom& room, const Member& member) noexcept;

class Marks {
 public:
  static constexpr std::int64_t kEveryMs = 1000;        // what moved is written, and what sending changed is told
  static constexpr std::size_t kKeptMax = 100'000;      // of a core: while the store is away
  static constexpr std::size_t kWrittenAtOnce = 1000;   // others wait meanwhile
  static constexpr std::int64_t kTellAgainMs = 5000;    // one of this host, for a bus that loses it
  static constexpr std::int64_t kWaitMs = 10 * 60'000;  // one of another host, for its room to come into memory

  explicit Marks(Shard::Parts& parts) : p_(parts) {}

  // ---- At the room's home.
  // False: so much waits for the store that nobody marks anything.
  bool may_move() const noexcept { return kept_.size() < kKeptMax; }
  // The messages up to `seq`, where the tail knows. It is above the member's mark, and not above the room's last.
  static std::optional<std::uint64_t> count_in_tail(const HomeRoom& room, const Member& mark, std::uint64_t seq);
  // The same with what the store knows. The room is looked up again.
  base::Task<base::Result<std::uint64_t>> count(RoomId room, UserId user, std::uint64_t seq);
  // He has read up to `seq`.
  void move(HomeRoom& room, HomeMember& member, std::uint64_t seq, std::uint64_t count);
  // His message was committed: it is the room's last event.
  void sent(HomeRoom& room, HomeMember& sender);
  // The room was loaded, or he joined it: what is known of marks beside.
  void apply(HomeRoom& room);
  void apply(HomeRoom& room, HomeMember& member);
  // What he read at another host: from the bus, or else from the store.
  void take(const ReadMark& mark, bool from_bus);
  void on_back();  // the bus, which may have lost what it was told a moment ago

  // ---- At the user's home, with several hosts: what he read at others.
  void heard(const ReadMark& mark);
  base::Task<void> catch_up(UserId user, std::vector<ReadMark> noted);

  // ---- At the connection's core.
  // What could not be told, since the session was signing in or had no room.
  void tell_held(Session& session);
  void forget(ConnectionId connection) { held_.erase(connection); }

  void on_tick(std::int64_t now_ms);
  bool all_written();  // hurries it

 private:
  struct Key {
    RoomId room;
    UserId user;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return static_cast<std::size_t>(base::mix(key.room.value ^ base::mix(key.user.value)));
    }
  };
  struct Kept {
    ReadMark mark;
    std::int64_t until_ms = 0;
    bool to_store = false;
    bool to_tell = false;  // the bus was away
  };
  // An unread count on its way to its user's connections.
  struct Told {
    UserId user;
    RoomId room;
    std::uint64_t unread = 0;
    ConnectionId connection = {};
  };
  struct Held {
    UserId user;
    std::vector<Told> rooms;  // each once
  };

  Kept& keep(const ReadMark& mark);
  Told told_of(const HomeRoom& room, const HomeMember& member) const noexcept;
  void tell(std::vector<Told> told);
  void tell_users(const std::vector<Told>& told);
  void show(const Told& told);
  void send(Session& session, const Told& told);
  void tell_changed();
  std::vector<ReadMark> choose() const;
  bool may_write(const ReadMark& mark) const noexcept;
  void begin_writing();
  base::Task<void> write();

  Shard::Parts& p_;
  std::unordered_map<Key, Kept, KeyHash> kept_;
  std::vector<Key> changed_;  // by sending: members whose HomeMember::unread_due is set, so each once
  std::unordered_map<ConnectionId, Held> held_;
  std::int64_t ticked_ms_ = 0;
  bool writing_ = false;
  bool failing_ = false;  // the last try to write; that is told once
};

}  // namespace ringline::chat
