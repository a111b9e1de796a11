// See line.hpp.
#include "net/line.hpp"

#include <cerrno>

#include "ringline/base/assert.hpp"

namespace ringline::net {

// Awaits one operation: a receive where there is room for it, else a send.
class Line::Step {
 public:
  Step(Line& line, std::span<std::byte> into, std::string_view from, std::chrono::milliseconds time) noexcept
      : line_(line), into_{into.data(), into.size()}, from_(from), time_(time) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    loop::Ring& ring = line_.loop_.ring();
    line_.loop_.timers().arm(timer_, line_.loop_.now_ms() + time_.count());
    if (into_.iov_len == 0) return ring.send(op_, line_.socket_, std::as_bytes(std::span(from_)));
    message_.msg_iov = &into_;
    message_.msg_iovlen = 1;
    ring.receive_message(op_, line_.socket_, &message_);
  }
  int await_resume() const noexcept { return late_ && result_ < 0 ? -ETIMEDOUT : result_; }

 private:
  void on_done(loop::Completion completion) {
    timer_.disarm();
    result_ = completion.result;
    waiting_.resume();
  }
  void on_due() {
    late_ = true;
    line_.loop_.ring().cancel(op_);
  }

  Line& line_;
  iovec into_;
  msghdr message_{};
  std::string_view from_;
  std::chrono::milliseconds time_;
  std::coroutine_handle<> waiting_;
  int result_ = 0;
  bool late_ = false;
  loop::OpOf<Step, &Step::on_done> op_{*this};
  loop::TimerOf<Step, &Step::on_due> timer_{*this};
};

base::Task<int> Line::receive(std::span<std::byte> into, std::chrono::milliseconds time) {
  ASSERT(!into.empty());
  Step step(*this, into, {}, time);
  const int got = co_await step;
  co_return got;
}

base::Task<int> Line::send(std::string_view bytes, std::chrono::milliseconds time) {
  while (!bytes.empty()) {
    Step step(*this, {}, bytes, time);
    const int taken = co_await step;
    if (taken <= 0) co_return taken < 0 ? taken : -EPIPE;
    bytes.remove_prefix(static_cast<std::size_t>(taken));
  }
  co_return 0;
}

}  // namespace ringline::net
