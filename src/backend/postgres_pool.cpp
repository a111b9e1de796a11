// See postgres_pool.hpp.
#include "backend/postgres_pool.hpp"

#include <algorithm>

#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"

namespace ringline::backend {

namespace {

using namespace std::chrono_literals;

constexpr auto kConnectTimeout = 3000ms;
constexpr auto kRetryFirst = 100ms;
constexpr auto kRetryLongest = 3000ms;
constexpr auto kStep = 50ms;  // of long waits: how soon a stop is seen
constexpr std::int64_t kTellEveryMs = 10'000;
constexpr std::int64_t kSteadyMs = 1000;  // a server (or what stands before it) that was open for less was not there

}  // namespace

PostgresPool::PostgresPool(loop::Loop& loop, Options options)
    : loop_(loop), options_(std::move(options)), told_ms_(options_.targets.size()) {
  for (unsigned i = 0; i < options_.connections; ++i) {
    connections_.push_back(
        std::make_unique<PostgresConnection>(loop, options_.timeout, options_.role, options_.holder));
    loop.scope().spawn(keep_open(*connections_.back()));
  }
}

void PostgresPool::give_back(PostgresConnection& connection) {
  if (connection.broken()) {
    // What happened to it has happened to those that nobody used meanwhile. Who waits may hope for the first that is open again.
    trying_ = true;
    idle_.push_back(&connection);
    for (PostgresConnection* lost : std::exchange(idle_, {})) {
      if (open_.fetch_sub(1) == 1 && loop_.now_ms() - opened_ms_ >= kSteadyMs) lost_ms_ = loop_.now_ms();
      loop_.scope().spawn(keep_open(*lost));
    }
    return;
  }
  if (waiters_.empty()) {
    idle_.push_back(&connection);
    return;
  }
  Waiter* first = waiters_.front();
  waiters_.pop_front();
  first->connection = &connection;
  loop_.resume(first->waiting);
}

// Of each server once when all connections are gone, and again from time to time.
void PostgresPool::tell_not_reached(std::size_t target, std::string_view why) {
  std::int64_t& told_ms = told_ms_[target];
  const std::int64_t now_ms = loop_.now_ms();
  if (told_ms != 0 && told_ms >= lost_ms_ && now_ms - told_ms < kTellEveryMs) return;
  told_ms = now_ms;
  base::log::warn("postgres_not_reached", {{"server", options_.targets[target].name}, {"why", why}});
}

// Where no connection is left.
void PostgresPool::answer_waiters() {
  if (open_ > 0 || trying_) return;
  for (Waiter* waiter : std::exchange(waiters_, {})) loop_.resume(waiter->waiting);
}

base::Task<void> PostgresPool::sleep(std::chrono::milliseconds time) {
  const std::int64_t until = loop_.now_ms() + time.count();
  while (!stopping_ && loop_.now_ms() < until) co_await loop_.sleep(kStep);
}

// Until the connection is open: the servers are asked in turn, from the one that was reached last.
base::Task<void> PostgresPool::keep_open(PostgresConnection& connection) {
  std::chrono::milliseconds pause = kRetryFirst;
  const std::vector<PostgresTarget>& targets = options_.targets;
  const std::size_t first = good_target_;
  std::size_t tries = 0;
  for (;; ++tries) {
    co_await connection.close();
    if (stopping_) {
      trying_ = false;
      answer_waiters();
      co_return;
    }
    const PostgresTarget& target = targets[(first + tries) % targets.size()];
    auto opened = co_await connection.open(target, kConnectTimeout);
    if (opened) break;
    if (open_ == 0) tell_not_reached((first + tries) % targets.size(), opened.error().message);
    if ((tries + 1) % targets.size() != 0) continue;
    trying_ = trying_ && open_ > 0;  // all were asked
    answer_waiters();
    const auto half = static_cast<std::uint64_t>(pause.count() / 2);
    co_await sleep(pause / 2 + std::chrono::milliseconds(base::random_u64() % (2 * half)));
    pause = std::min(pause * 2, kRetryLongest);
  }
  good_target_ = (first + tries) % targets.size();
  trying_ = false;
  if (open_.fetch_add(1) == 0) opened_ms_ = loop_.now_ms();
  give_back(connection);
}

base::Task<void> PostgresPool::close() {
  for (auto& connection : connections_) co_await connection->close();
  connections_.clear();
}

}  // namespace ringline::backend
