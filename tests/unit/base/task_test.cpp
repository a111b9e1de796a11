// Task and Scope: laziness, results, and that a wait resumes where it stood.
#include "ringline/base/task.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace ringline::base {
namespace {

// A wait that the test completes by hand.
struct Gate {
  std::coroutine_handle<> waiting;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept { waiting = handle; }
  void await_resume() const noexcept {}
  void open() { std::exchange(waiting, {}).resume(); }
};

Task<std::string> slow_text(Gate& gate, std::string text) {
  co_await gate;
  co_return text + "!";
}

Task<void> store_text(Gate& gate, std::string& out) {
  Task<std::string> task = slow_text(gate, "done");
  out = co_await std::move(task);
}

TEST(Task, runs_to_its_first_wait_and_on_when_that_is_over) {
  Scope scope;
  Gate gate;
  std::string out;
  scope.spawn(store_text(gate, out));
  EXPECT_EQ(scope.running(), 1U);
  EXPECT_EQ(out, "");
  gate.open();
  EXPECT_EQ(out, "done!");
  EXPECT_EQ(scope.running(), 0U);
}

TEST(Task, that_nobody_awaits_does_nothing) {
  Gate gate;
  std::string out;
  {
    const Task<void> task = store_text(gate, out);
  }
  EXPECT_FALSE(gate.waiting);
}

Task<std::unique_ptr<int>> boxed(int number) { co_return std::make_unique<int>(number); }

Task<void> sum(int count, long& out) {
  for (int i = 0; i < count; ++i) {
    Task<std::unique_ptr<int>> task = boxed(i);
    const std::unique_ptr<int> number = co_await std::move(task);
    out += *number;
  }
}

TEST(Task, a_long_chain_needs_no_stack) {
  Scope scope;
  long out = 0;
  scope.spawn(sum(100'000, out));
  EXPECT_EQ(out, 4'999'950'000);
  EXPECT_EQ(scope.running(), 0U);
}

}  // namespace
}  // namespace ringline::base
