// Ledger: what was sent, what came, and whether it came once, whole and in order. No sockets: it is told.
//
// Loss is judged by totals (each message of a room is expected once by each of its members), order by RoomOrder, the server's own numbering by
// `seq`, which must grow by exactly one from one room event to the next on each connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "histogram.hpp"
#include "marker.hpp"
#include "order.hpp"

namespace ringline::bench {

struct Totals {
  std::uint64_t sent = 0;
  std::uint64_t expected = 0;    // deliveries of what was sent
  std::uint64_t deliveries = 0;  // all that came, duplicates too
  std::uint64_t bytes = 0;       // their frames' payload
  std::uint64_t answers = 0;
  std::uint64_t refused = 0;  // sends answered with an error
  std::uint64_t duplicates = 0;
  std::uint64_t out_of_order = 0;
  std::uint64_t seq_gaps = 0;
  std::uint64_t misdelivered = 0;  // of another room or run
  std::uint64_t damaged = 0;       // marker or JSON is not what was sent
  std::uint64_t sampled = 0;       // deliveries that were parsed as JSON

  std::uint64_t wrong() const noexcept {
    return duplicates + out_of_order + seq_gaps + misdelivered + damaged + refused;
  }
  std::int64_t outstanding() const noexcept {
    return static_cast<std::int64_t>(expected) - static_cast<std::int64_t>(deliveries - duplicates);
  }
  Totals operator-(const Totals& before) const noexcept;
};

class Ledger {
 public:
  Ledger(std::uint32_t run, unsigned connections, unsigned room_size);

  // Latencies of messages intended within [from, to) are recorded.
  void measure(std::int64_t from_ns, std::int64_t to_ns) noexcept;
  bool measured(std::int64_t intended_ns) const noexcept { return intended_ns >= from_ns_ && intended_ns < to_ns_; }

  // `delivered`: each member of the room will get it.
  Marker next_message(std::uint32_t sender, std::int64_t intended_ns, bool delivered = true);
  // Something else than a message was asked for: it is answered and delivered to nobody.
  void on_asked() noexcept { ++totals_.sent; }
  // Whoever comes back begins from the highest seq he has seen: his own, or what the room had when he joined.
  std::int64_t go_on_from(std::uint32_t connection, std::int64_t joined_seq) noexcept;
  void on_event_seq(std::uint32_t connection, std::int64_t seq) noexcept;
  // `timed`: its latency counts. It does not when it was kept for somebody who was away.
  void on_delivery(std::uint32_t connection, const Marker& marker, std::int64_t seq, std::size_t bytes,
                   std::int64_t now_ns, bool timed = true);
  void on_damaged() noexcept { ++totals_.damaged; }
  void on_sampled(bool well_formed) noexcept;
  void on_answer(bool ok, std::int64_t intended_ns, std::int64_t now_ns) noexcept;
  void on_left(std::uint32_t connection);
  // After losses: everybody counts as up to date, so that one step's fault is not the next one's.
  void forgive() noexcept;

  const Totals& totals() const noexcept { return totals_; }
  const Histogram& latency() const noexcept { return latency_; }
  const Histogram& answer_latency() const noexcept { return answer_latency_; }
  std::uint64_t over(std::int64_t bound_ns) noexcept { return bound_ns == bound_ns_ ? over_bound_ : 0; }
  void set_bound(std::int64_t bound_ns) noexcept { bound_ns_ = bound_ns; }

 private:
  struct Member {
    Position position;
    std::int64_t last_seq = -1;
    std::uint32_t sent = 0;
    std::uint32_t newest = 0;  // of its messages, the highest counter that anybody got
    bool gone = false;
  };
  struct Room {
    RoomOrder order;
    std::uint32_t members = 0;
  };
  std::uint32_t room_of(std::uint32_t connection) const noexcept { return connection / room_size_; }
  void make_room(std::uint32_t room);

  std::uint32_t run_;
  std::uint32_t room_size_;
  std::vector<Member> members_;
  std::vector<Room> rooms_;
  Totals totals_;
  Histogram latency_;
  Histogram answer_latency_;
  std::int64_t from_ns_ = 0;
  std::int64_t to_ns_ = 0;
  std::int64_t bound_ns_ = INT64_MAX;
  std::uint64_t over_bound_ = 0;  // measured deliveries that took longer
};

}  // namespace ringline::bench
