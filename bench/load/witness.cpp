#include "witness.hpp"

#include <fmt/format.h>

#include <utility>

#include "ringline/base/assert.hpp"

namespace ringline::bench {

Witness::Witness(std::uint32_t run, unsigned people, unsigned rooms) : run_(run), people_(people), rooms_(rooms) {
  for (Person& person : people_) person.places.resize(rooms);
}

std::string Witness::client_id(const Marker& marker) const {
  return fmt::format("{:08x}-{}-{}", run_, marker.sender, marker.counter);
}

std::string Witness::text_of(std::uint32_t room, Point at) const {
  return fmt::format("room {}, epoch {}, seq {}", room, at.epoch, at.seq);
}

void Witness::fail(std::string what) {
  ++wrong_count_;
  if (wrong_.size() < kWrongMax) wrong_.push_back(std::move(what));
}

// Sending.

const Sent& Witness::send(std::uint32_t person, std::uint32_t room, std::int64_t intended_ns) {
  auto& sent = people_[person].sent;
  ++counts_.sent;
  return sent.emplace_back(Sent{.marker = {.run = run_,
                                           .room = room,
                                           .sender = person,
                                           .counter = static_cast<std::uint32_t>(sent.size() + 1),
                                           .intended_ns = intended_ns}});
}

void Witness::on_asked(std::uint32_t person, std::uint32_t counter, std::uint32_t host) {
  Sent& sent = people_[person].sent[counter - 1];
  ++sent.asked;
  sent.host = host;
}

void Witness::on_taken(std::uint32_t person, std::uint32_t counter, const Taken& answer, std::int64_t now_ns) {
  Sent& sent = people_[person].sent[counter - 1];
  if (sent.acked) return fail(fmt::format("{} was answered twice", client_id(sent.marker)));
  if (!answer.same_text) fail(fmt::format("{} was answered with another text", client_id(sent.marker)));
  if (answer.id == 0) fail(fmt::format("{} was answered without an id", client_id(sent.marker)));
  sent.acked = true;
  sent.pending = answer.pending;
  sent.id = answer.id;
  sent.seq = answer.seq;
  ++counts_.acked;
  if (answer.duplicate) ++counts_.duplicates;
  if (answer.pending) ++counts_.pending;
  if (sent.event == 0) ++rooms_[sent.marker.room].unseen;
  time(&Latencies::ack, sent.marker.intended_ns, now_ns);
  judge(sent);
}

void Witness::forget_pending() {
  for (Person& person : people_) {
    for (Sent& sent : person.sent) {
      if (!sent.pending || sent.forgotten) continue;
      sent.forgotten = true;
      if (sent.event == 0) --rooms_[sent.marker.room].unseen;
    }
  }
}

void Witness::on_refused(std::string_view error, bool again) {
  ++counts_.refused;
  if (!again) fail(fmt::format("a send was answered: {}", error));
}

// A person's connection.

void Witness::on_connected(std::uint32_t person, std::uint32_t host, bool resumes) {
  Person& one = people_[person];
  one.host = host;
  one.resuming = resumes;
  for (Place& place : one.places) {
    place.heard = false;
    place.claimed = place.at.seq > 0;
  }
}

void Witness::on_left(std::uint32_t person) {
  for (Place& place : people_[person].places)
    if (std::exchange(place.hole, {})) place.at = place.before_hole;
}

std::optional<Point> Witness::point(std::uint32_t person, std::uint32_t room) const {
  const Point at = people_[person].places[room].at;
  return at.seq > 0 ? std::optional(at) : std::nullopt;
}

void Witness::on_event(std::uint32_t person, std::uint32_t room, const Event& event, std::int64_t now_ns) {
  if (event.message) take_message(person, room, event, now_ns);
  if (event.at.seq == 0) return;
  ++counts_.events;
  if (seen_ < kSeenMax) {
    const auto [known, first] = rooms_[room].seen.try_emplace(event.at, event.id);
    if (first) ++seen_;
    if (known->second != event.id)
      fail(fmt::format("{} was {}, and is {}", text_of(room, event.at), known->second, event.id));
  }
  Person& one = people_[person];
  Place& place = one.places[room];
  const bool follows = place.at.seq == 0 || event.at == Point{place.at.epoch, place.at.seq + 1};
  if (!follows) {
    std::string hole = fmt::format("person {}: {} after epoch {}, seq {}", person, text_of(room, event.at),
                                   place.at.epoch, place.at.seq);
    if (!one.resuming) fail(std::move(hole));
    if (one.resuming && !place.hole) {
      place.hole = std::move(hole);
      place.before_hole = place.at;
    }
  }
  place.heard = true;
  place.at = event.at;
}

void Witness::take_message(std::uint32_t person, std::uint32_t room, const Event& event, std::int64_t now_ns) {
  const Marker& marker = *event.message;
  const bool known =
      marker.sender < people_.size() && marker.counter > 0 && marker.counter <= people_[marker.sender].sent.size();
  if (!known || sent_of(marker).marker != marker || marker.room != room)
    return fail(fmt::format("{} is a message that nobody has sent there", text_of(room, event.at)));
  Sent& sent = sent_of(marker);
  if (event.at.seq == 0) {
    sent.shown = event.id;
  } else {
    place(sent, rooms_[room], event);
  }
  const Person& one = people_[person];
  const bool same_host = one.host == sent.host;
  // What was kept for who was away is not timed; nor what he has got as pending before.
  if (one.resuming || person == marker.sender || (same_host && event.at.seq > 0 && sent.shown != 0)) return;
  time(same_host ? &Latencies::same_host : &Latencies::other_host, marker.intended_ns, now_ns);
}

// A message stands at one place of an epoch, under one id.
void Witness::place(Sent& sent, Room& room, const Event& event) {
  if (sent.event == 0) {
    sent.event = event.id;
    sent.at = event.at;
    if (sent.acked && !sent.forgotten) --room.unseen;
    judge(sent);
    return;
  }
  const std::string name = client_id(sent.marker);
  if (sent.event != event.id) fail(fmt::format("{} is there as {} and as {}", name, sent.event, event.id));
  if (sent.at.epoch == event.at.epoch && sent.at.seq != event.at.seq)
    fail(fmt::format("{} is there twice: {} and seq {}", name, text_of(sent.marker.room, event.at), sent.at.seq));
  sent.at = event.at;
}

// Of an answer and an event: the same id. Seqs may differ where epochs do, which is known in the end.
void Witness::judge(const Sent& sent) {
  const bool both = sent.acked && !sent.forgotten && sent.event != 0;
  if (both && sent.certain() && sent.id != sent.event)
    fail(fmt::format("{} was acked as {}, and has come as {}", client_id(sent.marker), sent.id, sent.event));
}

void Witness::reload(std::uint32_t person, std::uint32_t room) noexcept {
  ++counts_.reloads;
  if (!std::exchange(people_[person].places[room].reloaded, true)) ++rooms_[room].reloaded;
}

void Witness::on_reset(std::uint32_t person, std::uint32_t room, Point point) {
  reload(person, room);
  people_[person].places[room].at = point;
}

void Witness::on_resumed(std::uint32_t person, const std::vector<Resumed>& rooms) {
  Person& one = people_[person];
  if (!one.resuming) fail(fmt::format("person {}: resumed without having asked", person));
  for (const Resumed& room : rooms) {
    Place& place = one.places[room.room];
    ++counts_.resumed;
    place.claimed = false;
    if (!room.complete) {
      reload(person, room.room);
      place.hole.reset();
      if (!place.heard) place.at = room.to;
      continue;
    }
    if (place.hole) fail(*std::exchange(place.hole, {}));
    if (place.at.seq < room.to.seq || place.at.epoch != room.to.epoch)
      fail(fmt::format("person {}: resumed to {}, has got epoch {}, seq {}", person, text_of(room.room, room.to),
                       place.at.epoch, place.at.seq));
  }
  for (std::uint32_t room = 0; one.resuming && room < one.places.size(); ++room)
    if (one.places[room].claimed) fail(fmt::format("person {}: resumed without a word of room {}", person, room));
  one.resuming = false;
}

// Times.

void Witness::set_quiet(bool quiet, std::int64_t now_ns) noexcept {
  if (!quiet) quiet_since_ns_.reset();
  if (quiet && !quiet_since_ns_) quiet_since_ns_ = now_ns;
}

void Witness::time(Histogram Latencies::* which, std::int64_t intended_ns, std::int64_t now_ns) {
  (all_.*which).record(now_ns - intended_ns);
  if (quiet_since_ns_ && intended_ns >= *quiet_since_ns_) (quiet_.*which).record(now_ns - intended_ns);
}

// The end.

std::string Witness::unrest() const {
  for (std::uint32_t i = 0; i < people_.size(); ++i) {
    if (people_[i].resuming) return fmt::format("person {} is not told that all has come", i);
    for (const Sent& sent : people_[i].sent)
      if (!sent.acked) return fmt::format("person {} has no answer to {}", i, client_id(sent.marker));
  }
  for (std::uint32_t room = 0; room < rooms_.size(); ++room) {
    const Point first = people_.front().places[room].at;
    for (std::uint32_t i = 1; i < people_.size(); ++i) {
      const Point at = people_[i].places[room].at;
      if (at != first)
        return fmt::format("room {}: person 0 is at epoch {}, seq {}, person {} at epoch {}, seq {}", room, first.epoch,
                           first.seq, i, at.epoch, at.seq);
    }
    if (is_whole(room) && rooms_[room].unseen > 0)
      return fmt::format("room {}: {} that were acked have come to nobody", room, rooms_[room].unseen);
  }
  return {};
}

void Witness::conclude() {
  each_sent([this](const Sent& sent) {
    if (!is_whole(sent.marker.room) || !sent.acked || sent.forgotten) return;
    const std::string name = client_id(sent.marker);
    if (sent.event == 0) return fail(fmt::format("{} was acked as {}, and has come to nobody", name, sent.id));
    if (sent.seq != 0 && sent.seq != sent.at.seq)
      fail(fmt::format("{} was acked at seq {}, and has come at {}", name, sent.seq, sent.at.seq));
    if (sent.shown != 0 && sent.asked == 1 && sent.shown != sent.event)
      fail(fmt::format("{} was shown as {}, and has come as {}", name, sent.shown, sent.event));
  });
}

}  // namespace ringline::bench
