// See delivery.hpp.
#include "chat/delivery.hpp"

#include <algorithm>
#include <span>

#include "chat/parts.hpp"
#include "ringline/base/fetch.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kSeatsFetched = 4;  // of a room, into the cache for its flush: of many small rooms none is there
constexpr std::string_view kReset = "room_reset";
constexpr std::uint64_t kResetOf = 1ULL << 63;  // no id has this bit: the room's presence is another state

base::Blob reset_body(RoomId id, std::uint64_t epoch, std::uint64_t last) {
  Writer out;
  out.begin_object().key("roomId").id(id).key("epoch").unsigned_integer(epoch).key("lastSeq").unsigned_integer(last);
  return base::Blob::copy_of(out.end_object().view());
}

}  // namespace

void Delivery::mark_dirty(LocalRoom& room) {
  if (room.dirty) return;
  room.dirty = true;
  dirty_.push_back(&room);
}

void Delivery::deliver(const Delivered& event) {
  LocalRoom* room = find(event.room);
  if (!room || event.seq <= room->last_seq) return;
  ASSERT(event.seq == room->last_seq + 1);
  room->last_seq = event.seq;
  if (room->turn_first == 0) room->turn_first = event.seq;
  LocalRoom::Ends ends{};
  std::string_view offset = p_.recovery.offset_of(room->id(), event.seq, false);
  if (!offset.empty()) room->turn_counts.push_back(p_.recovery.last_count());
  for (std::size_t wire = 0; wire < kWires; ++wire) {
    if (room->wires[wire] == 0 && !room->events[wire]) continue;
    if (!room->events[wire]) {
      room->events[wire] = p_.chunks.take();
      room->framed_from[wire] = event.seq;
    }
    p_.o.framer.append_event(room->events[wire]->bytes, Wire(wire), name_of(event.kind), event.body.view(), offset);
    ends[wire] = static_cast<std::uint32_t>(room->events[wire]->bytes.size());
  }
  room->turn_ends.push_back(ends);
  if (event.kind == EventKind::member_joined) ++room->member_count;
  if (event.kind == EventKind::member_left) --room->member_count;
  if (event.subject) {
    room->leaving.push_back(event.subject);
    for (LocalRoom::Held& held : room->held)
      if (held.user == event.subject) held.left = true;
  }
  mark_dirty(*room);
  for (const LocalRoom::Seat& seat : std::span(room->seats).first(std::min(room->seats.size(), kSeatsFetched)))
    base::fetch_lines(seat.session, sizeof *seat.session);
  if (!event.subject) return;
  // He gets nothing of what follows, not even in this turn.
  flush_room(*room);
  remove_leaving(*room);
}

void Delivery::reset(RoomId id, std::uint64_t epoch, std::uint64_t last) {
  LocalRoom* room = find(id);
  if (!room) return;
  flush_room(*room);
  room->epoch = epoch;
  room->last_seq = last;
  for (LocalRoom::Seat& seat : room->seats) {
    miss_resumed(seat.session->id, *room, seat.next_seq);
    seat.next_seq = seat.live_seq = last + 1;
  }
  ranges_.forget_all();
  show(id, {.of = kResetOf | id.value, .name = kReset, .body = reset_body(id, epoch, last)});
  flush_room(*room);  // before what follows in this turn
}

void Delivery::pass(RoomId id, std::string_view name, std::string_view body) {
  LocalRoom* room = find(id);
  if (!room) return;
  for (std::size_t wire = 0; wire < kWires; ++wire) {
    if (room->wires[wire] == 0) continue;
    if (!room->passing[wire]) room->passing[wire] = p_.chunks.take();
    p_.o.framer.append_event(room->passing[wire]->bytes, Wire(wire), name, body);
  }
  mark_dirty(*room);
}

void Delivery::show(RoomId id, const PassingState& state) {
  pass(id, state.name, state.body.view());
  if (LocalRoom* room = find(id)) room->states.push_back(state);
}

namespace {

// What a member gets with the next flush.
std::size_t bytes_waiting(const LocalRoom& room) noexcept {
  std::size_t most = 0;
  for (const base::ChunkRef& events : room.events)
    if (events) most = std::max(most, events->bytes.size());
  return most;
}

}  // namespace

std::int64_t Delivery::due_ms(const LocalRoom& room) const noexcept {
  if (bytes_waiting(room) >= base::limits::kFlushBytes) return 0;
  auto pace = std::chrono::duration_cast<std::chrono::milliseconds>(base::limits::kFlushPace * room.seats.size());
  return room.flushed_ms + std::min(pace, p_.o.settings.flush_wait).count();
}

std::int64_t Delivery::flush() {
  std::size_t bytes = 0;
  if (p_.now_ms() >= paced_due_ms_) {
    paced_due_ms_ = INT64_MAX;
    due_.swap(paced_);
    flush_due(due_, bytes);
    due_.clear();
  }
  flush_due(dirty_, bytes);
  dirty_.clear();
  return paced_due_ms_;
}

// Seats may go while a room is flushed (never rooms that are dirty), and nothing becomes dirty. What is due beyond the turn's share goes first in the next
// turn: rooms that were flushed together would be due together ever after, and who comes last among them would wait for all others each time.
void Delivery::flush_due(std::vector<LocalRoom*>& rooms, std::size_t& bytes) {
  for (LocalRoom* room : rooms) {
    if (std::int64_t due = due_ms(*room); due > p_.now_ms() || bytes >= base::limits::kTurnBytes) {
      paced_.push_back(room);
      paced_due_ms_ = std::min(paced_due_ms_, due);
      continue;
    }
    bytes += room->seats.size() * bytes_waiting(*room);
    flush_room(*room);
    room->dirty = false;
    if (room->seats.empty()) drop_if_empty(room->id());
  }
}

void Delivery::flush_room(LocalRoom& room) {
  for (LocalRoom::Seat& seat : room.seats) flush_seat(room, seat);
  for (std::size_t wire = 0; wire < kWires; ++wire) {
    room.events[wire] = {};
    room.passing[wire] = {};
  }
  room.states.clear();
  p_.recovery.flushed(room.turn_counts);
  room.turn_first = 0;
  room.turn_ends.clear();
  room.flushed_ms = p_.now_ms();
}

void Delivery::flush_seat(LocalRoom& room, LocalRoom::Seat& seat) {
  auto wire = static_cast<std::size_t>(seat.session->out.wire());
  if (room.turn_first != 0 && seat.next_seq <= room.last_seq) {
    if (!room.comes_with_flush(seat.next_seq, seat.session->out.wire())) {
      feed(*seat.session);
    } else {
      auto skipped = static_cast<std::size_t>(seat.next_seq - room.turn_first);
      std::uint32_t from = skipped == 0 ? 0 : room.turn_ends[skipped - 1][wire];
      std::uint32_t to = room.turn_ends.back()[wire];
      if (seat.session->out.send_shared(room.events[wire], from, to)) {
        p_.o.metrics.deliveries += room.turn_ends.size() - skipped;
        seat.next_seq = room.last_seq + 1;
      } else {
        ++p_.o.metrics.slow_readers;
      }
    }
  }
  if (!room.passing[wire]) return;
  auto size = static_cast<std::uint32_t>(room.passing[wire]->bytes.size());
  if (seat.session->out.has_room() && seat.session->out.send_shared(room.passing[wire], 0, size)) return;
  ++p_.o.metrics.passing_dropped;
  p_.missed.keep(seat.session->id, room.states);
}

LocalRoom& Delivery::local(const Subscription& subscription) {
  auto [room, is_new] = rooms_.emplace(subscription.room, subscription.room);
  if (is_new) {
    room.last_seq = subscription.last_seq;
    room.epoch = subscription.epoch;
    room.member_count = subscription.member_count;
  }
  return room;
}

void Delivery::seat(Session& session, Subscription& subscription) {
  LocalRoom& room = local(subscription);
  for (const Session::Seat& seat : session.seats) ASSERT(seat.room != &room);
  if (subscription.epoch != room.epoch) {
    subscription.anew = true;
    subscription.complete = false;
    subscription.epoch = room.epoch;
    subscription.last_seq = room.last_seq;
    subscription.first_seq = room.last_seq + 1;
  }
  session.seats.push_back({&room, static_cast<std::uint32_t>(room.seats.size())});
  room.seats.push_back({&session, subscription.first_seq, subscription.last_seq + 1});
  ++room.wires[static_cast<std::size_t>(session.out.wire())];
}

void Delivery::tell_anew(Session& session, const Subscription& subscription) {
  if (!subscription.anew) return;
  const base::Blob body = reset_body(subscription.room, subscription.epoch, subscription.last_seq);
  session.out.send_event(kReset, body.view());
}

void Delivery::hold(ConnectionId connection, UserId user, Wire wire, const Subscription& subscription) {
  LocalRoom& room = local(subscription);
  room.held.push_back({.connection = connection, .user = user, .wire = wire});
  ++room.wires[static_cast<std::size_t>(wire)];
}

bool Delivery::take_held(ConnectionId connection, RoomId id) {
  LocalRoom* room = find(id);
  ASSERT(room != nullptr);
  auto held = std::ranges::find(room->held, connection, &LocalRoom::Held::connection);
  ASSERT(held != room->held.end());
  bool is_member = !held->left;
  --room->wires[static_cast<std::size_t>(held->wire)];
  room->held.erase(held);
  return is_member;
}

void Delivery::drop_if_empty(RoomId id) {
  LocalRoom* room = find(id);
  if (room && room->seats.empty() && room->held.empty() && !room->dirty) rooms_.erase(id);
}

namespace {

bool has_seat(const Session& session, RoomId room) {
  return std::ranges::any_of(session.seats, [&](const Session::Seat& seat) { return seat.room->id() == room; });
}

}  // namespace

void Delivery::hear(ConnectionId connection, UserId user, RoomId room, std::uint64_t from_seq) {
  Session* session = p_.o.around.find(connection);
  if (!session || session->state != Session::State::ready || has_seat(*session, room)) return;
  p_.o.scope.spawn(hear_later(connection, user, room, from_seq));
}

base::Task<void> Delivery::hear_later(ConnectionId connection, UserId user, RoomId room, std::uint64_t from_seq) {
  Subscribe request{.connection = connection, .user = user, .core = p_.o.core, .from_seq = from_seq};
  unsigned home = p_.home(room);
  auto asking = ask<std::optional<Subscription>>(
      p_, home, [room, request](Parts& there, Answer<std::optional<Subscription>> answer) {
        there.rooms.with(room, [&there, request, answer](Result<HomeRoom*> found) {
          if (!found) return answer(there, std::nullopt);
          answer(there, there.rooms.subscribe(**found, request));
        });
      });
  auto subscription = co_await asking;
  if (!subscription || !subscription->member) co_return;
  Session* session = p_.o.around.find(connection);
  if (!session || session->state != Session::State::ready || has_seat(*session, room)) {
    p_.on(home, [room, user, core = p_.o.core](Parts& there) { there.rooms.unsubscribe(room, user, core); });
    co_return;
  }
  seat(*session, *subscription);
  tell_anew(*session, *subscription);
  feed(*session);
}

void Delivery::unseat(Session& session, std::size_t seat_index) {
  Session::Seat seat = session.seats[seat_index];
  miss_resumed(session.id, *seat.room, seat.room->seats[seat.index].next_seq);
  session.seats[seat_index] = session.seats.back();
  session.seats.pop_back();
  LocalRoom& room = *seat.room;
  --room.wires[static_cast<std::size_t>(session.out.wire())];
  room.seats[seat.index] = room.seats.back();
  room.seats.pop_back();
  if (seat.index < room.seats.size()) {
    for (Session::Seat& moved : room.seats[seat.index].session->seats)
      if (moved.room == &room) moved.index = seat.index;
  }
  p_.on(p_.home(room.id()), [id = room.id(), user = session.user->id, core = p_.o.core](Parts& there) {
    there.rooms.unsubscribe(id, user, core);
  });
  drop_if_empty(room.id());
}

void Delivery::unseat_all(Session& session) {
  while (!session.seats.empty()) unseat(session, session.seats.size() - 1);
  resuming_.erase(session.id);
}

void Delivery::remove_leaving(LocalRoom& room) {
  ASSERT(room.dirty);  // keeps the room while its seats go
  std::vector<UserId> leaving = std::move(room.leaving);
  room.leaving.clear();
  for (UserId user : leaving) {
    std::vector<Session*> sessions;
    for (LocalRoom::Seat& seat : room.seats)
      if (seat.session->user->id == user) sessions.push_back(seat.session);
    for (Session* session : sessions) {
      auto seat = std::ranges::find_if(session->seats, [&](const Session::Seat& s) { return s.room == &room; });
      unseat(*session, static_cast<std::size_t>(seat - session->seats.begin()));
    }
  }
}

// What a session lacks first: the room of a seat that is behind, and does not get it with the next flush. Null: none.
LocalRoom::Seat* Delivery::behind(const Session& session, LocalRoom*& room) {
  bool resumes = resuming_.contains(session.id);
  for (const Session::Seat& taken : session.seats) {
    room = taken.room;
    LocalRoom::Seat& seat = room->seats[taken.index];
    if (seat.next_seq > room->last_seq) continue;
    if (!room->comes_with_flush(seat.next_seq, session.out.wire()) || resumes) return &seat;
  }
  return nullptr;
}

void Delivery::feed(Session& session) {
  while (!session.feeding && session.out.has_room()) {
    LocalRoom* room = nullptr;
    LocalRoom::Seat* seat = behind(session, room);
    if (!seat) return check_resumed(session);
    const FedRange* range = ranges_.find(room->id(), session.out.wire(), seat->next_seq);
    if (!range) {
      read_for(session, room->id(), seat->next_seq - 1);
    } else if (session.out.send_shared(range->frames, range->begin_of(seat->next_seq), range->size())) {
      p_.o.metrics.deliveries += range->last() + 1 - seat->next_seq;
      seat->next_seq = range->last() + 1;
    } else {
      return;
    }
  }
}

// Waits for a read that is under way and may hold what is wanted, or begins one. The offsets that Recovery gives are one connection's: then it reads alone.
void Delivery::read_for(Session& session, RoomId room, std::uint64_t after) {
  session.feeding = true;
  auto reading = readings_.upper_bound({room, after});
  if (reading != readings_.begin() && !p_.recovery.on()) {
    --reading;
    auto [of, from] = reading->first;
    if (of == room && after - from < base::limits::kFeedEvents) return reading->second.push_back(session.id);
  }
  reading = readings_.emplace(std::pair(room, after), std::vector{session.id});
  p_.o.scope.spawn([](Parts& p, Readings::iterator which) -> Task<void> {
    auto asking = ask<Feed>(p, p.home(which->first.first), [wanted = which->first](Parts& there, Answer<Feed> answer) {
      there.o.scope.spawn([](Parts& home, RoomId of, std::uint64_t from, Answer<Feed> reply) -> Task<void> {
        Feed read = co_await home.rooms.read_after(of, from);
        reply(home, std::move(read));
      }(there, wanted.first, wanted.second, answer));
    });
    Feed read = co_await asking;
    p.delivery.fed(which, read);
  }(p_, reading));
}

void Delivery::fed(Readings::iterator reading, const Feed& read) {
  std::uint64_t after = reading->first.second;
  std::vector<ConnectionId> waiting = std::move(reading->second);
  readings_.erase(reading);
  for (ConnectionId connection : waiting) {
    Session* session = p_.o.around.find(connection);
    if (!session) continue;
    session->feeding = false;
    auto seat = std::ranges::find_if(session->seats, [&](const Session::Seat& s) { return s.room->id() == read.room; });
    std::uint64_t next = seat == session->seats.end() ? 0 : seat->room->seats[seat->index].next_seq;
    const bool same_epoch = next != 0 && seat->room->epoch == read.epoch;
    bool wanted = same_epoch && next > after && next <= read.last(after);
    if (wanted && !ranges_.find(read.room, session->out.wire(), next))
      ranges_.add(frame(read, after, session->out.wire()));
    // It failed, or the log had not what is wanted next.
    if (!read.ok || (!wanted && next == after + 1)) {
      feed_again_.push_back(connection);
    } else {
      feed(*session);
    }
    if (p_.recovery.on()) ranges_.forget_all();
  }
}

FedRange Delivery::frame(const Feed& read, std::uint64_t after, Wire wire) {
  FedRange range{.room = read.room, .wire = wire, .first = after + 1, .frames = p_.chunks.take()};
  range.made_ms = p_.now_ms();
  range.ends.reserve(read.events.size());
  for (const FedEvent& event : read.events) {
    ASSERT(event.seq == range.last() + 1);
    std::string_view offset = p_.recovery.offset_of(read.room, event.seq, true);
    p_.o.framer.append_event(range.frames->bytes, wire, name_of(event.kind), event.body.view(), offset);
    range.ends.push_back(static_cast<std::uint32_t>(range.frames->bytes.size()));
  }
  return range;
}

void Delivery::resume(Session& session, const std::vector<ResumePoint>& points) {
  std::vector<Resumed> rooms;
  for (const ResumePoint& point : points) {
    Resumed result{.room = point.room, .from = point.seq, .to = point.seq, .epoch = point.epoch, .complete = false};
    for (const Session::Seat& taken : session.seats) {
      if (taken.room->id() != point.room) continue;
      LocalRoom& room = *taken.room;
      LocalRoom::Seat& seat = room.seats[taken.index];
      bool untouched = seat.next_seq == seat.live_seq;
      bool in_reach = point.seq < seat.next_seq && seat.next_seq - point.seq <= base::limits::kResumeEvents;
      result.epoch = room.epoch;
      result.complete = untouched && in_reach && point.epoch == room.epoch;
      result.to = seat.next_seq - 1;
      if (result.complete) seat.next_seq = point.seq + 1;
    }
    rooms.push_back(result);
  }
  start_resume(session, std::move(rooms));
}

void Delivery::start_resume(Session& session, std::vector<Resumed> rooms) {
  resuming_[session.id] = std::move(rooms);
  feed(session);
}

// A seat goes: what it has not had by now of what was asked for, it never gets.
void Delivery::miss_resumed(ConnectionId connection, const LocalRoom& room, std::uint64_t next_seq) {
  auto found = resuming_.find(connection);
  if (found == resuming_.end()) return;
  for (Resumed& resumed : found->second)
    if (resumed.room == room.id() && next_seq <= resumed.to) resumed.complete = false;
}

// All that was missed is sent, or never will be: say so, behind it.
void Delivery::check_resumed(Session& session) {
  auto found = resuming_.find(session.id);
  if (found == resuming_.end()) return;
  Writer& out = p_.body;
  out.clear();
  out.begin_object().key("rooms").begin_object();
  for (const Resumed& room : found->second) {
    out.key(room.room.text()).begin_object().key("from").unsigned_integer(room.from);
    out.key("to").unsigned_integer(room.to).key("epoch").unsigned_integer(room.epoch);
    out.key("complete").boolean(room.complete).end_object();
  }
  out.end_object().end_object();
  base::ChunkRef chunk = p_.chunks.take();
  p_.o.framer.append_event(chunk->bytes, session.out.wire(), "resumed", out.view());
  if (session.out.send_shared(chunk, 0, static_cast<std::uint32_t>(chunk->bytes.size()))) resuming_.erase(found);
}

void Delivery::rest() noexcept {
  for (LocalRoom& room : rooms_) {
    room.seats.shrink_to_fit();
    room.held.shrink_to_fit();
    room.turn_ends.shrink_to_fit();
    room.turn_counts.shrink_to_fit();
    room.states.shrink_to_fit();
    room.leaving.shrink_to_fit();
  }
}

void Delivery::on_tick() {
  std::vector<ConnectionId> again = std::move(feed_again_);
  feed_again_.clear();
  for (ConnectionId connection : again)
    if (Session* session = p_.o.around.find(connection)) feed(*session);
  ranges_.on_tick(p_.now_ms());
}

}  // namespace ringline::chat
