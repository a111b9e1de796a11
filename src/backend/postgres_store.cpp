// The PostgreSQL database: one thread with a loop of its own (offload), and its connections. A job has a connection for one transaction.
//
// Beside the jobs run there: the lease, the partitions of the months to come, the feeding of the index of texts, and a look each second at how far the
// server's standbys are. A standby that takes over begins a new timeline, and may lack what it had not got: then what the journals keep is to be taken in
// again (Database::rewinds), and nothing else is answered until it is.
#include <algorithm>
#include <atomic>
#include <latch>
#include <thread>

#include "backend/postgres_open.hpp"
#include "backend/postgres_pool.hpp"
#include "backend/postgres_search.hpp"
#include "backend/sql_database.hpp"
#include "backend/store_queries.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::backend {

namespace {

using namespace std::chrono_literals;
using Kind = PostgresConnection::Kind;

constexpr auto kStep = 50ms;  // of long waits: how soon a stop is seen
constexpr auto kPartitionsEvery = 24h;
constexpr auto kLeaseEvery = base::limits::kPostgresLease / 6;
constexpr auto kLookEvery = 1s;
constexpr std::chrono::milliseconds kFeedEvery = 1s;                     // while nothing waits
constexpr std::uint64_t kFedBeside = 3500;                               // messages a second, beside other work
constexpr std::chrono::milliseconds kReplicaTimeout = 2s;                // then the primary is asked
constexpr std::int64_t kRewindsEveryMs = std::chrono::minutes(1) / 1ms;  // at most, for what is still missing
constexpr unsigned kTries = 4;             // of a transaction that others were in the way of:
constexpr std::uint64_t kTryAgainMs = 20;  // after so long, give or take, then twice as long each time

// Where the server is: the end of its log, and how far all of its standbys have that on disk; null: there is none, or it is not for us to know.
constexpr const char* kLook =
    "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint,"
    " (SELECT (min(flush_lsn) - '0/0')::bigint FROM pg_stat_replication WHERE state = 'streaming')";

base::Error away() {
  return {.code = base::Errc::unavailable, .message = "the database is away", .field = {}, .retry_after_ms = 1000};
}

class PostgresStore final : public SqlDatabase {
 public:
  PostgresStore(PostgresPool::Options primary, PostgresPool::Options replica, PostgresOptions options,
                std::unique_ptr<loop::Ring> ring);
  ~PostgresStore() override;

  bool write(JobRef job) override { return submit(std::move(job), Kind::write); }
  bool read(JobRef job) override { return submit(std::move(job), Kind::read); }
  void rest() override {}
  void tend() override {}
  bool healthy() const noexcept override {
    return primary_->open() > 0 && !taken_.load(std::memory_order_relaxed) && !lacks();
  }
  std::uint64_t texts_waiting() const noexcept override { return texts_waiting_.load(std::memory_order_relaxed); }
  std::int64_t safe_before_ms() const noexcept override { return lacks() ? -1 : safe_before_ms_.load(); }
  std::uint64_t rewinds() const noexcept override { return rewinds_; }
  void retaken(std::uint64_t rewinds) noexcept override { retaken_ = rewinds; }
  std::chrono::milliseconds timeout() const noexcept override { return options_.timeout; }
  std::vector<loop::Fd> descriptors() const override { return descriptors_; }
  unsigned host() const noexcept override { return options_.host ? options_.host->number : 0; }
  bool host_taken() const noexcept override { return options_.host && taken_; }

 private:
  bool submit(JobRef job, Kind kind);
  void run_thread(std::unique_ptr<loop::Ring> ring, PostgresPool::Options primary, PostgresPool::Options replica,
                  std::latch& ready);
  Task<void> serve(JobRef job, Kind kind);
  Task<bool> read_on_replica(Job& job);
  Task<Result<void>> transact(Job& job, PostgresConnection& connection, Kind kind);
  Task<void> make_partitions();
  Task<Result<Rows>> run_alone(Kind kind, const char* sql, SqlValues values);
  bool keeps_lease() const noexcept { return options_.host || !options_.holder.empty(); }
  Task<Result<Rows>> ask_for_lease(std::int64_t time_ms);
  Task<void> take_lease();
  Task<void> keep_lease();
  Task<bool> holds_lease();
  Task<void> feed();
  Task<std::uint64_t> feed_once();
  Task<void> watch();
  Task<bool> look();
  // What the database had is not all there, or not known to be: until the journals are taken in again.
  bool lacks() const noexcept { return rewinds_ != retaken_; }
  void note_timeline(const std::string& timeline);
  void note_rewind(std::string_view why);
  void on_events_missing();
  Task<void> sleep(std::chrono::milliseconds time);
  Task<void> shut();

  const PostgresOptions options_;
  const std::vector<loop::Fd> descriptors_;
  std::atomic<std::size_t> pending_{0};
  std::atomic<bool> taken_{false};  // another has the lease: nothing is written any more
  std::atomic<std::uint64_t> texts_waiting_{0};
  std::atomic<std::uint64_t> rewinds_{0};
  std::atomic<std::uint64_t> retaken_{0};
  std::atomic<std::int64_t> safe_before_ms_{0};
  loop::Loop* loop_ = nullptr;  // as long as the thread runs
  std::unique_ptr<PostgresPool> primary_;
  std::unique_ptr<PostgresPool> replica_;  // null: there is none

  // The thread's own.
  struct Mark {
    std::int64_t at_ms;
    std::uint64_t log_end;
  };
  std::optional<Mark> mark_;  // what the standbys are to reach next
  std::string timeline_;
  std::int64_t rewound_ms_ = -kRewindsEveryMs;
  std::int64_t whole_since_ms_ = 0;
  std::int64_t lease_ends_ms_ = 0;
  std::uint64_t reserved_ = 0;        // ids up to here are known to be kept
  std::int64_t text_partitions_ = 0;  // that are known to be there
  bool stopping_ = false;

  std::jthread thread_;  // last: it uses all of this
};

PostgresStore::PostgresStore(PostgresPool::Options primary, PostgresPool::Options replica, PostgresOptions options,
                             std::unique_ptr<loop::Ring> ring)
    : options_(std::move(options)), descriptors_([&] {
        const auto own = ring->descriptors();
        return std::vector<loop::Fd>(own.begin(), own.end());
      }()) {
  std::latch ready(1);
  thread_ = std::jthread([this, &ready, &primary, &replica, ring = std::move(ring)]() mutable {
    run_thread(std::move(ring), std::move(primary), std::move(replica), ready);
  });
  ready.wait();
}

PostgresStore::~PostgresStore() {
  loop_->post(loop::make_mail([this] { loop_->scope().spawn(shut()); }));
  thread_.join();
}

void PostgresStore::run_thread(std::unique_ptr<loop::Ring> ring, PostgresPool::Options primary,
                               PostgresPool::Options replica, std::latch& ready) {
  loop::begin_thread("offload");
  loop::give_way(loop::Niceness::background);  // as SQLite's writing thread: the store may lag, chat may not
  const auto begun = ring->begin();
  ASSERT(begun);  // it was prepared
  loop::Mailboxes mailboxes(1);
  loop::Loop loop(0, mailboxes, std::move(ring));
  loop::Loop* const peers[] = {&loop};
  loop.set_peers(peers);
  loop_ = &loop;
  primary_ = std::make_unique<PostgresPool>(loop, std::move(primary));
  if (!replica.targets.empty()) replica_ = std::make_unique<PostgresPool>(loop, std::move(replica));
  loop.scope().spawn(make_partitions());
  loop.scope().spawn(watch());
  if (keeps_lease()) loop.scope().spawn(keep_lease());
  loop.scope().spawn(feed());
  ready.count_down();
  loop.run();
}

bool PostgresStore::submit(JobRef job, Kind kind) {
  if (pending_.fetch_add(1) >= base::limits::kWorkerJobs) {
    pending_.fetch_sub(1);
    return false;
  }
  loop_->post(loop::make_mail(
      [this, kind, job = std::move(job)]() mutable { loop_->scope().spawn(serve(std::move(job), kind)); }));
  return true;
}

Task<void> PostgresStore::serve(JobRef job, Kind kind) {
  Result<void> done = std::unexpected(away());
  bool answered = false;
  if (job->anywhere && replica_ && replica_->open() > 0) answered = co_await read_on_replica(*job);
  bool may = !answered;
  if (kind == Kind::write) may = co_await holds_lease();
  // What only reads is read again where its connection turned out to be gone.
  for (unsigned time = 0; may && time < (kind == Kind::read ? 2 : 1) && !done; ++time) {
    PostgresConnection* connection = co_await primary_->take();
    if (!connection) break;
    done = co_await transact(*job, *connection, kind);
    const bool lost = connection->broken();
    primary_->give_back(*connection);
    if (!lost) break;
  }
  if (!answered && !done) {
    if (done.error().sys == kEventsMissing) on_events_missing();
    job->lose(done.error());
  }
  pending_.fetch_sub(1);
  job->deliver();
}

// False: the primary is to be asked. What the replica has no such thing of may be there meanwhile.
Task<bool> PostgresStore::read_on_replica(Job& job) {
  PostgresConnection* connection = co_await replica_->take();
  if (!connection) co_return false;
  auto done = co_await transact(job, *connection, Kind::read);
  replica_->give_back(*connection);
  co_return done.has_value();
}

// An error here is the answer in place of the job's.
Task<Result<void>> PostgresStore::transact(Job& job, PostgresConnection& connection, Kind kind) {
  for (unsigned time = 1;; ++time) {
    connection.begin(kind);
    const base::Error* error = co_await job.run(connection);
    note_timeline(connection.timeline());
    const bool refused = lacks() && !job.restores && !connection.may_lag();
    Result<void> done;
    if (error || refused) {
      done = std::unexpected(refused ? behind() : *error);
      co_await connection.rollback();
    } else {
      done = co_await connection.commit(reserved_);
      if (!done) co_await connection.rollback();
    }
    if (done || done.error().sys != kTryAgain || done.error().code != base::Errc::unavailable || time == kTries ||
        connection.broken())
      co_return done;
    const std::uint64_t pause_ms = kTryAgainMs << (time - 1);
    co_await loop_->sleep(std::chrono::milliseconds(pause_ms / 2 + base::random_u64() % pause_ms));
  }
}

Task<void> PostgresStore::sleep(std::chrono::milliseconds time) {
  const std::int64_t until = loop_->now_ms() + time.count();
  while (!stopping_ && loop_->now_ms() < until) co_await loop_->sleep(kStep);
}

// At once is done at start-up; then once a day, by each host.
Task<void> PostgresStore::make_partitions() {
  while (!stopping_) {
    co_await sleep(kPartitionsEvery);
    if (stopping_) co_return;
    for (const std::string& statement : partition_statements(base::wall_ms())) {
      auto made = co_await run_alone(Kind::write, statement.c_str(), {});
      if (!made) base::log::warn("partition_not_made", {{"why", made.error().message}});
    }
  }
}

// A statement in a transaction of its own, for the store itself.
Task<Result<Rows>> PostgresStore::run_alone(Kind kind, const char* sql, SqlValues values) {
  PostgresConnection* connection = co_await primary_->take();
  if (!connection) co_return std::unexpected(away());
  connection->begin(kind);
  auto rows = co_await connection->execute(sql, std::move(values));
  note_timeline(connection->timeline());
  Result<void> done;
  if (rows) {
    done = co_await connection->commit(reserved_);
  } else {
    done = std::unexpected(rows.error());
  }
  if (!done) co_await connection->rollback();
  primary_->give_back(*connection);
  if (!done) co_return std::unexpected(done.error());
  co_return rows;
}

// Of the database, or of this host's number.
Task<Result<Rows>> PostgresStore::ask_for_lease(std::int64_t time_ms) {
  SqlValues values{sql_value(options_.holder), sql_value(time_ms)};
  if (const auto& host = options_.host)
    values = {sql_value(std::to_string(host->number)), sql_value(host->holder), sql_value(host->former),
              sql_value(time_ms)};
  auto rows = co_await run_alone(Kind::write, options_.host ? kTakeNumber : kTakeLease, std::move(values));
  co_return rows;
}

// Taken at start-up. While the server is away it may run out, and another host may take it: this one then writes nothing more, and says so. A number that was
// another's meanwhile is never this one's again.
Task<void> PostgresStore::take_lease() {
  const std::int64_t ends_ms = loop_->now_ms() + base::limits::kPostgresLease.count();
  auto held = co_await ask_for_lease(base::limits::kPostgresLease.count());
  if (!held || host_taken()) co_return;
  const bool lost = held->changed == 0;
  if (lost && !taken_.exchange(true))
    base::log::error("database_taken",
                     {{"why", options_.host ? "another process has this host's number"
                                            : "another host uses it; what this one acks stays in its journal"}});
  taken_ = lost;
  if (!lost) lease_ends_ms_ = ends_ms;
}

Task<void> PostgresStore::keep_lease() {
  while (!stopping_) {
    co_await take_lease();
    co_await sleep(kLeaseEvery);
  }
  if (!taken_) (void)co_await ask_for_lease(-1);
}

// Where it has run out it is asked for before anything is written.
Task<bool> PostgresStore::holds_lease() {
  if (!keeps_lease()) co_return true;
  if (!taken_ && loop_->now_ms() >= lease_ends_ms_) co_await take_lease();
  co_return !taken_ && loop_->now_ms() < lease_ends_ms_;
}

// Words are taken in behind the messages, by one host at a time, a step in a transaction. Beside other work no faster than is promised: events go first.
Task<void> PostgresStore::feed() {
  while (!stopping_) {
    const std::int64_t began_ms = loop_->now_ms();
    const std::uint64_t taken = co_await feed_once();
    std::chrono::milliseconds pause = taken > 0 ? 0ms : kFeedEvery;
    if (taken > 0 && pending_ > 0)
      pause =
          std::chrono::milliseconds(static_cast<std::int64_t>(taken * 1000 / kFedBeside) + began_ms - loop_->now_ms());
    co_await sleep(pause);
  }
}

// How many it took.
Task<std::uint64_t> PostgresStore::feed_once() {
  const bool may = co_await holds_lease();
  if (!may) co_return 0;
  PostgresConnection* connection = co_await primary_->take();
  if (!connection) co_return 0;
  connection->begin(Kind::write);
  auto fed = co_await feed_texts(*connection, text_partitions_);
  Result<void> done;
  if (fed) {
    done = co_await connection->commit(reserved_);
  } else {
    done = std::unexpected(fed.error());
  }
  if (!done) co_await connection->rollback();
  primary_->give_back(*connection);
  if (!done) {
    text_partitions_ = 0;  // what was made is taken back
    base::log::warn("texts_not_fed", {{"why", done.error().message}});
    co_return 0;
  }
  texts_waiting_ = fed->waiting;
  co_return fed->taken;
}

Task<void> PostgresStore::watch() {
  for (bool allowed = true; !stopping_;) {
    if (allowed) allowed = co_await look();
    const std::int64_t now_ms = base::monotonic_ms();
    const std::int64_t old_ms = now_ms - base::limits::kPostgresUnsafe.count();
    if (lacks()) {
      mark_.reset();
      whole_since_ms_ = now_ms;  // what is taken in again is as young as that
    }
    if (old_ms > whole_since_ms_) safe_before_ms_ = std::max(safe_before_ms_.load(), old_ms);
    co_await sleep(kLookEvery);
  }
}

// What was committed before it was asked is before the end of the log that it answers. False: the server does not let us see.
Task<bool> PostgresStore::look() {
  const std::int64_t asked_ms = base::monotonic_ms();
  auto rows = co_await run_alone(Kind::read, kLook, {});
  if (!rows) co_return rows.error().code == base::Errc::unavailable;
  if (lacks()) co_return true;  // a standby that has all of this has not what is missing
  const Rows::Row row = rows->front();
  const std::uint64_t standbys = row.number(1);
  if (!mark_) mark_ = Mark{.at_ms = asked_ms, .log_end = row.number(0)};
  if (standbys >= mark_->log_end) {
    safe_before_ms_ = mark_->at_ms;
    mark_.reset();
  }
  co_return true;
}

// Looked at with each transaction: nothing may be answered from a standby that has just taken over, least of all which seq is a room's next.
void PostgresStore::note_timeline(const std::string& timeline) {
  if (timeline.empty() || timeline == timeline_) return;
  if (!timeline_.empty()) note_rewind("it is on another timeline");
  timeline_ = timeline;
}

void PostgresStore::note_rewind(std::string_view why) {
  rewound_ms_ = loop_->now_ms();
  ++rewinds_;
  mark_.reset();
  reserved_ = 0;
  text_partitions_ = 0;
  base::log::warn("database_rewound", {{"why", why}});
}

// Told with each batch until it is put right.
void PostgresStore::on_events_missing() {
  if (lacks() || loop_->now_ms() - rewound_ms_ < kRewindsEveryMs) return;
  note_rewind("events that it had are missing");
}

// Finishes what is queued, then closes.
Task<void> PostgresStore::shut() {
  while (pending_ > 0) co_await loop_->sleep(1ms);
  stopping_ = true;
  primary_->stop();
  if (replica_) replica_->stop();
  while (loop_->scope().running() > 1) co_await loop_->sleep(1ms);
  co_await primary_->close();
  if (replica_) co_await replica_->close();
  loop_->stop();
}

}  // namespace

base::Result<std::unique_ptr<Database>> open_postgres(std::string url, PostgresOptions options) {
  ASSERT(options.connections > 0);
  PostgresPool::Options primary{.targets = {},
                                .role = ServerRole::primary,
                                .connections = options.connections,
                                .timeout = options.timeout,
                                .holder = options.host ? std::string() : options.holder};
  PostgresPool::Options replica{.targets = {},
                                .role = ServerRole::any,
                                .connections = options.replica_connections,
                                .timeout = std::min(options.timeout, kReplicaTimeout)};
  auto targets = read_postgres_url(url);
  if (!targets) return std::unexpected(targets.error());
  primary.targets = std::move(*targets);
  if (!options.replica_url.empty()) {
    auto others = read_postgres_url(options.replica_url, ServerRole::any);
    if (!others) return std::unexpected(others.error());
    replica.targets = std::move(*others);
  }
  if (auto prepared = prepare_postgres(primary.targets, options); !prepared) return std::unexpected(prepared.error());
  auto ring = loop::Ring::prepare({.entries = 256, .receive_buffers = 0, .receive_buffer_bytes = 0});
  if (!ring) return std::unexpected(ring.error());
  return std::make_unique<PostgresStore>(std::move(primary), std::move(replica), std::move(options), std::move(*ring));
}

}  // namespace ringline::backend
