// A connection to PostgreSQL on a loop: libpq, non-blocking, in pipeline mode (libpq, "Pipeline Mode").
//
// Statements go out as one pipeline and their results come back in one: whoever has several to run that do not depend on each other's answers queues them
// and pays one round trip. They are unnamed (nothing is prepared), so that PgBouncer may stand in between in transaction mode.
//
// Lifetimes: one coroutine at a time waits on a connection. What happens to the socket while nobody does is seen by the next one. A connection that lost
// count of its answers (an error of the socket, a server that went away, an answer that did not come in time) is `broken`, answers `unavailable` to all,
// and is opened anew by its owner. Before it is destroyed it is closed, which waits for the kernel.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>

#include "backend/sql.hpp"
#include "ringline/loop/fd_watch.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

// Error::sys of an `unavailable` whose transaction may be run again at once: another one was in its way.
inline constexpr int kTryAgain = 1;

// What a server must be to be used: one that takes writes, or any.
enum class ServerRole : std::uint8_t { primary, any };

// One of the servers that a URL names, as libpq takes it.
struct PostgresTarget {
  std::vector<std::pair<std::string, std::string>> options;
  std::string name;  // HOST:PORT, for the log
};
// Invalid: the URL cannot be read; the message says why, without what is secret in it.
Result<std::vector<PostgresTarget>> read_postgres_url(const std::string& url, ServerRole role = ServerRole::primary);

struct FreeResult {
  void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, FreeResult>;

// What a result that failed says, as callers see it (PostgreSQL, "Error Codes"): what a constraint or the value's own form refused is `conflict`; a lock,
// a server on its way down or without room `unavailable`; the rest is our mistake.
base::Error postgres_error(const PGresult* result);

class PostgresConnection final : public Sql {
 public:
  // `holder`: events are taken in only while he has the database's lease; empty: whoever has it.
  PostgresConnection(loop::Loop& loop, std::chrono::milliseconds timeout, ServerRole role = ServerRole::primary,
                     std::string holder = {})
      : loop_(loop), timeout_(timeout), role_(role), holder_(std::move(holder)) {}
  ~PostgresConnection() override { ASSERT(!connection_ && !watch_); }

  // Refuses servers that only read, unless `role` is any.
  Task<Result<void>> open(const PostgresTarget& target, std::chrono::milliseconds timeout);
  Task<void> close();
  bool broken() const noexcept { return broken_; }
  const std::string& holder() const noexcept { return holder_; }

  // ---- A transaction. It begins with the first statement.
  enum class Kind : std::uint8_t { write, read };
  void begin(Kind kind) noexcept;
  // Of the server that takes writes, in this transaction: it is another one where a standby took over. Empty: it is not known yet.
  const std::string& timeline() const noexcept { return timeline_; }
  // `reserved`: the highest id that is known to be kept in meta; more is kept where this one wrote higher ones, ahead of what comes.
  Task<Result<void>> commit(std::uint64_t& reserved);
  Task<void> rollback();

  Task<Result<Rows>> execute(const char* sql, SqlValues values) override;
  Task<Result<void>> ingest(const std::vector<chat::Event>& events, Gaps gaps) override;  // postgres_ingest.cpp
  Task<Result<void>> set_marks(const std::vector<chat::ReadMark>& marks) override;        // store_marks.cpp
  Task<Result<chat::SearchPage>> search(const chat::SearchQuery& query,
                                        const chat::FileLinks* links) override;  // postgres_search.cpp
  bool may_lag() const noexcept override { return role_ == ServerRole::any; }
  bool may_lack() const noexcept override { return true; }

  // ---- Several at once.
  void queue(const char* sql, SqlValues values);
  // The rows of each, or the first error; then the transaction can only be taken back, or back to a savepoint.
  Task<Result<std::vector<Rows>>> flush();

  // COPY … FROM STDIN, `rows` being what it reads. Pipelines know no COPY, so the connection leaves its pipeline meanwhile: nothing may be queued.
  Task<Result<void>> copy(const char* sql, std::string_view rows);

 private:
  class Ready;
  bool send(const char* sql, const SqlValues& values);
  void on_ready(unsigned events);
  Task<bool> wait(unsigned events, std::int64_t deadline_ms);  // false: not in time
  Task<bool> send_all(std::int64_t deadline_ms);
  Task<bool> await_result(std::int64_t deadline_ms, ResultPtr& result);
  Task<Result<void>> receive(std::int64_t deadline_ms, std::vector<Rows>& all);
  void take_opening(unsigned count, std::vector<Rows>& rows);
  Task<Result<void>> copy_in(std::string_view rows, std::int64_t deadline_ms);
  Task<Result<void>> receive_copy(ExecStatusType wanted, std::int64_t deadline_ms);
  std::int64_t due_ms() const noexcept;
  Task<Result<void>> connect(const PostgresTarget& target, std::int64_t deadline_ms);
  base::Error lose(std::string_view why);

  struct Finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
  };
  loop::Loop& loop_;
  std::chrono::milliseconds timeout_;
  ServerRole role_;
  std::string holder_;
  std::unique_ptr<PGconn, Finish> connection_;
  std::unique_ptr<loop::FdWatch> watch_;
  Ready* waiting_ = nullptr;
  bool broken_ = true;
  bool begun_ = false;
  unsigned opening_ = 0;  // statements of ours that are queued before the caller's
  std::string timeline_;
  Kind kind_ = Kind::read;
  unsigned queued_ = 0;                 // statements since the last flush
  std::optional<base::Error> refused_;  // of what was queued: it was not even sent
};

}  // namespace ringline::backend
