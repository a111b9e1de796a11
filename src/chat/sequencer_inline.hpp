// Templates of sequencer.hpp; included at the end of parts.hpp, which they need.
#pragma once

namespace ringline::chat {

template <class Part>
bool Sequencer::sequence(const Draft& draft, Part part, Then then) {
  Pending& pending = pending_.emplace_back();
  pending.room = &draft.room;
  pending.maker.subject = draft.subject;
  pending.maker.then = std::move(then);
  Event& event = pending.entry.event;
  event.kind = draft.kind;
  begin_body(draft.room, draft.actor, event);
  part(p_.body, event);
  p_.body.end_object();
  return submit();
}

template <class Write>
bool Sequencer::sequence_message(HomeRoom& room, const Person& sender, std::string_view client_id,
                                 std::uint64_t client_key, const ReplyTo& to, std::int64_t arrived_ns, Write write) {
  Pending& pending = pending_.emplace_back();
  pending.room = &room;
  pending.maker.to = to;
  pending.maker.arrived_ns = arrived_ns;
  RoomEvent& entry = pending.entry;
  entry.client_key = client_key;
  entry.event.kind = EventKind::message_created;
  begin_body(room, sender, entry.event);
  p_.body.key("message");
  auto before = p_.body.view().size() + 1;  // the colon comes with the value
  write(p_.body, entry.event);
  entry.message_at = static_cast<std::uint32_t>(before);
  entry.message_size = static_cast<std::uint32_t>(p_.body.view().size() - before);
  end_message_created(p_.body, client_id);
  return submit();
}

}  // namespace ringline::chat
