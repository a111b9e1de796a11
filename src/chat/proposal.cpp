// Proposals: a room event's body before it has its seq, and after.
#include "ringline/chat/bus.hpp"

#include <charconv>
#include <string>

#include "ringline/base/assert.hpp"

namespace ringline::chat {

namespace {

constexpr std::string_view kSeqKey = "\"seq\":";
constexpr std::string_view kEpochKey = ",\"epoch\":";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t digits_at(std::string_view text, std::size_t at) {
  std::size_t size = 0;
  while (at + size < text.size() && is_digit(text[at + size])) ++size;
  return size;
}

// Where the value of the next "seq" begins. Before it stand ids only, so no text of a user is taken for it.
std::size_t seq_after(std::string_view body, std::size_t from) {
  const std::size_t key = body.find(kSeqKey, from);
  ASSERT(key != std::string_view::npos);
  return key + kSeqKey.size();
}

std::size_t size_of_seq(std::string_view body, std::size_t at) {
  return body.substr(at).starts_with(Proposal::kNoSeq) ? Proposal::kNoSeq.size() : digits_at(body, at);
}

// The body with another seq and epoch; where they are does not depend on what users wrote.
RoomEvent rewritten(const RoomEvent& from, std::string_view seq, std::uint64_t epoch, Proposal* proposal) {
  const std::string_view body = from.event.body.view();
  const std::size_t seq_at = seq_after(body, 0);
  const std::size_t seq_end = seq_at + size_of_seq(body, seq_at);
  ASSERT(body.substr(seq_end).starts_with(kEpochKey));
  const std::size_t epoch_at = seq_end + kEpochKey.size();
  const std::size_t epoch_end = epoch_at + digits_at(body, epoch_at);
  RoomEvent made = from;
  std::string text;
  text.reserve(body.size() + 32);
  auto note = [&] {
    if (proposal) proposal->seq_at[proposal->seqs++] = static_cast<std::uint32_t>(text.size());
  };
  text.append(body.substr(0, seq_at));
  note();
  text.append(seq).append(kEpochKey).append(std::to_string(epoch));
  if (from.message_size == 0) {
    text.append(body.substr(epoch_end));
  } else {
    const std::size_t second = seq_after(body, from.message_at);
    const std::size_t second_end = second + size_of_seq(body, second);
    text.append(body.substr(epoch_end, from.message_at - epoch_end));
    made.message_at = static_cast<std::uint32_t>(text.size());
    text.append(body.substr(from.message_at, second - from.message_at));
    note();
    text.append(seq).append(body.substr(second_end));
    made.message_size = static_cast<std::uint32_t>(from.message_size + seq.size() - (second_end - second));
  }
  made.event.epoch = epoch;
  made.event.body = base::Blob::copy_of(text);
  return made;
}

bool is_of_all(EventKind kind) {
  return kind == EventKind::room_created || kind == EventKind::room_updated || kind == EventKind::room_deleted;
}

}  // namespace

RoomEvent with_seq(const Proposal& proposal, std::uint64_t seq) {
  std::array<char, 20> digits;
  auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), seq);
  RoomEvent made = rewritten(proposal.entry, {digits.data(), end}, proposal.entry.event.epoch, nullptr);
  made.event.seq = seq;
  return made;
}

Proposal propose(const RoomEvent& entry, std::uint64_t epoch, base::UserId subject, std::string_view client_id) {
  Proposal proposal;
  proposal.entry = rewritten(entry, Proposal::kNoSeq, epoch, &proposal);
  proposal.entry.event.seq = 0;
  proposal.subject = subject;
  proposal.of_all = is_of_all(entry.event.kind);
  proposal.key = client_id.empty() ? entry.event.id.text() : entry.event.actor.text() + ":" + std::string(client_id);
  return proposal;
}

base::Task<base::Result<Verdict>> Bus::append(Proposal proposal, StreamPlace known) {
  std::vector<Proposal> one;
  one.push_back(std::move(proposal));
  auto verdicts = co_await append_all(std::move(one), known);
  if (!verdicts) co_return std::unexpected(verdicts.error());
  co_return verdicts->front();
}

}  // namespace ringline::chat
