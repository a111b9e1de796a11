// WebSocket frames of a client. What the reader says must not depend on how the bytes arrive, nor on who used its context before, and is held against a
// second, naive reader of whole frames. The same bytes then serve as payload: our own writer's frames, cut into fragments, must read back. What is
// compressed inflates to no more than its bound, and what we compress inflates to what it was.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "input.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/protocol/deflate.hpp"
#include "ringline/protocol/websocket.hpp"

namespace {

using namespace ringline;
using protocol::FrameContexts;
using protocol::FrameEvent;
using protocol::FrameReader;
using protocol::FrameRules;
using protocol::Opcode;
using protocol::Role;
using Kind = FrameEvent::Kind;

constexpr std::size_t kControlBytesMax = 125;
constexpr std::size_t kFragmentsMax = 8;

struct Event {
  Kind kind = Kind::none;
  Opcode opcode = Opcode::text;
  bool compressed = false;
  std::uint16_t code = 0;
  std::string payload;
  bool operator==(const Event&) const = default;
};

Event copy_of(const FrameEvent& event) {
  const bool message = event.kind == Kind::message;
  return {.kind = event.kind,
          .opcode = message ? event.opcode : Opcode::text,
          .compressed = message && event.compressed,
          .code = event.kind == Kind::close || event.kind == Kind::failed ? event.code : std::uint16_t{0},
          .payload = std::string(event.payload)};
}

void check(const Event& event, const FrameRules& rules) {
  switch (event.kind) {
    case Kind::none:
      ASSERT(event.payload.empty());
      return;
    case Kind::message:
      ASSERT(event.payload.size() <= rules.message_bytes && (rules.allow_rsv1 || !event.compressed));
      ASSERT(event.opcode == Opcode::binary || event.compressed || base::valid_utf8(event.payload));
      return;
    case Kind::ping:
    case Kind::pong:
      ASSERT(event.payload.size() <= kControlBytesMax);
      return;
    case Kind::close:
      ASSERT(event.payload.size() <= kControlBytesMax - 2 && base::valid_utf8(event.payload));
      ASSERT(event.code == protocol::close_code::kNone ? event.payload.empty()
                                                       : event.code >= 1000 && event.code < 5000);
      return;
    case Kind::failed:
      ASSERT(event.code >= 1002 && event.code <= 1009 && !event.payload.empty());
      return;
  }
}

// All that a connection would hear.
std::vector<Event> read(FrameContexts& contexts, std::string_view text, const FrameRules& rules, fuzz::Cut cut) {
  FrameReader reader;
  std::vector<Event> events;
  fuzz::for_each_piece(text, cut, [&](std::string_view piece) {
    for (auto input = std::as_bytes(std::span(piece)); !input.empty();) {
      const FrameEvent event = reader.next(contexts, input, rules);
      ASSERT(event.consumed > 0 && event.consumed <= input.size());
      input = input.subspan(event.consumed);
      if (event.kind == Kind::none) continue;
      events.push_back(copy_of(event));
      check(events.back(), rules);
      if (event.kind == Kind::close || event.kind == Kind::failed) {
        ASSERT(input.empty() || reader.next(contexts, input, rules).kind == Kind::none);
        return false;
      }
    }
    reader.park(contexts);
    return true;
  });
  ASSERT(contexts.unfinished_bytes() <= 4 * rules.message_bytes + FrameContexts::kKeptMessageBytes);  // at its capacity
  reader.release(contexts);
  ASSERT(contexts.in_use() == 0 && contexts.unfinished_bytes() == 0);
  return events;
}

// Whether more bytes could make it valid.
bool begins_valid(std::string_view text) {
  if (base::valid_utf8(text)) return true;
  for (std::string_view rest : {"\x80", "\x80\x80", "\x80\x80\x80", "\x90\x80\x80", "\xa0\x80"})
    if (base::valid_utf8(std::string(text).append(rest))) return true;
  return false;
}

// RFC 6455 section 5 by the letter, whole frames only.
class Naive {
 public:
  Naive(std::string_view text, const FrameRules& rules) : left_(text), rules_(rules) {
    while (!ended_ && take_frame()) {
    }
    unfinished_ = !ended_ && !left_.empty();
  }
  std::vector<Event> events;
  bool broken() const noexcept { return broken_; }          // a whole frame breaks the rules
  bool unfinished() const noexcept { return unfinished_; }  // the last one is not whole

 private:
  std::uint64_t number(std::size_t at, std::size_t bytes) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<std::uint8_t>(left_[at + i]);
    return value;
  }
  bool fail() {
    broken_ = ended_ = true;
    return false;
  }

  bool take_frame() {
    if (left_.size() < 2) return false;
    const unsigned first = static_cast<unsigned>(number(0, 1));
    const bool masked = (number(1, 1) & 0x80) != 0;
    std::uint64_t size = number(1, 1) & 0x7f;
    const std::size_t more = size == 126 ? 2U : size == 127 ? 8U : 0U;
    const std::size_t head = 2 + more + (masked ? 4U : 0U);
    if (left_.size() < head) return false;
    if (more > 0) size = number(2, more);
    if (left_.size() - head < size) return false;
    const bool shortest = more == 0 || (more == 2 ? size >= 126 : size > 0xffff);
    std::string payload(left_.substr(head, size));
    for (std::size_t i = 0; masked && i < payload.size(); ++i)
      payload[i] = static_cast<char>(payload[i] ^ left_[head - 4 + i % 4]);
    left_.remove_prefix(head + size);
    return masked && shortest ? take(first, payload) : fail();
  }

  bool take(unsigned first, const std::string& payload) {
    const bool fin = (first & 0x80) != 0;
    const bool rsv1 = (first & 0x40) != 0;
    const auto opcode = static_cast<Opcode>(first & 0x0f);
    const bool data = opcode == Opcode::text || opcode == Opcode::binary;
    if ((first & 0x30) != 0 || (rsv1 && !(rules_.allow_rsv1 && data))) return fail();
    if (data || opcode == Opcode::continuation) return take_data(opcode, fin, rsv1, payload);
    if (!fin || payload.size() > kControlBytesMax) return fail();
    if (opcode == Opcode::close) return take_close(payload);
    if (opcode != Opcode::ping && opcode != Opcode::pong) return fail();
    events.push_back({.kind = opcode == Opcode::ping ? Kind::ping : Kind::pong, .payload = payload});
    return true;
  }

  bool take_data(Opcode opcode, bool fin, bool rsv1, const std::string& payload) {
    if (open_ != (opcode == Opcode::continuation)) return fail();
    if (!open_) message_ = {.kind = Kind::message, .opcode = opcode, .compressed = rsv1, .payload = {}};
    if (payload.size() > rules_.message_bytes - message_.payload.size()) return fail();
    message_.payload += payload;
    open_ = !fin;
    const bool text = message_.opcode == Opcode::text && !message_.compressed;
    if (text && !(fin ? base::valid_utf8(message_.payload) : begins_valid(message_.payload))) return fail();
    if (fin) events.push_back(message_);
    return true;
  }

  bool take_close(const std::string& payload) {
    if (payload.size() == 1) return fail();
    Event event{.kind = Kind::close, .code = protocol::close_code::kNone, .payload = {}};
    if (!payload.empty()) {
      event.code = static_cast<std::uint16_t>(static_cast<std::uint8_t>(payload[0]) << 8 |
                                              static_cast<std::uint8_t>(payload[1]));
      event.payload = payload.substr(2);
      const bool own = event.code >= 3000 && event.code <= 4999;
      const bool known = event.code >= 1000 && event.code <= 1014 && (event.code < 1004 || event.code > 1006);
      if (!(own || known) || !base::valid_utf8(event.payload)) return fail();
    }
    events.push_back(event);
    ended_ = true;
    return true;
  }

  std::string_view left_;
  const FrameRules& rules_;
  Event message_;
  bool open_ = false;
  bool ended_ = false;
  bool broken_ = false;
  bool unfinished_ = false;
};

void check_against_naive(std::string_view text, const FrameRules& rules, std::vector<Event> events) {
  Naive naive(text, rules);
  const bool failed = !events.empty() && events.back().kind == Kind::failed;
  if (failed) events.pop_back();
  ASSERT(events == naive.events);
  ASSERT(!naive.broken() || failed);
  ASSERT(!failed || naive.broken() || naive.unfinished());
}

// `payload` as a message of our own client, in fragments with pings between them.
void check_own_frames(FrameContexts& contexts, std::string_view payload, std::size_t fragment, fuzz::Cut cut) {
  const Opcode opcode = base::valid_utf8(payload) ? Opcode::text : Opcode::binary;
  const std::array<std::uint8_t, 4> mask = {static_cast<std::uint8_t>(fragment), 0x5a,
                                            static_cast<std::uint8_t>(payload.size()), 0};
  std::vector<Event> expected;
  std::string stream;
  std::size_t at = 0;
  do {
    const std::string_view piece = payload.substr(at, fragment);
    const bool last = at + piece.size() == payload.size();
    protocol::append_client_frame(stream, at == 0 ? opcode : Opcode::continuation, piece, mask, last);
    at += piece.size();
    if (last) break;
    protocol::append_client_frame(stream, Opcode::ping, piece.substr(0, kControlBytesMax), mask);
    expected.push_back({.kind = Kind::ping, .payload = std::string(piece.substr(0, kControlBytesMax))});
  } while (true);
  expected.push_back({.kind = Kind::message, .opcode = opcode, .payload = std::string(payload)});
  ASSERT(read(contexts, stream, {.message_bytes = payload.size()}, cut) == expected);
}

// And as a message of the server, read by a client.
void check_server_frames(std::string_view payload, std::uint16_t code, fuzz::Cut cut) {
  std::string stream;
  protocol::append_frame(stream, Opcode::binary, payload);
  const protocol::OwnFrame own = protocol::first_frame(stream);
  ASSERT(own.opcode == Opcode::binary && own.payload == payload && own.bytes == stream.size());
  const std::string_view reason = base::valid_utf8(payload) ? payload : std::string_view("not text");
  protocol::append_close_frame(stream, code, reason);
  static FrameContexts contexts(Role::client);
  const std::vector<Event> events = read(contexts, stream, {.message_bytes = payload.size()}, cut);
  ASSERT(events.size() == 2 && events[0].payload == payload && events[1].kind == Kind::close && events[1].code == code);
  ASSERT(reason.starts_with(events[1].payload) &&
         events[1].payload.size() + 4 > std::min<std::size_t>(reason.size(), 123));
}

// Of compressed payload, or of any bytes that claim to be: the message, or nothing.
std::optional<std::string> inflate(std::string_view payload, std::size_t limit) {
  static protocol::Inflater inflater;
  const auto message = inflater.inflate(payload, limit);
  if (message) {
    ASSERT(message->size() <= limit);
    return std::string(*message);
  }
  ASSERT(message.error() == protocol::close_code::kTooBig || message.error() == protocol::close_code::kEncoding);
  return std::nullopt;
}

void check_inflation(const std::vector<Event>& events, std::string_view text, std::size_t limit) {
  for (const Event& event : events)
    if (event.compressed) inflate(event.payload, limit);
  const auto wide = inflate(text, 64 * limit);
  const auto narrow = inflate(text, limit);
  ASSERT(!narrow || narrow == wide);
  ASSERT(narrow || !wide || wide->size() > limit);
}

void check_deflation(std::string_view text) {
  static protocol::Deflater deflater;
  std::string payload;
  while (!text.empty() && payload.size() < protocol::kDeflateBytesMin) payload.append(text);
  std::string stream;
  const bool compressed = deflater.append_frame(stream, Opcode::binary, payload);
  const protocol::OwnFrame own = protocol::first_frame(stream);
  ASSERT(own.bytes == stream.size() && own.opcode == Opcode::binary && ((stream[0] & 0x40) != 0) == compressed);
  ASSERT(compressed ? own.payload.size() < payload.size() && inflate(own.payload, payload.size()) == payload
                    : own.payload == payload);
  ASSERT(!compressed || !inflate(own.payload, payload.size() - 1));
}

void check_offers(std::string_view text) {
  const auto agreed = protocol::negotiate_deflate(text);
  if (!agreed) return;
  for (unsigned bits : {agreed->server_bits, agreed->client_bits}) ASSERT(bits == 0 || (bits >= 8 && bits <= 15));
  std::string value;
  agreed->append_header_value(value);
  const auto again = protocol::negotiate_deflate(value);  // an answer has the form of an offer
  ASSERT(again && again->server_bits == agreed->server_bits && again->client_bits == agreed->client_bits);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const fuzz::Cut cut = fuzz::choose_cut(input);
  const std::size_t options = input.choose(256);
  const FrameRules rules{.message_bytes = 16 + 8 * (options >> 1 & 0x3f), .allow_rsv1 = (options & 1) != 0};
  static FrameContexts contexts(Role::server);
  const std::vector<Event> whole = read(contexts, input.text(), rules, fuzz::kWhole);
  ASSERT(read(contexts, input.text(), rules, cut) == whole);
  check_against_naive(input.text(), rules, whole);
  check_own_frames(contexts, input.text(), 1 + std::max(options, input.text().size() / kFragmentsMax), cut);
  check_inflation(whole, input.text(), rules.message_bytes);
  check_deflation(input.text());
  check_offers(input.text());
  check_server_frames(input.text(), static_cast<std::uint16_t>(1000 + options % 4), cut);
  return 0;
}
