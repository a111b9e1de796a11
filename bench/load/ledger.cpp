#include "ledger.hpp"

#include <algorithm>

#include "ringline/base/assert.hpp"

namespace ringline::bench {

Totals Totals::operator-(const Totals& before) const noexcept {
  return {.sent = sent - before.sent,
          .expected = expected - before.expected,
          .deliveries = deliveries - before.deliveries,
          .bytes = bytes - before.bytes,
          .answers = answers - before.answers,
          .refused = refused - before.refused,
          .duplicates = duplicates - before.duplicates,
          .out_of_order = out_of_order - before.out_of_order,
          .seq_gaps = seq_gaps - before.seq_gaps,
          .misdelivered = misdelivered - before.misdelivered,
          .damaged = damaged - before.damaged,
          .sampled = sampled - before.sampled};
}

Ledger::Ledger(std::uint32_t run, unsigned connections, unsigned room_size)
    : run_(run), room_size_(room_size), members_(connections), rooms_((connections + room_size - 1) / room_size) {
  for (std::uint32_t i = 0; i < connections; ++i) ++rooms_[room_of(i)].members;
}

void Ledger::measure(std::int64_t from_ns, std::int64_t to_ns) noexcept {
  from_ns_ = from_ns;
  to_ns_ = to_ns;
  latency_.clear();
  answer_latency_.clear();
  over_bound_ = 0;
}

Marker Ledger::next_message(std::uint32_t sender, std::int64_t intended_ns, bool delivered) {
  const std::uint32_t room = room_of(sender);
  ++totals_.sent;
  if (delivered) totals_.expected += rooms_[room].members;
  return {.run = run_, .room = room, .sender = sender, .counter = ++members_[sender].sent, .intended_ns = intended_ns};
}

std::int64_t Ledger::go_on_from(std::uint32_t connection, std::int64_t joined_seq) noexcept {
  Member& member = members_[connection];
  return member.last_seq = std::max(member.last_seq, joined_seq);
}

void Ledger::on_event_seq(std::uint32_t connection, std::int64_t seq) noexcept {
  if (seq < 0) return;
  Member& member = members_[connection];
  if (member.last_seq >= 0 && seq != member.last_seq + 1) ++totals_.seq_gaps;
  member.last_seq = std::max(member.last_seq, seq);
}

void Ledger::on_delivery(std::uint32_t connection, const Marker& marker, std::int64_t seq, std::size_t bytes,
                         std::int64_t now_ns, bool timed) {
  const std::uint32_t room = room_of(connection);
  if (marker.run != run_ || marker.room != room || marker.sender >= members_.size() || room_of(marker.sender) != room) {
    ++totals_.misdelivered;
    return;
  }
  ++totals_.deliveries;
  totals_.bytes += bytes;
  on_event_seq(connection, seq);
  if (rooms_[room].order.full()) make_room(room);
  Member& sender = members_[marker.sender];
  const Verdict verdict =
      rooms_[room].order.take(members_[connection].position, marker.key(), marker.counter > sender.newest);
  sender.newest = std::max(sender.newest, marker.counter);
  switch (verdict) {
    case Verdict::in_order:
    case Verdict::skipped:
      break;
    case Verdict::duplicate:
      ++totals_.duplicates;
      return;
    case Verdict::late:
    case Verdict::unknown:
      ++totals_.out_of_order;
      break;
  }
  if (!timed || !measured(marker.intended_ns)) return;
  const std::int64_t took_ns = now_ns - marker.intended_ns;
  latency_.record(took_ns);
  if (took_ns > bound_ns_) ++over_bound_;
}

void Ledger::on_sampled(bool well_formed) noexcept {
  ++totals_.sampled;
  if (!well_formed) ++totals_.damaged;
}

void Ledger::on_answer(bool ok, std::int64_t intended_ns, std::int64_t now_ns) noexcept {
  ++totals_.answers;
  if (!ok) ++totals_.refused;
  if (ok && measured(intended_ns)) answer_latency_.record(now_ns - intended_ns);
}

void Ledger::on_left(std::uint32_t connection) {
  Member& member = members_[connection];
  ASSERT(!member.gone);
  member.gone = true;
  --rooms_[room_of(connection)].members;
}

void Ledger::make_room(std::uint32_t room) {
  std::uint64_t slowest = rooms_[room].order.end();
  const std::size_t end = std::min<std::size_t>(std::size_t{room + 1} * room_size_, members_.size());
  for (std::size_t i = std::size_t{room} * room_size_; i < end; ++i) {
    if (!members_[i].gone) slowest = std::min(slowest, members_[i].position.next);
  }
  rooms_[room].order.make_room(slowest);
}

void Ledger::forgive() noexcept {
  totals_.expected = totals_.deliveries - totals_.duplicates;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    members_[i].position.next = rooms_[room_of(i)].order.end();
    members_[i].position.skipped.reset();
  }
}

}  // namespace ringline::bench
