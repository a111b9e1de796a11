// The turn of loop.hpp, and the rule by which nobody's mail is slept through: whoever gives work first makes it visible, then looks whether the loop
// sleeps; the loop first says that it sleeps, then looks for work. All four are seq_cst, so one of the two sees the other.
#include "ringline/loop/loop.hpp"

#include <algorithm>

#include "ringline/base/allocations.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/limits.hpp"

namespace ringline::loop {
namespace {

namespace limits = base::limits;

constexpr std::int64_t kStashRetryNs =
    1'000'000;  // how long a loop with stashed mail sleeps at most: nobody rings when a queue has room

class ResumeMail final : public Mail {
 public:
  explicit ResumeMail(std::coroutine_handle<> handle) noexcept : handle_(handle) {}
  void run() override { handle_.resume(); }

 private:
  std::coroutine_handle<> handle_;
};

}  // namespace

Loop::Loop(unsigned core, Mailboxes& mailboxes, std::unique_ptr<Ring> ring)
    : core_(core),
      mailboxes_(mailboxes),
      ring_(std::move(ring)),
      now_ns_(base::monotonic_ns()),
      timers_(now_ms()),
      stashes_(mailboxes.cores()) {
  ASSERT(core < mailboxes.cores());
}

Loop::~Loop() = default;

void Loop::set_peers(std::span<Loop* const> peers) {
  ASSERT(peers.size() == mailboxes_.cores());
  ASSERT(peers[core_] == this);
  peers_.assign(peers.begin(), peers.end());
}

void Loop::run() {
  while (!stopping_) turn(true);
  stopping_ = false;
}

void Loop::turn(bool wait) {
  const bool sleeps = wait && fall_asleep();
  ring_->enter(sleeps, sleeps ? sleep_until_ns() : 0);
  if (sleeps) mailboxes_.sleeping(core_).store(false, std::memory_order_seq_cst);
  now_ns_ = base::monotonic_ns();
  drain_ring();
  take_mail();
  timers_.advance(now_ms());
  for (std::size_t i = 0; i < hooks_.size(); ++i) hooks_[i]->on_turn_end();
  empty_stashes();
  ++metrics_.turns;
  metrics_.allocations = base::allocations();
  metrics_.turn_seconds.record(base::monotonic_ns() - now_ns_);
}

bool Loop::fall_asleep() {
  if (anything_to_do()) return false;
  std::atomic<bool>& sleeping = mailboxes_.sleeping(core_);
  sleeping.store(true, std::memory_order_seq_cst);
  if (!anything_to_do()) return true;
  sleeping.store(false, std::memory_order_seq_cst);
  return false;
}

std::int64_t Loop::sleep_until_ns() const noexcept {
  const std::int64_t due_ms = timers_.next_due_ms();
  std::int64_t until = due_ms > INT64_MAX / 1'000'000 ? INT64_MAX : due_ms * 1'000'000;
  if (metrics_.mailbox_stash > 0) until = std::min(until, now_ns_ + kStashRetryNs);
  return until;
}

bool Loop::anything_to_do() const noexcept {
  if (stopping_ || !own_mail_.empty() || has_posted_.load(std::memory_order_seq_cst)) return true;
  for (unsigned from = 0; from < mailboxes_.cores(); ++from) {
    if (from != core_ && !mailboxes_.between(from, core_).empty()) return true;
  }
  return std::ranges::any_of(hooks_, [](const TurnHook* hook) { return hook->has_work(); });
}

void Loop::drain_ring() {
  for (unsigned round = 1; ring_->reap() >= limits::kDrainEnough && round < limits::kDrainRounds; ++round) {
    ring_->enter(false, 0);
  }
}

// Takes what was there when it began, at most a queue's length from each: mail that brings mail cannot keep the turn from ending.
void Loop::take_mail() {
  for (unsigned from = 0; from < mailboxes_.cores(); ++from) {
    if (from == core_) continue;
    SpscQueue& queue = mailboxes_.between(from, core_);
    for (std::size_t taken = 0; taken < limits::kMailboxSlots; ++taken) {
      const MailPtr mail(queue.pop());
      if (!mail) break;
      ++metrics_.mails;
      mail->run();
    }
  }
  for (std::size_t left = own_mail_.size(); left > 0; --left) {
    const MailPtr mail = std::move(own_mail_.front());
    own_mail_.pop_front();
    mail->run();
  }
  if (!has_posted_.load(std::memory_order_relaxed)) return;
  std::vector<MailPtr> posted;
  {
    const std::lock_guard guard(posted_lock_);
    posted.swap(posted_);
    has_posted_.store(false, std::memory_order_seq_cst);
  }
  for (const MailPtr& mail : posted) mail->run();
}

void Loop::send(unsigned core, MailPtr mail) {
  ASSERT(mail != nullptr);
  ASSERT(core < mailboxes_.cores());
  if (core == core_) {
    own_mail_.push_back(std::move(mail));
    return;
  }
  if (!stashes_[core].empty() || !push(core, mail)) {
    stashes_[core].push_back(std::move(mail));
    ++metrics_.mailbox_stash;
  }
}

bool Loop::push(unsigned core, MailPtr& mail) {
  if (!mailboxes_.between(core_, core).push(mail.get())) return false;
  static_cast<void>(mail.release());  // the queue has it
  std::atomic<bool>& sleeping = mailboxes_.sleeping(core);
  if (sleeping.load(std::memory_order_seq_cst) && sleeping.exchange(false, std::memory_order_seq_cst)) {
    ring_->wake(peers_[core]->ring());
  }
  return true;
}

void Loop::empty_stashes() {
  if (metrics_.mailbox_stash == 0) return;
  for (unsigned core = 0; core < stashes_.size(); ++core) {
    std::deque<MailPtr>& stash = stashes_[core];
    while (!stash.empty() && push(core, stash.front())) {
      stash.pop_front();
      --metrics_.mailbox_stash;
    }
  }
}

bool Loop::overloaded() const noexcept {
  return std::ranges::any_of(stashes_, [](const auto& stash) { return stash.size() > limits::kMailboxStash; });
}

void Loop::post(MailPtr mail) {
  ASSERT(mail != nullptr);
  // The bell is rung under the lock: this mail may be what ends the loop, and it cannot be taken before we are done with the ring.
  const std::lock_guard guard(posted_lock_);
  posted_.push_back(std::move(mail));
  has_posted_.store(true, std::memory_order_seq_cst);
  if (mailboxes_.sleeping(core_).exchange(false, std::memory_order_seq_cst)) ring_->wake_from_thread();
}

void Loop::resume(std::coroutine_handle<> handle) { post(std::make_unique<ResumeMail>(handle)); }

}  // namespace ringline::loop
