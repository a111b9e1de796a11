// SegmentScanner: the intact batches of one segment file, front to back. Behind what is damaged it looks at every block for the next batch that is
// intact and belongs there (its checksums, segment, offset and number fit). A block that cannot be read counts as zeros and is remembered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ringline/backend/journal_format.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::backend {

class SegmentScanner {
 public:
  // `file` is open for reading and stays the caller's.
  SegmentScanner(loop::Fd file, std::uint64_t bytes, std::uint64_t number);

  const std::optional<journal::SegmentHead>& head() const noexcept { return head_; }
  bool of_other_version() const noexcept { return other_version_; }

  struct Batch {
    journal::BatchHead head;
    std::span<const std::byte> payload;  // until the next call
    std::uint64_t expected = 0;          // where it should have begun: before head.offset if something was passed over
  };
  // The next intact batch with a number above `above`.
  std::optional<Batch> next(std::uint64_t above);
  // The batch right behind the segment head, if it is intact. Before `next`.
  std::optional<Batch> first() { return batch_at(journal::kBlockBytes, 0); }

  // Behind the last batch that `next` gave.
  std::uint64_t end() const noexcept { return end_; }
  // After `next` gave nothing: behind the last byte that is not zero; not above `end`: only zeros follow.
  std::uint64_t garbage_end() const noexcept { return garbage_end_; }

  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  const std::vector<Range>& unreadable() const noexcept { return unreadable_; }

 private:
  static constexpr std::size_t kWindowBytes = 1024 * 1024;

  std::span<const std::byte> view(std::uint64_t offset, std::size_t bytes);
  std::size_t read(std::span<std::byte> out, std::uint64_t offset);
  std::optional<Batch> batch_at(std::uint64_t offset, std::uint64_t above);

  loop::Fd file_;
  std::uint64_t bytes_;
  std::uint64_t number_;
  std::optional<journal::SegmentHead> head_;
  bool other_version_ = false;
  std::vector<std::byte> window_;
  std::uint64_t window_offset_ = 0;
  std::size_t window_bytes_ = 0;
  std::vector<std::byte> large_;  // a batch that is larger than the window
  std::uint64_t end_ = journal::kBlockBytes;
  std::uint64_t garbage_end_ = 0;
  std::vector<Range> unreadable_;
};

}  // namespace ringline::backend
