#include "hub.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace ringline::conformance {
namespace {

bool concerns(const Emission& emission, std::string_view name_space, std::string_view sid,
              const std::set<std::string>& rooms) {
  if (emission.name_space != name_space || emission.except == sid) return false;
  return emission.room.empty() || rooms.contains(emission.room);
}

}  // namespace

void Hub::emit(Emission emission) {
  if (!recovery_) return spread(emission);
  Hub* first = hubs_.front();
  loop_.send(
      0, loop::make_mail([first, emission = std::move(emission)]() mutable { first->number(std::move(emission)); }));
}

void Hub::number(Emission emission) {
  std::uint64_t offset = ++last_offset_;
  emission.payload.pop_back();
  emission.payload.append(",\"").append(std::to_string(offset)).append("\"]");
  forget_old();
  log_.push_back({.offset = offset, .at_ms = loop_.now_ms(), .emission = emission});
  spread(emission);
}

void Hub::spread(const Emission& emission) {
  for (unsigned core = 0; core < hubs_.size(); ++core) {
    if (hubs_[core] == this) continue;
    loop_.send(core, loop::make_mail([there = hubs_[core], emission] { there->deliver(emission); }));
  }
  deliver(emission);
}

void Hub::deliver(const Emission& emission) {
  for (HubSocket* socket : std::vector(sockets_.begin(), sockets_.end()))
    if (concerns(emission, socket->name_space, socket->sid, socket->rooms)) socket->deliver(emission);
}

void Hub::keep(const HubSocket& socket) {
  if (!recovery_ || socket.pid.empty()) return;
  CutOff session{.name_space = socket.name_space, .sid = socket.sid, .pid = socket.pid, .rooms = socket.rooms};
  loop_.send(0, loop::make_mail([first = hubs_.front(), pid = socket.pid, session = std::move(session)]() mutable {
               first->cut_off_[pid] = {.at_ms = first->loop_.now_ms(), .session = std::move(session)};
             }));
}

void Hub::recover(std::string pid, std::string offset, Done done) {
  Hub* first = hubs_.front();
  loop_.send(0, loop::make_mail([first, here = loop_.core(), pid = std::move(pid), offset = std::move(offset),
                                 done = std::move(done)]() mutable {
               auto found = first->look_up(pid, offset);
               first->loop_.send(here, loop::make_mail([found = std::move(found), done = std::move(done)]() mutable {
                                   done(std::move(found));
                                 }));
             }));
}

std::optional<Recovered> Hub::look_up(const std::string& pid, const std::string& offset) {
  forget_old();
  auto session = cut_off_.find(pid);
  if (session == cut_off_.end()) return {};
  std::uint64_t number = 0;
  std::from_chars(offset.data(), offset.data() + offset.size(), number);
  auto last = std::ranges::find(log_, number, &Kept::offset);
  if (last == log_.end()) return {};
  Recovered recovered{.session = std::move(session->second.session), .missed = {}};
  cut_off_.erase(session);
  for (++last; last != log_.end(); ++last)
    if (concerns(last->emission, recovered.session.name_space, recovered.session.sid, recovered.session.rooms))
      recovered.missed.push_back(last->emission);
  return recovered;
}

void Hub::forget_old() {
  std::int64_t oldest = loop_.now_ms() - std::chrono::milliseconds(kKept).count();
  while (!log_.empty() && log_.front().at_ms < oldest) log_.pop_front();
  std::erase_if(cut_off_, [oldest](const auto& entry) { return entry.second.at_ms < oldest; });
}

}  // namespace ringline::conformance
