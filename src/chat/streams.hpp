// Streams: the rooms of this core where this host is one of several. A room's order is its stream on the bus; what comes from it, in any order, with holes
// and more than once, is appended here in seq order, each event once. What this host makes is proposed to the stream and comes back with its seq.
//
//   proposed   on the way; it comes back by the answer or by the subscription, whichever is first
//   queued     something was in its way: it and what is proposed behind it go in the order in which they were made, several in one call, which ends at what
//              is in the way of one
//   pending    a message that got no answer in time, on its way or queued: it is in the journal without a seq, acked and shown as such, and stays in the queue
//
// Where the stream ends before what this host has (the bus lost it), this host puts it back. Where it has another event in its place, histories have
// parted: the room begins a new epoch behind what the store has, and what is not in there is proposed anew, under the same ids.
//
// Invariant: nothing is appended but the event of HomeRoom::next_seq, and a proposed event is forgotten only when it is appended, refused, or its maker was told.
#pragma once

#include <coroutine>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "chat/ingest.hpp"
#include "chat/rooms.hpp"
#include "chat/sequencer.hpp"
#include "ringline/base/id_map.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/bus.hpp"

namespace ringline::chat {

// Coroutines that wait for something to happen; it may happen again and again.
class Signal {
 public:
  auto operator co_await() noexcept {
    struct Awaiter {
      Signal& signal;
      bool await_ready() const noexcept { return signal.ended_; }
      void await_suspend(std::coroutine_handle<> handle) { signal.waiting_.push_back(handle); }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }
  void wake() {
    for (std::coroutine_handle<> handle : std::exchange(waiting_, {})) handle.resume();
  }
  // From now on nobody waits.
  void end() {
    ended_ = true;
    wake();
  }
  bool wanted() const noexcept { return !waiting_.empty(); }

 private:
  std::vector<std::coroutine_handle<>> waiting_;
  bool ended_ = false;
};

class Streams final : public BusListener {
 public:
  static constexpr std::size_t kAheadMax =
      1024;  // events of a room that wait for what is missing before them; more are read again
  static constexpr std::size_t kProposedBytes = 1024;  // what one takes, beside its body: see Streams::takes_more
  static constexpr std::size_t kQueuedAtOnce = 128;    // proposed in one call
  static constexpr std::size_t kQueuedBytesAtOnce = 256 * 1024;  // likewise, but for one
  static constexpr unsigned kTriesMax = 16;  // of the first in a queue, each after something was in its way
  static constexpr std::size_t kPlacesAtOnce = 256;
  static constexpr std::size_t kRecoveredAtOnce = 8;        // rooms; each waits for the store most of the time
  static constexpr std::size_t kKeysAtOnce = 1024;          // read from the store, of what a run before left
  static constexpr std::size_t kSendsAtOnce = 512;          // looked for in the store
  static constexpr std::int64_t kCompareEveryMs = 5000;     // with the streams, of rooms that somebody hears
  static constexpr std::int64_t kPresenceEveryMs = 30'000;  // of who is at other hosts: one may have died
  static constexpr std::int64_t kOnlineAgeMs = 30'000;      // of a host's count
  static constexpr std::int64_t kClaimEveryMs = 1000;       // of rooms that another host takes in
  static constexpr std::int64_t kHoleMs = 100;              // what is missing is read when it has not come by then

  explicit Streams(Shard::Parts& parts) : p_(parts) {}

  bool on() const noexcept;
  // A room that was loaded: follows its stream. Resumes when all that was in it is in the room, or when the bus is away.
  base::Task<void> open(RoomId id);
  void close(RoomId id);  // it is forgotten
  bool busy(RoomId id) const noexcept;

  // From the sequencer.
  bool propose(HomeRoom& room, RoomEvent entry, Sequencer::Maker& maker);
  bool answer_duplicate(HomeRoom& room, UserId sender, std::string_view client_id, std::uint64_t client_key,
                        const ReplyTo& to);
  void on_committed(HomeRoom& room, const Event& event);
  void on_failed(HomeRoom& room);
  void on_pending(HomeRoom& room, std::uint64_t ticket, EventId id);

  // The store is in another epoch of the room.
  void parted(RoomId id);
  // Whether this host takes the room's events into the store now.
  bool takes_in(RoomId id) const noexcept;
  void stored(const std::vector<Ingest::Taken>& taken);

  // See Shard::recover.
  base::Task<bool> recover_all(std::vector<Event> events);
  void recovered() noexcept { recovering_ = false; }
  // Tickets from this one on are not to be let go by the log: pending messages are among them.
  std::uint64_t first_pending_ticket() const noexcept;
  std::size_t pending() const noexcept { return tickets_.size(); }

  // How many of a large room are at other hosts.
  void set_online(RoomId id, unsigned host, std::uint32_t count);
  std::uint32_t online(RoomId id) const noexcept;

  void on_tick(std::int64_t now_ms);
  // Whoever waits for the bus or the log is told that it does not answer: before the end.
  void end();

  void on_event(RoomEvent event) override;
  void on_passing(RoomId room, unsigned host, std::string_view name, std::string_view body) override;
  void on_user(UserId user, std::string_view what, std::string_view body) override;
  void on_following(RoomId room) override;
  void on_following(UserId user) override;
  void on_lost() override;
  void on_away() override;
  void on_back() override;

 private:
  struct Stream {
    explicit Stream(RoomId of) noexcept : room(of) {}
    RoomId id() const noexcept { return room; }
    RoomId room;
    EventId last_id;  // of HomeRoom::room.last_seq; 0: not known
    std::map<std::uint64_t, RoomEvent> ahead;
    std::int64_t hole_ms = 0;    // since when something is missing before them; 0: nothing is
    std::uint32_t proposed = 0;  // of this room
    std::uint32_t waiting = 0;   // coroutines that have a hold on it
    bool reading = false;
    bool read_ok = false;         // how the last reading ended
    bool sure = false;            // that this host has all of it: see make_sure
    bool doubted = false;         // the bus has lost something since the store was asked
    bool draining = false;        // the queue is being worked off
    bool renewing = false;        // a new epoch is being begun: nothing is appended
    bool ours = false;            // this host takes its events into the store
    std::int64_t claimed_ms = 0;  // when that was asked for last; 0: never
    std::uint64_t reads_begun = 0;
    std::uint64_t reads_done = 0;
    std::set<EventId> queue;     // ids of this core are ordered by time
    std::uint64_t compared = 0;  // up to here the room was looked through for what is in the queue
    std::uint64_t changed = 0;   // the last event that was no message: rights may have changed
    struct Online {
      std::uint32_t count;
      std::int64_t heard_ms;
    };
    std::map<unsigned, Online> online;  // of a large room, by host
    Signal read;                        // a reading has ended
    Signal settled;                     // something was committed, or failed
  };
  struct Proposed {
    RoomId room;
    Proposal proposal;
    Sequencer::Maker maker;
    std::uint64_t looked = 0;  // up to here the room has nothing with its key
    std::uint64_t there = 0;   // the room has it there; 0: nowhere, as far as it was looked through
    std::int64_t due_ms = 0;   // one that is queued is pending from then on, or did not happen
    std::size_t bytes = 0;     // that it counts for
    bool pending = false;
    bool answered = false;     // the bus said that it is taken
    std::uint64_t ticket = 0;  // in the log, of one that is pending; 0: not yet committed
  };
  // Keys of events that the room has (Proposal::key).
  struct Known {
    std::unordered_set<std::string> keys;
    std::uint64_t end = 0;  // all before it was looked at
    // Of those from `lost_from` to before `lost_end` the store cannot say what they were (it keeps nothing of what was said there, or a journal lost it): they
    // count as known, so that nothing is proposed twice.
    std::uint64_t lost_from = UINT64_MAX;
    std::uint64_t lost_end = 0;
    bool has(const std::string& key, std::uint64_t seq) const;
  };
  // Keeps a stream, and its room, from being closed while a coroutine waits for something of it.
  class Hold {
   public:
    Hold(Streams& streams, RoomId room) : streams_(streams), room_(room) { ++streams_.streams_.find(room_)->waiting; }
    ~Hold() { --streams_.streams_.find(room_)->waiting; }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Streams& streams_;
    RoomId room_;
  };

  void tell_settled(HomeRoom& room);
  void wake(RoomId id);
  StreamPlace place(const HomeRoom& room, const Stream& stream) const;
  static bool is_another(const HomeRoom& room, const Stream& stream, const Event& event);
  void hold_back(HomeRoom& room, Stream& stream, RoomEvent event);
  bool append(HomeRoom& room, RoomEvent event);
  void append_ahead(HomeRoom& room, Stream& stream);
  bool waits_for_answer(const Proposed& proposed) const noexcept;
  bool takes_more() const noexcept;
  void add(EventId id, Proposed proposed);
  Proposed forget(EventId id);

  // streams.cpp
  base::Task<void> propose_now(EventId id);
  void enqueue(EventId id);
  base::Task<void> drain(RoomId id);
  base::Task<bool> drain_some(RoomId id);
  void check_rights(RoomId id);
  std::vector<EventId> first_of_queue(const Stream& stream) const;
  bool take_if_taken(EventId id, const Verdict& verdict);
  base::Task<bool> obey(EventId id, Verdict verdict);
  bool is_same(const RoomEvent& entry, const Proposal& proposal);
  void note_there(const RoomEvent& entry);
  base::Task<bool> compare_queue(RoomId id);
  base::Task<bool> find_kept(RoomId id);
  void check_right(EventId id);
  void keep(EventId id);
  void keep_late(std::int64_t now_ms);
  base::Task<void> answer_with(EventId id, std::uint64_t seq);

  // streams_reading.cpp
  base::Task<EventId> last_id(RoomId id);
  base::Task<EventId> stored_id(RoomId id, std::uint64_t seq);
  base::Task<void> read_presence(RoomId id, bool all);
  base::Task<bool> catch_up(RoomId id);
  base::Task<bool> make_sure(RoomId id);
  base::Task<void> read_all(RoomId id);
  base::Task<bool> read_page(RoomId id, bool& more);
  base::Task<bool> read_stored(RoomId id, std::uint64_t before);
  base::Task<bool> put_back(RoomId id, StreamPlace end);
  std::vector<RoomId> rooms_to_put_back() const;
  base::Task<void> put_all_back();
  base::Task<void> compare(std::vector<RoomId> rooms);
  base::Task<void> catch_up_alone(RoomId id);
  std::vector<RoomId> to_claim(std::int64_t now_ms) const;
  base::Task<void> claim(std::vector<RoomId> rooms);
  void claim_if_due(std::int64_t now_ms);
  void take_stored(HomeRoom& room, std::uint64_t seq, EventId id);

  // streams_recovery.cpp
  struct Recovering {
    std::map<RoomId, std::vector<RoomEvent>> rooms;  // that are left
    std::size_t running = 0;
    bool ok = true;
    Signal done;  // one of those that are running
  };
  base::Task<void> recover_some(Recovering& all);
  base::Task<bool> recover(RoomId id, std::vector<RoomEvent> entries);
  base::Task<base::Result<std::vector<StoredEvent>>> stored_after(RoomId id, std::uint64_t after, std::size_t count);
  base::Task<base::Result<std::vector<std::uint64_t>>> kept_at(RoomId id, std::vector<RoomEvent> entries);
  base::Task<base::Result<Known>> read_keys(RoomId id, Known known, std::uint64_t end);
  base::Task<base::Result<Known>> read_on(RoomId id, Known known);
  base::Task<bool> append_all(RoomId id, std::vector<RoomEvent> entries);
  static std::uint64_t first_wanted(const HomeRoom& room, const std::vector<RoomEvent>& entries);
  base::Task<base::Result<std::vector<RoomEvent>>> without_kept(RoomId id, std::vector<RoomEvent> entries);
  base::Task<bool> propose_all_again(RoomId id, std::vector<RoomEvent> entries, std::uint64_t looked);

  // streams_epoch.cpp
  base::Task<bool> renew(RoomId id);
  base::Task<void> renew_alone(RoomId id);
  base::Task<bool> skip_to(RoomId id, std::uint64_t seq);
  base::Task<bool> begin_anew(RoomId id, std::uint64_t epoch, std::uint64_t least);
  base::Task<bool> begin_epoch(RoomId id, std::uint64_t epoch);
  base::Task<bool> reload(RoomId id, std::uint64_t least);
  void propose_again(HomeRoom& room, const RoomEvent& entry, std::uint64_t looked, std::uint64_t ticket);

  Shard::Parts& p_;
  base::IdMap<RoomId, Stream> streams_;
  std::unordered_map<EventId, Proposed> proposed_;
  std::size_t proposed_bytes_ = 0;
  std::unordered_multimap<std::uint64_t, EventId> by_key_;  // of these, the sends: by RoomEvent::client_key
  std::set<std::pair<std::int64_t, EventId>> late_;         // likewise, those that were queued: by Proposed::due_ms
  std::multiset<std::uint64_t> tickets_;                    // of pending messages
  std::set<RoomId> with_ahead_;                             // rooms with something in Stream::ahead
  std::set<RoomId> with_queue_;
  Signal tick_;
  bool recovering_ = false;
  bool ended_ = false;
  std::uint64_t losses_ = 0;  // how often the bus said that it lost something
  bool putting_back_ = false;
  std::int64_t compared_ms_ = 0;
  bool comparing_ = false;
  std::int64_t claimed_ms_ = 0;
  std::int64_t presence_ms_ = 0;
  bool claiming_ = false;
};

}  // namespace ringline::chat
