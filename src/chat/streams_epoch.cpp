// See streams.hpp: a new epoch of a room, where its histories have parted: the bus lost events while a host that knew them was away, and others went on.
//
// The store decides: what it has taken in stays, with its seqs. Its epoch is raised first, so that nothing of the old one comes in any more; the stream
// begins anew behind that. Every host in the room then drops what it has, loads the room from the store, and proposes what it had beyond: under the ids that these
// events have, so that the stream takes each once, whoever had it.
#include <algorithm>

#include "chat/effects.hpp"
#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::chat {

base::Task<bool> Streams::renew(RoomId id) {
  const std::uint64_t next = p_.rooms.find(id)->room.epoch + 1;
  bool ok = co_await begin_anew(id, next, 0);
  co_return ok;
}

// The store has all up to `seq`, and nobody can tell what it was.
base::Task<bool> Streams::skip_to(RoomId id, std::uint64_t seq) {
  bool ok = co_await begin_anew(id, 0, seq);
  co_return ok;
}

// `epoch` 0: the one that it is in.
base::Task<bool> Streams::begin_anew(RoomId id, std::uint64_t epoch, std::uint64_t least) {
  if (streams_.find(id)->renewing) co_return false;  // somebody is at it: tried again later
  Hold hold(*this, id);
  streams_.find(id)->renewing = true;
  streams_.find(id)->ahead.clear();
  with_ahead_.erase(id);
  while (!ended_ && p_.rooms.find(id)->uncommitted > 0) co_await streams_.find(id)->settled;
  bool ok = !ended_;
  if (ok && epoch != 0) ok = co_await begin_epoch(id, epoch);
  if (ok) ok = co_await reload(id, least);
  Stream* stream = streams_.find(id);
  stream->renewing = false;
  if (ok && !stream->queue.empty()) p_.o.scope.spawn(drain(id));
  if (ok && !stream->reading) p_.o.scope.spawn(catch_up_alone(id));
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

// The room as the store has it, which is at least up to `least`. What the store lacks of what was here is proposed.
base::Task<bool> Streams::reload(RoomId id, std::uint64_t least) {
  const std::uint64_t agreed = p_.rooms.find(id)->stored_seq;  // the store has these as they are here
  auto stored = co_await p_.o.store.load_room(id);
  if (!stored || stored->room.last_seq < least) co_return false;
  const std::uint64_t last = stored->room.last_seq;
  auto known = co_await read_keys(id, Known{.keys = {}, .end = agreed + 1}, last + 1);
  if (!known) co_return false;
  HomeRoom& room = *p_.rooms.find(id);
  std::vector<RoomEvent> beyond(room.tail.entries().begin(), room.tail.entries().end());
  std::erase_if(beyond, [&](const RoomEvent& entry) {
    return entry.event.seq <= agreed || known->has(key_of(p_.scratch, entry), entry.event.seq);
  });
  // They stay in the log until they are there again.
  const std::uint64_t ticket = p_.ingest.first_ticket();
  p_.rooms.replace(room, std::move(*stored));
  room.keys_complete = false;  // the store has keys that have not been seen here
  for (auto& [event, proposed] : proposed_) {
    if (proposed.room != id) continue;
    proposed.proposal.entry = chat::propose(proposed.proposal.entry, room.room.epoch, {}, "").entry;
    proposed.looked = std::min(proposed.looked, agreed);
    proposed.there = 0;
    enqueue(event);
  }
  streams_.find(id)->compared = std::min(streams_.find(id)->compared, agreed);
  streams_.find(id)->changed = last;
  for (const RoomEvent& entry : beyond) propose_again(room, entry, last, ticket);
  streams_.find(id)->last_id = {};
  streams_.find(id)->last_id = co_await last_id(id);
  co_return true;
}

// An event that was in the room, and in this host's log, before the epoch began.
void Streams::propose_again(HomeRoom& room, const RoomEvent& entry, std::uint64_t looked, std::uint64_t ticket) {
  const EventId id = entry.event.id;
  if (proposed_.contains(id)) return;
  const UserId subject = subject_of(p_.scratch, entry.event);
  Proposed again{.room = room.id(),
                 .proposal = chat::propose(entry, room.room.epoch, subject, client_id_of(p_.scratch, entry)),
                 .maker = {},
                 .looked = looked,
                 .pending = true,
                 .ticket = ticket};
  again.proposal.forced = true;
  add(id, std::move(again));
  if (ticket != 0) tickets_.insert(ticket);
  enqueue(id);
}

}  // namespace ringline::chat
