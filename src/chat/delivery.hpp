// Delivery: the sessions of this core and the rooms that they hear.
//
// A seat knows the next seq that its session is to get; that number alone decides what is sent. Live events are framed once a protocol and turn into a
// chunk that all seats share, and each seat takes the part from its next seq on. A seat whose session has no room keeps its number: it is behind
// (next_seq <= the room's last_seq), and is fed from the log when the session has drained. Resume is the same: a seat that starts behind. So no seq
// can come twice or be skipped on a connection, whatever happens in between. What is read for one session is framed once for all that want it at the time.
//
// A send costs the same whether it carries one event or fifty, so a busy room is paced: after a flush its next one comes kFlushPace a member later, at
// most FLUSH_WAIT. A room that was quiet for so long is flushed at once, as every small room is.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/fed_ranges.hpp"
#include "chat/rooms.hpp"
#include "ringline/base/chunk.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

// A passing event that says how something is until the next one says otherwise: presence of a user, or of a large room.
struct PassingState {
  std::uint64_t of;       // the user's or the room's id
  std::string_view name;  // of the event; a literal
  base::Blob body;
};

struct LocalRoom {
  struct Seat {
    Session* session;
    std::uint64_t next_seq;
    std::uint64_t live_seq;  // the first it got without having asked for older ones
  };
  using Ends = std::array<std::uint32_t, kWires>;
  // A place for a session that is signing in: the room's events are taken from the moment of its subscription on.
  struct Held {
    ConnectionId connection;
    UserId user;
    Wire wire;
    bool left = false;  // the user left the room meanwhile
  };

  explicit LocalRoom(RoomId id) noexcept : id_(id) {}
  RoomId id() const noexcept { return id_; }

  std::uint64_t last_seq = 0;  // newest event that came to this core
  std::uint64_t epoch = 0;
  std::uint32_t member_count = 0;
  std::array<std::uint32_t, kWires> wires{};  // seats and held places by protocol
  std::vector<Seat> seats;
  std::vector<Held> held;

  // Since the last flush.
  std::uint64_t turn_first = 0;            // seq of the first framed event
  std::vector<Ends> turn_ends;             // where each event's frame ends
  std::vector<std::uint64_t> turn_counts;  // Recovery's, of each event
  std::array<base::ChunkRef, kWires> events;
  // Seq of the first event in it: a protocol may come into use within the turn.
  std::array<std::uint64_t, kWires> framed_from{};
  // Whether the flush brings the event, and what follows, to seats of the protocol.
  bool comes_with_flush(std::uint64_t seq, Wire of) const noexcept {
    auto wire = static_cast<std::size_t>(of);
    return turn_first != 0 && events[wire] && seq >= framed_from[wire];
  }
  std::array<base::ChunkRef, kWires> passing;
  std::vector<PassingState> states;  // in `passing`: kept for who has no room
  std::vector<UserId> leaving;       // their seats go with the flush
  bool dirty = false;                // has something to flush
  std::int64_t flushed_ms = 0;

 private:
  RoomId id_;
};

// A room event on its way to another core's members.
struct Delivered {
  RoomId room;
  std::uint64_t seq;
  EventKind kind;
  base::Blob body;
  UserId subject;  // member_left: who
};

class Delivery {
 public:
  explicit Delivery(Shard::Parts& parts) : p_(parts) {}

  void deliver(const Delivered& event);
  // The room goes on behind `last` in another epoch: what was not sent of it is not sent any more, and all are told.
  void reset(RoomId room, std::uint64_t epoch, std::uint64_t last);
  void pass(RoomId room, std::string_view name, std::string_view body);
  void show(RoomId room, const PassingState& state);  // likewise; who has no room gets it later
  // Frames are queued on every member, but those of rooms that are paced: these wait for a later call. When that is due, or INT64_MAX.
  std::int64_t flush();

  // Seats a session in a room as its home said. Does nothing if it has a seat already or is gone.
  void seat(Session& session, Subscription& subscription);
  // To a session that is seated, and knows of the room: see Subscription::anew.
  void tell_anew(Session& session, const Subscription& subscription);
  // From the mail that brings a subscription until its session is seated: what is delivered in between is not lost to it.
  void hold(ConnectionId connection, UserId user, Wire wire, const Subscription& subscription);
  // Ends that. False: the user has left the room.
  bool take_held(ConnectionId connection, RoomId room);
  void drop_if_empty(RoomId room);
  // Asks the room's home, then seats: for a user who joined while connected.
  void hear(ConnectionId connection, UserId user, RoomId room, std::uint64_t from_seq);
  void unseat_all(Session& session);

  // Resume: what was asked, until each room's `to` has been sent; then `resumed` is.
  struct Resumed {
    RoomId room;
    std::uint64_t from, to, epoch;
    bool complete;
  };
  void start_resume(Session& session, std::vector<Resumed> rooms);
  // The same for a session that is seated. A room of which it has had live events since is not complete: they cannot be sent again in order.
  void resume(Session& session, const std::vector<ResumePoint>& points);
  void feed(Session& session);  // reads the log for a seat that is behind
  void on_tick();
  void rest() noexcept;  // what rooms keep for their next turn goes

  std::size_t rooms() const noexcept { return rooms_.size(); }
  LocalRoom* find(RoomId id) noexcept { return rooms_.find(id); }
  void fetch(RoomId id) const noexcept { rooms_.fetch(id); }

 private:
  LocalRoom& local(const Subscription& subscription);
  void mark_dirty(LocalRoom& room);
  std::int64_t due_ms(const LocalRoom& room) const noexcept;
  void flush_due(std::vector<LocalRoom*>& rooms, std::size_t& bytes);
  void flush_room(LocalRoom& room);
  void flush_seat(LocalRoom& room, LocalRoom::Seat& seat);
  void unseat(Session& session, std::size_t seat_index);
  void remove_leaving(LocalRoom& room);
  // Reads of the log under way, by where they begin, and who waits for them.
  using Readings = std::multimap<std::pair<RoomId, std::uint64_t>, std::vector<ConnectionId>>;
  LocalRoom::Seat* behind(const Session& session, LocalRoom*& room);
  void read_for(Session& session, RoomId room, std::uint64_t after);
  void fed(Readings::iterator reading, const Feed& read);
  FedRange frame(const Feed& read, std::uint64_t after, Wire wire);
  void miss_resumed(ConnectionId connection, const LocalRoom& room, std::uint64_t next_seq);
  void check_resumed(Session& session);
  base::Task<void> hear_later(ConnectionId connection, UserId user, RoomId room, std::uint64_t from_seq);

  Shard::Parts& p_;
  base::IdMap<RoomId, LocalRoom> rooms_;
  std::vector<LocalRoom*> dirty_;  // since the last call of flush
  std::vector<LocalRoom*> paced_;  // dirty too, and not due yet
  std::vector<LocalRoom*> due_;    // of flush alone
  std::int64_t paced_due_ms_ = INT64_MAX;
  std::unordered_map<ConnectionId, std::vector<Resumed>> resuming_;
  Readings readings_;
  FedRanges ranges_;
  std::vector<ConnectionId> feed_again_;  // their read failed: tried again at the next tick
};

}  // namespace ringline::chat
