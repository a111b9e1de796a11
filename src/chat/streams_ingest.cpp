// See streams.hpp: which host takes a room's events into the store. All of them could, each event comes in once; one saves the others the work.
#include "chat/parts.hpp"

namespace ringline::chat {

bool Streams::takes_in(RoomId id) const noexcept {
  const Stream* stream = streams_.find(id);
  return stream && stream->ours && !stream->renewing;
}

void Streams::stored(const std::vector<Ingest::Taken>& taken) {
  std::vector<StoredUpTo> rooms;
  for (const Ingest::Taken& part : taken)
    if (streams_.find(part.room)) rooms.push_back({part.room, part.last, part.epoch, part.last_id});
  if (!rooms.empty()) p_.o.bus->stored(std::move(rooms));
}

// Rooms with events that the store has not, as far as is known here.
std::vector<RoomId> Streams::to_claim(std::int64_t now_ms) const {
  constexpr std::int64_t kRenewMs = base::limits::kIngestClaim / std::chrono::milliseconds(1);
  std::vector<RoomId> rooms;
  for (const Stream& stream : streams_) {
    const HomeRoom& room = *p_.rooms.find(stream.id());
    const bool due = stream.claimed_ms == 0 || now_ms - stream.claimed_ms >= (stream.ours ? kRenewMs : kClaimEveryMs);
    if (due && room.stored_seq < room.room.last_seq && p_.o.bus->is_there(stream.id())) rooms.push_back(stream.id());
  }
  return rooms;
}

// What another host has taken in is what this one has only if the last of it is.
void Streams::take_stored(HomeRoom& room, std::uint64_t seq, EventId id) {
  if (!id || seq < room.tail_first() || seq > room.room.last_seq) return;
  if (room.tail.entries()[seq - room.tail_first()].event.id == id) {
    p_.ingest.was_stored(room, seq);
  } else {
    parted(room.id());
  }
}

base::Task<void> Streams::claim(std::vector<RoomId> rooms) {
  for (std::size_t from = 0; from < rooms.size(); from += kPlacesAtOnce) {
    const std::size_t to = std::min(rooms.size(), from + kPlacesAtOnce);
    std::vector<RoomId> some(rooms.begin() + static_cast<std::ptrdiff_t>(from),
                             rooms.begin() + static_cast<std::ptrdiff_t>(to));
    auto claims = co_await p_.o.bus->claim_ingest(some);
    if (!claims) break;  // whoever takes them in goes on
    for (std::size_t i = 0; i < some.size(); ++i) {
      Stream* stream = streams_.find(some[i]);
      HomeRoom* room = p_.rooms.find(some[i]);
      if (!stream || !room) continue;
      stream->ours = (*claims)[i].ours;
      stream->claimed_ms = p_.now_ms();
      if ((*claims)[i].epoch == room->room.epoch) take_stored(*room, (*claims)[i].stored, (*claims)[i].id);
    }
  }
  claiming_ = false;
}

void Streams::claim_if_due(std::int64_t now_ms) {
  if (claiming_ || now_ms - claimed_ms_ < kClaimEveryMs) return;
  claimed_ms_ = now_ms;
  std::vector<RoomId> rooms = to_claim(now_ms);
  if (rooms.empty()) return;
  claiming_ = true;
  p_.o.scope.spawn(claim(std::move(rooms)));
}

}  // namespace ringline::chat
