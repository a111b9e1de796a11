// Port: what connects this host with the others. Without it this host is the only one, and its journal alone gives the order.
//
// Each room has a stream on the bus: its recent events, the one place that gives a `seq`. Every host with members in the room follows the stream, takes
// each event into its own journal and delivers it after that commit. What one host misses (cut off, or told late) it reads from the stream.
//
// All calls are of one core and its rooms, and answer on that core. No answer within limits::kBusTimeout: `unavailable`, and it is not known whether the call took
// effect; every call may be repeated.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/event.hpp"
#include "ringline/chat/objects.hpp"

namespace ringline::chat {

// Where a host is in a room's stream: the last event that it has, by which it is told apart from another with the same seq.
struct StreamPlace {
  std::uint64_t epoch = 1;
  std::uint64_t seq = 0;
  base::EventId id;  // 0: not known (seq 0, or trimmed long ago)
};

// An event that has no seq yet. Its body says "seq":null, once or (a message) twice; whoever gives the seq writes it there.
struct Proposal {
  static constexpr std::string_view kNoSeq = "null";
  RoomEvent entry;
  std::array<std::uint32_t, 2> seq_at{};  // of kNoSeq in the body, ascending
  unsigned seqs = 0;
  base::UserId subject;  // whose membership changes; 0: nobody's
  std::string
      key;  // unique in the room: the stream takes one event with it. The sender and his clientId, or the event's id
  bool of_all = false;  // changes what anybody may do in the room
  bool forced = false;  // acked already: taken whatever rights have changed since
};
// Of an event that has a seq of another epoch, or none. `client_id`: of a message; empty: none.
Proposal propose(const RoomEvent& entry, std::uint64_t epoch, base::UserId subject, std::string_view client_id);
// The event as it stands in the stream.
RoomEvent with_seq(const Proposal& proposal, std::uint64_t seq);

struct Verdict {
  enum class Kind : std::uint8_t {
    taken,      // at `seq`
    duplicate,  // the event with that key stands at `seq`, with the id `id`
    behind,  // the stream ends at `seq`, `id`, before the caller's place: it lost what the caller knows, who puts it back
    differs,    // at the caller's place the stream has another event: histories have parted
    stale,      // behind the caller's place the rights of the actor or the subject have changed
    gone,       // the stream was trimmed behind the caller's place: the store has what it lacks
    new_epoch,  // `epoch` is the room's, and later than the caller's
    old_epoch,  // likewise, and earlier: it is to be told that another has begun
  };
  Kind kind = Kind::taken;
  std::uint64_t seq = 0;
  base::EventId id;
  std::uint64_t epoch = 0;
};

struct StreamPage {
  std::vector<RoomEvent>
      events;  // in seq order; the first may lie further on than asked for: what is between was trimmed and is in the store
  StreamPlace last;  // where the stream ends; seq 0: there is no stream
};

// Seqs of one epoch say nothing of another.
struct StoredUpTo {
  base::RoomId room;
  std::uint64_t seq = 0;
  std::uint64_t epoch = 0;
  base::EventId id;  // of the event there
};
struct IngestClaim {
  bool ours = false;
  std::uint64_t stored = 0;  // as `Bus::stored` said last; perhaps less than the store has
  std::uint64_t epoch = 0;   // of that; 0: nothing was said
  base::EventId id;          // of the event there; 0: not known
};

// What was noted of a user lately.
struct UserNotes {
  std::vector<std::pair<base::RoomId, bool>> memberships;  // rooms that he joined, or left
  std::vector<ReadMark> marks;
};

class BusListener {
 public:
  // An event of a room that is followed, or perhaps not any more. In seq order from each origin's point of view, but with holes and repetitions.
  virtual void on_event(RoomEvent event) = 0;
  virtual void on_passing(base::RoomId room, unsigned host, std::string_view name, std::string_view body) = 0;
  // Something about a user that is followed: see Bus::tell.
  virtual void on_user(base::UserId user, std::string_view what, std::string_view body) = 0;
  // From now on nothing of the room is missed, until `on_away`. Told after each (re)subscription: what came before it is to be read.
  virtual void on_following(base::RoomId room) = 0;
  virtual void on_following(base::UserId user) = 0;  // likewise, of what is told of him: what was before it is lost
  // The bus lost what it had, or may have: each room's events since its last in the store are to be put back, then `Bus::have_put_back` is called.
  virtual void on_lost() = 0;
  // No connection, or none that may be used yet, for some rooms at least: Bus::is_there says which.
  virtual void on_away() = 0;
  virtual void on_back() = 0;  // for all

 protected:
  ~BusListener() = default;
};

class Bus {
 public:
  virtual ~Bus() = default;

  // False: calls would be answered `unavailable` at once. Of a room or a user: those about it; the bus may be several servers, of which one is away.
  virtual bool is_there() const noexcept = 0;
  virtual bool is_there(base::RoomId room) const noexcept = 0;
  virtual bool is_there(base::UserId user) const noexcept = 0;

  // Gives events of one room their seqs, in this order, and tells them to all who follow it. `known`: the caller's place; what it knows of rights is as of
  // then. There is a verdict on each up to the first that was neither taken nor a duplicate; nothing was done about those behind that.
  virtual base::Task<base::Result<std::vector<Verdict>>> append_all(std::vector<Proposal> proposals,
                                                                    StreamPlace known) = 0;
  base::Task<base::Result<Verdict>> append(Proposal proposal, StreamPlace known);
  // Events after `after`, at most limits::kFeedEvents.
  virtual base::Task<base::Result<StreamPage>> read(base::RoomId room, std::uint64_t after) = 0;
  // Where the streams end, in the order asked for.
  virtual base::Task<base::Result<std::vector<StreamPlace>>> places(std::vector<base::RoomId> rooms) = 0;
  // Adds events behind `end`, which must be where the stream ends, in base.epoch; or it is not there at all, and begins behind `base`, up to which the store
  // has everything. Conflict: it ends elsewhere.
  virtual base::Task<base::Result<void>> put_back(base::RoomId room, StreamPlace end, StreamPlace base,
                                                  std::vector<RoomEvent> events) = 0;
  // Begins the room's stream anew behind `base`, in base.epoch. Conflict: it is in that epoch or a later one already.
  virtual base::Task<base::Result<void>> begin_epoch(base::RoomId room, StreamPlace base) = 0;
  // The store has all up to these: the streams may forget it, but for what others are likely to ask for (limits::kStreamEvents). A room that is in another
  // epoch by now, or has another event there or none, is passed over.
  virtual void stored(std::vector<StoredUpTo> rooms) = 0;
  // One live host takes a room's events into the store: who claims it first, for limits::kIngestLease after each claim. In the order asked for.
  virtual base::Task<base::Result<std::vector<IngestClaim>>> claim_ingest(std::vector<base::RoomId> rooms) = 0;

  virtual void follow(base::RoomId room) = 0;
  virtual void unfollow(base::RoomId room) = 0;
  // Tells the hosts that follow the room, this one not. May be lost.
  virtual void pass(base::RoomId room, std::string_view name, std::string_view body) = 0;

  virtual void have_put_back() = 0;

  // ---- Users. A host follows those who have a connection there.
  virtual void follow(base::UserId user) = 0;
  virtual void unfollow(base::UserId user) = 0;
  // Tells the other hosts that follow him. May be lost.
  virtual void tell(base::UserId user, std::string_view what, std::string_view body) = 0;
  // Whether he is online at this host, which is forgotten limits::kPresenceAge later if it is not said again. At how many others he is.
  virtual base::Task<base::Result<unsigned>> set_presence(base::UserId user, bool online) = 0;
  // At how many other hosts each is, in the order asked for.
  virtual base::Task<base::Result<std::vector<unsigned>>> presence_of(std::vector<base::UserId> users) = 0;
  // Counts a send of his over all hosts: 0, or how long to wait in ms. `before`: when he sent at this host, wall clock, what was not counted there.
  virtual base::Task<base::Result<std::uint32_t>> take_send(base::UserId user, unsigned limit, std::int64_t window_ms,
                                                            std::vector<std::int64_t> before) = 0;
  // He joined or left the room, or has read in it: the store may not know it for a while. Kept for limits::kMembershipAge. A mark below the one that is
  // kept changes nothing.
  virtual void note_membership(base::UserId user, base::RoomId room, bool joined) = 0;
  virtual void note_mark(const ReadMark& mark) = 0;
  virtual base::Task<base::Result<UserNotes>> recent_notes(base::UserId user) = 0;
};

}  // namespace ringline::chat
