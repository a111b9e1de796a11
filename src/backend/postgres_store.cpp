// The PostgreSQL database: one thread with a loop of its own (offload), and its connections. A job has a connection for one transaction.
//
// What waits for a connection waits in order. While no server can be reached nothing waits: jobs are answered `unavailable` at once, and one connection after
// the other is tried again, after kRetryFirst, then twice as long each time up to kRetryLongest, give or take a half.
#include <algorithm>
#include <atomic>
#include <deque>
#include <latch>
#include <thread>

#include "backend/postgres_connection.hpp"
#include "backend/postgres_open.hpp"
#include "backend/sql_database.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::backend {

namespace {

using namespace std::chrono_literals;

constexpr auto kConnectTimeout = 3000ms;
constexpr auto kRetryFirst = 100ms;
constexpr auto kRetryLongest = 3000ms;
constexpr auto kStep = 50ms;  // of long waits: how soon a stop is seen
constexpr auto kPartitionsEvery = 24h;
constexpr auto kLeaseEvery = base::limits::kPostgresLease / 6;
constexpr unsigned kTries = 3;  // of a transaction that others were in the way of

base::Error away() {
  return {.code = base::Errc::unavailable, .message = "the database is away", .field = {}, .retry_after_ms = 1000};
}

class PostgresStore final : public SqlDatabase {
 public:
  PostgresStore(std::vector<PostgresTarget> targets, PostgresOptions options, std::unique_ptr<loop::Ring> ring);
  ~PostgresStore() override;

  bool write(JobRef job) override { return submit(std::move(job), PostgresConnection::Kind::write); }
  bool read(JobRef job) override { return submit(std::move(job), PostgresConnection::Kind::read); }
  void rest() override {}
  bool healthy() const noexcept override {
    return open_.load(std::memory_order_relaxed) > 0 && !taken_.load(std::memory_order_relaxed);
  }
  std::chrono::milliseconds timeout() const noexcept override { return options_.timeout; }
  std::vector<loop::Fd> descriptors() const override { return descriptors_; }

 private:
  struct Waiter;

  bool submit(JobRef job, PostgresConnection::Kind kind);
  void run_thread(std::unique_ptr<loop::Ring> ring, std::latch& ready);
  Task<void> serve(JobRef job, PostgresConnection::Kind kind);
  Task<Result<void>> transact(Job& job, PostgresConnection& connection, PostgresConnection::Kind kind);
  void give_back(PostgresConnection& connection);
  void answer_waiters();
  Task<void> keep_open(PostgresConnection& connection);
  Task<void> make_partitions();
  Task<Result<std::uint64_t>> run_alone(const char* sql, SqlValues values);
  Task<void> take_lease();
  Task<void> keep_lease();
  Task<bool> holds_lease();
  Task<void> sleep(std::chrono::milliseconds time);
  Task<void> shut();

  const std::vector<PostgresTarget> targets_;
  const PostgresOptions options_;
  const std::vector<loop::Fd> descriptors_;
  std::atomic<std::size_t> pending_{0};
  std::atomic<unsigned> open_{0};   // connections
  std::atomic<bool> taken_{false};  // another host has the lease: nothing is written any more
  loop::Loop* loop_ = nullptr;      // as long as the thread runs

  // The thread's own.
  std::vector<std::unique_ptr<PostgresConnection>> connections_;
  std::vector<PostgresConnection*> idle_;
  std::deque<Waiter*> waiters_;
  std::size_t good_target_ = 0;  // that was reached last
  std::int64_t lease_ends_ms_ = 0;
  std::uint64_t reserved_ = 0;  // ids up to here are known to be kept
  bool trying_ = true;          // connections are being opened and none has failed yet: what waits may hope
  bool stopping_ = false;

  std::jthread thread_;  // last: it uses all of this
};

// Suspends until a connection is free, or none is open: null.
struct PostgresStore::Waiter {
  PostgresStore& store;
  PostgresConnection* connection = nullptr;
  std::coroutine_handle<> waiting{};

  bool await_ready() noexcept {
    if (!store.idle_.empty()) {
      connection = store.idle_.back();
      store.idle_.pop_back();
      return true;
    }
    return store.open_ == 0 && !store.trying_;
  }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting = handle;
    store.waiters_.push_back(this);
  }
  PostgresConnection* await_resume() const noexcept { return connection; }
};

PostgresStore::PostgresStore(std::vector<PostgresTarget> targets, PostgresOptions options,
                             std::unique_ptr<loop::Ring> ring)
    : targets_(std::move(targets)), options_(options), descriptors_([&] {
        const auto own = ring->descriptors();
        return std::vector<loop::Fd>(own.begin(), own.end());
      }()) {
  std::latch ready(1);
  thread_ = std::jthread([this, &ready, ring = std::move(ring)]() mutable { run_thread(std::move(ring), ready); });
  ready.wait();
}

PostgresStore::~PostgresStore() {
  loop_->post(loop::make_mail([this] { loop_->scope().spawn(shut()); }));
  thread_.join();
}

void PostgresStore::run_thread(std::unique_ptr<loop::Ring> ring, std::latch& ready) {
  loop::begin_thread("offload");
  loop::give_way(loop::Niceness::background);  // as SQLite's writing thread: the store may lag, chat may not
  const auto begun = ring->begin();
  ASSERT(begun);  // it was prepared
  loop::Mailboxes mailboxes(1);
  loop::Loop loop(0, mailboxes, std::move(ring));
  loop::Loop* const peers[] = {&loop};
  loop.set_peers(peers);
  loop_ = &loop;
  for (unsigned i = 0; i < options_.connections; ++i) {
    connections_.push_back(std::make_unique<PostgresConnection>(loop, options_.timeout));
    loop.scope().spawn(keep_open(*connections_.back()));
  }
  loop.scope().spawn(make_partitions());
  if (!options_.holder.empty()) loop.scope().spawn(keep_lease());
  ready.count_down();
  loop.run();
}

bool PostgresStore::submit(JobRef job, PostgresConnection::Kind kind) {
  if (pending_.fetch_add(1) >= base::limits::kWorkerJobs) {
    pending_.fetch_sub(1);
    return false;
  }
  loop_->post(loop::make_mail(
      [this, kind, job = std::move(job)]() mutable { loop_->scope().spawn(serve(std::move(job), kind)); }));
  return true;
}

Task<void> PostgresStore::serve(JobRef job, PostgresConnection::Kind kind) {
  Result<void> done = std::unexpected(away());
  bool may = true;
  if (kind == PostgresConnection::Kind::write) may = co_await holds_lease();
  // What only reads is read again where its connection turned out to be gone.
  for (unsigned time = 0; may && time < (kind == PostgresConnection::Kind::read ? 2 : 1) && !done; ++time) {
    Waiter waiter{*this};
    PostgresConnection* connection = co_await waiter;
    if (!connection) break;
    done = co_await transact(*job, *connection, kind);
    const bool lost = connection->broken();
    give_back(*connection);
    if (!lost) break;
  }
  if (!done) job->lose(done.error());
  pending_.fetch_sub(1);
  job->deliver();
}

// An error here is the answer in place of the job's.
Task<Result<void>> PostgresStore::transact(Job& job, PostgresConnection& connection, PostgresConnection::Kind kind) {
  for (unsigned time = 1;; ++time) {
    connection.begin(kind);
    const base::Error* error = co_await job.run(connection);
    Result<void> done;
    if (error) {
      done = std::unexpected(*error);
      co_await connection.rollback();
    } else {
      done = co_await connection.commit(reserved_);
      if (!done) co_await connection.rollback();
    }
    if (done || done.error().sys != kTryAgain || done.error().code != base::Errc::unavailable || time == kTries ||
        connection.broken())
      co_return done;
  }
}

void PostgresStore::give_back(PostgresConnection& connection) {
  if (connection.broken()) {
    // What happened to it has happened to those that nobody used meanwhile. Who waits may hope for the first that is open again.
    trying_ = true;
    idle_.push_back(&connection);
    for (PostgresConnection* lost : std::exchange(idle_, {})) {
      open_.fetch_sub(1);
      loop_->scope().spawn(keep_open(*lost));
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
  loop_->resume(first->waiting);
}

// Where no connection is left.
void PostgresStore::answer_waiters() {
  if (open_ > 0 || trying_) return;
  for (Waiter* waiter : std::exchange(waiters_, {})) loop_->resume(waiter->waiting);
}

Task<void> PostgresStore::sleep(std::chrono::milliseconds time) {
  const std::int64_t until = loop_->now_ms() + time.count();
  while (!stopping_ && loop_->now_ms() < until) co_await loop_->sleep(kStep);
}

// Until the connection is open: the servers are asked in turn, from the one that was reached last.
Task<void> PostgresStore::keep_open(PostgresConnection& connection) {
  std::chrono::milliseconds pause = kRetryFirst;
  const std::size_t first = good_target_;
  std::size_t tries = 0;
  for (;; ++tries) {
    co_await connection.close();
    if (stopping_) {
      trying_ = false;
      answer_waiters();
      co_return;
    }
    const PostgresTarget& target = targets_[(first + tries) % targets_.size()];
    auto opened = co_await connection.open(target, kConnectTimeout);
    if (opened) break;
    if (open_ == 0) base::log::warn("postgres_not_reached", {{"server", target.name}, {"why", opened.error().message}});
    if ((tries + 1) % targets_.size() != 0) continue;
    trying_ = trying_ && open_ > 0;  // all were asked
    answer_waiters();
    const auto half = static_cast<std::uint64_t>(pause.count() / 2);
    co_await sleep(pause / 2 + std::chrono::milliseconds(base::random_u64() % (2 * half)));
    pause = std::min(pause * 2, kRetryLongest);
  }
  good_target_ = (first + tries) % targets_.size();
  trying_ = false;
  open_.fetch_add(1);
  give_back(connection);
}

// At once is done at start-up; then once a day, by each host.
Task<void> PostgresStore::make_partitions() {
  while (!stopping_) {
    co_await sleep(kPartitionsEvery);
    if (stopping_) co_return;
    for (const std::string& statement : partition_statements(base::wall_ms())) {
      auto made = co_await run_alone(statement.c_str(), {});
      if (!made) base::log::warn("partition_not_made", {{"why", made.error().message}});
    }
  }
}

// A statement in a transaction of its own, for the store itself: rows that it changed.
Task<Result<std::uint64_t>> PostgresStore::run_alone(const char* sql, SqlValues values) {
  Waiter waiter{*this};
  PostgresConnection* connection = co_await waiter;
  if (!connection) co_return std::unexpected(away());
  connection->begin(PostgresConnection::Kind::write);
  auto rows = co_await connection->execute(sql, std::move(values));
  Result<void> done;
  if (rows) {
    done = co_await connection->commit(reserved_);
  } else {
    done = std::unexpected(rows.error());
  }
  if (!done) co_await connection->rollback();
  give_back(*connection);
  if (!done) co_return std::unexpected(done.error());
  co_return rows->changed;
}

// Taken at start-up. While the server is away it may run out, and another host may take it: this one then writes nothing more, and says so.
Task<void> PostgresStore::take_lease() {
  const std::int64_t ends_ms = loop_->now_ms() + base::limits::kPostgresLease.count();
  auto held =
      co_await run_alone(kTakeLease, {sql_value(options_.holder), sql_value(base::limits::kPostgresLease.count())});
  if (!held) co_return;
  const bool lost = *held == 0;
  if (lost && !taken_.exchange(true))
    base::log::error("database_taken", {{"why", "another host uses it; what this one acks stays in its journal"}});
  taken_ = lost;
  if (!lost) lease_ends_ms_ = ends_ms;
}

Task<void> PostgresStore::keep_lease() {
  while (!stopping_) {
    co_await take_lease();
    co_await sleep(kLeaseEvery);
  }
  if (!taken_) (void)co_await run_alone(kTakeLease, {sql_value(options_.holder), sql_value(-1)});
}

// Where it has run out it is asked for before anything is written.
Task<bool> PostgresStore::holds_lease() {
  if (options_.holder.empty()) co_return true;
  if (!taken_ && loop_->now_ms() >= lease_ends_ms_) co_await take_lease();
  co_return !taken_ && loop_->now_ms() < lease_ends_ms_;
}

// Finishes what is queued, then closes.
Task<void> PostgresStore::shut() {
  while (pending_ > 0) co_await loop_->sleep(1ms);
  stopping_ = true;
  while (loop_->scope().running() > 1) co_await loop_->sleep(1ms);
  for (auto& connection : connections_) co_await connection->close();
  connections_.clear();
  loop_->stop();
}

}  // namespace

base::Result<std::unique_ptr<Database>> open_postgres(std::string url, PostgresOptions options) {
  ASSERT(options.connections > 0);
  auto targets = read_postgres_url(url);
  if (!targets) return std::unexpected(targets.error());
  if (auto prepared = prepare_postgres(*targets, options.start_wait, options.holder); !prepared)
    return std::unexpected(prepared.error());
  auto ring = loop::Ring::prepare({.entries = 256, .receive_buffers = 0, .receive_buffer_bytes = 0});
  if (!ring) return std::unexpected(ring.error());
  return std::make_unique<PostgresStore>(std::move(*targets), std::move(options), std::move(*ring));
}

}  // namespace ringline::backend
