// Witness: what people at several hosts were told of the same rooms, held against each other. No sockets: it is told.
//
// Within an epoch of a room everybody gets the same event at the same seq, each seq once and none left out; a hole is allowed only to who is then told to
// load the room anew (`resumed` with complete:false, `room_reset`). What was acked comes to everybody, once, under the id that was acked, however often it was
// sent. Messages are known by their markers, so that nothing of the server's is taken for granted.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "histogram.hpp"
#include "marker.hpp"

namespace ringline::bench {

inline constexpr std::size_t kSentMax = 1U << 22;  // messages of a run; all are remembered
inline constexpr std::size_t kSeenMax = 1U << 23;  // events likewise
inline constexpr std::size_t kWrongMax = 20;       // of what is wrong, told word for word

struct Point {
  std::uint64_t epoch = 0;
  std::uint64_t seq = 0;
  auto operator<=>(const Point&) const = default;
};

// A room event as somebody got it. `seq` 0: pending, not in the order yet.
struct Event {
  Point at;
  std::uint64_t id = 0;
  std::optional<Marker> message;  // of one that made a message of ours
};

struct Resumed {
  std::uint32_t room = 0;
  Point to;
  bool complete = false;
};

// The answer that a send was taken.
struct Taken {
  std::uint64_t id = 0;
  std::uint64_t seq = 0;  // 0: pending
  bool duplicate = false;
  bool pending = false;
  bool same_text = true;
};

struct Sent {
  Marker marker;
  std::uint32_t asked = 0;  // how often
  std::uint32_t host = 0;   // asked last
  bool acked = false;
  bool pending = false;     // acked so
  bool forgotten = false;   // acked as pending at a host that is no more
  std::uint64_t id = 0;     // as acked; 0: not acked
  std::uint64_t seq = 0;    // likewise
  std::uint64_t shown = 0;  // the id under which it came as pending
  std::uint64_t event = 0;  // the id under which it stands in the order
  Point at;

  // Two hosts that cannot speak to each other may both keep one that was sent to both: the first to come back wins.
  bool certain() const noexcept { return !pending || asked == 1; }
};

struct Counts {
  std::uint64_t sent = 0;
  std::uint64_t acked = 0;
  std::uint64_t pending = 0;
  std::uint64_t duplicates = 0;  // answered as such
  std::uint64_t refused = 0;     // answers that it is to be sent again
  std::uint64_t events = 0;
  std::uint64_t resumed = 0;  // rooms
  std::uint64_t reloads = 0;  // rooms that were to be loaded anew
};

struct Latencies {
  Histogram ack;
  Histogram same_host;
  Histogram other_host;
};

class Witness {
 public:
  Witness(std::uint32_t run, unsigned people, unsigned rooms);

  // Sending. Counters of a person begin with 1 and have no gaps.
  const Sent& send(std::uint32_t person, std::uint32_t room, std::int64_t intended_ns);
  const Sent& sent(std::uint32_t person, std::uint32_t counter) const { return people_[person].sent[counter - 1]; }
  void on_asked(std::uint32_t person, std::uint32_t counter, std::uint32_t host);
  void on_taken(std::uint32_t person, std::uint32_t counter, const Taken& answer, std::int64_t now_ns);
  // What was acked as pending so far may be lost: the host that had it is, with its disk.
  void forget_pending();
  void on_refused(std::string_view error, bool again);
  bool full() const noexcept { return counts_.sent >= kSentMax || seen_ >= kSeenMax; }

  // A person's connection. `host`: where he is now.
  void on_connected(std::uint32_t person, std::uint32_t host, bool resumes);
  // He is to say `point` when he comes back, and not what he knew before.
  void on_left(std::uint32_t person);
  void on_event(std::uint32_t person, std::uint32_t room, const Event& event, std::int64_t now_ns);
  void on_reset(std::uint32_t person, std::uint32_t room, Point point);
  void on_resumed(std::uint32_t person, const std::vector<Resumed>& rooms);
  std::optional<Point> point(std::uint32_t person, std::uint32_t room) const;

  // Latencies of what is sent and comes from now on are those of quiet times, or not.
  void set_quiet(bool quiet, std::int64_t now_ns) noexcept;

  void fail(std::string what);
  // Why not all is as it must be in the end; empty: it is. Everybody is to be connected.
  std::string unrest() const;
  // What can be judged only then.
  void conclude();

  const Counts& counts() const noexcept { return counts_; }
  const Latencies& quiet() const noexcept { return quiet_; }
  const Latencies& all() const noexcept { return all_; }
  std::uint64_t wrong_count() const noexcept { return wrong_count_; }
  const std::vector<std::string>& wrong() const noexcept { return wrong_; }
  std::string client_id(const Marker& marker) const;
  // For the audit of what is kept.
  template <class Visit>
  void each_sent(Visit visit) const {
    for (const Person& person : people_)
      for (const Sent& sent : person.sent) visit(sent);
  }
  template <class Visit>
  void each_seen(Visit visit) const {
    for (std::uint32_t room = 0; room < rooms_.size(); ++room)
      for (const auto& [at, id] : rooms_[room].seen) visit(room, at, id);
  }

 private:
  struct Place {  // of a person in a room
    Point at;     // seq 0: he has got nothing yet
    // While he resumes: it may be a room that he is to load anew. Who leaves before that is said begins once more from before it.
    std::optional<std::string> hole;
    Point before_hole;
    bool heard = false;     // while he resumes
    bool claimed = false;   // he has said where he was
    bool reloaded = false;  // once at least: not all has come to him
  };
  struct Person {
    std::vector<Sent> sent;
    std::vector<Place> places;  // by room
    std::uint32_t host = 0;
    bool resuming = false;
  };
  struct Room {
    std::map<Point, std::uint64_t> seen;
    unsigned reloaded = 0;    // people
    std::int64_t unseen = 0;  // acked, and nobody has got it
  };

  Sent& sent_of(const Marker& marker) { return people_[marker.sender].sent[marker.counter - 1]; }
  void take_message(std::uint32_t person, std::uint32_t room, const Event& event, std::int64_t now_ns);
  void place(Sent& sent, Room& room, const Event& event);
  void time(Histogram Latencies::* which, std::int64_t intended_ns, std::int64_t now_ns);
  void reload(std::uint32_t person, std::uint32_t room) noexcept;
  // Somebody has got all of it, in one epoch.
  bool is_whole(std::uint32_t room) const noexcept { return rooms_[room].reloaded < people_.size(); }
  std::string text_of(std::uint32_t room, Point at) const;
  void judge(const Sent& sent);

  std::uint32_t run_;
  std::vector<Person> people_;
  std::vector<Room> rooms_;
  Counts counts_;
  Latencies quiet_;
  Latencies all_;
  std::optional<std::int64_t> quiet_since_ns_;
  std::size_t seen_ = 0;
  std::uint64_t wrong_count_ = 0;
  std::vector<std::string> wrong_;
};

}  // namespace ringline::bench
