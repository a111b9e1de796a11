// The connections to one PostgreSQL, or to those that follow it, on a loop: each is given for one transaction at a time.
//
// Who waits for a connection waits in order. While no server can be reached nobody waits: all are told so at once, and one connection after the other is
// tried again, after kRetryFirst, then twice as long each time up to kRetryLongest, give or take a half.
#pragma once

#include <atomic>
#include <coroutine>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "backend/postgres_connection.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

class PostgresPool {
 public:
  struct Options {
    std::vector<PostgresTarget> targets;
    ServerRole role = ServerRole::primary;
    unsigned connections = 1;
    std::chrono::milliseconds timeout{};  // of a statement
    std::string holder = {};              // as PostgresConnection's
  };
  PostgresPool(loop::Loop& loop, Options options);

  // Null: none is open. Given back by whoever took it, broken or not.
  struct Waiter;
  Waiter take() noexcept;
  void give_back(PostgresConnection& connection);

  unsigned open() const noexcept { return open_.load(std::memory_order_relaxed); }  // from any thread
  // What runs in the loop's scope ends: connections that are being opened are given up.
  void stop() noexcept { stopping_ = true; }
  base::Task<void> close();  // all; none is taken, and nothing of this runs any more

 private:
  base::Task<void> keep_open(PostgresConnection& connection);
  base::Task<void> sleep(std::chrono::milliseconds time);
  void answer_waiters();
  void tell_not_reached(std::size_t target, std::string_view why);

  loop::Loop& loop_;
  const Options options_;
  std::atomic<unsigned> open_{0};  // connections
  std::vector<std::unique_ptr<PostgresConnection>> connections_;
  std::vector<PostgresConnection*> idle_;
  std::deque<Waiter*> waiters_;
  std::size_t good_target_ = 0;        // that was reached last
  std::int64_t opened_ms_ = 0;         // the first connection, after there was none
  std::int64_t lost_ms_ = 0;           // the last one, of a server that had been there for a while
  std::vector<std::int64_t> told_ms_;  // by target: when it was said that it is not reached; 0: never
  bool trying_ = true;                 // connections are being opened and none has failed yet: what waits may hope
  bool stopping_ = false;
};

// Suspends until a connection is free, or none is open.
struct PostgresPool::Waiter {
  PostgresPool& pool;
  PostgresConnection* connection = nullptr;
  std::coroutine_handle<> waiting{};

  bool await_ready() noexcept {
    if (!pool.idle_.empty()) {
      connection = pool.idle_.back();
      pool.idle_.pop_back();
      return true;
    }
    return pool.open_ == 0 && !pool.trying_;
  }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting = handle;
    pool.waiters_.push_back(this);
  }
  PostgresConnection* await_resume() const noexcept { return connection; }
};

inline PostgresPool::Waiter PostgresPool::take() noexcept { return {*this}; }

}  // namespace ringline::backend
