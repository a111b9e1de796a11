// See marks.hpp.
#include "chat/marks.hpp"

#include <algorithm>
#include <utility>

#include "chat/parts.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

namespace {

bool is_later(const ReadMark& mark, const ReadMark& than) noexcept {
  return mark.epoch != than.epoch ? mark.epoch > than.epoch : mark.seq > than.seq;
}

bool raise(HomeMember& member, std::uint64_t seq, std::uint64_t count) noexcept {
  if (seq <= member.member.read_seq) return false;
  member.member.read_seq = seq;
  member.member.read_count = std::max(member.member.read_count, count);
  return true;
}

// Of the tail, from the seq `first` to `last`.
std::uint64_t messages_in(const HomeRoom& room, std::uint64_t first, std::uint64_t last) {
  std::uint64_t count = 0;
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    const Event& event = room.tail.entries()[static_cast<std::size_t>(seq - room.tail_first())].event;
    if (event.kind == EventKind::message_created) ++count;
  }
  return count;
}

template <class Item, class CoreOf>
std::vector<std::vector<Item>> by_core(unsigned cores, std::vector<Item> items, CoreOf core_of) {
  std::vector<std::vector<Item>> parts(cores);
  for (Item& item : items) parts[core_of(item)].push_back(std::move(item));
  return parts;
}

}  // namespace

std::uint64_t unread_of(const HomeRoom& room, const Member& member) noexcept {
  return room.room.message_count - std::min(member.read_count, room.room.message_count);
}

// ---- At the room's home

// Counted from what is nearer: the mark or the end.
std::optional<std::uint64_t> Marks::count_in_tail(const HomeRoom& room, const Member& mark, std::uint64_t seq) {
  const std::uint64_t first = room.tail_first();
  const std::uint64_t last = room.room.last_seq;
  if (seq + 1 < first) return std::nullopt;
  if (mark.read_seq + 1 >= first && seq - mark.read_seq < last - seq)
    return mark.read_count + messages_in(room, mark.read_seq + 1, seq);
  return room.room.message_count - messages_in(room, seq + 1, last);
}

// What is before the tail is in the store (rooms.hpp), and how many messages are up to its first is known here.
base::Task<Result<std::uint64_t>> Marks::count(RoomId id, UserId user, std::uint64_t seq) {
  HomeRoom* room = p_.rooms.find(id);
  const HomeMember* member = room ? room->find(user) : nullptr;
  if (!member) co_return base::fail(Errc::not_found, "no such room");
  const Member mark = member->member;
  const std::uint64_t epoch = room->room.epoch;
  const std::uint64_t stored = room->tail_first() - 1;
  const std::uint64_t in_store = room->room.message_count - messages_in(*room, stored + 1, room->room.last_seq);
  const bool from_mark = mark.read_seq < seq && seq - mark.read_seq <= stored - std::min(seq, stored);
  auto counted = co_await p_.o.store.count_messages(id, from_mark ? mark.read_seq : seq, from_mark ? seq : stored);
  if (!counted) co_return std::unexpected(counted.error());
  room = p_.rooms.find(id);
  if (!room || room->room.epoch != epoch) co_return base::fail_later(Errc::unavailable, 1000, "the room began anew");
  co_return from_mark ? mark.read_count + *counted : in_store - std::min(*counted, in_store);
}

void Marks::move(HomeRoom& room, HomeMember& member, std::uint64_t seq, std::uint64_t count) {
  if (!raise(member, seq, std::min(count, room.room.message_count))) return;
  const ReadMark mark{
      .room = room.id(), .user = member.id(), .epoch = room.room.epoch, .seq = seq, .count = member.member.read_count};
  tell({told_of(room, member)});
  Kept& kept = keep(mark);
  kept.to_store = true;
  if (!p_.abroad.on()) return;
  kept.until_ms = p_.now_ms() + kTellAgainMs;
  kept.to_tell = !p_.abroad.hears(mark.user);
  if (!kept.to_tell) p_.abroad.read(mark);
}

void Marks::sent(HomeRoom& room, HomeMember& sender) {
  const bool had_unread = sender.member.read_count + 1 < room.room.message_count;
  if (!raise(sender, room.room.last_seq, room.room.message_count) || !had_unread) return;
  if (sender.online == 0 || sender.unread_due) return;
  sender.unread_due = true;
  changed_.push_back({room.id(), sender.id()});
}

void Marks::apply(HomeRoom& room) {
  if (kept_.empty()) return;
  for (HomeMember& member : room.members) apply(room, member);
}

void Marks::apply(HomeRoom& room, HomeMember& member) {
  auto found = kept_.find({room.id(), member.id()});
  if (found == kept_.end() || found->second.mark.epoch != room.room.epoch) return;
  if (raise(member, found->second.mark.seq, found->second.mark.count)) found->second.to_store = true;
}

// What the bus had is written here too, where it was news: the host that told it may have gone before the store had it.
void Marks::take(const ReadMark& mark, bool from_bus) {
  HomeRoom* room = p_.rooms.find(mark.room);
  HomeMember* member = room && room->room.epoch == mark.epoch ? room->find(mark.user) : nullptr;
  const bool news = member && raise(*member, mark.seq, mark.count);
  if (news) tell({told_of(*room, *member)});
  if (!from_bus || !may_move()) return;
  if (news) keep(mark).to_store = true;
  // The room is not in memory, or his joining or its new epoch is not known here yet.
  if (!member && !(room && room->room.epoch > mark.epoch)) keep(mark).until_ms = p_.now_ms() + kWaitMs;
}

void Marks::on_back() {
  for (auto& [key, kept] : kept_) kept.to_tell = true;
}

Marks::Kept& Marks::keep(const ReadMark& mark) {
  Kept& kept = kept_[{mark.room, mark.user}];
  if (!kept.mark.room || is_later(mark, kept.mark)) kept.mark = mark;
  return kept;
}

// ---- On the way to the user's connections

Marks::Told Marks::told_of(const HomeRoom& room, const HomeMember& member) const noexcept {
  return {.user = member.id(), .room = room.id(), .unread = unread_of(room, member.member)};
}

void Marks::tell(std::vector<Told> told) {
  auto parts = by_core(p_.o.cores, std::move(told), [this](const Told& one) { return p_.home(one.user); });
  for (unsigned core = 0; core < parts.size(); ++core)
    if (!parts[core].empty())
      p_.on(core, [some = std::move(parts[core])](Parts& there) { there.marks.tell_users(some); });
}

void Marks::tell_users(const std::vector<Told>& told) {
  std::vector<Told> all;
  for (const Told& one : told) {
    const HomeUser* user = p_.people.find(one.user);
    if (!user) continue;
    for (ConnectionId connection : user->connections)
      all.push_back({.user = one.user, .room = one.room, .unread = one.unread, .connection = connection});
  }
  auto parts = by_core(p_.o.cores, std::move(all), [](const Told& one) { return one.connection.core(); });
  for (unsigned core = 0; core < parts.size(); ++core)
    if (!parts[core].empty())
      p_.on(core, [some = std::move(parts[core])](Parts& there) {
        for (const Told& one : some) there.marks.show(one);
      });
}

// What `ready` says of a room may be older than this: then this follows it.
void Marks::show(const Told& told) {
  Session* session = p_.o.around.find(told.connection);
  if (!session) return;
  const bool ready = session->state == Session::State::ready;
  if (ready ? session->user->id != told.user : session->state != Session::State::signing_in) return;
  if (ready && session->out.has_room()) return send(*session, told);
  Held& held = held_[told.connection];
  if (held.user != told.user) held = {.user = told.user, .rooms = {}};
  auto same = std::ranges::find(held.rooms, told.room, &Told::room);
  if (same != held.rooms.end()) {
    *same = told;
  } else {
    held.rooms.push_back(told);
  }
}

void Marks::send(Session& session, const Told& told) {
  Writer& out = p_.body;
  out.clear();
  out.begin_object().key("roomId").id(told.room).key("unread").unsigned_integer(told.unread);
  out.key("mentions").unsigned_integer(MemberView{}.mentions).end_object();
  session.out.send_event("unread_changed", out.view());
}

void Marks::tell_held(Session& session) {
  auto found = held_.empty() ? held_.end() : held_.find(session.id);
  if (found == held_.end() || !session.out.has_room()) return;
  const Held held = std::move(found->second);
  held_.erase(found);
  if (held.user != session.user->id) return;
  for (const Told& told : held.rooms) send(session, told);
}

void Marks::tell_changed() {
  std::vector<Told> told;
  for (const Key& key : changed_) {
    HomeRoom* room = p_.rooms.find(key.room);
    HomeMember* member = room ? room->find(key.user) : nullptr;
    if (!member) continue;
    member->unread_due = false;
    told.push_back(told_of(*room, *member));
  }
  changed_.clear();
  if (!told.empty()) tell(std::move(told));
}

// ---- Several hosts

void Marks::heard(const ReadMark& mark) {
  p_.on(p_.home(mark.room), [mark](Parts& there) { there.marks.take(mark, true); });
}

// When it returns, his rooms' homes know.
base::Task<void> Marks::catch_up(UserId user, std::vector<ReadMark> noted) {
  auto home_of = [this](const ReadMark& mark) { return p_.home(mark.room); };
  auto stored = co_await p_.o.store.marks_of(user);
  auto old = by_core(p_.o.cores, stored ? std::move(*stored) : std::vector<ReadMark>(), home_of);
  auto recent = by_core(p_.o.cores, std::move(noted), home_of);
  for (unsigned core = 0; core < p_.o.cores; ++core) {
    if (old[core].empty() && recent[core].empty()) continue;
    auto asking = ask<bool>(
        p_, core, [some = std::move(old[core]), others = std::move(recent[core])](Parts& there, Answer<bool> answer) {
          for (const ReadMark& mark : some) there.marks.take(mark, false);
          for (const ReadMark& mark : others) there.marks.take(mark, true);
          answer(there, true);
        });
    co_await asking;
  }
}

// ---- Into the store

// What is ahead of the store waits for it. A room that is not in memory has nothing there that the store has not.
bool Marks::may_write(const ReadMark& mark) const noexcept {
  const HomeRoom* room = p_.rooms.find(mark.room);
  return !room || room->room.epoch != mark.epoch || mark.seq <= room->stored_seq;
}

std::vector<ReadMark> Marks::choose() const {
  std::vector<ReadMark> batch;
  for (const auto& [key, kept] : kept_) {
    if (batch.size() == kWrittenAtOnce) break;
    if (kept.to_store && may_write(kept.mark)) batch.push_back(kept.mark);
  }
  return batch;
}

void Marks::begin_writing() {
  if (writing_ || kept_.empty()) return;
  writing_ = true;
  p_.o.scope.spawn(write());
}

base::Task<void> Marks::write() {
  for (std::vector<ReadMark> batch = choose(); !batch.empty(); batch = choose()) {
    auto written = co_await p_.o.store.set_marks(batch);
    if (!written) {
      if (!std::exchange(failing_, true)) base::log::warn("marks_not_written", {{"why", written.error().message}});
      break;
    }
    failing_ = false;
    for (const ReadMark& mark : batch) {
      auto found = kept_.find({mark.room, mark.user});
      if (found != kept_.end() && !is_later(found->second.mark, mark)) found->second.to_store = false;
    }
  }
  writing_ = false;
}

bool Marks::all_written() {
  begin_writing();
  return !writing_ && std::ranges::none_of(kept_, [](const auto& entry) { return entry.second.to_store; });
}

void Marks::on_tick(std::int64_t now_ms) {
  if (now_ms - ticked_ms_ < kEveryMs) return;
  ticked_ms_ = now_ms;
  tell_changed();
  for (auto& [key, kept] : kept_) {
    if (!kept.to_tell || !p_.abroad.hears(kept.mark.user)) continue;
    p_.abroad.read(kept.mark);
    kept.to_tell = false;
  }
  std::erase_if(kept_, [&](const auto& entry) {
    const Kept& kept = entry.second;
    return !kept.to_store && !kept.to_tell && now_ms >= kept.until_ms;
  });
  begin_writing();
}

}  // namespace ringline::chat
