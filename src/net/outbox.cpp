// See outbox.hpp.
#include "net/outbox.hpp"

#include <algorithm>

namespace ringline::net {

namespace {

constexpr std::size_t kPiecesKept = 64;
constexpr std::size_t kMergedBytes = 2048;  // copying as many costs less than a send of several pieces does

}  // namespace

void Outbox::add_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) {
  pieces_.push_back({chunk, from, to, true, false});
  shared_bytes_ += to - from;
}

std::string& Outbox::urgent(base::ChunkPool& pool) {
  if (!urgent_) urgent_ = pool.take();
  return urgent_->bytes;
}

const msghdr* Outbox::begin_send() {
  if (has_urgent()) {
    auto size = static_cast<std::uint32_t>(urgent_->bytes.size());
    // Behind a piece that is begun, and behind urgent ones.
    auto place = std::ranges::find_if(pieces_, [](const Piece& piece) { return piece.shared && !piece.begun; });
    pieces_.insert(place, Piece{std::move(urgent_), 0, size, false, false});
    urgent_ = {};
    urgent_bytes_ += size;
  }
  merge_small();
  std::size_t count = 0;
  sending_bytes_ = 0;
  for (Piece& piece : pieces_) {
    if (count == vectors_.size()) break;
    piece.begun = true;
    vectors_[count++] = {piece.chunk->bytes.data() + piece.from, piece.to - piece.from};
    sending_bytes_ += piece.to - piece.from;
  }
  message_.msg_iov = vectors_.data();
  message_.msg_iovlen = count;
  return &message_;
}

// A reply and the event that it tells of, mostly: the event's bytes are put behind the reply's, in its buffer.
void Outbox::merge_small() {
  while (pieces_.size() > 1) {
    Piece& first = pieces_[0];
    const Piece& next = pieces_[1];
    const std::size_t size = next.to - next.from;
    if (first.shared || first.begun || next.begun || first.to + size > kMergedBytes) return;
    first.chunk->bytes.append(next.chunk->bytes, next.from, size);
    first.to += static_cast<std::uint32_t>(size);
    if (next.shared) {
      shared_bytes_ -= size;
      urgent_bytes_ += size;
    }
    pieces_.erase(pieces_.begin() + 1);
  }
}

std::string_view Outbox::front() {
  begin_send();
  const Piece& piece = pieces_.front();
  return std::string_view(piece.chunk->bytes).substr(piece.from, piece.to - piece.from);
}

void Outbox::sent(std::size_t bytes) {
  std::size_t done = 0;
  bool partly = false;
  while (bytes > 0) {
    Piece& piece = pieces_[done];
    auto size = static_cast<std::size_t>(piece.to - piece.from);
    std::size_t taken = std::min(size, bytes);
    (piece.shared ? shared_bytes_ : urgent_bytes_) -= taken;
    piece.from += static_cast<std::uint32_t>(taken);
    bytes -= taken;
    partly = taken < size;
    if (!partly) ++done;
  }
  pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(done));
  // A piece of which the kernel took nothing is not begun: urgent bytes may go before it.
  for (std::size_t i = partly ? 1 : 0; i < pieces_.size() && pieces_[i].begun; ++i) pieces_[i].begun = false;
  sending_bytes_ = 0;
}

void Outbox::drop_shared() {
  std::erase_if(pieces_, [this](const Piece& piece) {
    bool dropped = piece.shared && !piece.begun;
    if (dropped) shared_bytes_ -= piece.to - piece.from;
    return dropped;
  });
}

void Outbox::clear() {
  pieces_.clear();
  if (pieces_.capacity() > kPiecesKept) pieces_.shrink_to_fit();  // it was a slow reader's
  urgent_ = {};
  shared_bytes_ = urgent_bytes_ = sending_bytes_ = 0;
  progress_ms = 0;
}

}  // namespace ringline::net
