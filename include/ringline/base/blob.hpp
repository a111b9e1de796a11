// Blob: immutable bytes shared between cores and threads, counted atomically. One per event, never one per delivery.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace ringline::base {

class Blob {
 public:
  Blob() noexcept = default;
  static Blob copy_of(std::string_view bytes);

  Blob(const Blob& other) noexcept : head_(other.head_) {
    if (head_) head_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Blob(Blob&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  Blob& operator=(Blob other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~Blob() {
    if (head_ && head_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(head_);
  }

  std::string_view view() const noexcept {
    return head_ ? std::string_view(reinterpret_cast<const char*>(head_ + 1), head_->size) : std::string_view();
  }
  std::size_t size() const noexcept { return head_ ? head_->size : 0; }
  explicit operator bool() const noexcept { return head_ != nullptr; }

 private:
  struct Head {
    std::atomic<std::uint32_t> references{1};
    std::uint32_t size = 0;
  };
  static void destroy(Head* head) noexcept;

  Head* head_ = nullptr;
};

// A part of a blob.
class Slice {
 public:
  Slice() noexcept = default;
  Slice(Blob of, std::uint32_t at, std::uint32_t size) noexcept : blob_(std::move(of)), at_(at), size_(size) {}
  std::string_view view() const noexcept { return blob_.view().substr(at_, size_); }

 private:
  Blob blob_;
  std::uint32_t at_ = 0;
  std::uint32_t size_ = 0;
};

}  // namespace ringline::base
