// See streams.hpp: what comes from the bus, and what is proposed to it.
#include "chat/streams.hpp"

#include <algorithm>

#include "chat/commands.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::chat {

bool Streams::on() const noexcept { return p_.o.bus != nullptr; }

StreamPlace Streams::place(const HomeRoom& room, const Stream& stream) const {
  return {.epoch = room.room.epoch, .seq = room.room.last_seq, .id = stream.last_id};
}

bool Streams::busy(RoomId id) const noexcept {
  const Stream* stream = streams_.find(id);
  return stream && (stream->proposed > 0 || stream->waiting > 0 || stream->reading || !stream->ahead.empty());
}

void Streams::close(RoomId id) {
  if (!streams_.find(id)) return;
  ASSERT(!busy(id));
  p_.o.bus->unfollow(id);
  streams_.erase(id);
}

// ---- What comes

void Streams::on_event(RoomEvent event) {
  HomeRoom* room = p_.rooms.find(event.event.room);
  Stream* stream = streams_.find(event.event.room);
  if (!room || !stream || stream->renewing) return;
  if (event.event.epoch > room->room.epoch) return p_.o.scope.spawn(renew_alone(room->id()));
  if (event.event.epoch == room->room.epoch) hold_back(*room, *stream, std::move(event));
}

// Whether the room has another event in its place: histories have parted.
bool Streams::is_another(const HomeRoom& room, const Stream& stream, const Event& event) {
  if (event.seq > room.room.last_seq) return false;  // on its way to the log
  if (event.seq >= room.tail_first()) return room.tail.entries()[event.seq - room.tail_first()].event.id != event.id;
  return event.seq == room.room.last_seq && stream.last_id && stream.last_id != event.id;
}

// Appends the event if it is the next, and what waited for it.
void Streams::hold_back(HomeRoom& room, Stream& stream, RoomEvent event) {
  const std::uint64_t seq = event.event.seq;
  if (stream.renewing || event.event.epoch != room.room.epoch) return;
  if (seq < room.next_seq) {
    if (is_another(room, stream, event.event)) p_.o.scope.spawn(renew_alone(room.id()));
    return;
  }
  if (seq == room.next_seq && stream.ahead.empty() && append(room, event)) return;
  if (stream.ahead.size() >= kAheadMax && seq > stream.ahead.rbegin()->first) return;  // it is read again
  stream.ahead.emplace(seq, std::move(event));
  append_ahead(room, stream);
}

void Streams::append_ahead(HomeRoom& room, Stream& stream) {
  while (!stream.ahead.empty() && stream.ahead.begin()->first <= room.next_seq) {
    auto next = stream.ahead.begin();
    if (next->first == room.next_seq && !append(room, next->second)) break;  // tried again at the next tick
    stream.ahead.erase(next);
  }
  if (stream.ahead.empty()) {
    stream.hole_ms = 0;
    with_ahead_.erase(room.id());
  } else if (with_ahead_.insert(room.id()).second) {
    stream.hole_ms = p_.now_ms();
  }
}

// With ACK_REPLICAS its maker is told no sooner than the bus says that it is kept, though it may be heard of before.
bool Streams::waits_for_answer(const Proposed& proposed) const noexcept {
  return p_.o.settings.ack_replicas > 0 && !proposed.answered && !proposed.pending;
}

bool Streams::append(HomeRoom& room, RoomEvent event) {
  const EventId id = event.event.id;
  auto own = proposed_.find(id);
  if (own != proposed_.end() && waits_for_answer(own->second)) return false;
  Sequencer::Maker nobody;
  const EventKind kind = event.event.kind;
  const bool taken = p_.sequencer.append(room, std::move(event), own == proposed_.end() ? nobody : own->second.maker);
  if (own == proposed_.end()) return taken;
  Proposed mine = forget(id);
  if (!taken) p_.sequencer.fail(room, kind, std::move(mine.maker), Sequencer::Outcome::failed, log_refused());
  return taken;
}

void Streams::on_committed(HomeRoom& room, const Event& event) {
  Stream& stream = *streams_.find(room.id());
  stream.last_id = event.id;
  if (event.kind != EventKind::message_created) stream.changed = event.seq;
  tell_settled(room);
}

void Streams::on_failed(HomeRoom& room) {
  streams_.find(room.id())->ahead.clear();
  with_ahead_.erase(room.id());
  tell_settled(room);
}

// Not at once: who waits may append.
void Streams::tell_settled(HomeRoom& room) {
  if (!streams_.find(room.id())->settled.wanted()) return;
  p_.sequencer.after_commit([&here = p_, id = room.id()] { here.streams.wake(id); });
}

void Streams::wake(RoomId id) {
  if (Stream* stream = streams_.find(id)) stream->settled.wake();
}

void Streams::on_passing(RoomId id, unsigned host, std::string_view name, std::string_view body) {
  HomeRoom* room = p_.rooms.find(id);
  if (!room) return;
  if (name == "presence_changed") return p_.rooms.take_presence(*room, body);
  if (name == "~online") return p_.rooms.take_count(*room, host, body);
  p_.rooms.pass_here(*room, std::string(name), std::string(body));
}

void Streams::on_user(UserId user, std::string_view what, std::string_view body) {
  p_.abroad.on_user(user, what, body);
}

void Streams::set_online(RoomId id, unsigned host, std::uint32_t count) {
  if (Stream* stream = streams_.find(id)) stream->online[host] = {count, p_.now_ms()};
}

std::uint32_t Streams::online(RoomId id) const noexcept {
  std::uint32_t count = 0;
  if (const Stream* stream = streams_.find(id))
    for (const auto& [host, online] : stream->online)
      if (p_.now_ms() - online.heard_ms < kOnlineAgeMs) count += online.count;
  return count;
}

// ---- What is proposed

// They share the tails' bound: what is pending becomes part of one, and in a long outage of the bus the tails do not grow.
bool Streams::takes_more() const noexcept { return p_.o.metrics.tail_bytes + proposed_bytes_ <= p_.o.tail_bytes; }

void Streams::add(EventId id, Proposed proposed) {
  const RoomEvent& entry = proposed.proposal.entry;
  proposed.bytes = kProposedBytes + entry.event.body.size();
  proposed_bytes_ += proposed.bytes;
  if (entry.client_key) by_key_.emplace(entry.client_key, id);
  ++streams_.find(proposed.room)->proposed;
  proposed_.emplace(id, std::move(proposed));
}

Streams::Proposed Streams::forget(EventId id) {
  auto found = proposed_.find(id);
  ASSERT(found != proposed_.end());
  Proposed proposed = std::move(found->second);
  proposed_.erase(found);
  proposed_bytes_ -= proposed.bytes;
  auto [first, last] = by_key_.equal_range(proposed.proposal.entry.client_key);
  const auto key = std::find_if(first, last, [id](const auto& one) { return one.second == id; });
  if (key != last) by_key_.erase(key);
  Stream& stream = *streams_.find(proposed.room);
  --stream.proposed;
  stream.queue.erase(id);
  if (stream.queue.empty()) with_queue_.erase(proposed.room);
  if (proposed.ticket != 0) tickets_.erase(tickets_.find(proposed.ticket));
  return proposed;
}

bool Streams::propose(HomeRoom& room, RoomEvent entry, Sequencer::Maker& maker) {
  Stream& stream = *streams_.find(room.id());
  const bool is_message = entry.event.kind == EventKind::message_created;
  const bool there = p_.o.bus->is_there(room.id());
  if (!takes_more() || (!is_message && !there)) return false;
  const EventId id = entry.event.id;
  const UserId subject = maker.subject ? maker.subject->id : UserId{};
  if (entry.client_key) p_.seen.add(entry.client_key, entry.event.at_ms);
  if (subject) room.changing.push_back(subject);
  if (entry.event.kind == EventKind::room_created) room.beginning = true;
  add(id, Proposed{.room = room.id(),
                   .proposal = chat::propose(entry, room.room.epoch, subject, client_id_of(p_.scratch, entry)),
                   .maker = std::move(maker),
                   .looked = room.room.last_seq,
                   .due_ms = p_.now_ms() + base::limits::kBusTimeout / std::chrono::milliseconds(1)});
  if (there && stream.sure && stream.queue.empty()) {
    p_.o.scope.spawn(propose_now(id));
    return true;
  }
  enqueue(id);
  if (there) {
    p_.o.scope.spawn(drain(room.id()));
  } else {
    keep(id);
  }
  return true;
}

bool Streams::answer_duplicate(HomeRoom& room, UserId sender, std::string_view client_id, std::uint64_t client_key,
                               const ReplyTo& to) {
  auto [first, last] = by_key_.equal_range(client_key);
  for (auto one = first; one != last; ++one) {
    Proposed& proposed = proposed_.at(one->second);
    const RoomEvent& entry = proposed.proposal.entry;
    if (proposed.room != room.id() || !is_send(p_, entry, sender, client_id)) continue;
    ++p_.o.metrics.duplicates;
    if (proposed.ticket != 0) {
      answer(p_, to, message_answer(p_, entry.message(), true, true));
    } else {
      proposed.maker.duplicates.push_back(to);
    }
    return true;
  }
  return false;
}

base::Task<void> Streams::propose_now(EventId id) {
  const RoomId room_id = proposed_.at(id).room;
  Hold hold(*this, room_id);
  const HomeRoom& room = *p_.rooms.find(room_id);
  const StreamPlace known = place(room, *streams_.find(room_id));
  auto verdict = co_await p_.o.bus->append(proposed_.at(id).proposal, known);
  if (!proposed_.contains(id)) co_return;  // it came by the subscription
  const bool taken = verdict && verdict->kind == Verdict::Kind::taken;
  // Of an epoch that has ended it is proposed again.
  if (taken && room.room.epoch == known.epoch && !streams_.find(room_id)->renewing) {
    proposed_.at(id).answered = true;
    hold_back(*p_.rooms.find(room_id), *streams_.find(room_id), with_seq(proposed_.at(id).proposal, verdict->seq));
    co_return;
  }
  enqueue(id);
  if (!verdict) keep(id);
  p_.o.scope.spawn(drain(room_id));
}

void Streams::enqueue(EventId id) {
  Proposed& mine = proposed_.at(id);
  Stream& stream = *streams_.find(mine.room);
  mine.answered = false;
  if (!mine.pending) late_.emplace(mine.due_ms, id);
  if (!stream.queue.insert(id).second) return;
  with_queue_.insert(mine.room);
  stream.compared = stream.queue.size() == 1 ? mine.looked : std::min(stream.compared, mine.looked);
}

// As far as it gets; the next tick begins again.
base::Task<void> Streams::drain(RoomId id) {
  if (streams_.find(id)->draining) co_return;
  Hold hold(*this, id);
  streams_.find(id)->draining = true;
  EventId first;
  unsigned tries = 0;
  for (bool goes_on = true; goes_on && !streams_.find(id)->queue.empty();) {
    const EventId now_first = *streams_.find(id)->queue.begin();
    tries = now_first == first ? tries + 1 : 1;
    first = now_first;
    goes_on = tries <= kTriesMax && p_.o.bus->is_there(id);
    if (goes_on) goes_on = co_await drain_some(id);
  }
  streams_.find(id)->draining = false;
}

// Several from the front of the queue, until something is in the way of one, which is done away with. False: no answer.
base::Task<bool> Streams::drain_some(RoomId room_id) {
  // What was taken before is committed first: the log takes so much at a time, and nothing is taken that it refuses.
  while (!ended_ && p_.rooms.find(room_id)->uncommitted > kQueuedAtOnce) co_await streams_.find(room_id)->settled;
  bool ok = streams_.find(room_id)->sure;
  if (!ok) ok = co_await make_sure(room_id);
  if (ok) ok = co_await compare_queue(room_id);
  if (!ok || ended_) co_return false;
  check_rights(room_id);
  if (streams_.find(room_id)->queue.empty()) co_return true;
  const EventId first = *streams_.find(room_id)->queue.begin();
  if (const std::uint64_t there = proposed_.at(first).there; there != 0) {
    co_await answer_with(first, there);
    co_return true;
  }
  const std::vector<EventId> ids = first_of_queue(*streams_.find(room_id));
  std::vector<Proposal> proposals;
  for (EventId id : ids) proposals.push_back(proposed_.at(id).proposal);
  const HomeRoom& room = *p_.rooms.find(room_id);
  const StreamPlace known = place(room, *streams_.find(room_id));
  const std::uint64_t losses = losses_;
  auto verdicts = co_await p_.o.bus->append_all(std::move(proposals), known);
  if (!verdicts || streams_.find(room_id)->renewing) co_return false;
  // What is said of an epoch that has ended, or of a stream that is lost, says nothing any more.
  auto holds = [&] { return room.room.epoch == known.epoch && losses_ == losses; };
  std::vector<std::pair<EventId, Verdict>> others;
  for (std::size_t i = 0; i < verdicts->size() && holds(); ++i)
    if (proposed_.contains(ids[i]) && !take_if_taken(ids[i], (*verdicts)[i]))
      others.emplace_back(ids[i], (*verdicts)[i]);
  for (auto [id, verdict] : others) {
    if (!holds()) break;
    if (!streams_.find(room_id)->queue.contains(id)) continue;
    ok = co_await obey(id, verdict);
    if (!ok) co_return !streams_.find(room_id)->queue.contains(id);
  }
  co_return true;
}

// What was asked for before the room changed: the bus is told of the room as it is now, and would not notice.
void Streams::check_rights(RoomId room_id) {
  const Stream& stream = *streams_.find(room_id);
  std::vector<EventId> before;
  for (EventId id : stream.queue)
    if (const Proposed& one = proposed_.at(id); !one.proposal.forced && one.looked < stream.changed)
      before.push_back(id);
  for (EventId id : before) {
    if (!proposed_.contains(id)) continue;
    check_right(id);
    if (auto still = proposed_.find(id); still != proposed_.end())
      still->second.looked = std::max(still->second.looked, stream.compared);
  }
}

// That go in one call.
std::vector<EventId> Streams::first_of_queue(const Stream& stream) const {
  std::vector<EventId> ids;
  std::size_t bytes = 0;
  for (EventId id : stream.queue) {
    const Proposed& one = proposed_.at(id);
    bytes += one.proposal.entry.event.body.size();
    if (one.there != 0 || ids.size() == kQueuedAtOnce || (!ids.empty() && bytes > kQueuedBytesAtOnce)) break;
    ids.push_back(id);
  }
  return ids;
}

// Whether the event is what is proposed. (Most are not, which is seen without reading what they say.)
bool Streams::is_same(const RoomEvent& entry, const Proposal& proposal) {
  if (entry.client_key != proposal.entry.client_key) return false;
  return entry.client_key == 0 ? entry.event.id == proposal.entry.event.id : key_of(p_.scratch, entry) == proposal.key;
}

// An event that the room has, in a place that was not looked at for what is queued.
void Streams::note_there(const RoomEvent& entry) {
  if (entry.client_key == 0) {
    if (auto own = proposed_.find(entry.event.id); own != proposed_.end()) own->second.there = entry.event.seq;
    return;
  }
  auto [first, last] = by_key_.equal_range(entry.client_key);
  for (auto one = first; one != last; ++one)
    if (Proposed& mine = proposed_.at(one->second); mine.room == entry.event.room && is_same(entry, mine.proposal))
      mine.there = entry.event.seq;
}

// Where the room has what is queued, beyond what was looked at before: it was taken without an answer, or somebody sent it again by another host. What the
// stream has forgotten it takes once more. False: no answer.
base::Task<bool> Streams::compare_queue(RoomId id) {
  for (;;) {
    Stream& stream = *streams_.find(id);
    const HomeRoom& room = *p_.rooms.find(id);
    const std::uint64_t after = stream.compared;
    if (stream.queue.empty() || after >= room.room.last_seq) co_return true;
    if (after + 1 >= room.tail_first()) {
      const auto& entries = room.tail.entries();
      for (std::size_t i = after + 1 - room.tail_first(); i < entries.size(); ++i) note_there(entries[i]);
      stream.compared = room.room.last_seq;
      co_return true;
    }
    auto events = co_await stored_after(id, after, base::limits::kFeedEvents);
    if (!events) co_return false;
    if (streams_.find(id)->compared != after) continue;  // more was queued
    for (const StoredEvent& event : *events)
      if (auto read = read_event(p_.scratch, id, event)) note_there(*read);
    std::uint64_t compared = events->empty() ? p_.rooms.find(id)->tail_first() - 1 : events->back().seq;
    if (events->empty()) {
      bool found = co_await find_kept(id);
      if (!found) co_return false;
    }
    if (streams_.find(id)->compared == after) streams_.find(id)->compared = compared;
  }
}

// What was said there is not kept; of sends it is known that they were.
base::Task<bool> Streams::find_kept(RoomId id) {
  std::vector<RoomEvent> sends;
  for (EventId one : streams_.find(id)->queue)
    if (proposed_.at(one).proposal.entry.event.kind == EventKind::message_created)
      sends.push_back(proposed_.at(one).proposal.entry);
  auto seqs = co_await kept_at(id, sends);
  if (!seqs) co_return false;
  for (std::size_t i = 0; i < sends.size(); ++i)
    if (auto found = proposed_.find(sends[i].event.id); found != proposed_.end() && (*seqs)[i] != 0)
      found->second.there = (*seqs)[i];
  co_return true;
}

// Whether the stream has the event itself, which is so in the room too as soon as it has what is before it.
bool Streams::take_if_taken(EventId id, const Verdict& verdict) {
  Proposed& mine = proposed_.at(id);
  HomeRoom& room = *p_.rooms.find(mine.room);
  // A duplicate of itself: it was taken when there was no answer.
  const bool again = verdict.kind == Verdict::Kind::duplicate && verdict.id == id && verdict.seq >= room.next_seq;
  if (verdict.kind != Verdict::Kind::taken && !again) return false;
  Stream& stream = *streams_.find(mine.room);
  stream.queue.erase(id);
  if (stream.queue.empty()) with_queue_.erase(mine.room);
  mine.answered = true;
  hold_back(room, stream, with_seq(mine.proposal, verdict.seq));
  return true;
}

// Does away with what is in its way. False: no answer. It stays in the queue unless its maker was told.
base::Task<bool> Streams::obey(EventId id, Verdict verdict) {
  const RoomId room_id = proposed_.at(id).room;
  switch (verdict.kind) {
    case Verdict::Kind::taken:  // see take_if_taken
    case Verdict::Kind::duplicate:
      co_await answer_with(id, verdict.seq);
      co_return true;
    case Verdict::Kind::behind:
      co_return co_await put_back(room_id, {.epoch = verdict.epoch, .seq = verdict.seq, .id = verdict.id});
    case Verdict::Kind::differs:
    case Verdict::Kind::new_epoch:
      co_return co_await renew(room_id);
    case Verdict::Kind::old_epoch:
      co_return co_await begin_epoch(room_id, p_.rooms.find(room_id)->room.epoch);
    case Verdict::Kind::gone:
      co_return co_await catch_up(room_id);
    case Verdict::Kind::stale:
      bool ok = co_await catch_up(room_id);
      if (ok && proposed_.contains(id)) check_right(id);
      co_return ok;
  }
  co_return false;
}

// After the room has caught up: who may not do it any more is told so.
void Streams::check_right(EventId id) {
  static const Error kNoMember = base::fail(Errc::forbidden, "you are no member of the room any more").error();
  Proposed& mine = proposed_.at(id);
  if (mine.proposal.forced) return;
  HomeRoom& room = *p_.rooms.find(mine.room);
  const EventKind kind = mine.proposal.entry.event.kind;
  if (kind == EventKind::message_created) {
    const HomeMember* sender = room.find(mine.proposal.entry.event.actor);
    if (sender && may_send(room, *sender)) return;
  }
  Proposed gone = forget(id);
  p_.sequencer.fail(room, kind, std::move(gone.maker), Sequencer::Outcome::overtaken, kNoMember);
  p_.sequencer.run_ready();
}

// There is no answer: a message becomes pending. Anything else did not happen, as far as its maker is told.
void Streams::keep(EventId id) {
  Proposed& mine = proposed_.at(id);
  if (mine.pending) return;
  HomeRoom& room = *p_.rooms.find(mine.room);
  const EventKind kind = mine.proposal.entry.event.kind;
  if (kind == EventKind::message_created && p_.sequencer.append(room, mine.proposal.entry, mine.maker)) {
    mine.maker = {};
    mine.pending = mine.proposal.forced = true;
    return;
  }
  Proposed gone = forget(id);
  p_.sequencer.fail(room, kind, std::move(gone.maker), Sequencer::Outcome::failed, log_refused());
  p_.sequencer.run_ready();
}

// What is in a queue for longer than an answer may take.
void Streams::keep_late(std::int64_t now_ms) {
  while (!late_.empty() && late_.begin()->first <= now_ms) {
    const EventId id = late_.begin()->second;
    late_.erase(late_.begin());
    auto found = proposed_.find(id);
    if (found != proposed_.end() && streams_.find(found->second.room)->queue.contains(id)) keep(id);
  }
}

void Streams::on_pending(HomeRoom& room, std::uint64_t ticket, EventId id) {
  tell_settled(room);
  auto mine = proposed_.find(id);
  if (mine == proposed_.end() || mine->second.ticket != 0)
    return;  // it has come with its seq meanwhile; or is kept already
  mine->second.ticket = ticket;
  tickets_.insert(ticket);
}

// Another send with the key stands at `seq`.
base::Task<void> Streams::answer_with(EventId id, std::uint64_t seq) {
  const RoomId room_id = proposed_.at(id).room;
  Hold hold(*this, room_id);
  const HomeRoom* room = p_.rooms.find(room_id);
  bool here = room->room.last_seq >= seq;
  if (!here) here = co_await catch_up(room_id);
  if (!proposed_.contains(id)) co_return;
  Proposed mine = forget(id);
  room = p_.rooms.find(room_id);
  ++p_.o.metrics.duplicates;
  std::vector<ReplyTo> asking = std::move(mine.maker.duplicates);
  if (mine.maker.asks()) asking.push_back(mine.maker.to);
  const Event& event = mine.proposal.entry.event;
  const std::string client_id = client_id_of(p_.scratch, mine.proposal.entry);
  for (const RoomEvent& entry : room->tail.entries()) {
    if (entry.event.seq != seq) continue;
    for (const ReplyTo& to : asking) answer(p_, to, message_answer(p_, entry.message(), true));
    co_return;
  }
  auto stored = co_await p_.o.store.find_by_client_id(room_id, event.actor, client_id);
  for (const ReplyTo& to : asking) {
    if (stored && *stored) {
      Writer out;
      write_message(out, **stored);
      answer(p_, to, message_answer(p_, out.view(), true));
    } else {
      answer(p_, to, stored ? log_refused() : stored.error());
    }
  }
}

void Streams::end() {
  ended_ = true;
  tick_.end();
  std::vector<RoomId> rooms;
  for (const Stream& stream : streams_) rooms.push_back(stream.id());
  for (RoomId id : rooms) {
    if (Stream* stream = streams_.find(id)) stream->settled.end();
    if (Stream* stream = streams_.find(id)) stream->read.end();
  }
}

std::uint64_t Streams::first_pending_ticket() const noexcept {
  if (recovering_) return 1;
  return tickets_.empty() ? UINT64_MAX : *tickets_.begin();
}

}  // namespace ringline::chat
