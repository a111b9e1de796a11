// See sequencer.hpp.
#include "chat/sequencer.hpp"

#include <algorithm>
#include <ranges>

#include "chat/effects.hpp"
#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/fetch.hpp"

namespace ringline::chat {

namespace {
constexpr std::size_t kFetchAhead = 3;  // rooms: into the cache, while those before them are told
}

std::string_view message_answer(Parts& p, std::string_view message, bool duplicate, bool pending) {
  p.body.clear();
  p.body.begin_object().key("message").raw(message);
  if (duplicate) p.body.key("duplicate").boolean(true);
  if (pending) p.body.key("pending").boolean(true);
  return p.body.end_object().view();
}

bool is_send(Parts& p, const RoomEvent& entry, UserId sender, std::string_view client_id) {
  if (entry.event.actor != sender) return false;
  const Value* body = p.scratch.parse(entry.event.body.view());
  return body && base::json::find_string(*body, "clientId") == client_id;
}

void Sequencer::begin_body(HomeRoom& room, const Person& actor, Event& event) {
  event.room = room.room.id;
  event.seq = room.streamed ? 0 : room.next_seq;
  event.epoch = room.room.epoch;
  event.at_ms = base::wall_ms();
  event.id = EventId{p_.ids.next(event.at_ms)};
  event.actor = actor.id;
  p_.body.clear();
  begin_event(p_.body, event, actor.username());
}

bool Sequencer::submit() {
  Pending& pending = pending_.back();
  pending.entry.event.body = base::Blob::copy_of(p_.body.view());
  HomeRoom& room = *pending.room;
  if (room.streamed) {
    RoomEvent entry = std::move(pending.entry);
    Maker maker = std::move(pending.maker);
    pending_.pop_back();
    return p_.streams.propose(room, std::move(entry), maker);
  }
  if (!append_last()) return false;
  if (pending.maker.subject) room.changing.push_back(pending.maker.subject->id);
  return true;
}

bool Sequencer::append(HomeRoom& room, RoomEvent entry, Maker& maker) {
  Pending& pending = pending_.emplace_back();
  pending.room = &room;
  pending.entry = std::move(entry);
  if (!append_last()) return false;
  pending.maker = std::move(maker);
  return true;
}

bool Sequencer::append_last() {
  Pending& pending = pending_.back();
  HomeRoom& room = *pending.room;
  const RoomEvent& entry = pending.entry;
  pending.ticket = p_.o.metrics.tail_bytes > p_.o.tail_bytes ? 0 : p_.o.log.append(entry.event);
  if (pending.ticket == 0) {
    pending_.pop_back();
    return false;
  }
  if (entry.event.seq != 0) ++room.next_seq;
  ++room.uncommitted;
  if (entry.client_key) p_.seen.add(entry.client_key, entry.event.at_ms);
  return true;
}

bool Sequencer::answer_duplicate(HomeRoom& room, UserId sender, std::string_view client_id, std::uint64_t client_key,
                                 const ReplyTo& to) {
  for (const RoomEvent& entry : room.tail.entries() | std::views::reverse) {
    if (entry.client_key != client_key || !is_send(p_, entry, sender, client_id)) continue;
    ++p_.o.metrics.duplicates;
    answer(p_, to, message_answer(p_, entry.message(), true));
    return true;
  }
  for (auto pending = pending_.rbegin(); room.uncommitted > 0 && pending != pending_.rend(); ++pending) {
    if (pending->room != &room || pending->entry.client_key != client_key) continue;
    if (!is_send(p_, pending->entry, sender, client_id)) continue;
    ++p_.o.metrics.duplicates;
    pending->maker.duplicates.push_back(to);
    return true;
  }
  return room.streamed && p_.streams.answer_duplicate(room, sender, client_id, client_key, to);
}

// Of many rooms none is in the cache.
void Sequencer::fetch(const Pending& pending) const noexcept {
  base::fetch_lines(pending.room, sizeof *pending.room);
  p_.delivery.fetch(pending.entry.event.room);
}

void Sequencer::on_committed(std::uint64_t last) {
  outgoing_.resize(p_.o.cores);
  const std::int64_t now_ns = base::monotonic_ns();
  while (!pending_.empty() && pending_.front().ticket <= last) {
    if (pending_.size() > kFetchAhead) fetch(pending_[kFetchAhead]);
    commit(pending_.front(), now_ns);
    pending_.pop_front();
  }
  post_deliveries();
  run_ready();
}

// What waited for a membership to be settled; it may append, which changes pending_.
void Sequencer::run_ready() {
  std::vector<std::move_only_function<void()>> ready = std::move(ready_);
  ready_.clear();
  for (auto& run : ready) run();
}

void Sequencer::commit(Pending& pending, std::int64_t now_ns) {
  HomeRoom& room = *pending.room;
  const Event& event = pending.entry.event;
  --room.uncommitted;
  if (event.seq == 0) return commit_pending(pending);
  ASSERT(event.seq == room.room.last_seq + 1);
  room.room.last_seq = event.seq;
  room.room.updated_ms = event.at_ms;
  p_.o.metrics.tail_bytes += event.body.size();
  ++p_.o.metrics.tail_events;
  ++p_.o.metrics.events;
  room.tail.push_back(pending.entry);
  Maker& maker = pending.maker;
  UserId subject;
  if (event.kind == EventKind::message_created) {
    ++room.room.message_count;
    ++p_.o.metrics.messages;
    if (HomeMember* sender = room.find(event.actor)) p_.marks.sent(room, *sender);
    room.last_message = {event.body, pending.entry.message_at, pending.entry.message_size};
    room.last_message_seq = event.seq;
    if (maker.asks()) p_.o.metrics.ack_seconds.record(now_ns - maker.arrived_ns);
    answer_message(pending);
  } else {
    subject = take_effect(p_, room, event, maker.subject);
  }
  p_.ingest.add(pending.ticket, event, subject);
  if (room.streamed) p_.streams.on_committed(room, event);
  if (maker.then) maker.then(room, Outcome::committed);
  for (unsigned core = 0; core < room.listeners.size(); ++core)
    if (room.listeners[core] > 0)
      outgoing_[core].push_back(
          {event.room, event.seq, event.kind, event.body, event.kind == EventKind::member_left ? subject : UserId{}});
  if (maker.subject) settle(room, maker.subject->id);
}

// A message that is kept and has no seq: it is shown, and stands behind all others.
void Sequencer::commit_pending(Pending& pending) {
  HomeRoom& room = *pending.room;
  p_.streams.on_pending(room, pending.ticket, pending.entry.event.id);
  if (pending.entry.event.kind != EventKind::message_created) return;  // of an epoch that has ended
  const std::string_view message = pending.entry.message();
  if (pending.maker.asks()) answer(p_, pending.maker.to, message_answer(p_, message, false, true));
  for (const ReplyTo& to : pending.maker.duplicates) answer(p_, to, message_answer(p_, message, true, true));
  p_.rooms.pass_here(room, std::string(name_of(pending.entry.event.kind)),
                     std::string(pending.entry.event.body.view()));
}

void Sequencer::answer_message(const Pending& pending) {
  std::string_view message = pending.entry.message();
  if (pending.maker.asks()) answer(p_, pending.maker.to, message_answer(p_, message, false));
  for (const ReplyTo& to : pending.maker.duplicates) answer(p_, to, message_answer(p_, message, true));
}

// The subject's membership is what it is now: what waited for it runs after this commit is told.
void Sequencer::settle(HomeRoom& room, UserId subject) {
  if (auto found = std::ranges::find(room.changing, subject); found != room.changing.end()) room.changing.erase(found);
  for (auto& waiting : room.after_change) ready_.push_back(std::move(waiting));
  room.after_change.clear();
}

void Sequencer::post_deliveries() {
  for (unsigned core = 0; core < outgoing_.size(); ++core) {
    if (outgoing_[core].empty()) continue;
    p_.on(core, [events = std::move(outgoing_[core])](Parts& there) {
      for (const Delivered& event : events) there.delivery.deliver(event);
    });
    outgoing_[core].clear();
  }
}

void Sequencer::fail(HomeRoom& room, EventKind kind, Maker maker, Outcome outcome, const Error& error) {
  if (kind == EventKind::message_created && maker.asks()) answer(p_, maker.to, error);
  for (const ReplyTo& to : maker.duplicates) answer(p_, to, error);
  if (kind == EventKind::room_created) room.beginning = false;
  if (maker.then) maker.then(room, outcome);
  if (maker.subject) settle(room, maker.subject->id);
}

void Sequencer::on_failed(std::uint64_t first, std::uint64_t last) {
  static const Error kUnknown =
      base::fail_later(Errc::unavailable, 1000,
                       "the message may not have been kept: send it again with the same clientId")
          .error();
  std::vector<Pending> failed;
  while (!pending_.empty() && pending_.front().ticket <= last) {
    ASSERT(pending_.front().ticket >= first);
    failed.push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
  for (Pending& pending : failed) {
    HomeRoom& room = *pending.room;
    --room.uncommitted;
    room.next_seq = room.room.last_seq + 1;
  }
  for (Pending& pending : failed) {
    if (pending.room->streamed) p_.streams.on_failed(*pending.room);
    fail(*pending.room, pending.entry.event.kind, std::move(pending.maker), Outcome::failed, kUnknown);
  }
  run_ready();
}

}  // namespace ringline::chat
