// See streams.hpp: reading what was missed, putting back what the bus lost, and comparing the two.
#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::chat {

base::Task<void> Streams::open(RoomId id) {
  p_.rooms.find(id)->streamed = true;
  streams_.emplace(id, id);
  Hold hold(*this, id);
  p_.o.bus->follow(id);
  const std::uint64_t stored = p_.rooms.find(id)->stored_seq;
  const EventId last = co_await stored_id(id, stored);
  if (p_.rooms.find(id)->room.last_seq == stored)
    streams_.find(id)->last_id = last;  // else something has come meanwhile
  co_await read_presence(id, true);
  while (!ended_ && p_.o.bus->is_there(id) && streams_.find(id)->reads_done == 0) co_await streams_.find(id)->read;
}

// Of the last event that the store has; 0: it has none, or not its content (ephemeral rooms).
base::Task<EventId> Streams::last_id(RoomId id) {
  const EventId last = co_await stored_id(id, p_.rooms.find(id)->stored_seq);
  co_return last;
}

base::Task<EventId> Streams::stored_id(RoomId id, std::uint64_t seq) {
  if (seq == 0) co_return EventId{};
  auto events = co_await p_.o.store.events_after(id, seq - 1, 1);
  if (!events || events->empty() || events->front().seq != seq) co_return EventId{};
  auto event = read_event(p_.scratch, id, events->front());
  co_return event ? event->event.id : EventId{};
}

// Who of a room's members is at other hosts: of all, or of those who were.
base::Task<void> Streams::read_presence(RoomId id, bool all) {
  Hold hold(*this, id);
  const HomeRoom& room = *p_.rooms.find(id);
  if (room.members.size() > base::limits::kPresenceRoomMembers) co_return;
  std::vector<UserId> members;
  for (const HomeMember& member : room.members)
    if (all || member.elsewhere) members.push_back(member.id());
  if (members.empty()) co_return;
  auto others = co_await p_.o.bus->presence_of(members);
  if (!others) co_return;
  for (std::size_t i = 0; i < members.size(); ++i)
    p_.rooms.set_elsewhere(*p_.rooms.find(id), members[i], (*others)[i] > 0);
}

// All that the stream had when this was called is in the room. False: it cannot be said.
base::Task<bool> Streams::catch_up(RoomId id) {
  Hold hold(*this, id);
  // A reading that has begun already may have missed what this call is about.
  const std::uint64_t wanted = streams_.find(id)->reads_begun + 1;
  while (streams_.find(id)->reads_done < wanted) {
    if (ended_ || !p_.o.bus->is_there(id)) co_return false;
    if (streams_.find(id)->reading) {
      co_await streams_.find(id)->read;
    } else {
      co_await read_all(id);
    }
  }
  co_return streams_.find(id)->read_ok;
}

// A stream that is not there was forgotten, since the store has all of it; or it is lost, and ends with what somebody has put back: others, which are ahead,
// may have nothing to put back. Then the store says how far the room is, and nothing is proposed before this host is there. False: it cannot be said.
base::Task<bool> Streams::make_sure(RoomId id) {
  Hold hold(*this, id);
  bool ok = co_await catch_up(id);
  if (!ok || streams_.find(id)->sure) co_return ok;
  const std::uint64_t losses = losses_;
  const std::uint64_t reads = streams_.find(id)->reads_begun;
  auto stored = co_await p_.o.store.load_room(id);
  if (!stored || streams_.find(id)->renewing) co_return false;
  if (stored->room.epoch != p_.rooms.find(id)->room.epoch) co_return co_await renew(id);
  ok = co_await read_stored(id, stored->room.last_seq + 1);
  while (ok && !ended_ && p_.rooms.find(id)->uncommitted > 0) co_await streams_.find(id)->settled;
  Stream& stream = *streams_.find(id);
  // Lost, or followed and read anew meanwhile: what was found may be of before.
  stream.sure = ok && !ended_ && losses == losses_ && reads == stream.reads_begun;
  if (stream.sure) stream.doubted = false;
  co_return stream.sure;
}

// Reads to the end of the stream and waits until that is committed.
base::Task<void> Streams::read_all(RoomId id) {
  Hold hold(*this, id);
  Stream* stream = streams_.find(id);
  ++stream->reads_begun;
  stream->reading = true;
  bool ok = true;
  for (bool more = true; ok && more;) ok = co_await read_page(id, more);
  const std::uint64_t last = p_.rooms.find(id)->next_seq - 1;
  while (ok && p_.rooms.find(id)->room.last_seq < last) {
    co_await streams_.find(id)->settled;
    ok = !ended_ && p_.rooms.find(id)->next_seq > last;  // else the log failed
  }
  stream = streams_.find(id);
  stream->reading = false;
  stream->read_ok = ok;
  ++stream->reads_done;
  stream->read.wake();
}

// `more`: the stream has events behind those that are in the room now. False: it could not be read, or the log took nothing.
base::Task<bool> Streams::read_page(RoomId id, bool& more) {
  more = false;
  const std::uint64_t after = p_.rooms.find(id)->next_seq - 1;
  auto page =
      co_await p_.o.bus->read(id, after == 0 ? 0 : after - 1);  // and the last that is here: it may be another there
  HomeRoom* room = p_.rooms.find(id);
  if (!page || streams_.find(id)->renewing) co_return false;
  if (page->last.seq == 0) co_return true;  // the bus has nothing of the room: see make_sure
  if (page->last.epoch != room->room.epoch) {
    more = true;
    co_return co_await renew(id);
  }
  const std::uint64_t first = page->events.empty() ? page->last.seq + 1 : page->events.front().event.seq;
  if (first > room->next_seq) {
    bool filled = co_await read_stored(id, first);
    if (!filled) co_return false;
    room = p_.rooms.find(id);
    if (page->last.epoch != room->room.epoch) co_return false;
  }
  for (RoomEvent& event : page->events) hold_back(*room, *streams_.find(id), std::move(event));
  more = room->next_seq <= page->last.seq;
  streams_.find(id)->sure = !more && !streams_.find(id)->doubted;
  co_return !more || room->next_seq > after + 1;  // else the log refuses
}

// Takes in what the stream has trimmed: the store has it. Where the last that is here is another there, histories have parted.
base::Task<bool> Streams::read_stored(RoomId id, std::uint64_t before) {
  if (const HomeRoom& room = *p_.rooms.find(id); !room.tail.empty() && room.room.last_seq > room.stored_seq) {
    const std::uint64_t last = room.room.last_seq;
    const EventId here = room.tail.entries().back().event.id;
    const EventId there = co_await stored_id(id, last);
    if (there && there != here) co_return co_await renew(id);
  }
  while (p_.rooms.find(id)->next_seq < before) {
    const std::uint64_t after = p_.rooms.find(id)->next_seq - 1;
    auto stored = co_await stored_after(id, after, base::limits::kFeedEvents);
    if (!stored || streams_.find(id)->renewing) co_return false;
    if (stored->empty()) co_return co_await skip_to(id, before - 1);
    for (const StoredEvent& event : *stored) {
      auto read = read_event(p_.scratch, id, event);
      if (!read) {
        base::log::error("event_not_understood", {{"room", id.text()}, {"seq", event.seq}});
        co_return false;
      }
      hold_back(*p_.rooms.find(id), *streams_.find(id), std::move(*read));
    }
    if (p_.rooms.find(id)->next_seq == after + 1) co_return false;  // the log refuses
  }
  co_return true;
}

// The stream ends at `end`, before this host's place.
base::Task<bool> Streams::put_back(RoomId id, StreamPlace end) {
  Hold hold(*this, id);
  for (;;) {
    const HomeRoom& room = *p_.rooms.find(id);
    if (end.seq != 0 && end.epoch > room.room.epoch) co_return co_await renew(id);
    if (end.seq != 0 && end.epoch < room.room.epoch) co_return co_await begin_epoch(id, room.room.epoch);
    if (end.seq >= room.room.last_seq || streams_.find(id)->renewing) co_return true;
    const std::uint64_t first = room.tail_first();
    StreamPlace base{.epoch = room.room.epoch, .seq = end.seq, .id = end.id};
    if (end.seq != 0 && end.seq + 1 < first) {
      // Where it ends the store has the event, not the tail.
      const EventId there = co_await stored_id(id, end.seq);
      if (there && end.id && there != end.id) co_return co_await renew(id);
      if (streams_.find(id)->renewing || p_.rooms.find(id)->tail_first() != first) co_return true;  // tried again
    }
    if (end.seq + 1 < first) base = {.epoch = room.room.epoch, .seq = first - 1, .id = {}};
    const auto& entries = room.tail.entries();
    if (end.seq >= first && end.id && entries[end.seq - first].event.id != end.id) co_return co_await renew(id);
    std::vector<RoomEvent> events;
    for (std::uint64_t seq = base.seq + 1; seq <= room.room.last_seq && events.size() < base::limits::kFeedEvents;
         ++seq)
      events.push_back(entries[seq - first]);
    if (events.empty()) {
      base.id = streams_.find(id)->last_id;
    }
    const StreamPlace now{.epoch = room.room.epoch,
                          .seq = events.empty() ? base.seq : events.back().event.seq,
                          .id = events.empty() ? base.id : events.back().event.id};
    auto done = co_await p_.o.bus->put_back(id, end, base, std::move(events));
    if (!done)
      co_return done.error().code ==
          Errc::conflict;  // another host was quicker: the next answer says what is to be done
    end = now;
  }
}

std::vector<RoomId> Streams::rooms_to_put_back() const {
  std::vector<RoomId> rooms;
  for (const Stream& stream : streams_) {
    const HomeRoom& room = *p_.rooms.find(stream.id());
    if (room.next_seq > room.stored_seq + 1) rooms.push_back(stream.id());
  }
  return rooms;
}

// The bus lost what it had: all that is not in the store goes back, before anything new is taken. Until that is done, from the beginning when more is lost.
base::Task<void> Streams::put_all_back() {
  std::uint64_t loss = 0;
  while (loss != losses_ && !ended_) {
    loss = losses_;
    bool done = true;
    for (RoomId id : rooms_to_put_back()) {
      if (!streams_.find(id)) continue;
      Hold hold(*this, id);
      // What is on its way to the log came from the bus too, and may be nowhere else.
      while (!ended_ && loss == losses_ && p_.rooms.find(id)->uncommitted > 0) co_await streams_.find(id)->settled;
      std::vector<RoomId> one{id};
      auto places = co_await p_.o.bus->places(std::move(one));
      done = places.has_value();
      if (done) done = co_await put_back(id, places->front());
      if (!done || loss != losses_) break;
    }
    if (done && loss == losses_) break;
    co_await tick_;
    loss = 0;
  }
  putting_back_ = false;
  if (!ended_) p_.o.bus->have_put_back();
}

base::Task<void> Streams::compare(std::vector<RoomId> rooms) {
  for (std::size_t from = 0; from < rooms.size(); from += kPlacesAtOnce) {
    const std::size_t to = std::min(rooms.size(), from + kPlacesAtOnce);
    std::vector<RoomId> some(rooms.begin() + static_cast<std::ptrdiff_t>(from),
                             rooms.begin() + static_cast<std::ptrdiff_t>(to));
    auto places = co_await p_.o.bus->places(some);
    if (!places) break;
    for (std::size_t i = 0; i < some.size(); ++i) {
      const HomeRoom* room = p_.rooms.find(some[i]);
      const Stream* stream = streams_.find(some[i]);
      if (!room || !stream || stream->reading || stream->renewing) continue;
      const StreamPlace& end = (*places)[i];
      if (end.seq != 0 && end.epoch < room->room.epoch) {
        (void)co_await begin_epoch(some[i], room->room.epoch);
      } else if (end.seq != 0 && (end.epoch > room->room.epoch || end.seq >= room->next_seq)) {
        p_.o.scope.spawn(catch_up_alone(some[i]));
      } else if (end.seq < room->room.last_seq && room->room.last_seq > room->stored_seq) {
        (void)co_await put_back(some[i], end);
      } else if (end.seq == room->room.last_seq && end.id && stream->last_id && end.id != stream->last_id) {
        (void)co_await renew(some[i]);
      }
    }
  }
  comparing_ = false;
}

base::Task<void> Streams::catch_up_alone(RoomId id) { (void)co_await catch_up(id); }

void Streams::on_following(RoomId room) {
  Stream* stream = streams_.find(room);
  if (!stream) return;
  stream->read_ok = stream->sure = false;
  p_.o.scope.spawn(catch_up_alone(room));
}

void Streams::on_following(UserId user) { p_.abroad.on_following(user); }

// What was taken and has not come, or not in its turn, may be gone: it is proposed again.
void Streams::on_lost() {
  ++losses_;
  for (Stream& stream : streams_) {
    stream.ahead.clear();
    stream.hole_ms = 0;
    stream.sure = false;
    stream.doubted = true;
  }
  with_ahead_.clear();
  for (const auto& [id, proposed] : proposed_) enqueue(id);
  if (!std::exchange(putting_back_, true)) p_.o.scope.spawn(put_all_back());
}

// Who waits for a room to be read looks whether that can be hoped for.
void Streams::on_away() {
  std::vector<RoomId> waiting;
  for (const Stream& stream : streams_)
    if (stream.read.wanted() && !p_.o.bus->is_there(stream.id())) waiting.push_back(stream.id());
  for (RoomId id : waiting)
    if (Stream* stream = streams_.find(id)) stream->read.wake();
}

void Streams::on_back() {
  p_.abroad.on_back();
  compared_ms_ = 0;
  // Followed before anything could be read.
  std::vector<RoomId> unread;
  for (const Stream& stream : streams_)
    if (!stream.read_ok && !stream.reading) unread.push_back(stream.id());
  for (RoomId id : unread) p_.o.scope.spawn(catch_up_alone(id));
}

void Streams::on_tick(std::int64_t now_ms) {
  if (!on()) return;
  tick_.wake();
  keep_late(now_ms);
  on_away();  // a server may be away that was hoped for a moment ago
  if (!p_.o.bus->is_there()) return;
  const std::set<RoomId> with_queue = with_queue_;
  for (RoomId id : with_queue) p_.o.scope.spawn(drain(id));
  const std::set<RoomId> with_ahead = with_ahead_;
  for (RoomId id : with_ahead) {
    Stream& stream = *streams_.find(id);
    append_ahead(*p_.rooms.find(id), stream);
    if (stream.hole_ms != 0 && now_ms - stream.hole_ms >= kHoleMs && !stream.reading)
      p_.o.scope.spawn(catch_up_alone(id));
  }
  claim_if_due(now_ms);
  if (now_ms - presence_ms_ >= kPresenceEveryMs) {
    presence_ms_ = now_ms;
    std::vector<RoomId> rooms;
    for (const Stream& stream : streams_) rooms.push_back(stream.id());
    for (RoomId id : rooms) p_.o.scope.spawn(read_presence(id, false));
  }
  if (comparing_ || now_ms - compared_ms_ < kCompareEveryMs) return;
  compared_ms_ = now_ms;
  std::vector<RoomId> heard;
  for (const Stream& stream : streams_) {
    if (!p_.o.bus->is_there(stream.id())) continue;
    const HomeRoom& room = *p_.rooms.find(stream.id());
    const bool here = std::ranges::any_of(room.listeners, [](std::uint32_t count) { return count > 0; });
    if (here || room.room.last_seq > room.stored_seq) heard.push_back(stream.id());
  }
  if (heard.empty()) return;
  comparing_ = true;
  p_.o.scope.spawn(compare(std::move(heard)));
}

}  // namespace ringline::chat
