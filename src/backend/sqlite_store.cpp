// See sqlite_store.hpp. Here: the threads, the queue of what is to be written, the group commit.
#include "ringline/backend/sqlite_store.hpp"

#include <semaphore>

#include "backend/sqlite_parts.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::backend {

namespace {

constexpr std::size_t kGroupJobs = 256;  // written by one transaction

// A job that a thread of start-up waits for.
template <class T>
class BlockingJob final : public JobOf<T> {
 public:
  using JobOf<T>::JobOf;
  void deliver() override { done_.release(); }
  Result<T> wait() {
    done_.acquire();
    return std::move(*this->answer_);
  }

 private:
  std::binary_semaphore done_{0};
};

template <class T>
Result<T> write_now(SqliteStore::Parts& parts, Work<T> work) {
  auto job = std::make_shared<BlockingJob<T>>(std::move(work));
  if (!parts.write(job)) return base::fail_later(base::Errc::unavailable, 1000, "too much is waiting");
  return job->wait();
}

}  // namespace

SqliteStore::Parts::Parts(Connection writer, std::vector<Connection> readers, SqliteOptions chosen)
    : options(chosen),
      writer_(std::move(writer)),
      readers_(std::move(readers)),
      writing_(1, "store-write", 2),  // giving way, and the pump
      reading_(static_cast<unsigned>(readers_.size()), "store-read", base::limits::kWorkerJobs) {
  for (Connection& reader : readers_) idle_.push_back(&reader);
  // The store may lag behind the journal, chat may not lag behind the store. What it lags is bounded (limits::kTailMemoryShare).
  bool taken = writing_.submit([] { loop::give_way(); });
  ASSERT(taken);
}

bool SqliteStore::Parts::write(JobRef job) {
  std::lock_guard guard(lock_);
  if (queue_.size() >= base::limits::kWorkerJobs) return false;
  queue_.push_back(std::move(job));
  start_pump();
  return true;
}

void SqliteStore::Parts::start_pump() {
  if (std::exchange(pumping_, true)) return;
  bool taken = writing_.submit([this] { pump(); });
  ASSERT(taken);  // there is never more than one
}

void SqliteStore::Parts::rest() {
  (void)reading_.submit([this] { rest_readers(); });  // refused: they are busy
  std::lock_guard guard(lock_);
  resting_ = true;
  start_pump();
}

void SqliteStore::Parts::rest_readers() {
  std::lock_guard guard(lock_);
  for (Connection* reader : idle_) reader->db.drop_cache();
}

// Until nothing is queued; `pumping_` says that this runs or will.
void SqliteStore::Parts::pump() {
  std::vector<JobRef> group;
  for (;;) {
    group.clear();
    {
      std::lock_guard guard(lock_);
      while (!queue_.empty() && group.size() < kGroupJobs) {
        if (!group.empty() && (group.back()->unchecked || queue_.front()->unchecked)) break;
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      if (group.empty() && !std::exchange(resting_, false)) {
        pumping_ = false;
        return;
      }
    }
    if (group.empty()) {
      writer_.db.drop_cache();
      continue;
    }
    auto written = write_group(group);
    if (!written)
      for (const JobRef& job : group) job->lose(written.error());
    if (written || written.error().code == base::Errc::unavailable) healthy.store(written.has_value());
    for (const JobRef& job : group) job->deliver();
  }
}

// One transaction, a savepoint each: SQLite keeps a copy of each page that a savepoint changes, so a job that is alone has none, and its failure takes back
// the transaction. A failure here takes the whole group back.
Result<void> SqliteStore::Parts::write_group(std::span<const JobRef> group) {
  Db& db = writer_.db;
  writer_.newest_id = 0;
  const bool unchecked = group.front()->unchecked;
  const bool alone = group.size() == 1;
  Result<void> done;
  if (unchecked) done = db.execute("PRAGMA foreign_keys = OFF");
  if (done) done = db.run("BEGIN IMMEDIATE");
  for (const JobRef& job : group) {
    if (done && !alone) done = db.run("SAVEPOINT job");
    if (!done) break;
    if (const base::Error* error = job->run(writer_)) {
      // A full or failing disk ends the transaction, or spoils what else is in it: nothing of the group is kept.
      if (alone || error->code == base::Errc::unavailable || !db.in_transaction()) done = std::unexpected(*error);
      if (done) done = db.run("ROLLBACK TO job");
    }
    if (done && !alone) done = db.run("RELEASE job");
  }
  if (done) done = keep_highest_id(writer_);
  if (done) done = db.run("COMMIT");
  if (!done && db.in_transaction()) (void)db.run("ROLLBACK");
  ASSERT(!db.in_transaction());
  if (unchecked) ASSERT(db.execute("PRAGMA foreign_keys = ON"));
  return done;
}

bool SqliteStore::Parts::read(JobRef job) {
  return reading_.submit([this, job = std::move(job)] {
    Connection& c = borrow();
    auto begun = c.db.run("BEGIN");
    if (begun) {
      job->run(c);
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
Connection& SqliteStore::Parts::borrow() {
  std::lock_guard guard(lock_);
  ASSERT(!idle_.empty());
  Connection* c = idle_.back();
  idle_.pop_back();
  return *c;
}

void SqliteStore::Parts::give_back(Connection& c) {
  std::lock_guard guard(lock_);
  idle_.push_back(&c);
}

SqliteStore::SqliteStore(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
SqliteStore::~SqliteStore() = default;

base::Result<std::unique_ptr<SqliteStore>> SqliteStore::open(std::string path, SqliteOptions options) {
  ASSERT(options.readers > 0);
  auto writer = open_writer(path);
  if (!writer) return std::unexpected(writer.error());
  std::vector<Connection> readers;
  for (unsigned i = 0; i < options.readers; ++i) {
    auto db = Db::open(path, Db::Mode::read);
    if (!db) return std::unexpected(db.error());
    readers.emplace_back(std::move(*db));
  }
  return std::unique_ptr<SqliteStore>(
      new SqliteStore(std::make_unique<Parts>(std::move(*writer), std::move(readers), options)));
}

void SqliteStore::rest() { parts_->rest(); }

bool SqliteStore::healthy() const noexcept { return parts_->healthy.load(std::memory_order_relaxed); }

base::Result<std::uint64_t> SqliteStore::highest_id() {
  return write_now<std::uint64_t>(*parts_, [](Connection& c) { return backend::highest_id(c); });
}

base::Result<void> SqliteStore::bump_epochs() {
  return write_now<void>(*parts_, [](Connection& c) { return backend::bump_epochs(c); });
}

base::Result<void> SqliteStore::ingest(std::vector<chat::Event> events) {
  return write_now<void>(
      *parts_, [events = std::move(events)](Connection& c) { return backend::ingest(c, events, Gaps::new_epoch); });
}

}  // namespace ringline::backend
