// See streams.hpp: what a run of this host before left in its logs and the store has not, or not for certain.
#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/chat/room_event.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

bool Streams::Known::has(base::json::Reader& json, const RoomEvent& entry) const {
  const std::uint64_t seq = entry.event.seq;
  return keys.contains(key_of(json, entry)) || (seq > read_to && seq < end);
}

// What the store has behind `known.read_to`, up to `known.end`.
base::Task<Result<Streams::Known>> Streams::read_keys(RoomId id, Known known) {
  while (known.read_to + 1 < known.end) {
    auto events = co_await p_.o.store.events_after(id, known.read_to, base::limits::kFeedEvents);
    if (!events) co_return std::unexpected(events.error());
    if (events->empty()) break;
    known.read_to = events->back().seq;
    for (const StoredEvent& event : *events)
      if (auto read = read_event(p_.scratch, id, event)) known.keys.insert(key_of(p_.scratch, *read));
  }
  co_return known;
}

// Of all events from `seq` on that the room has.
base::Task<Result<Streams::Known>> Streams::known_from(RoomId id, std::uint64_t seq) {
  Known known{.keys = {}, .read_to = seq - 1, .end = seq};
  while (known.end < p_.rooms.find(id)->tail_first()) {
    known.end = p_.rooms.find(id)->tail_first();
    auto more = co_await read_keys(id, std::move(known));
    if (!more) co_return more;
    known = std::move(*more);
  }
  for (const RoomEvent& entry : p_.rooms.find(id)->tail.entries()) known.keys.insert(key_of(p_.scratch, entry));
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
  std::map<RoomId, std::vector<RoomEvent>> rooms;
  std::map<RoomId, std::vector<RoomEvent>> pending;
  for (Event& event : events) {
    const RoomId room = event.room;
    const bool has_seq = event.seq != 0;
    (has_seq ? rooms : pending)[room].push_back(room_event(p_.scratch, std::move(event)));
  }
  for (auto& [room, entries] : pending) std::ranges::move(entries, std::back_inserter(rooms[room]));
  for (auto& [room, entries] : rooms) {
    bool done = co_await recover(room, std::move(entries));
    if (!done) co_return false;
  }
  co_return true;
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
  auto known = co_await known_from(id, first_wanted(*p_.rooms.find(id), entries));
  if (!known) co_return false;
  const HomeRoom& room = *p_.rooms.find(id);
  std::vector<RoomEvent> next;
  bool parted = false;
  for (const RoomEvent& entry : entries) {
    if (entry.event.seq == 0 || entry.event.epoch != room.room.epoch || known->has(p_.scratch, entry)) continue;
    const bool follows = !parted && entry.event.seq == room.next_seq + next.size();
    if (follows) next.push_back(entry);
    parted = parted || !follows;
  }
  bool ok = co_await append_all(id, std::move(next));
  if (ok && parted) ok = co_await renew(id);
  if (ok) ok = co_await propose_all_again(id, std::move(entries));
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

// What the room has not: in this run's log when this ends with true, and proposed.
base::Task<bool> Streams::propose_all_again(RoomId id, std::vector<RoomEvent> entries) {
  auto known = co_await known_from(id, first_wanted(*p_.rooms.find(id), entries));
  if (!known) co_return false;
  const std::uint64_t epoch = p_.rooms.find(id)->room.epoch;
  const std::uint64_t looked = p_.rooms.find(id)->room.last_seq;
  std::vector<EventId> again;
  for (const RoomEvent& entry : entries) {
    if (known->has(p_.scratch, entry)) continue;
    auto kept = co_await kept_at(id, entry);
    HomeRoom& room = *p_.rooms.find(id);
    if (!kept || room.room.epoch != epoch || streams_.find(id)->renewing) co_return false;
    if (*kept != 0) continue;
    const EventId event = entry.event.id;
    propose_again(room, entry, looked, 0);
    again.push_back(event);
    Sequencer::Maker nobody;
    if (proposed_.at(event).ticket == 0 && !p_.sequencer.append(room, proposed_.at(event).proposal.entry, nobody))
      co_return false;
  }
  auto is_kept = [this](EventId event) {
    auto found = proposed_.find(event);
    return found == proposed_.end() || found->second.ticket != 0;
  };
  while (!std::ranges::all_of(again, is_kept)) {
    if (ended_ || p_.rooms.find(id)->uncommitted == 0) co_return false;  // the log failed
    co_await streams_.find(id)->settled;
  }
  co_return true;
}

// The seq of a message in the store; 0: it is not there.
base::Task<Result<std::uint64_t>> Streams::kept_at(RoomId id, RoomEvent entry) {
  const Event& event = entry.event;
  if (event.kind != EventKind::message_created) co_return 0U;
  const std::string client_id = client_id_of(p_.scratch, entry);
  if (!client_id.empty()) {
    auto sent = co_await p_.o.store.find_by_client_id(id, event.actor, client_id);
    if (!sent) co_return std::unexpected(sent.error());
    co_return *sent ? (*sent)->seq : 0U;
  }
  HistoryQuery query{.room = id, .from = HistoryQuery::From::around_id, .position = event.id.value, .limit = 1};
  auto found = co_await p_.o.store.history(query);
  if (!found && found.error().code != Errc::not_found) co_return std::unexpected(found.error());
  if (found)
    for (const Message& message : found->messages)
      if (message.id == event.id) co_return message.seq;
  co_return 0U;
}

}  // namespace ringline::chat
