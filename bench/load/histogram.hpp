// Log-linear histogram of nanoseconds, after HdrHistogram: 128 buckets an octave, so a percentile is at most 0.8 % off. Values above kLargest count
// as kLargest; the true maximum is kept beside it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ringline::bench {

class Histogram {
 public:
  void record(std::int64_t ns) noexcept {
    const std::uint64_t value = static_cast<std::uint64_t>(std::clamp<std::int64_t>(ns, 0, kLargest));
    ++buckets_[index_of(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, ns);
  }
  std::uint64_t count() const noexcept { return count_; }
  std::int64_t max() const noexcept { return max_; }
  double mean() const noexcept { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }

  // The value that `share` of all values do not exceed (the upper edge of its bucket). 0: none recorded.
  std::int64_t percentile(double share) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_) + 0.5);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > 0 && seen >= wanted) return std::min(upper_edge(i), max_);
    }
    return 0;
  }
  void clear() noexcept { *this = Histogram(); }

 private:
  static constexpr unsigned kSubBits = 7;
  static constexpr std::uint64_t kSub = 1U << kSubBits;
  static constexpr unsigned kLargestBits = 40;  // 18 minutes
  static constexpr std::int64_t kLargest = (std::int64_t{1} << kLargestBits) - 1;

  static std::size_t index_of(std::uint64_t value) noexcept {
    if (value < kSub) return value;
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
    return (shift + 1) * kSub + ((value >> shift) - kSub);
  }
  static std::int64_t upper_edge(std::size_t index) noexcept {
    if (index < kSub) return static_cast<std::int64_t>(index);
    const std::size_t shift = index / kSub - 1;
    return static_cast<std::int64_t>(((index % kSub + kSub + 1) << shift) - 1);
  }

  std::array<std::uint64_t, (kLargestBits - kSubBits + 1) * kSub> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace ringline::bench
