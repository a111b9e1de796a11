// See journal_scan.hpp.
#include "journal_scan.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "ringline/loop/disk.hpp"

namespace ringline::backend {
namespace {

using journal::kBatchHeadBytes;
using journal::kBlockBytes;

// Behind the last byte that is not zero; 0: there is none.
std::size_t content_of(std::span<const std::byte> bytes) noexcept {
  if (bytes.empty() ||
      (bytes.front() == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0))
    return 0;
  static constexpr std::array<std::byte, 64> kZeros{};
  while (bytes.size() > kZeros.size() &&
         std::memcmp(bytes.last(kZeros.size()).data(), kZeros.data(), kZeros.size()) == 0)
    bytes = bytes.first(bytes.size() - kZeros.size());
  while (bytes.back() == std::byte{0}) bytes = bytes.first(bytes.size() - 1);
  return bytes.size();
}

}  // namespace

SegmentScanner::SegmentScanner(loop::Fd file, std::uint64_t bytes, std::uint64_t number)
    : file_(file), bytes_(bytes), number_(number) {
  const auto block = view(0, kBlockBytes);
  head_ = journal::read_segment_head(block);
  other_version_ = journal::of_other_version(block);
  if (head_ && head_->segment != number_) head_.reset();
  garbage_end_ = content_of(block);
}

std::optional<SegmentScanner::Batch> SegmentScanner::next(std::uint64_t above) {
  garbage_end_ = end_ == kBlockBytes ? garbage_end_ : 0;
  for (std::uint64_t offset = end_; offset < bytes_; offset += kBlockBytes) {
    if (auto batch = batch_at(offset, above)) {
      batch->expected = end_;
      end_ = offset + journal::whole_blocks(kBatchHeadBytes + batch->head.bytes);
      garbage_end_ = 0;
      return batch;
    }
    if (const std::size_t content = content_of(view(offset, kBlockBytes)); content > 0) garbage_end_ = offset + content;
  }
  return std::nullopt;
}

std::optional<SegmentScanner::Batch> SegmentScanner::batch_at(std::uint64_t offset, std::uint64_t above) {
  const auto head = journal::read_batch_head(view(offset, kBlockBytes));
  if (!head || head->segment != number_ || head->offset != offset || head->number <= above) return std::nullopt;
  const auto whole = view(offset, kBatchHeadBytes + head->bytes);
  if (whole.size() < kBatchHeadBytes) return std::nullopt;
  const auto payload = whole.subspan(kBatchHeadBytes);
  if (!journal::payload_intact(*head, payload)) return std::nullopt;
  return Batch{.head = *head, .payload = payload, .expected = offset};
}

// Fewer bytes: the file ends.
std::span<const std::byte> SegmentScanner::view(std::uint64_t offset, std::size_t bytes) {
  if (offset >= bytes_) return {};
  bytes = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, bytes_ - offset));
  if (bytes > kWindowBytes) {
    large_.resize(bytes);
    return std::span<const std::byte>(large_).first(read(large_, offset));
  }
  if (offset < window_offset_ || offset + bytes > window_offset_ + window_bytes_) {
    window_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kWindowBytes, bytes_)));
    window_offset_ = offset;
    window_bytes_ = read(
        std::span(window_).first(static_cast<std::size_t>(std::min<std::uint64_t>(window_.size(), bytes_ - offset))),
        offset);
  }
  const std::size_t from = static_cast<std::size_t>(offset - window_offset_);
  return std::span<const std::byte>(window_).subspan(from, std::min(bytes, window_bytes_ - from));
}

std::size_t SegmentScanner::read(std::span<std::byte> out, std::uint64_t offset) {
  if (const auto got = loop::disk::read_at(file_, out, offset)) return *got;
  for (std::size_t at = 0; at < out.size(); at += kBlockBytes) {
    const auto block = out.subspan(at, std::min(kBlockBytes, out.size() - at));
    const auto got = loop::disk::read_at(file_, block, offset + at);
    if (got && *got == block.size()) continue;
    if (got) return at + *got;
    std::ranges::fill(block, std::byte{0});
    const std::uint64_t here = offset + at;
    if (!unreadable_.empty() && here >= unreadable_.back().offset &&
        here < unreadable_.back().offset + unreadable_.back().bytes)
      continue;
    if (!unreadable_.empty() && here == unreadable_.back().offset + unreadable_.back().bytes) {
      unreadable_.back().bytes += block.size();
    } else {
      unreadable_.push_back({here, block.size()});
    }
  }
  return out.size();
}

}  // namespace ringline::backend
