// See ingest.hpp.
#include "chat/ingest.hpp"

#include <algorithm>
#include <unordered_set>

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

namespace {

constexpr std::int64_t kTogetherMs = 1000;  // what is stored within so long is let go of together
constexpr std::int64_t kOthersMs = 100;     // before all is looked at again, where it is for other hosts to take in

}  // namespace

void Ingest::add(std::uint64_t ticket, const Event& event, UserId subject) {
  ++waiting_;
  order_.push_back({ticket, event.room, event.seq, subject});
  if (subject) memberships_[subject].push_back({ticket, event.room, event.kind == EventKind::member_joined});
}

void Ingest::forget(RoomId room) {
  std::uint64_t events = 0;
  if (const HomeRoom* found = p_.rooms.find(room)) events = found->room.last_seq - found->stored_seq;
  waiting_ -= events;
  std::erase_if(order_, [&](const Entry& entry) { return entry.room == room; });
  for (auto& [user, changes] : memberships_)
    std::erase_if(changes, [&](const Change& change) { return change.room == room; });
  std::erase_if(memberships_, [](const auto& changes) { return changes.second.empty(); });
}

void Ingest::rest() noexcept {
  if (memberships_.empty()) decltype(memberships_)().swap(memberships_);
}

std::vector<std::pair<RoomId, bool>> Ingest::memberships_of(UserId user) const {
  std::vector<std::pair<RoomId, bool>> changes;
  if (auto found = memberships_.find(user); found != memberships_.end())
    for (const Change& change : found->second) changes.emplace_back(change.room, change.joined);
  return changes;
}

bool Ingest::pump(bool now) {
  const bool more = sweep();
  if (more || running_ || waiting_ < (now ? 1 : p_.o.store_batch) || p_.now_ms() < retry_ms_) return more;
  running_ = true;
  p_.o.scope.spawn(run());
  return !running_ && looked_ > 0;
}

// A room that is not in memory any more had nothing to store.
bool Ingest::is_stored(const Entry& entry) const noexcept {
  const HomeRoom* room = p_.rooms.find(entry.room);
  return !room || entry.seq <= room->stored_seq;
}

// Lets go of what is stored, up to the first that is not, a batch at most. True: there may be more.
bool Ingest::sweep() {
  std::uint64_t last_ticket = 0;
  std::size_t swept = 0;
  for (; swept < p_.o.store_batch && !order_.empty() && is_stored(order_.front()); ++swept) {
    const Entry& done = order_.front();
    last_ticket = done.ticket;
    if (auto found = memberships_.find(done.subject); done.subject && found != memberships_.end()) {
      std::erase_if(found->second, [&](const Change& c) { return c.ticket <= last_ticket; });
      if (found->second.empty()) memberships_.erase(found);
    }
    order_.pop_front();
  }
  looked_ -= std::min(looked_, swept);
  if (swept > 0) {
    const std::int64_t now_ms = base::monotonic_ms();
    const bool with_last = !stored_.empty() && now_ms / kTogetherMs == stored_.back().at_ms / kTogetherMs;
    if (with_last) stored_.pop_back();
    stored_.push_back({.ticket = last_ticket, .at_ms = now_ms});
  }
  let_go();
  return swept == p_.o.store_batch;
}

void Ingest::let_go() {
  if (stored_.empty()) return;
  std::int64_t safe_before_ms = p_.o.store.safe_before_ms();
  // A log without room takes no message any more: that is worse than what may be.
  if (safe_before_ms >= 0 && !p_.o.log.healthy()) safe_before_ms = INT64_MAX;
  std::uint64_t last_ticket = 0;
  const std::uint64_t pending = p_.streams.first_pending_ticket();
  for (; !stored_.empty() && stored_.front().at_ms < safe_before_ms && stored_.front().ticket < pending;
       stored_.pop_front())
    last_ticket = stored_.front().ticket;
  if (last_ticket > 0) p_.o.log.on_stored(last_ticket);
}

// Of the rooms that stand next in the order, a batch's length of it: those before them are other hosts' to take in, or there are none. (Where in the order a
// room is found says nothing of what is taken: that begins behind what is stored.)
std::vector<Ingest::Taken> Ingest::choose(std::vector<Event>& batch) {
  std::vector<Taken> taken;
  std::unordered_set<RoomId> chosen;
  const std::size_t most = p_.o.store_batch;
  const std::size_t end = std::min(order_.size(), looked_ + most);
  batch.reserve(std::min(waiting_, most));
  for (std::size_t i = std::exchange(looked_, 0); i < end && batch.size() < most; ++i) {
    const Entry& entry = order_[i];
    if (is_stored(entry) || !chosen.insert(entry.room).second) continue;
    const HomeRoom& room = *p_.rooms.find(entry.room);
    if (room.streamed && !p_.streams.takes_in(entry.room)) continue;  // another host does
    auto next = room.tail.entries().begin() + static_cast<std::ptrdiff_t>(room.stored_seq + 1 - room.tail_first());
    for (; next != room.tail.entries().end() && batch.size() < most; ++next) batch.push_back(next->event);
    taken.push_back({entry.room, batch.back().seq, room.room.epoch, batch.back().id});
  }
  if (taken.empty() && end < order_.size()) {
    looked_ = end;
  } else if (taken.empty()) {
    retry_ms_ = p_.now_ms() + kOthersMs;
  }
  return taken;
}

base::Task<void> Ingest::run() {
  std::vector<Event> batch;
  const std::vector<Taken> taken = choose(batch);
  if (taken.empty()) {
    running_ = false;
    co_return;
  }
  const std::size_t count = batch.size();
  std::int64_t started = base::monotonic_ns();
  auto stored = co_await p_.o.store.ingest(std::move(batch));
  running_ = false;
  const auto parted = stored ? std::nullopt : RoomId::parse(stored.error().field);
  if (parted && p_.streams.on()) {
    retry_ms_ = p_.now_ms() + kRetryMs;
    const HomeRoom* room = p_.rooms.find(*parted);
    const auto part = std::ranges::find(taken, *parted, &Taken::room);
    if (room && part != taken.end() && room->room.epoch == part->epoch) p_.streams.parted(*parted);
    co_return;
  }
  if (!stored) {
    ++p_.o.metrics.store_failures;
    retry_ms_ = p_.now_ms() + kRetryMs;
    base::log::warn("store_batch_failed", {{"events", count}, {"why", stored.error().message}});
    co_return;
  }
  p_.o.metrics.store_seconds.record(base::monotonic_ns() - started);
  p_.o.metrics.store_events += count;
  for (const Taken& part : taken) {
    HomeRoom& room = *p_.rooms.find(part.room);                      // it was not stored, so it stayed
    if (room.room.epoch == part.epoch) was_stored(room, part.last);  // else it began anew meanwhile
  }
  p_.streams.stored(taken);
}

// By this host or another one.
void Ingest::was_stored(HomeRoom& room, std::uint64_t seq) {
  const std::uint64_t up_to = std::min(seq, room.room.last_seq);
  if (up_to <= room.stored_seq) return;
  waiting_ -= up_to - room.stored_seq;
  room.stored_seq = up_to;
  p_.rooms.trim(room);
}

}  // namespace ringline::chat
