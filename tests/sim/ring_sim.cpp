// Ring in the simulated world: file operations take a random time and complete in random order; what they do to the disk happens when they complete.
// Sockets are not simulated yet: starting an operation on one ends the test.
#include "ringline/loop/ring.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "world.hpp"

namespace ringline::loop {
namespace {

enum class Kind : std::uint8_t { write_sync, write, read };

struct Flying {
  Op* op;
  Kind kind;
  int fd;
  const std::byte* out;  // of a write
  std::byte* in;         // of a read
  std::size_t bytes;
  std::uint64_t offset;
  std::int64_t due_ns;
  bool cancelled;
};

}  // namespace

struct Ring::Impl final : sim::Kernel {
  Impl() { sim::World::current().add(*this); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { sim::World::current().remove(*this); }

  std::int64_t next_due_ns() const noexcept override {
    if (woken) return 0;
    std::int64_t next = INT64_MAX;
    for (const Flying& one : flying) next = std::min(next, one.due_ns);
    return next;
  }

  void power_off(bool forget) override {
    for (auto* list : {&flying, &due}) {
      for (const Flying& one : *list) {
        if (one.kind != Kind::read && !killed) leave_waiting(one);
      }
    }
    if (!forget) return;
    for (auto* list : {&started, &flying, &due}) {
      for (const Flying& one : *list) one.op->in_kernel_ = false;
      list->clear();
    }
    if (performing != nullptr) std::exchange(performing, nullptr)->in_kernel_ = false;
  }

  void kill() override {
    for (const auto* list : {&flying, &due})
      for (const Flying& one : *list)
        if (sim::World::current().chance(50)) perform(one);
    killed = true;
  }

  static void leave_waiting(const Flying& one);
  void start_file(Op& op, Flying flight) {
    start(op);
    flight.op = &op;
    started.push_back(flight);
  }
  static int perform(const Flying& one);

  std::vector<Flying> started;  // not submitted
  std::vector<Flying> flying;
  std::vector<Flying> due;   // completed, not yet handled
  Op* performing = nullptr;  // whose work is being done; null again: the power went meanwhile
  std::atomic<bool> woken{false};
  bool reaping = false;
  bool killed = false;
};

void Ring::start(Op& op) {
  ASSERT(!op.in_kernel_);
  op.in_kernel_ = true;
}

void Ring::finish(Op& op, const Completion& completion) {
  ASSERT(op.in_kernel_);
  op.in_kernel_ = completion.more;
  op.handler_(op, completion);  // may free the op
}

base::Result<std::unique_ptr<Ring>> Ring::open(const RingOptions& /*options*/) {
  return std::unique_ptr<Ring>(new Ring(std::make_unique<Impl>()));
}

Ring::Ring(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Ring::~Ring() { ASSERT(impl_->started.empty() && impl_->flying.empty() && impl_->due.empty()); }

// Files.

void Ring::write_sync(Op& op, Fd file, std::span<const std::byte> bytes, std::uint64_t offset) {
  impl_->start_file(
      op, {.kind = Kind::write_sync, .fd = file.value, .out = bytes.data(), .bytes = bytes.size(), .offset = offset});
}

void Ring::write(Op& op, Fd file, std::span<const std::byte> bytes, std::uint64_t offset) {
  impl_->start_file(
      op, {.kind = Kind::write, .fd = file.value, .out = bytes.data(), .bytes = bytes.size(), .offset = offset});
}

void Ring::read(Op& op, Fd file, std::span<std::byte> bytes, std::uint64_t offset) {
  impl_->start_file(
      op, {.kind = Kind::read, .fd = file.value, .in = bytes.data(), .bytes = bytes.size(), .offset = offset});
}

void Ring::close(Fd fd) { ASSERT(sim::World::current().disk().close(fd.value) == 0); }

int Ring::Impl::perform(const Flying& one) {
  sim::Disk& disk = sim::World::current().disk();
  if (one.cancelled && sim::World::current().chance(50)) return -ECANCELED;
  if (one.kind == Kind::read) return static_cast<int>(disk.read(one.fd, {one.in, one.bytes}, one.offset));
  const std::int64_t written = disk.write(one.fd, {one.out, one.bytes}, one.offset);
  if (one.kind == Kind::write || written < 0) return static_cast<int>(written);
  if (static_cast<std::size_t>(written) != one.bytes) return -EIO;
  const int synced = disk.sync(one.fd);
  return synced < 0 ? synced : static_cast<int>(written);
}

void Ring::Impl::leave_waiting(const Flying& one) {
  sim::World::current().disk().leave_waiting(one.fd, {one.out, one.bytes}, one.offset);
}

void Ring::cancel(Op& op) {
  for (auto* list : {&impl_->started, &impl_->flying}) {
    for (Flying& one : *list) {
      if (one.op == &op) one.cancelled = true;
    }
  }
}

// Turning.

void Ring::enter(bool wait, std::int64_t deadline_ns) {
  sim::World& world = sim::World::current();
  for (Flying& one : impl_->started) {
    one.due_ns = world.now_ns() + world.delay_ns();
    impl_->flying.push_back(one);
  }
  impl_->started.clear();
  if (!wait) return;
  const std::int64_t next = std::min({impl_->next_due_ns(), world.next_job_ns(), deadline_ns});
  ASSERT(next != INT64_MAX);  // asleep for ever
  world.advance_to(next);
  world.run_due_jobs();
}

unsigned Ring::reap() {
  ASSERT(!impl_->reaping);
  impl_->reaping = true;
  sim::World& world = sim::World::current();
  unsigned reaped = impl_->woken.exchange(false) ? 1 : 0;
  std::vector<Flying>& due = impl_->due;
  std::erase_if(impl_->flying, [&](const Flying& one) {
    if (one.due_ns > world.now_ns()) return false;
    due.push_back(one);
    return true;
  });
  // In any order: which of several that are due is seen first is not for the program to know.
  for (std::size_t left = due.size(); left > 1; --left) std::swap(due[left - 1], due[world.draw(left)]);
  while (!due.empty()) {
    const Flying one = due.back();
    due.pop_back();
    impl_->performing = one.op;
    const int result = impl_->killed ? -EIO : Impl::perform(one);
    if (std::exchange(impl_->performing, nullptr) == nullptr) break;
    ++reaped;
    finish(*one.op, Completion{.result = result});
  }
  impl_->reaping = false;
  return reaped;
}

void Ring::wake(const Ring& other) { other.wake_from_thread(); }
void Ring::wake_from_thread() const noexcept { impl_->woken = true; }
unsigned Ring::in_kernel() const noexcept {
  return static_cast<unsigned>(impl_->started.size() + impl_->flying.size() + impl_->due.size());
}
bool Ring::has_unsubmitted() const noexcept { return !impl_->started.empty(); }

// Sockets.

namespace {
constexpr bool kSocketsAreSimulated = false;
}
void Ring::accept_multishot(Op& /*op*/, Fd /*listener*/) { ASSERT(kSocketsAreSimulated); }
void Ring::receive_multishot(Op& /*op*/, Fd /*socket*/) { ASSERT(kSocketsAreSimulated); }
void Ring::send(Op& /*op*/, Fd /*socket*/, std::span<const std::byte> /*bytes*/) { ASSERT(kSocketsAreSimulated); }
void Ring::send_message(Op& /*op*/, Fd /*socket*/, const msghdr* /*message*/) { ASSERT(kSocketsAreSimulated); }
void Ring::receive_message(Op& /*op*/, Fd /*socket*/, msghdr* /*message*/) { ASSERT(kSocketsAreSimulated); }
void Ring::connect(Op& /*op*/, Fd /*socket*/, const sockaddr* /*address*/, socklen_t /*length*/) {
  ASSERT(kSocketsAreSimulated);
}
void Ring::shutdown(Fd /*socket*/) { ASSERT(kSocketsAreSimulated); }
void Ring::shutdown_send(Fd /*socket*/) { ASSERT(kSocketsAreSimulated); }
void Ring::poll(Op& /*op*/, Fd /*fd*/, unsigned /*events*/) { ASSERT(kSocketsAreSimulated); }
void Ring::poll_multishot(Op& /*op*/, Fd /*fd*/, unsigned /*events*/) { ASSERT(kSocketsAreSimulated); }

}  // namespace ringline::loop

namespace ringline::sim {

std::unique_ptr<loop::Ring> open_ring() {
  return std::move(*loop::Ring::open({.entries = 64, .receive_buffers = 0, .receive_buffer_bytes = 0}));
}

}  // namespace ringline::sim
