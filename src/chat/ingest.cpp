// See ingest.hpp.
#include "chat/ingest.hpp"

#include <algorithm>

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

void Ingest::add(std::uint64_t ticket, const Event& event, UserId subject) {
  waiting_.push_back({ticket, event, subject});
  if (subject) memberships_[subject].push_back({ticket, event.room, event.kind == EventKind::member_joined});
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

void Ingest::pump(bool now) {
  if (running_ || waiting_.empty()) return;
  if (!now && waiting_.size() < kBatchEvents) return;
  if (p_.now_ms() < retry_ms_) return;
  running_ = true;
  p_.o.scope.spawn(run());
}

base::Task<void> Ingest::run() {
  std::vector<Event> batch;
  auto count = std::min(waiting_.size(), kBatchEvents);
  batch.reserve(count);
  for (std::size_t i = 0; i < count; ++i) batch.push_back(waiting_[i].event);
  std::int64_t started = base::monotonic_ns();
  auto taken = co_await p_.o.store.ingest(std::move(batch));
  running_ = false;
  if (!taken) {
    ++p_.o.metrics.store_failures;
    retry_ms_ = p_.now_ms() + kRetryMs;
    base::log::warn("store_batch_failed", {{"events", count}, {"why", taken.error().message}});
    co_return;
  }
  p_.o.metrics.store_seconds.record(base::monotonic_ns() - started);
  p_.o.metrics.store_events += count;
  std::uint64_t last_ticket = waiting_[count - 1].ticket;
  for (std::size_t i = 0; i < count; ++i) {
    const Waiting& done = waiting_.front();
    if (HomeRoom* room = p_.rooms.find(done.event.room)) {
      room->stored_seq = done.event.seq;
      p_.rooms.trim(*room);
    }
    if (done.subject) {
      if (auto found = memberships_.find(done.subject); found != memberships_.end()) {
        std::erase_if(found->second, [&](const Change& c) { return c.ticket <= last_ticket; });
        if (found->second.empty()) memberships_.erase(found);
      }
    }
    waiting_.pop_front();
  }
  p_.o.log.on_stored(last_ticket);
  pump(false);
}

}  // namespace ringline::chat
