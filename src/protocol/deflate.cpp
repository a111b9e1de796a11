// permessage-deflate by zlib. Both streams live as long as their core and are only ever reset.
//
// Invariant: between two calls a stream carries nothing of an earlier message.
#include "ringline/protocol/deflate.hpp"

#include <algorithm>
#include <limits>

#include "protocol/text.hpp"
#include "ringline/base/assert.hpp"

namespace ringline::protocol {

namespace {

constexpr std::string_view kExtension = "permessage-deflate";
constexpr unsigned kBitsMin = 8;
constexpr int kRawWindow = -static_cast<int>(kDeflateWindowBits);  // negative: without zlib's header
// Measured on 1 KiB of chat JSON (bench: deflate/append_frame). Levels 1 to 3 give 251 bytes, 4 to 6 give 247 for a fifth more time. Most of the time is
// the clearing of the hash table: memory level 6 has a quarter of the usual 8's, takes 15 % less time and finds the same.
constexpr int kLevel = 3;
constexpr int kMemory = 6;
constexpr std::string_view kTail("\x00\x00\xff\xff", 4);  // ends a flushed message, and is not sent
constexpr std::size_t kFirstRoom = 16 * 1024;
// Which zlib's data_type has when a block has ended and none has begun.
constexpr int kBetweenBlocks = 128;

// Reads Sec-WebSocket-Extensions from left to right. Once malformed it stays at its end.
class HeaderText {
 public:
  explicit HeaderText(std::string_view text) : rest_(text) {}
  bool malformed() const noexcept { return malformed_; }
  bool at_end() const noexcept { return rest_.empty(); }

  bool take(char wanted) noexcept {
    skip_space();
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view token() noexcept {
    skip_space();
    std::size_t size = 0;
    while (size < rest_.size() && is_token_char(rest_[size])) ++size;
    if (size == 0) fail();
    return cut(size);
  }
  // A quoted value must be a token too once it is unquoted (RFC 6455, 9.1), so one with an escape is never a value that we know: its backslash stays.
  std::string_view value() noexcept {
    if (!take('"')) return token();
    std::size_t size = 0;
    while (size < rest_.size() && rest_[size] != '"') size += rest_[size] == '\\' ? 2 : 1;
    if (size >= rest_.size()) {
      fail();
      return {};
    }
    std::string_view text = cut(size);
    rest_.remove_prefix(1);
    return text;
  }
  void skip_space() noexcept {
    while (rest_.starts_with(' ') || rest_.starts_with('\t')) rest_.remove_prefix(1);
  }
  void fail() noexcept {
    malformed_ = true;
    rest_ = {};
  }

 private:
  std::string_view cut(std::size_t size) noexcept {
    std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(text.size());
    return text;
  }
  std::string_view rest_;
  bool malformed_ = false;
};

// 8 to 15, without a leading zero. 0: it is not.
unsigned window_bits(std::string_view text) noexcept {
  if (text.empty() || text.size() > 2 || text.front() == '0' || !std::ranges::all_of(text, is_digit)) return 0;
  unsigned bits = 0;
  for (char digit : text) bits = bits * 10 + static_cast<unsigned>(digit - '0');
  return bits >= kBitsMin && bits <= kDeflateWindowBits ? bits : 0;
}

// One offer's parameters, each at most once.
class Offer {
 public:
  void add(std::string_view name, std::optional<std::string_view> value) noexcept {
    if (same_text(name, "server_no_context_takeover")) {
      note(1, !value);
    } else if (same_text(name, "client_no_context_takeover")) {
      note(2, !value);
    } else if (same_text(name, "server_max_window_bits")) {
      agreement.server_bits = window_bits(value.value_or(""));
      note(4, agreement.server_bits != 0);
    } else if (same_text(name, "client_max_window_bits")) {
      agreement.client_bits = window_bits(value.value_or(""));
      note(8, agreement.client_bits != 0 || !value);
    } else {
      good = false;
    }
  }
  DeflateAgreement agreement;
  bool good = true;

 private:
  void note(unsigned bit, bool valid) noexcept {
    good = good && valid && (seen_ & bit) == 0;
    seen_ |= bit;
  }
  unsigned seen_ = 0;
};

Bytef* bytes_of(const char* text) noexcept {  // zlib 1.2 reads its input through a pointer that is not const
  return reinterpret_cast<Bytef*>(const_cast<char*>(text));
}

uInt zlib_size(std::size_t size) noexcept {
  ASSERT(size <= std::numeric_limits<uInt>::max());
  return static_cast<uInt>(size);
}

}  // namespace

std::optional<DeflateAgreement> negotiate_deflate(std::string_view offers) {
  HeaderText text(offers);
  std::optional<DeflateAgreement> agreed;
  while (true) {
    while (text.take(',')) {  // empty elements of a list are allowed
    }
    text.skip_space();
    if (text.at_end()) break;
    Offer offer;
    bool ours = same_text(text.token(), kExtension);
    while (text.take(';')) {
      std::string_view name = text.token();
      std::optional<std::string_view> value;
      if (text.take('=')) value = text.value();
      offer.add(name, value);
    }
    if (ours && offer.good && !agreed) agreed = offer.agreement;
    text.skip_space();
    if (!text.at_end() && !text.take(',')) text.fail();
  }
  return text.malformed() ? std::nullopt : agreed;
}

void DeflateAgreement::append_header_value(std::string& out) const {
  out.append(kExtension).append("; server_no_context_takeover; client_no_context_takeover");
  if (server_bits != 0) out.append("; server_max_window_bits=").append(std::to_string(server_bits));
  if (client_bits != 0) out.append("; client_max_window_bits=").append(std::to_string(client_bits));
}

// --- In ---

void Inflater::forget() noexcept {
  if (stream_.state) inflateEnd(&stream_);
  out_ = {};
}

std::expected<std::string_view, std::uint16_t> Inflater::inflate(std::string_view payload, std::size_t limit) {
  if (out_.size() > kKeptBytes) out_ = {};
  size_ = 0;
  limit_ = limit;
  if (payload.empty()) return std::string_view();  // should be one zero byte; every server takes it
  int ready = stream_.state ? inflateReset2(&stream_, kRawWindow) : inflateInit2(&stream_, kRawWindow);
  ASSERT(ready == Z_OK);

  Step step = take(payload);
  // Whoever ends a message with a final block need not send what the tail completes: it is there already.
  if (step == Step::taken) step = take(kTail);
  switch (step) {
    case Step::taken:
      // Neither inside a block, nor with a tail that was taken for something else: the message is whole.
      if ((stream_.data_type & kBetweenBlocks) == 0) return std::unexpected(close_code::kEncoding);
      return std::string_view(out_).substr(0, size_);
    case Step::ended:
      return std::string_view(out_).substr(0, size_);
    case Step::too_big:
      return std::unexpected(close_code::kTooBig);
    case Step::broken:
      return std::unexpected(close_code::kEncoding);
  }
  std::unreachable();
}

// One byte more than the limit, so that a message of just the limit does not look like one that goes on.
bool Inflater::make_room() {
  if (size_ > limit_) return false;
  if (size_ < out_.size()) return true;
  out_.resize(std::min(std::max(out_.size() * 2, kFirstRoom), limit_ + 1));
  return true;
}

Inflater::Step Inflater::take(std::string_view bytes) {
  stream_.next_in = bytes_of(bytes.data());
  stream_.avail_in = zlib_size(bytes.size());
  while (true) {
    if (!make_room()) return Step::too_big;
    std::size_t room = std::min(out_.size(), limit_ + 1) - size_;  // what is kept of a larger limit is not used
    stream_.next_out = bytes_of(out_.data() + size_);
    stream_.avail_out = zlib_size(room);
    int result = ::inflate(&stream_, Z_SYNC_FLUSH);
    size_ += room - stream_.avail_out;
    if (size_ > limit_) return Step::too_big;
    switch (result) {
      case Z_STREAM_END:  // a final block: allowed in a message, and others may follow it
        if (stream_.avail_in == 0) return Step::ended;
        inflateReset(&stream_);
        break;
      case Z_OK:
      case Z_BUF_ERROR:  // nothing to do: it wants more of either
        if (stream_.avail_out > 0) return stream_.avail_in == 0 ? Step::taken : Step::broken;
        break;
      default:
        return Step::broken;
    }
  }
}

// --- Out ---

void Deflater::forget() noexcept {
  if (stream_.state) deflateEnd(&stream_);
  compressed_ = {};
}

bool Deflater::append_frame(std::string& out, Opcode opcode, std::string_view payload) {
  ASSERT(opcode == Opcode::text || opcode == Opcode::binary);
  std::string_view smaller = payload.size() < kDeflateBytesMin ? std::string_view() : compress(payload);
  if (smaller.empty()) {
    protocol::append_frame(out, opcode, payload);
    return false;
  }
  append_frame_header(out, opcode, smaller.size(), true);
  out.append(smaller);
  return true;
}

// Empty: it does not become smaller.
std::string_view Deflater::compress(std::string_view payload) {
  // With room for the tail and no more than the payload's size before it, a flush that fills all of it was not worth it.
  std::size_t room = payload.size() + kTail.size();
  if (compressed_.size() > kKeptBytes) compressed_ = {};
  if (compressed_.size() < room) compressed_.resize(room);
  if (!stream_.state) {
    int made = deflateInit2(&stream_, kLevel, Z_DEFLATED, kRawWindow, kMemory, Z_DEFAULT_STRATEGY);
    ASSERT(made == Z_OK);
  }
  stream_.next_in = bytes_of(payload.data());
  stream_.avail_in = zlib_size(payload.size());
  stream_.next_out = bytes_of(compressed_.data());
  stream_.avail_out = zlib_size(room);
  int result = deflate(&stream_, Z_SYNC_FLUSH);
  std::size_t size = room - stream_.avail_out;
  bool whole = result == Z_OK && stream_.avail_in == 0 && stream_.avail_out > 0;
  int reset = deflateReset(&stream_);
  ASSERT(reset == Z_OK);
  if (!whole) return {};
  std::string_view compressed = std::string_view(compressed_).substr(0, size);
  ASSERT(compressed.ends_with(kTail));
  compressed.remove_suffix(kTail.size());
  return compressed.size() < payload.size() ? compressed : std::string_view();
}

}  // namespace ringline::protocol
