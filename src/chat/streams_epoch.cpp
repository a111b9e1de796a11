// See streams.hpp: a new epoch of a room, where its histories have parted: the bus lost events while a host that knew them was away, and others went on.
//
// The store decides: what it has taken in stays, with its seqs. Its epoch is raised first, so that nothing of the old one comes in any more; the stream
// begins anew behind that. Every host in the room then drops what it has, loads the room from the store, and proposes what it had beyond: under the ids that these
// events have, so that the stream takes each once, whoever had it.
#include <algorithm>
#include <unordered_set>

#include "chat/effects.hpp"
#include "chat/parts.hpp"
#include "ringline/chat/room_event.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

base::Task<bool> Streams::renew(RoomId id) {
  if (streams_.find(id)->renewing) co_return false;  // somebody is at it: tried again later
  Hold hold(*this, id);
  streams_.find(id)->renewing = true;
  streams_.find(id)->ahead.clear();
  with_ahead_.erase(id);
  while (!ended_ && p_.rooms.find(id)->uncommitted > 0) co_await streams_.find(id)->settled;
  bool ok = !ended_;
  if (ok) ok = co_await begin_epoch(id, p_.rooms.find(id)->room.epoch + 1);
  if (ok) ok = co_await reload(id);
  streams_.find(id)->renewing = false;
  if (ok) p_.o.scope.spawn(drain(id));
  streams_.find(id)->settled.wake();
  co_return ok;
}

base::Task<void> Streams::renew_alone(RoomId id) { (void)co_await renew(id); }

void Streams::parted(RoomId id) {
  if (streams_.find(id)) p_.o.scope.spawn(renew_alone(id));
}

// In the store and on the bus, where that has not been done.
base::Task<bool> Streams::begin_epoch(RoomId id, std::uint64_t epoch) {
  auto base = co_await p_.o.store.begin_epoch(id, epoch);
  if (!base) co_return false;
  const StreamPlace begins{.epoch = base->epoch, .seq = base->seq, .id = {}};
  auto begun = co_await p_.o.bus->begin_epoch(id, begins);
  if (!begun && begun.error().code != Errc::conflict) co_return false;
  base::log::warn("new_epoch", {{"room", id.text()}, {"epoch", base->epoch}, {"seq", base->seq}});
  co_return true;
}

// The room as the store has it. What the store lacks of what was here is proposed.
base::Task<bool> Streams::reload(RoomId id) {
  auto stored = co_await p_.o.store.load_room(id);
  if (!stored) co_return false;
  std::unordered_set<EventId> known;
  EventId last;
  const std::uint64_t first = p_.rooms.find(id)->tail_first();
  for (std::uint64_t after = first - 1; after < stored->room.last_seq;) {
    auto events = co_await p_.o.store.events_after(id, after, base::limits::kFeedEvents);
    if (!events || events->empty()) co_return false;
    after = events->back().seq;
    for (const StoredEvent& event : *events)
      if (auto read = read_event(p_.scratch, id, event)) known.insert(last = read->event.id);
  }
  HomeRoom& room = *p_.rooms.find(id);
  std::vector<RoomEvent> beyond;
  for (const RoomEvent& entry : room.tail.entries())
    if (!known.contains(entry.event.id)) beyond.push_back(entry);
  // They stay in the log until they are there again.
  const std::uint64_t ticket = p_.ingest.first_ticket();
  p_.rooms.replace(room, std::move(*stored));
  streams_.find(id)->last_id = last;
  for (auto& [event, proposed] : proposed_) {
    if (proposed.room != id) continue;
    proposed.proposal.entry = chat::propose(proposed.proposal.entry, room.room.epoch, {}, "").entry;
    enqueue(event);
  }
  for (const RoomEvent& entry : beyond) propose_again(room, entry, ticket);
  co_return true;
}

// An event that was in the room, and in this host's log, before the epoch began.
void Streams::propose_again(HomeRoom& room, const RoomEvent& entry, std::uint64_t ticket) {
  const EventId id = entry.event.id;
  if (proposed_.contains(id)) return;
  const UserId subject = subject_of(p_.scratch, entry.event);
  Proposed again{.room = room.id(),
                 .proposal = chat::propose(entry, room.room.epoch, subject, client_id_of(p_.scratch, entry)),
                 .maker = {},
                 .pending = true,
                 .ticket = ticket};
  again.proposal.forced = true;
  proposed_.emplace(id, std::move(again));
  if (ticket != 0) tickets_.insert(ticket);
  ++streams_.find(room.id())->proposed;
  enqueue(id);
}

}  // namespace ringline::chat
