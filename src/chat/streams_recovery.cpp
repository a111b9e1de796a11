// See streams.hpp: what a run of this host before left in its logs and the store has not, or not for certain.
#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/chat/room_event.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

// The ids of all events from `seq` on that the room has.
base::Task<Result<std::set<EventId>>> Streams::known_from(RoomId id, std::uint64_t seq) {
  std::set<EventId> known;
  const std::uint64_t tail_first = p_.rooms.find(id)->tail_first();
  for (std::uint64_t after = seq - 1; after + 1 < tail_first;) {
    auto events = co_await p_.o.store.events_after(id, after, base::limits::kFeedEvents);
    if (!events) co_return std::unexpected(events.error());
    if (events->empty()) break;
    after = events->back().seq;
    for (const StoredEvent& event : *events)
      if (auto read = read_event(p_.scratch, id, event)) known.insert(read->event.id);
  }
  for (const RoomEvent& entry : p_.rooms.find(id)->tail.entries()) known.insert(entry.event.id);
  co_return known;
}

// Appends each in its place; they are the room's next.
base::Task<bool> Streams::append_all(RoomId id, std::vector<RoomEvent> entries) {
  for (RoomEvent& entry : entries) {
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
  auto loading = ask<bool>(p_, p_.o.core, [id](Parts& there, Answer<bool> loaded) {
    there.rooms.with(id, [&there, loaded](Result<HomeRoom*> room) { loaded(there, room.has_value()); });
  });
  bool loaded = co_await loading;
  if (!loaded) co_return false;
  Hold hold(*this, id);
  const auto pending = std::ranges::find(entries, 0U, [](const RoomEvent& entry) { return entry.event.seq; });
  const std::uint64_t first = pending == entries.begin() ? p_.rooms.find(id)->next_seq : entries.front().event.seq;
  auto known = co_await known_from(id, first);
  if (!known) co_return false;
  const HomeRoom& room = *p_.rooms.find(id);
  std::vector<RoomEvent> next;
  std::vector<RoomEvent> beyond;  // what has lost its place
  bool parted = false;
  for (auto entry = entries.begin(); entry != pending; ++entry) {
    if (known->contains(entry->event.id)) continue;
    const bool same_epoch = entry->event.epoch == room.room.epoch;
    const bool follows = same_epoch && !parted && entry->event.seq == room.next_seq + next.size();
    (follows ? next : beyond).push_back(*entry);
    parted = parted || (same_epoch && !follows);
  }
  bool ok = co_await append_all(id, std::move(next));
  if (ok && parted) ok = co_await renew(id);
  if (!ok) co_return false;
  for (auto entry = pending; entry != entries.end(); ++entry) {
    bool kept = known->contains(entry->event.id);
    if (!kept) kept = co_await is_kept(id, entry->event.id);
    if (!kept) beyond.push_back(*entry);
  }
  for (const RoomEvent& entry : beyond) {
    propose_again(*p_.rooms.find(id), entry, 0);
    Sequencer::Maker nobody;
    if (!p_.sequencer.append(*p_.rooms.find(id), proposed_.at(entry.event.id).proposal.entry, nobody)) co_return false;
  }
  co_return true;
}

// Whether a message is in the store.
base::Task<bool> Streams::is_kept(RoomId id, EventId event) {
  HistoryQuery query{.room = id, .from = HistoryQuery::From::around_id, .position = event.value, .limit = 1};
  auto found = co_await p_.o.store.history(query);
  if (!found) co_return false;
  co_return std::ranges::any_of(found->messages, [&](const Message& message) { return message.id == event; });
}

}  // namespace ringline::chat
