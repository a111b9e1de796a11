// What a Redis server sends: replies, and what is read in them of the servers, of slots and of events. What is read must not depend on how the bytes arrive,
// and keeps within its bounds.
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/redis_entry.hpp"
#include "backend/redis_protocol.hpp"
#include "backend/redis_topology.hpp"
#include "input.hpp"

namespace {

using namespace ringline;
using backend::ReplyReader;
using backend::ReplyView;

// So small that short inputs reach them.
constexpr ReplyReader::Bounds kBounds{.bytes = 512, .elements = 64};
const backend::RedisEndpoint kHere{.host = "here", .port = 7};

struct Heard {
  std::vector<std::string> replies;
  std::string why;  // it could not be read on; empty: it could
  bool operator==(const Heard&) const = default;
};

// As text, with the elements of arrays counted.
void write_down(ReplyView reply, std::string& text, std::size_t& elements) {
  text += std::to_string(static_cast<int>(reply.type())) + std::string(reply.text()) + "|" +
          std::to_string(reply.integer()) + "|" + std::to_string(reply.size()) + "\n";
  ASSERT(reply[reply.size()].is_nil());
  elements += reply.size();
  for (std::size_t i = 0; i < reply.size(); ++i) write_down(reply[i], text, elements);
}

// What the client, the bus and the subscriber look for in it.
void use(ReplyView reply) {
  if (const auto slots = backend::read_slots(reply, kHere))
    for (const std::uint16_t owner : slots->owner)
      ASSERT(owner == backend::SlotMap::kNobody || owner < slots->masters.size());
  if (const auto info = backend::read_hello(reply, kHere)) ASSERT(info->version_major >= 7);
  if (const auto to = backend::read_redirection(reply.text(), kHere)) ASSERT(to->slot < backend::kRedisSlots);
  if (reply.is_error()) (void)backend::is_passing_refusal(reply);
  if (const auto to = backend::read_switch(reply.text(), "main")) ASSERT(!to->host.empty());
  if (const auto event = backend::read_entry(base::RoomId{5}, 9, reply.text())) {
    ASSERT(event->event.seq == 9 && event->event.room == base::RoomId{5});
    ASSERT(event->message_at + event->message_size <= event->event.body.view().size());
    const std::string again = backend::entry_of(*event, {}, "key");
    ASSERT(backend::read_entry(base::RoomId{5}, 9, again)->event.body.view() == event->event.body.view());
  }
}

Heard read(std::string_view text, fuzz::Cut cut) {
  ReplyReader reader(kBounds);
  Heard heard;
  fuzz::for_each_piece(text, cut, [&](std::string_view piece) {
    reader.feed(std::as_bytes(std::span(piece)));
    for (;;) {
      backend::Reply reply;
      const ReplyReader::Step step = reader.next(reply);
      if (step == ReplyReader::Step::need_more) return true;
      if (step == ReplyReader::Step::broken) {
        heard.why = reader.why();
        ASSERT(!heard.why.empty() && reader.next(reply) == ReplyReader::Step::broken);
        return false;
      }
      std::size_t elements = 0;
      write_down(reply, heard.replies.emplace_back(), elements);
      ASSERT(elements <= kBounds.elements);
      use(reply);
    }
  });
  return heard;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const fuzz::Cut cut = fuzz::choose_cut(input);
  const std::string_view text = input.text();
  const Heard whole = read(text, fuzz::kWhole);
  const Heard pieces = read(text, cut);
  // Of one that is too long more may be read before that is seen, where it comes at once.
  const std::size_t both = std::min(whole.replies.size(), pieces.replies.size());
  ASSERT(std::equal(whole.replies.begin(), whole.replies.begin() + static_cast<std::ptrdiff_t>(both),
                    pieces.replies.begin()));
  if (text.size() <= kBounds.bytes) ASSERT(whole.replies == pieces.replies && whole.why.empty() == pieces.why.empty());
  return 0;
}
