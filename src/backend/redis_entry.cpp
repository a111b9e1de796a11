// See redis_entry.hpp.
#include "backend/redis_entry.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "ringline/chat/room_event.hpp"

namespace ringline::backend {

using chat::Event;
using chat::RoomEvent;

namespace {

std::string head_of(const RoomEvent& entry, base::UserId subject, std::string_view key) {
  const Event& event = entry.event;
  return fmt::format("{} {} {} {} {} {} {} {}\n", static_cast<unsigned>(event.kind), event.id.value, event.epoch,
                     event.at_ms, event.actor.value, subject.value, entry.client_key, key);
}

// Takes a number and the space behind it off the front.
template <class Number>
bool take(std::string_view& text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data() + text.size() || *end != ' ') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

}  // namespace

std::vector<std::string> entry_parts(const chat::Proposal& proposal) {
  const std::string_view body = proposal.entry.event.body.view();
  std::vector<std::string> parts{head_of(proposal.entry, proposal.subject, proposal.key)};
  std::size_t from = 0;
  for (unsigned i = 0; i < proposal.seqs; ++i) {
    parts.back().append(body.substr(from, proposal.seq_at[i] - from));
    parts.emplace_back();
    from = proposal.seq_at[i] + chat::Proposal::kNoSeq.size();
  }
  parts.back().append(body.substr(from));
  return parts;
}

std::string entry_of(const RoomEvent& event, base::UserId subject, std::string_view key) {
  std::string text = head_of(event, subject, key);
  return text.append(event.event.body.view());
}

std::optional<RoomEvent> read_entry(base::RoomId room, std::uint64_t seq, std::string_view entry) {
  const auto line = entry.find('\n');
  if (line == std::string_view::npos) return std::nullopt;
  std::string_view head = entry.substr(0, line);
  unsigned kind = 0;
  std::uint64_t subject = 0;
  RoomEvent read;
  Event& event = read.event;
  event.room = room;
  event.seq = seq;
  if (!take(head, kind) || !take(head, event.id.value) || !take(head, event.epoch) || !take(head, event.at_ms) ||
      !take(head, event.actor.value) || !take(head, subject) || !take(head, read.client_key))
    return std::nullopt;
  auto known = kind <= UINT8_MAX ? chat::event_kind(static_cast<std::uint8_t>(kind)) : std::nullopt;
  if (!known) return std::nullopt;
  event.kind = *known;
  event.body = base::Blob::copy_of(entry.substr(line + 1));
  if (event.kind == chat::EventKind::message_created && !chat::find_message(read)) return std::nullopt;
  return read;
}

}  // namespace ringline::backend
