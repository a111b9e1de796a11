// See streams.hpp: what a run of this host before left in its logs and the store has not, or not for certain.
#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::chat {

bool Streams::Known::has(const std::string& key, std::uint64_t seq) const {
  return keys.contains(key) || (seq >= lost_from && seq < lost_end);
}

// Empty: the store cannot say what followed.
base::Task<Result<std::vector<StoredEvent>>> Streams::stored_after(RoomId id, std::uint64_t after, std::size_t count) {
  auto events = co_await p_.o.store.events_after(id, after, count);
  if (!events && events.error().code == Errc::not_found) co_return std::vector<StoredEvent>();
  co_return events;
}

// What the store has from `known.end` to before `end`.
base::Task<Result<Streams::Known>> Streams::read_keys(RoomId id, Known known, std::uint64_t end) {
  while (known.end < end) {
    auto events = co_await stored_after(id, known.end - 1, kKeysAtOnce);
    if (!events) co_return std::unexpected(events.error());
    if (events->empty()) {
      known.lost_from = std::min(known.lost_from, known.end);
      known.lost_end = known.end = end;
      break;
    }
    known.end = events->back().seq + 1;
    for (const StoredEvent& event : *events) known.keys.insert(key_of(p_.scratch, event));
  }
  co_return known;
}

// What the room has from `known.end` on.
base::Task<Result<Streams::Known>> Streams::read_on(RoomId id, Known known) {
  while (known.end < p_.rooms.find(id)->tail_first()) {
    auto more = co_await read_keys(id, std::move(known), p_.rooms.find(id)->tail_first());
    if (!more) co_return more;
    known = std::move(*more);
  }
  const HomeRoom& room = *p_.rooms.find(id);
  for (const RoomEvent& entry : room.tail.entries())
    if (entry.event.seq >= known.end) known.keys.insert(key_of(p_.scratch, entry));
  known.end = std::max(known.end, room.room.last_seq + 1);
  co_return known;
}

// Appends each in its place; they are the room's next.
base::Task<bool> Streams::append_all(RoomId id, std::vector<RoomEvent> entries) {
  for (const RoomEvent& entry : entries) {
    // What has come from the stream meanwhile is passed over.
    while (entry.event.seq == p_.rooms.find(id)->next_seq && !append(*p_.rooms.find(id), entry)) {
      if (ended_ || streams_.find(id)->renewing) co_return false;
      co_await tick_;  // the log takes nothing now
    }
  }
  if (entries.empty()) co_return true;
  const std::uint64_t last = entries.back().event.seq;
  while (p_.rooms.find(id)->room.last_seq < last) {
    co_await streams_.find(id)->settled;
    if (ended_ || p_.rooms.find(id)->next_seq <= last) co_return false;  // the log failed
  }
  co_return true;
}

base::Task<bool> Streams::recover_all(std::vector<Event> events) {
  recovering_ = true;
  Recovering all;
  std::map<RoomId, std::vector<RoomEvent>>& rooms = all.rooms;
  std::map<RoomId, std::vector<RoomEvent>> pending;
  for (Event& event : events) {
    const RoomId room = event.room;
    const bool has_seq = event.seq != 0;
    (has_seq ? rooms : pending)[room].push_back(room_event(p_.scratch, std::move(event)));
  }
  for (auto& [room, entries] : pending) std::ranges::move(entries, std::back_inserter(rooms[room]));
  all.running = std::min(kRecoveredAtOnce, rooms.size());
  for (std::size_t left = all.running; left > 0; --left) p_.o.scope.spawn(recover_some(all));
  while (all.running > 0) co_await all.done;
  co_return all.ok;
}

// One room after the other, while there are any.
base::Task<void> Streams::recover_some(Recovering& all) {
  while (all.ok && !all.rooms.empty()) {
    auto next = all.rooms.extract(all.rooms.begin());
    bool done = co_await recover(next.key(), std::move(next.mapped()));
    all.ok = all.ok && done;
  }
  --all.running;
  all.done.wake();
}

base::Task<bool> Streams::recover(RoomId id, std::vector<RoomEvent> entries) {
  auto loading = ask<std::optional<Errc>>(p_, p_.o.core, [id](Parts& there, Answer<std::optional<Errc>> loaded) {
    there.rooms.with(id, [&there, loaded](Result<HomeRoom*> room) {
      loaded(there, room ? std::nullopt : std::optional(room.error().code));
    });
  });
  std::optional<Errc> why = co_await loading;
  if (why == Errc::not_found) base::log::error("events_of_no_room", {{"room", id.text()}, {"events", entries.size()}});
  if (why) co_return *why == Errc::not_found;
  Hold hold(*this, id);
  const std::uint64_t epoch = p_.rooms.find(id)->room.epoch;
  auto known = co_await read_on(id, {.keys = {}, .end = first_wanted(*p_.rooms.find(id), entries)});
  if (!known) co_return false;
  std::vector<std::string> keys;
  for (const RoomEvent& entry : entries) keys.push_back(key_of(p_.scratch, entry));
  const HomeRoom& room = *p_.rooms.find(id);
  std::vector<RoomEvent> next;
  bool parted = false;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const RoomEvent& entry = entries[i];
    if (entry.event.seq == 0 || entry.event.epoch != room.room.epoch || known->has(keys[i], entry.event.seq)) continue;
    const bool follows = !parted && entry.event.seq == room.next_seq + next.size();
    if (follows) next.push_back(entry);
    parted = parted || !follows;
  }
  bool ok = co_await append_all(id, std::move(next));
  if (ok && parted) ok = co_await renew(id);
  if (!ok) co_return false;
  // In another epoch the room has other events in these places.
  if (p_.rooms.find(id)->room.epoch != epoch)
    known = Known{.keys = {}, .end = first_wanted(*p_.rooms.find(id), entries)};
  known = co_await read_on(id, std::move(*known));
  if (!known) co_return false;
  std::vector<RoomEvent> left;
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (!known->has(keys[i], entries[i].event.seq)) left.push_back(std::move(entries[i]));
  ok = co_await propose_all_again(id, std::move(left), known->end - 1);
  co_return ok;
}

// Where what is to be compared begins: with what has a seq, or (what is pending and is no message was made in an epoch that ended) with the first of all.
std::uint64_t Streams::first_wanted(const HomeRoom& room, const std::vector<RoomEvent>& entries) {
  std::uint64_t first = room.next_seq;
  for (const RoomEvent& entry : entries) {
    const Event& event = entry.event;
    if (event.seq == 0 && event.kind != EventKind::message_created) return 1;
    if (event.seq != 0) first = std::min(first, event.seq);
  }
  return first;
}

// Those that the store has not: of what is pending others may have taken in what this host never heard of.
base::Task<Result<std::vector<RoomEvent>>> Streams::without_kept(RoomId id, std::vector<RoomEvent> entries) {
  auto seqs = co_await kept_at(id, entries);
  if (!seqs) co_return std::unexpected(seqs.error());
  std::vector<RoomEvent> left;
  for (std::size_t i = 0; i < entries.size(); ++i)
    if ((*seqs)[i] == 0) left.push_back(std::move(entries[i]));
  co_return left;
}

// What the room has not, up to `looked`: in this run's log when this ends with true, and proposed.
base::Task<bool> Streams::propose_all_again(RoomId id, std::vector<RoomEvent> entries, std::uint64_t looked) {
  const std::uint64_t epoch = p_.rooms.find(id)->room.epoch;
  auto left = co_await without_kept(id, std::move(entries));
  if (!left) co_return false;
  auto is_kept = [this](EventId event) {
    auto found = proposed_.find(event);
    return found == proposed_.end() || found->second.ticket != 0;
  };
  for (const RoomEvent& entry : *left) {
    const EventId event = entry.event.id;
    for (bool first = true;; first = false) {
      if (ended_ || p_.rooms.find(id)->room.epoch != epoch || streams_.find(id)->renewing) co_return false;
      if (first) propose_again(*p_.rooms.find(id), entry, looked, 0);
      Sequencer::Maker nobody;
      if (is_kept(event) || p_.sequencer.append(*p_.rooms.find(id), proposed_.at(event).proposal.entry, nobody)) break;
      co_await tick_;  // the log takes nothing now
    }
  }
  for (const RoomEvent& entry : *left) {
    while (!is_kept(entry.event.id)) {
      if (ended_ || p_.rooms.find(id)->uncommitted == 0) co_return false;  // the log failed
      co_await streams_.find(id)->settled;
    }
  }
  co_return true;
}

// The seqs of sends in the store; 0: it is not there, or is no message.
base::Task<Result<std::vector<std::uint64_t>>> Streams::kept_at(RoomId id, std::vector<RoomEvent> entries) {
  std::vector<std::uint64_t> seqs(entries.size());
  for (std::size_t from = 0, to = 0; from < entries.size(); from = to) {
    std::vector<SendKey> sends;
    std::vector<std::size_t> places;
    for (to = from; to < entries.size() && sends.size() < kSendsAtOnce; ++to) {
      const Event& event = entries[to].event;
      if (event.kind != EventKind::message_created) continue;
      sends.push_back({.sender = event.actor, .client_id = client_id_of(p_.scratch, entries[to]), .id = event.id});
      places.push_back(to);
    }
    if (sends.empty()) break;
    auto found = co_await p_.o.store.find_sends(id, std::move(sends));
    if (!found) co_return std::unexpected(found.error());
    for (std::size_t i = 0; i < places.size(); ++i) seqs[places[i]] = (*found)[i];
  }
  co_return seqs;
}

}  // namespace ringline::chat
