// Chunk: bytes ready to send, shared by all connections of a core that get them. Counted without atomics: a chunk never leaves its core.
// Chunks are kept and used again with their capacity, so a delivery allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringline/base/assert.hpp"

namespace ringline::base {

class ChunkPool;

class Chunk {
 public:
  std::string bytes;  // appended to before it is shared, constant from then on

 private:
  friend class ChunkPool;
  friend class ChunkRef;
  std::uint32_t references_ = 0;
  ChunkPool* pool_ = nullptr;
};

class ChunkPool {
 public:
  static constexpr std::size_t kKeptMax = 1024;            // chunks kept for the next use
  static constexpr std::size_t kKeptBytesMax = 64 * 1024;  // one that grew beyond is freed
  static constexpr std::size_t kKeptBytesOfAll = 4 * 1024 * 1024;

  ~ChunkPool() { ASSERT(in_use_ == 0); }
  class ChunkRef take();
  std::size_t in_use() const noexcept { return in_use_; }
  void forget_kept() noexcept {
    std::vector<std::unique_ptr<Chunk>>().swap(kept_);
    kept_bytes_ = 0;
  }

 private:
  friend class ChunkRef;
  void give_back(Chunk* chunk) noexcept {
    --in_use_;
    std::unique_ptr<Chunk> owned(chunk);
    const std::size_t bytes = owned->bytes.capacity();
    if (kept_.size() >= kKeptMax || bytes > kKeptBytesMax || kept_bytes_ + bytes > kKeptBytesOfAll) return;
    kept_bytes_ += bytes;
    owned->bytes.clear();
    kept_.push_back(std::move(owned));
  }
  std::vector<std::unique_ptr<Chunk>> kept_;
  std::size_t kept_bytes_ = 0;  // their capacities
  std::size_t in_use_ = 0;
};

class ChunkRef {
 public:
  ChunkRef() noexcept = default;
  explicit ChunkRef(Chunk* chunk) noexcept : chunk_(chunk) { ++chunk_->references_; }
  ChunkRef(const ChunkRef& other) noexcept : chunk_(other.chunk_) {
    if (chunk_) ++chunk_->references_;
  }
  ChunkRef(ChunkRef&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
  ChunkRef& operator=(ChunkRef other) noexcept {
    std::swap(chunk_, other.chunk_);
    return *this;
  }
  ~ChunkRef() {
    if (chunk_ && --chunk_->references_ == 0) chunk_->pool_->give_back(chunk_);
  }
  Chunk* operator->() const noexcept { return chunk_; }
  Chunk& operator*() const noexcept { return *chunk_; }
  explicit operator bool() const noexcept { return chunk_ != nullptr; }
  bool shared() const noexcept { return chunk_ && chunk_->references_ > 1; }

 private:
  Chunk* chunk_ = nullptr;
};

inline ChunkRef ChunkPool::take() {
  std::unique_ptr<Chunk> chunk;
  if (kept_.empty()) {
    chunk = std::make_unique<Chunk>();
    chunk->pool_ = this;
  } else {
    chunk = std::move(kept_.back());
    kept_.pop_back();
    kept_bytes_ -= chunk->bytes.capacity();
  }
  ++in_use_;
  return ChunkRef(chunk.release());
}

}  // namespace ringline::base
