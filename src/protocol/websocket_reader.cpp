// Frames in, by wslay's event interface, one frame a step.
//
// A scanner of frame headers runs ahead of wslay (FrameEdge). It says where a frame ends, so that wslay is never given more than one: what it buffers of
// the next would be lost to whoever borrows the context then, and a step has one event at most. And it holds a close frame back until it is whole,
// since wslay 1.1.1 skips the status code's two bytes in every piece of it and so misjudges a reason that comes in pieces.
// Payloads are collected here and not by wslay (no_buffering), which would allocate twice a message.
//
// What nearly all frames are, a whole short message of a client in one piece, does not need wslay: it unmasks and checks UTF-8 byte by byte, which was
// 7 % of what a message cost. `take_whole` takes such a frame if nothing is wrong with it; what is wrong is for wslay to say.
//
// Invariant: a context that is not lent out stands between two messages, with nothing in wslay's buffers.
#include <wslay/wslay.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "ringline/base/assert.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {

namespace {

constexpr std::size_t kHeaderBytesMax = 14;
constexpr std::size_t kControlPayloadMax = 125;
// Registered since RFC 6455; wslay 1.1.1 refuses them.
constexpr std::uint16_t kNewCodeMin = 1012;
constexpr std::uint16_t kNewCodeMax = 1014;

// Finds a frame's end from its header, however it is cut.
class FrameEdge {
 public:
  // How many bytes of `input` belong to the frame that is open, or to the next one.
  std::size_t take(std::span<const std::byte> input) noexcept {
    std::size_t taken = 0;
    while (!header_done_ && taken < input.size()) {
      header_[header_size_++] = static_cast<std::uint8_t>(input[taken++]);
      read_header();
    }
    if (!header_done_) return taken;
    auto payload = static_cast<std::size_t>(std::min<std::uint64_t>(payload_left_, input.size() - taken));
    payload_left_ -= payload;
    return taken + payload;
  }
  bool at_end() const noexcept { return header_done_ && payload_left_ == 0; }
  bool between() const noexcept { return header_size_ == 0; }
  void next() noexcept { *this = FrameEdge(); }
  // A close frame, as far as one can tell: it is given to wslay whole.
  bool is_close() const noexcept {
    if (header_size_ == 0 || (header_[0] & 0x0f) != static_cast<unsigned>(Opcode::close)) return false;
    return header_size_ < 2 || (header_[1] & 0x7f) <= kControlPayloadMax;
  }

 private:
  void read_header() noexcept {
    if (header_size_ < 2) return;
    std::size_t size = header_[1] & 0x7f;
    std::size_t number_bytes = size < 126 ? 0U : size == 126 ? 2U : 8U;
    std::size_t mask_bytes = (header_[1] & 0x80) != 0 ? 4U : 0U;
    if (header_size_ < 2 + number_bytes + mask_bytes) return;
    payload_left_ = number_bytes == 0 ? size : 0;
    for (std::size_t i = 0; i < number_bytes; ++i) payload_left_ = payload_left_ << 8 | header_[2 + i];
    header_done_ = true;
  }
  std::array<std::uint8_t, kHeaderBytesMax> header_{};
  std::size_t header_size_ = 0;
  std::uint64_t payload_left_ = 0;
  bool header_done_ = false;
};

std::string_view text_of(std::uint16_t code) noexcept {
  switch (code) {
    case close_code::kEncoding:
      return "text is not UTF-8";
    case close_code::kTooBig:
      return "the message is too big";
    default:
      return "a frame breaks the protocol";
  }
}

}  // namespace

struct FrameContexts::Context {
  explicit Context(Role role);
  ~Context() { wslay_event_context_free(wslay); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  bool take_whole(std::string_view from, const FrameRules& rules);
  void read(std::span<const std::byte> bytes);
  void fail(std::uint16_t code) noexcept;
  void on_message(const wslay_event_on_msg_recv_arg& message);
  void hide_new_code() noexcept;
  bool clean() const noexcept { return edge.between() && !fragmented && !ended; }

  wslay_event_context_ptr wslay = nullptr;
  std::span<const std::byte> input;  // what wslay has not fetched yet
  FrameEdge edge;
  std::string held;     // a close frame that is not whole yet
  std::string message;  // the payload so far, of all its fragments
  std::string control;  // a control frame's payload
  FrameEvent event;     // of this step
  std::size_t message_max = 0;
  std::uint16_t new_code = 0;  // hidden from wslay
  std::size_t counted = 0;     // this context's part of FrameContexts::unfinished_bytes_
  bool in_control = false;     // the frame that is being read
  bool fragmented = false;     // a message is open: its next fragment may come
  bool delivered = false;      // `message` was handed out: emptied at the next step
  bool ended = false;          // closed or failed: reads no more
};

namespace {

using Context = FrameContexts::Context;

Context& context_of(void* user) noexcept { return *static_cast<Context*>(user); }

ssize_t on_receive(wslay_event_context_ptr wslay, std::uint8_t* buffer, std::size_t size, int, void* user) {
  Context& context = context_of(user);
  if (context.input.empty()) {
    wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  std::size_t taken = std::min(size, context.input.size());
  std::memcpy(buffer, context.input.data(), taken);
  context.input = context.input.subspan(taken);
  return static_cast<ssize_t>(taken);
}

// What wslay itself would answer is not sent: close frames and pongs are the connection's to queue.
ssize_t on_send(wslay_event_context_ptr, const std::uint8_t*, std::size_t size, int, void*) {
  return static_cast<ssize_t>(size);
}

int on_mask(wslay_event_context_ptr, std::uint8_t* buffer, std::size_t size, void*) {
  std::memset(buffer, 0, size);  // of frames that on_send drops
  return 0;
}

void on_frame_start(wslay_event_context_ptr, const wslay_event_on_frame_recv_start_arg* frame, void* user) {
  Context& context = context_of(user);
  context.in_control = wslay_is_ctrl_frame(frame->opcode);
  if (context.in_control) return;
  context.fragmented = frame->fin == 0;
  // wslay bounds a frame; with no_buffering the sum of a message's fragments is ours to bound.
  if (frame->payload_length > context.message_max - std::min(context.message_max, context.message.size()))
    context.fail(close_code::kTooBig);
}

void on_frame_bytes(wslay_event_context_ptr, const wslay_event_on_frame_recv_chunk_arg* chunk, void* user) {
  Context& context = context_of(user);
  if (context.in_control || context.ended) return;
  context.message.append(reinterpret_cast<const char*>(chunk->data), chunk->data_length);
}

void on_message(wslay_event_context_ptr, const wslay_event_on_msg_recv_arg* message, void* user) {
  context_of(user).on_message(*message);
}

constexpr wslay_event_callbacks kCallbacks = {
    .recv_callback = &on_receive,
    .send_callback = &on_send,
    .genmask_callback = &on_mask,
    .on_frame_recv_start_callback = &on_frame_start,
    .on_frame_recv_chunk_callback = &on_frame_bytes,
    .on_frame_recv_end_callback = nullptr,
    .on_msg_recv_callback = &on_message,
};

}  // namespace

FrameContexts::Context::Context(Role role) {
  int made = role == Role::server ? wslay_event_context_server_init(&wslay, &kCallbacks, this)
                                  : wslay_event_context_client_init(&wslay, &kCallbacks, this);
  ASSERT(made == 0);
  wslay_event_config_set_no_buffering(wslay, 1);
}

void FrameContexts::Context::fail(std::uint16_t code) noexcept {
  ended = true;
  event.kind = FrameEvent::Kind::failed;
  event.code = code;
  event.payload = text_of(code);
}

void FrameContexts::Context::on_message(const wslay_event_on_msg_recv_arg& arrived) {
  if (ended) return;
  std::string_view bytes(reinterpret_cast<const char*>(arrived.msg), arrived.msg_length);
  event.opcode = static_cast<Opcode>(arrived.opcode);
  switch (event.opcode) {
    case Opcode::text:
    case Opcode::binary:
      event.kind = FrameEvent::Kind::message;
      event.compressed = wslay_get_rsv1(arrived.rsv) != 0;
      event.payload = message;
      delivered = true;
      return;
    case Opcode::ping:
    case Opcode::pong:
      control = bytes;  // wslay frees its own when this returns
      event.kind = event.opcode == Opcode::ping ? FrameEvent::Kind::ping : FrameEvent::Kind::pong;
      event.payload = control;
      return;
    case Opcode::close:
      if (bytes.size() == 1) return fail(close_code::kProtocol);  // half a code: wslay takes it for none
      control = bytes.substr(std::min<std::size_t>(2, bytes.size()));
      event.kind = FrameEvent::Kind::close;
      event.code = arrived.status_code == 0 ? close_code::kNone : arrived.status_code;
      if (new_code != 0) event.code = new_code;
      event.payload = control;
      ended = true;
      return;
    case Opcode::continuation:
      break;
  }
  std::unreachable();
}

// The close frame in `held` with a code that wslay does not know is shown to it as 1011.
void FrameContexts::Context::hide_new_code() noexcept {
  auto byte = [&](std::size_t index) { return static_cast<std::uint8_t>(held[index]); };
  const bool masked = held.size() >= 2 && (byte(1) & 0x80) != 0;
  const std::size_t at = masked ? 6 : 2;
  if (held.size() < at + 2) return;
  const unsigned high = byte(at) ^ (masked ? byte(2) : 0U);
  const unsigned low = byte(at + 1) ^ (masked ? byte(3) : 0U);
  const auto code = static_cast<std::uint16_t>(high << 8 | low);
  if (code < kNewCodeMin || code > kNewCodeMax) return;
  new_code = code;
  held[at + 1] = static_cast<char>(byte(at + 1) ^ low ^ (close_code::kInternal & 0xff));
}

// Whether `from` begins with a message in one frame, masked, uncompressed and all here; `event` is it then (RFC 6455, 5.2 and 5.3).
bool FrameContexts::Context::take_whole(std::string_view from, const FrameRules& rules) {
  constexpr std::size_t kMaskBytes = 4;
  constexpr unsigned kFin = 0x80, kMasked = 0x80, kLengthIs16Bits = 126;
  if (from.size() < 2) return false;
  auto byte = [&](std::size_t index) { return static_cast<std::uint8_t>(from[index]); };
  const unsigned length = byte(1) ^ kMasked;
  const bool text = byte(0) == (kFin | static_cast<unsigned>(Opcode::text));
  if (!text && byte(0) != (kFin | static_cast<unsigned>(Opcode::binary))) return false;
  if (length > kLengthIs16Bits) return false;  // longer, or not masked
  const std::size_t head = (length < kLengthIs16Bits ? 2 : 4) + kMaskBytes;
  if (from.size() < head) return false;
  const std::size_t size = length < kLengthIs16Bits ? length : byte(2) << 8U | byte(3);
  if (length == kLengthIs16Bits && size < kLengthIs16Bits) return false;
  if (size > rules.message_bytes || size > from.size() - head) return false;

  std::array<char, 2 * kMaskBytes> mask;
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = from[head - kMaskBytes + i % kMaskBytes];
  message.resize_and_overwrite(
      size, [&](char* to, std::size_t) {  // it may be told of more than `size`: that is a fault of libstdc++ 12
        std::size_t at = 0;
        for (; at + mask.size() <= size; at += mask.size()) {
          std::uint64_t eight, key;
          std::memcpy(&eight, from.data() + head + at, sizeof eight);
          std::memcpy(&key, mask.data(), sizeof key);
          eight ^= key;
          std::memcpy(to + at, &eight, sizeof eight);
        }
        for (; at < size; ++at) to[at] = static_cast<char>(from[head + at] ^ mask[at % mask.size()]);
        return size;
      });
  if (text && !base::valid_utf8(message)) {
    message.clear();
    return false;
  }
  event.kind = FrameEvent::Kind::message;
  event.opcode = text ? Opcode::text : Opcode::binary;
  event.payload = message;
  event.consumed = head + size;
  delivered = true;
  return true;
}

void FrameContexts::Context::read(std::span<const std::byte> bytes) {
  input = bytes;
  int result = wslay_event_recv(wslay);
  if (ended) return;
  if (result != 0) return fail(result == WSLAY_ERR_NOMEM ? close_code::kInternal : close_code::kProtocol);
  ASSERT(input.empty() || wslay_event_get_read_enabled(wslay) == 0);
  bool answers = wslay_event_want_write(wslay) != 0;
  if (answers) wslay_event_send(wslay);  // empties its queue of pongs; of a failure, tells its code
  if (wslay_event_get_read_enabled(wslay) == 0) fail(wslay_event_get_status_code_sent(wslay));
}

FrameContexts::FrameContexts(Role role) : role_(role) {}
FrameContexts::~FrameContexts() { ASSERT(in_use_ == 0); }

FrameContexts::Context* FrameContexts::borrow() {
  ++in_use_;
  if (kept_.empty()) return new Context(role_);
  Context* context = kept_.back().release();
  kept_.pop_back();
  return context;
}

void FrameContexts::give_back(Context* context, bool reusable) noexcept {
  ASSERT(in_use_ > 0);
  --in_use_;
  unfinished_bytes_ -= context->counted;
  std::unique_ptr<Context> owned(context);
  if (!reusable || kept_.size() >= kKeptMax) return;
  owned->counted = 0;
  owned->message.clear();
  owned->delivered = false;
  if (owned->message.capacity() > kKeptMessageBytes) owned->message.shrink_to_fit();
  kept_.push_back(std::move(owned));
}

FrameReader::~FrameReader() { ASSERT(context_ == nullptr); }

FrameEvent FrameReader::next(FrameContexts& contexts, std::span<const std::byte> input, const FrameRules& rules) {
  if (!context_) context_ = contexts.borrow();
  Context& context = *context_;
  if (context.ended) return {.consumed = input.size(), .kind = FrameEvent::Kind::none};
  if (context.delivered) {
    context.message.clear();
    context.delivered = false;
  }
  context.event = {};
  if (contexts.role_ == Role::server && context.clean() &&
      context.take_whole({reinterpret_cast<const char*>(input.data()), input.size()}, rules))
    return context.event;
  context.message_max = rules.message_bytes;
  wslay_event_config_set_max_recv_msg_length(context.wslay, std::max(rules.message_bytes, kControlPayloadMax));
  wslay_event_config_set_allowed_rsv_bits(context.wslay, rules.allow_rsv1 ? WSLAY_RSV1_BIT : WSLAY_RSV_NONE);

  std::span<const std::byte> piece = input.first(context.edge.take(input));
  bool whole = context.edge.at_end();
  if (context.edge.is_close() || !context.held.empty()) {
    context.held.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    if (whole || !context.edge.is_close()) {
      if (whole) context.hide_new_code();
      context.read(std::as_bytes(std::span(context.held)));
      context.held.clear();
    }
  } else {
    context.read(piece);
  }
  if (whole) context.edge.next();

  // What is unfinished counts against the core's bound, at its capacity: that is what it costs.
  std::size_t counted = context.fragmented || !whole ? context.message.capacity() : 0;
  contexts.unfinished_bytes_ += counted - context.counted;
  context.counted = counted;
  if (contexts.unfinished_bytes_ > FrameContexts::kUnfinishedBytesMax && !context.ended) {
    context.fail(close_code::kOverloaded);
    context.event.payload = "too much is unfinished";
  }
  context.event.consumed = piece.size();
  return context.event;
}

void FrameReader::park(FrameContexts& contexts) noexcept {
  if (context_ && context_->clean()) contexts.give_back(std::exchange(context_, nullptr), true);
}

void FrameReader::release(FrameContexts& contexts) noexcept {
  if (!context_) return;
  const bool reusable = context_->clean();  // before the exchange: arguments have no order to rely on
  contexts.give_back(std::exchange(context_, nullptr), reusable);
}

}  // namespace ringline::protocol
