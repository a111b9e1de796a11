#include "chat/recovery.hpp"

#include <algorithm>
#include <charconv>

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/random.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kPidBytes = 16;

// "CORE.REST", as pids and offsets are written.
struct Placed {
  unsigned core;
  std::string_view rest;
};
std::optional<Placed> read_placed(std::string_view text, unsigned cores) {
  unsigned core = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), core);
  auto size = static_cast<std::size_t>(end - text.data());
  if (error != std::errc{} || core >= cores || size == text.size() || text[size] != '.') return {};
  return Placed{core, text.substr(size + 1)};
}

std::string placed(unsigned core, std::string_view rest) { return std::to_string(core).append(".").append(rest); }

}  // namespace

bool Recovery::on() const noexcept { return p_.o.settings.socketio_recovery; }

std::string_view Recovery::offset_of(RoomId room, std::uint64_t seq, bool fed) {
  if (!on()) return {};
  log_.push_back({.room = room, .seq = seq, .flush = fed ? flush_ : 0, .at_ms = p_.now_ms(), .fed = fed});
  text_ = placed(p_.o.core, std::to_string(last_count()));
  return text_;
}

void Recovery::flushed(std::vector<std::uint64_t>& counts) {
  if (counts.empty()) return;
  ++flush_;
  for (std::uint64_t count : counts)
    if (count >= first_count_) log_[count - first_count_].flush = flush_;
  counts.clear();
}

RecoveryIds Recovery::make_ids() const {
  return {.pid = placed(p_.o.core, base::random_token(kPidBytes)), .sid = base::random_token(kPidBytes)};
}

void Recovery::keep(const Session& session) {
  if (!session.recovery || session.feeding) return;  // who was being fed asks for what it lacks by `resume`
  auto place = read_placed(session.recovery->pid, p_.o.cores);
  ASSERT(place);
  CutOff cut_off{.user = session.user->id,
                 .session = session.session,
                 .token_expires_ms = session.token_expires_ms,
                 .ids = *session.recovery,
                 .rooms = {}};
  for (const Session::Seat& seat : session.seats)
    cut_off.rooms.push_back({seat.room->id(), seat.room->seats[seat.index].next_seq, seat.room->epoch});
  p_.on(place->core, [cut_off = std::move(cut_off)](Parts& there) mutable {
    Recovery& kept = there.recovery;
    std::string pid = cut_off.ids.pid;
    kept.by_age_.emplace_back(there.now_ms(), pid);
    kept.cut_off_[std::move(pid)] = {.at_ms = there.now_ms(), .cut_off = std::move(cut_off)};
  });
}

std::optional<CutOff> Recovery::take(const std::string& pid) {
  auto found = cut_off_.find(pid);
  if (found == cut_off_.end()) return {};
  bool fresh = found->second.cut_off.token_expires_ms > base::wall_ms();
  CutOff cut_off = std::move(found->second.cut_off);
  cut_off_.erase(found);
  if (!fresh) return {};
  return cut_off;
}

// How far a client got whose last event has this count.
std::optional<std::vector<ResumePoint>> Recovery::points_after(std::uint64_t count,
                                                               const std::vector<CutOff::Seen>& rooms) const {
  if (count < first_count_ || count > last_count()) return {};
  const Framed& last = log_[count - first_count_];
  if (last.flush == 0) return {};
  std::unordered_map<RoomId, std::uint64_t> first_missed;
  for (const Framed& framed : log_)
    if (!framed.fed && (framed.flush == 0 || framed.flush > last.flush)) {
      auto [entry, made] = first_missed.try_emplace(framed.room, framed.seq);
      entry->second = std::min(entry->second, framed.seq);
    }
  std::vector<ResumePoint> points;
  for (const CutOff::Seen& seen : rooms) {
    std::uint64_t next = seen.next_seq;
    if (auto missed = first_missed.find(seen.room); missed != first_missed.end()) next = std::min(next, missed->second);
    if (seen.room == last.room) next = std::min(next, last.seq + 1);
    points.push_back({.room = seen.room, .seq = next - 1, .epoch = seen.epoch});
  }
  return points;
}

Task<std::optional<Restored>> Recovery::restore(std::string pid, std::string offset) {
  auto home = read_placed(pid, p_.o.cores);
  auto place = read_placed(offset, p_.o.cores);
  if (!on() || !home || !place) co_return std::nullopt;
  std::uint64_t count = 0;
  std::from_chars(place->rest.data(), place->rest.data() + place->rest.size(), count);
  auto taking = ask<std::optional<CutOff>>(p_, home->core, [&pid](Parts& there, Answer<std::optional<CutOff>> answer) {
    answer(there, there.recovery.take(pid));
  });
  auto cut_off = co_await taking;
  if (!cut_off) co_return std::nullopt;
  using Points = std::optional<std::vector<ResumePoint>>;
  auto locating = ask<Points>(p_, place->core, [count, &rooms = cut_off->rooms](Parts& there, Answer<Points> answer) {
    answer(there, there.recovery.points_after(count, rooms));
  });
  auto points = co_await locating;
  if (!points) co_return std::nullopt;
  co_return Restored{.cut_off = std::move(*cut_off), .points = std::move(*points)};
}

void Recovery::on_tick() {
  if (!on()) return;
  std::int64_t oldest = p_.now_ms() - std::chrono::milliseconds(kKept).count();
  while (!log_.empty() && (log_.front().at_ms < oldest || log_.size() > kEventsMax)) {
    log_.pop_front();
    ++first_count_;
  }
  while (!by_age_.empty() && (by_age_.front().first < oldest || by_age_.size() > kCutOffMax)) {
    auto found = cut_off_.find(by_age_.front().second);
    if (found != cut_off_.end() && found->second.at_ms == by_age_.front().first) cut_off_.erase(found);
    by_age_.pop_front();
  }
}

}  // namespace ringline::chat
