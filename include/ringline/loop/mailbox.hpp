// Mailboxes between cores: a single-producer single-consumer queue each way, and a doorbell only for a core that sleeps.
//
// Mail owns its bytes and runs at its destination. A full queue makes the sender keep the rest, in order, in a stash of its own that is emptied at the
// end of each of its turns; a stash above limits::kMailboxStash makes `overloaded` true, and the core takes no new commands until it is not.
// Lost wake-ups: the consumer says that it sleeps, then looks once more; the producer pushes, then looks whether it sleeps (both seq_cst).
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "ringline/base/limits.hpp"

namespace ringline::loop {

// A message to another core. Made by the sender, run and destroyed by the receiver.
class Mail {
 public:
  virtual ~Mail() = default;
  virtual void run() = 0;  // on the receiving core's thread
};
using MailPtr = std::unique_ptr<Mail>;

// Lock-free ring of pointers. `push` by one thread, `pop` by one other.
class SpscQueue {
 public:
  explicit SpscQueue(std::size_t slots);  // rounded up to a power of two
  ~SpscQueue();
  bool push(Mail* mail) noexcept;  // false: full
  Mail* pop() noexcept;            // null: empty
  bool empty() const noexcept;

 private:
  std::unique_ptr<Mail*[]> slots_;
  std::size_t mask_;
  alignas(64) std::atomic<std::size_t> head_{0};  // next to pop
  std::size_t tail_seen_ = 0;                     // consumer's copy of tail_
  alignas(64) std::atomic<std::size_t> tail_{0};  // next to push
  std::size_t head_seen_ = 0;                     // producer's copy of head_
};

// The queues of all cores to all cores. Made before the threads start, destroyed after they are joined.
class Mailboxes {
 public:
  explicit Mailboxes(unsigned cores);

  unsigned cores() const noexcept { return cores_; }
  SpscQueue& between(unsigned from, unsigned to) noexcept { return *queues_[from * cores_ + to]; }
  std::atomic<bool>& sleeping(unsigned core) noexcept { return sleeping_[core].flag; }

 private:
  struct alignas(64) Flag {
    std::atomic<bool> flag{false};
  };
  unsigned cores_;
  std::vector<std::unique_ptr<SpscQueue>> queues_;
  std::vector<Flag> sleeping_;
};

}  // namespace ringline::loop
