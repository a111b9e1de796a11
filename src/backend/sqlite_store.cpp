// The SQLite database: its threads, the queue of what is to be written, the group commit.
#include <atomic>
#include <coroutine>
#include <deque>
#include <mutex>
#include <span>

#include "backend/sql_database.hpp"
#include "backend/sqlite_connection.hpp"
#include "backend/sqlite_search.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/thread.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::backend {

namespace {

constexpr std::size_t kGroupJobs = 256;      // written by one transaction
constexpr std::int64_t kFeedEveryMs = 3000;  // the index of texts: the more at once, the less work each is;
constexpr std::int64_t kFeedOnMs = 1000;     // a step, while there is more than that and events come in: they go first

class SqliteStore final : public SqlDatabase {
 public:
  SqliteStore(SqliteConnection writer, std::vector<SqliteConnection> readers, SqliteOptions chosen);
  ~SqliteStore() override { stopping_ = true; }

  bool write(JobRef job) override;
  bool read(JobRef job) override;
  void rest() override;
  void tend() override;
  std::uint64_t texts_waiting() const noexcept override { return texts_waiting_.load(std::memory_order_relaxed); }
  std::int64_t safe_before_ms() const noexcept override { return INT64_MAX; }
  std::uint64_t rewinds() const noexcept override { return 0; }
  void retaken(std::uint64_t /*rewinds*/) noexcept override {}
  bool healthy() const noexcept override { return healthy_.load(std::memory_order_relaxed); }
  std::chrono::milliseconds timeout() const noexcept override { return options_.timeout; }
  std::vector<loop::Fd> descriptors() const override { return {}; }

 private:
  void start_pump();
  void pump();
  void rest_readers();
  Result<void> write_group(std::span<const JobRef> group);
  bool feed();
  void feed_on();
  SqliteConnection& borrow();
  void give_back(SqliteConnection& c);

  const SqliteOptions options_;
  std::atomic<bool> healthy_{true};
  std::atomic<std::uint64_t> texts_waiting_{0};
  std::atomic<std::int64_t> feed_due_ms_{0};
  std::atomic<bool> feed_wanted_{true};  // something may wait
  std::atomic<bool> stopping_{false};
  SqliteConnection writer_;  // the writing thread's,
  bool wrote_ = false;       // as this: since the index of texts was fed last
  std::vector<SqliteConnection> readers_;
  std::mutex lock_;  // of what follows
  std::deque<JobRef> queue_;
  bool pumping_ = false;
  bool resting_ = false;  // the writer is to drop its cache when nothing is queued
  bool feeding_ = false;  // the index of texts is to be fed when nothing is queued
  std::vector<SqliteConnection*> idle_;
  loop::Workers writing_;  // last: their threads end before what they use
  loop::Workers reading_;
};

// On SQLite a task never waits: it is done when this returns.
const base::Error* run_now(Job& job, SqliteConnection& c) {
  std::optional<const base::Error*> answer;
  auto keep = [](Task<const base::Error*> task, std::optional<const base::Error*>& kept) -> Task<void> {
    const base::Error* error = co_await std::move(task);
    kept = error;
  };
  base::Scope scope;
  scope.spawn(keep(job.run(c), answer));
  ASSERT(answer.has_value());
  return *answer;
}

SqliteStore::SqliteStore(SqliteConnection writer, std::vector<SqliteConnection> readers, SqliteOptions chosen)
    : options_(chosen),
      writer_(std::move(writer)),
      readers_(std::move(readers)),
      writing_(1, "store-write", 2),  // giving way, and the pump
      reading_(static_cast<unsigned>(readers_.size()), "store-read", base::limits::kWorkerJobs) {
  for (SqliteConnection& reader : readers_) idle_.push_back(&reader);
  // The store may lag behind the journal, chat may not lag behind the store. What it lags is bounded (limits::kTailMemoryShare).
  bool taken = writing_.submit([] { loop::give_way(loop::Niceness::background); });
  ASSERT(taken);
}

bool SqliteStore::write(JobRef job) {
  std::lock_guard guard(lock_);
  if (queue_.size() >= base::limits::kWorkerJobs) return false;
  queue_.push_back(std::move(job));
  start_pump();
  return true;
}

void SqliteStore::start_pump() {
  if (std::exchange(pumping_, true)) return;
  bool taken = writing_.submit([this] { pump(); });
  ASSERT(taken);  // there is never more than one
}

void SqliteStore::rest() {
  (void)reading_.submit([this] { rest_readers(); });  // refused: they are busy
  std::lock_guard guard(lock_);
  resting_ = true;
  start_pump();
}

void SqliteStore::tend() {
  if (!feed_wanted_ || base::monotonic_ms() < feed_due_ms_) return;
  std::lock_guard guard(lock_);
  feeding_ = true;
  start_pump();
}

// A step. True: there is more.
bool SqliteStore::feed() {
  Db& db = writer_.db;
  Result<std::uint64_t> fed = 0;
  auto done = db.run("BEGIN IMMEDIATE");
  if (done) fed = feed_texts(db);
  auto waiting = done && fed ? backend::texts_waiting(db) : Result<std::uint64_t>(0);
  if (!fed) done = std::unexpected(fed.error());
  if (!waiting) done = std::unexpected(waiting.error());
  if (done) done = db.run("COMMIT");
  if (!done && db.in_transaction()) (void)db.run("ROLLBACK");
  if (!done) base::log::warn("texts_not_fed", {{"why", done.error().message}});
  const bool is_more = done && *waiting > 0;
  feed_due_ms_ = base::monotonic_ms() + (is_more ? kFeedOnMs : kFeedEveryMs);
  if (!done) return false;
  texts_waiting_ = *waiting;
  feed_wanted_ = is_more;
  return is_more;
}

// After what was queued meanwhile.
void SqliteStore::feed_on() {
  std::lock_guard guard(lock_);
  feeding_ = true;
}

void SqliteStore::rest_readers() {
  std::lock_guard guard(lock_);
  for (SqliteConnection* reader : idle_) reader->db.drop_cache();
}

// Until nothing is queued; `pumping_` says that this runs or will.
void SqliteStore::pump() {
  std::vector<JobRef> group;
  for (;;) {
    group.clear();
    bool feeds = false;
    {
      std::lock_guard guard(lock_);
      while (!queue_.empty() && group.size() < kGroupJobs) {
        if (!group.empty() && (group.back()->unchecked || queue_.front()->unchecked)) break;
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      feeds = group.empty() && std::exchange(feeding_, false);
      if (group.empty() && !feeds && !std::exchange(resting_, false)) {
        pumping_ = false;
        return;
      }
    }
    if (feeds) {
      const bool is_quiet = !std::exchange(wrote_, false);
      if (feed() && is_quiet && !stopping_) feed_on();
      continue;
    }
    if (group.empty()) {
      writer_.db.drop_cache();
      continue;
    }
    auto written = write_group(group);
    feed_wanted_ = wrote_ = true;
    if (!written)
      for (const JobRef& job : group) job->lose(written.error());
    if (written || written.error().code == base::Errc::unavailable) healthy_.store(written.has_value());
    for (const JobRef& job : group) job->deliver();
  }
}

// One transaction, a savepoint each: SQLite keeps a copy of each page that a savepoint changes, so a job that is alone has none, and its failure takes back
// the transaction. A failure here takes the whole group back.
Result<void> SqliteStore::write_group(std::span<const JobRef> group) {
  Db& db = writer_.db;
  writer_.forget_noted();
  const bool unchecked = group.front()->unchecked;
  const bool alone = group.size() == 1;
  Result<void> done;
  if (unchecked) done = db.execute("PRAGMA foreign_keys = OFF");
  if (done) done = db.run("BEGIN IMMEDIATE");
  for (const JobRef& job : group) {
    if (done && !alone) done = db.run("SAVEPOINT job");
    if (!done) break;
    if (const base::Error* error = run_now(*job, writer_)) {
      // A full or failing disk ends the transaction, or spoils what else is in it: nothing of the group is kept.
      if (alone || error->code == base::Errc::unavailable || !db.in_transaction()) done = std::unexpected(*error);
      if (done) done = db.run("ROLLBACK TO job");
    }
    if (done && !alone) done = db.run("RELEASE job");
  }
  if (done) done = writer_.keep_highest_id();
  if (done) done = db.run("COMMIT");
  if (!done && db.in_transaction()) (void)db.run("ROLLBACK");
  ASSERT(!db.in_transaction());
  if (unchecked) ASSERT(db.execute("PRAGMA foreign_keys = ON"));
  return done;
}

bool SqliteStore::read(JobRef job) {
  return reading_.submit([this, job = std::move(job)] {
    SqliteConnection& c = borrow();
    auto begun = c.db.run("BEGIN");
    if (begun) {
      run_now(*job, c);
      if (c.db.in_transaction()) (void)c.db.run("COMMIT");
      if (c.db.in_transaction()) (void)c.db.run("ROLLBACK");
    } else {
      job->lose(begun.error());
    }
    give_back(c);
    job->deliver();
  });
}

// As many connections as threads: there is always one.
SqliteConnection& SqliteStore::borrow() {
  std::lock_guard guard(lock_);
  ASSERT(!idle_.empty());
  SqliteConnection* c = idle_.back();
  idle_.pop_back();
  return *c;
}

void SqliteStore::give_back(SqliteConnection& c) {
  std::lock_guard guard(lock_);
  idle_.push_back(&c);
}

}  // namespace

base::Result<std::unique_ptr<Database>> open_sqlite(std::string path, SqliteOptions options) {
  ASSERT(options.readers > 0);
  auto writer = open_writer(path);
  if (!writer) return std::unexpected(writer.error());
  std::vector<SqliteConnection> readers;
  for (unsigned i = 0; i < options.readers; ++i) {
    auto db = Db::open(path, Db::Mode::read);
    if (!db) return std::unexpected(db.error());
    readers.emplace_back(std::move(*db));
  }
  return std::make_unique<SqliteStore>(std::move(*writer), std::move(readers), options);
}

}  // namespace ringline::backend
