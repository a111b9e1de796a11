// Outbox: what waits to be sent on one connection, and what is being sent. A connection has one only while something is queued.
//
// Order: what was begun is finished (a frame is never cut), then urgent bytes (replies, pings, closes), then room events. The pieces of the send that
// is in the kernel stay at the front until its completion, so the kernel's buffers live as long as it needs them.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "ringline/base/chunk.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/memory.hpp"

namespace ringline::net {

class Outbox : public base::MadeApart {
 public:
  // Bytes [from, to) of a chunk of room events.
  void add_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to);
  // A buffer that urgent bytes are appended to; it must not be kept.
  std::string& urgent(base::ChunkPool& pool);

  bool empty() const noexcept { return pieces_.empty() && !has_urgent(); }
  std::size_t shared_bytes() const noexcept { return shared_bytes_; }
  std::size_t urgent_bytes() const noexcept { return urgent_bytes_ + (urgent_ ? urgent_->bytes.size() : 0); }

  // The next send: at most limits::kSendPieces pieces. The message lives until `sent`.
  const msghdr* begin_send();
  std::size_t sending_bytes() const noexcept { return sending_bytes_; }
  // Instead of a send: what is to go next, whole frames. `sent` follows with its size.
  std::string_view front();
  void sent(std::size_t bytes);
  void drop_shared();  // room events that are not begun
  void clear();

  std::int64_t progress_ms =
      0;  // when the kernel last took something, or a send was begun; 0: there is nothing to take

 private:
  struct Piece {
    base::ChunkRef chunk;
    std::uint32_t from;
    std::uint32_t to;
    bool shared;
    bool begun;
  };
  void merge_small();
  bool has_urgent() const noexcept { return urgent_ && !urgent_->bytes.empty(); }

  std::vector<Piece> pieces_;
  base::ChunkRef urgent_;
  std::size_t shared_bytes_ = 0;
  std::size_t urgent_bytes_ = 0;  // of urgent pieces
  std::size_t sending_bytes_ = 0;
  msghdr message_{};
  std::array<iovec, base::limits::kSendPieces> vectors_{};
};

}  // namespace ringline::net
