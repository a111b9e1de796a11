// See guest_purge.hpp.
#include "chat/guest_purge.hpp"

#include "chat/commands.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kBatchGuests = 100;
constexpr std::int64_t kEveryMs = 60 * 1000;  // more than come from an address in that time (RATE_LIMIT_GUESTS)

void leave_for_good(Parts& p, RoomId id, UserId user) {
  p.rooms.with(id, [&p, user](Result<HomeRoom*> room) {
    HomeMember* member = room ? (*room)->find(user) : nullptr;
    if (!member || member->online > 0 || (*room)->is_changing(user)) return;
    UserCard actor = member->user;
    (void)leave(p, **room, actor, [](HomeRoom&, Sequencer::Outcome) {});  // refused or failed: another batch comes
  });
}

}  // namespace

void GuestPurge::on_tick(std::int64_t now_ms) {
  if (p_.o.core != 0 || running_ || now_ms < next_ms_) return;
  const bool is_start = next_ms_ == 0;
  next_ms_ = now_ms + kEveryMs;
  if (is_start) return;
  running_ = true;
  p_.o.scope.spawn(run());
}

base::Task<void> GuestPurge::run() {
  std::int64_t since_ms = base::wall_ms() - p_.o.settings.guest_ttl.count();
  auto idle = co_await p_.o.store.remove_idle_guests(since_ms, kBatchGuests);
  running_ = false;
  if (!idle) {
    base::log::warn("guests_not_removed", {{"why", idle.error().message}});
    co_return;
  }
  p_.o.metrics.guests_removed += idle->removed;
  for (auto [user, room] : idle->memberships)
    p_.on(p_.home(room), [room, user](Parts& there) { leave_for_good(there, room, user); });
}

}  // namespace ringline::chat
