// See sequencer.hpp.
#include "chat/sequencer.hpp"

#include <algorithm>
#include <ranges>

#include "chat/effects.hpp"
#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/fetch.hpp"

namespace ringline::chat {

namespace {
constexpr std::size_t kFetchAhead = 3;  // rooms: into the cache, while those before them are told
}

std::string_view message_answer(Parts& p, std::string_view message, bool duplicate) {
  p.body.clear();
  p.body.begin_object().key("message").raw(message);
  if (duplicate) p.body.key("duplicate").boolean(true);
  return p.body.end_object().view();
}

void Sequencer::begin_body(HomeRoom& room, const Person& actor, Event& event) {
  event.room = room.room.id;
  event.seq = room.next_seq;
  event.epoch = room.room.epoch;
  event.at_ms = base::wall_ms();
  event.id = EventId{p_.ids.next(event.at_ms)};
  event.actor = actor.id;
  p_.body.clear();
  begin_event(p_.body, event, actor.username());
}

bool Sequencer::append() {
  Pending& pending = pending_.back();
  HomeRoom& room = *pending.room;
  Event& event = pending.entry.event;
  event.body = base::Blob::copy_of(p_.body.view());
  pending.ticket = p_.o.metrics.tail_bytes > p_.o.tail_bytes ? 0 : p_.o.log.append(event);
  if (pending.ticket == 0) {
    pending_.pop_back();
    return false;
  }
  ++room.next_seq;
  ++room.uncommitted;
  if (pending.subject) room.changing.push_back(pending.subject);
  if (pending.entry.client_key) p_.seen.add(pending.entry.client_key, event.at_ms);
  return true;
}

// Whether an entry with the same key is really that send: keys are hashes.
static bool is_send(base::json::Reader& reader, const TailEntry& entry, UserId sender, std::string_view client_id) {
  if (entry.event.actor != sender) return false;
  const Value* body = reader.parse(entry.event.body.view());
  return body && base::json::find_string(*body, "clientId") == client_id;
}

bool Sequencer::answer_duplicate(HomeRoom& room, UserId sender, std::string_view client_id, std::uint64_t client_key,
                                 const ReplyTo& to) {
  for (const TailEntry& entry : room.tail.entries() | std::views::reverse) {
    if (entry.client_key != client_key || !is_send(p_.scratch, entry, sender, client_id)) continue;
    ++p_.o.metrics.duplicates;
    answer(p_, to, message_answer(p_, entry.message(), true));
    return true;
  }
  if (room.uncommitted == 0) return false;
  for (auto pending = pending_.rbegin(); pending != pending_.rend(); ++pending) {
    if (pending->room != &room || pending->entry.client_key != client_key) continue;
    if (!is_send(p_.scratch, pending->entry, sender, client_id)) continue;
    ++p_.o.metrics.duplicates;
    pending->duplicates.push_back(to);
    return true;
  }
  return false;
}

// Of many rooms none is in the cache.
void Sequencer::fetch(const Pending& pending) const noexcept {
  base::fetch_lines(pending.room, sizeof *pending.room);
  p_.delivery.fetch(pending.entry.event.room);
}

void Sequencer::on_committed(std::uint64_t last) {
  outgoing_.resize(p_.o.cores);
  const std::int64_t now_ns = base::monotonic_ns();
  while (!pending_.empty() && pending_.front().ticket <= last) {
    if (pending_.size() > kFetchAhead) fetch(pending_[kFetchAhead]);
    commit(pending_.front(), now_ns);
    pending_.pop_front();
  }
  post_deliveries();
  // What waited for a membership to be settled; it may append, which changes pending_.
  std::vector<std::move_only_function<void()>> ready = std::move(ready_);
  ready_.clear();
  for (auto& run : ready) run();
}

void Sequencer::commit(Pending& pending, std::int64_t now_ns) {
  HomeRoom& room = *pending.room;
  const Event& event = pending.entry.event;
  ASSERT(event.seq == room.room.last_seq + 1);
  room.room.last_seq = event.seq;
  room.room.updated_ms = event.at_ms;
  --room.uncommitted;
  p_.o.metrics.tail_bytes += event.body.size();
  ++p_.o.metrics.tail_events;
  ++p_.o.metrics.events;
  room.tail.push_back(pending.entry);
  p_.ingest.add(pending.ticket, event, pending.subject);
  if (event.kind == EventKind::message_created) {
    ++room.room.message_count;
    ++p_.o.metrics.messages;
    room.last_message = {event.body, pending.entry.message_at, pending.entry.message_size};
    room.last_message_seq = event.seq;
    p_.o.metrics.ack_seconds.record(now_ns - pending.arrived_ns);
    answer_message(pending);
  } else {
    take_effect(p_, room, event, pending.subject, pending.card);
  }
  if (pending.then) pending.then(room, true);
  for (unsigned core = 0; core < room.listeners.size(); ++core)
    if (room.listeners[core] > 0)
      outgoing_[core].push_back({event.room, event.seq, event.kind, event.body,
                                 event.kind == EventKind::member_left ? pending.subject : UserId{}});
  settle(room, pending.subject);
}

void Sequencer::answer_message(const Pending& pending) {
  std::string_view message = pending.entry.message();
  answer(p_, pending.to, message_answer(p_, message, false));
  for (const ReplyTo& to : pending.duplicates) answer(p_, to, message_answer(p_, message, true));
}

// The subject's membership is what it is now: what waited for it runs after this commit is told.
void Sequencer::settle(HomeRoom& room, UserId subject) {
  if (!subject) return;
  if (auto found = std::ranges::find(room.changing, subject); found != room.changing.end()) room.changing.erase(found);
  for (auto& waiting : room.after_change) ready_.push_back(std::move(waiting));
  room.after_change.clear();
}

void Sequencer::post_deliveries() {
  for (unsigned core = 0; core < outgoing_.size(); ++core) {
    if (outgoing_[core].empty()) continue;
    p_.on(core, [events = std::move(outgoing_[core])](Parts& there) {
      for (const Delivered& event : events) there.delivery.deliver(event);
    });
    outgoing_[core].clear();
  }
}

void Sequencer::on_failed(std::uint64_t first, std::uint64_t last) {
  static const Error kUnknown =
      base::fail_later(Errc::unavailable, 1000,
                       "the message may not have been kept: send it again with the same clientId")
          .error();
  std::vector<Pending> failed;
  while (!pending_.empty() && pending_.front().ticket <= last) {
    ASSERT(pending_.front().ticket >= first);
    failed.push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
  for (Pending& pending : failed) {
    HomeRoom& room = *pending.room;
    --room.uncommitted;
    room.next_seq = room.room.last_seq + 1;
  }
  for (Pending& pending : failed) {
    if (pending.entry.event.kind == EventKind::message_created) {
      answer(p_, pending.to, kUnknown);
      for (const ReplyTo& to : pending.duplicates) answer(p_, to, kUnknown);
    }
    if (pending.then) pending.then(*pending.room, false);
    settle(*pending.room, pending.subject);
  }
  std::vector<std::move_only_function<void()>> ready = std::move(ready_);
  ready_.clear();
  for (auto& run : ready) run();
}

}  // namespace ringline::chat
