// See mailbox.hpp. The indexes grow for ever; a slot is an index modulo the size. `head == tail`: empty.
#include "ringline/loop/mailbox.hpp"

#include <algorithm>
#include <bit>

#include "ringline/base/assert.hpp"

namespace ringline::loop {

namespace {

constexpr std::size_t kSlotsOfCore = 8 * base::limits::kMailboxSlots;  // of all queues to one core
constexpr std::size_t kSlotsMin = 256;

}  // namespace

SpscQueue::SpscQueue(std::size_t slots)
    : slots_(std::make_unique_for_overwrite<Mail*[]>(std::bit_ceil(slots))), mask_(std::bit_ceil(slots) - 1) {}

SpscQueue::~SpscQueue() {
  while (Mail* mail = pop()) delete mail;
}

bool SpscQueue::push(Mail* mail) noexcept {
  const std::size_t tail = tail_.load(std::memory_order_relaxed);
  if (tail - head_seen_ > mask_) {
    head_seen_ = head_.load(std::memory_order_acquire);
    if (tail - head_seen_ > mask_) return false;
  }
  slots_[tail & mask_] = mail;
  // Not only release: the pusher goes on to ask whether the consumer sleeps, and that must not come before.
  tail_.store(tail + 1, std::memory_order_seq_cst);
  return true;
}

Mail* SpscQueue::pop() noexcept {
  const std::size_t head = head_.load(std::memory_order_relaxed);
  if (head == tail_seen_) {
    tail_seen_ = tail_.load(std::memory_order_acquire);
    if (head == tail_seen_) return nullptr;
  }
  Mail* mail = slots_[head & mask_];
  head_.store(head + 1, std::memory_order_release);
  return mail;
}

bool SpscQueue::empty() const noexcept {
  return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_seq_cst);
}

Mailboxes::Mailboxes(unsigned cores) : cores_(cores), sleeping_(cores) {
  ASSERT(cores > 0);
  queues_.reserve(std::size_t{cores} * cores);
  // There are as many queues as the square of the cores: with many of them each is shorter, and what comes at once is stashed.
  const std::size_t slots = std::clamp(kSlotsOfCore / cores, kSlotsMin, base::limits::kMailboxSlots);
  for (unsigned i = 0; i < cores * cores; ++i) {
    const bool to_itself = i / cores == i % cores;
    queues_.push_back(to_itself ? nullptr : std::make_unique<SpscQueue>(slots));
  }
}

}  // namespace ringline::loop
