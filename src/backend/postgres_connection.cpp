// See postgres_connection.hpp.
#include "backend/postgres_connection.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <charconv>

#include "ringline/base/assert.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr std::uint32_t kRetryMs = 1000;
// Ids are kept ahead of what was made, by ten seconds of them: so few transactions write the one row that says how far they are.
constexpr std::uint64_t kIdsAhead = std::uint64_t{10'000} << (base::kHostBits + base::kCoreBits + base::kCounterBits);

// A batch of events that an overloaded server takes long for is not given up, or it would be begun again for ever.
constexpr std::int64_t kWriteTimeouts = 6;

// The first eight digits of the file that the server writes.
constexpr const char* kTimeline = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)";

// Types of columns whose text is a number (pg_type.dat).
constexpr Oid kInt8 = 20, kInt2 = 21, kInt4 = 23;

base::Error unavailable(std::string message, int sys = 0) {
  return {
      .code = Errc::unavailable, .message = std::move(message), .field = {}, .retry_after_ms = kRetryMs, .sys = sys};
}

Rows read_rows(const PGresult* result) {
  const int columns = PQnfields(result);
  Rows rows(static_cast<unsigned>(columns));
  for (int row = 0; row < PQntuples(result); ++row) {
    for (int column = 0; column < columns; ++column) {
      const std::string_view text(PQgetvalue(result, row, column),
                                  static_cast<std::size_t>(PQgetlength(result, row, column)));
      const Oid type = PQftype(result, column);
      std::int64_t number = 0;
      if (PQgetisnull(result, row, column)) {
        rows.add_null();
      } else if (type == kInt8 || type == kInt4 || type == kInt2) {
        std::from_chars(text.data(), text.data() + text.size(), number);
        rows.add_number(number);
      } else {
        rows.add_text(text);
      }
    }
  }
  const std::string_view changed = PQcmdTuples(const_cast<PGresult*>(result));
  std::from_chars(changed.data(), changed.data() + changed.size(), rows.changed);
  return rows;
}

}  // namespace

base::Error postgres_error(const PGresult* result) {
  const char* field = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string_view state = field ? field : "";
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const std::string text = fmt::format("{} ({})", primary ? primary : "no answer", state);
  const std::string_view kind = state.substr(0, 2);
  if (kind == "23" || kind == "22" || kind == "54") {
    const int sys = state == "23503" ? kNoReference : state == "23505" ? kNotUnique : 0;
    return {.code = Errc::conflict, .message = text, .field = {}, .sys = sys};
  }
  if (state == "40001" || state == "40P01" || state == "55P03") return unavailable("the database is busy", kTryAgain);
  base::log::error("postgres_failed", {{"state", state}, {"text", text}});
  // 08 connection, 53 no room, 57 operator's doing, 58 its disk, 25 read-only and 55000 recovering: it is not the primary any more; none: the connection
  // was lost.
  if (state.empty() || kind == "08" || kind == "53" || kind == "57" || kind == "58" || kind == "25" || state == "55000")
    return unavailable("the database is away");
  return {.code = Errc::internal, .message = "the database failed", .field = {}};
}

Result<std::vector<PostgresTarget>> read_postgres_url(const std::string& url, ServerRole role) {
  const std::string setting = role == ServerRole::primary ? "DATABASE_URL" : "DATABASE_REPLICA_URL";
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(PQconninfoParse(url.c_str(), &message),
                                                                            &PQconninfoFree);
  if (!parsed) {
    const std::unique_ptr<char, decltype(&PQfreemem)> free_message(message, &PQfreemem);
    std::string why = message ? message : "out of memory";
    why.resize(std::min(why.size(), why.find(": \"")));  // what follows may be the URL, with its password
    while (why.ends_with('\n')) why.pop_back();
    return base::fail(Errc::invalid, setting + " cannot be read: " + why);
  }
  std::vector<std::string> hosts, addresses, ports;
  std::vector<std::pair<std::string, std::string>> others;
  std::string state = role == ServerRole::primary ? "read-write" : "any";  // that a server must be in
  auto split = [](std::string_view list) {
    std::vector<std::string> parts;
    for (;;) {
      const std::size_t comma = list.find(',');
      parts.emplace_back(list.substr(0, comma));
      if (comma == list.npos) return parts;
      list.remove_prefix(comma + 1);
    }
  };
  for (const PQconninfoOption* option = parsed.get(); option->keyword; ++option) {
    if (!option->val) continue;
    const std::string_view name = option->keyword;
    if (name == "host") {
      hosts = split(option->val);
    } else if (name == "hostaddr") {
      addresses = split(option->val);
    } else if (name == "port") {
      ports = split(option->val);
    } else if (name != "target_session_attrs") {
      others.emplace_back(name, option->val);
    } else if (role == ServerRole::any) {
      state = option->val;  // standby, for who would not have the primary asked
    }
  }
  std::vector<PostgresTarget> targets;
  const std::size_t count = std::max({hosts.size(), addresses.size(), std::size_t{1}});
  if (ports.size() > 1 && ports.size() != count)
    return base::fail(Errc::invalid, setting + " names another number of ports than of hosts");
  for (std::size_t i = 0; i < count; ++i) {
    PostgresTarget target{.options = others, .name = {}};
    auto add = [&](const char* key, const std::vector<std::string>& values) {
      const std::string value = values.empty() ? "" : values[values.size() == 1 ? 0 : i];
      if (!value.empty()) target.options.emplace_back(key, value);
      return value;
    };
    const std::string host = add("host", hosts);
    const std::string address = add("hostaddr", addresses);
    const std::string port = add("port", ports);
    target.name = fmt::format("{}:{}", host.empty() ? address : host, port.empty() ? "5432" : port);
    target.options.emplace_back("target_session_attrs", state);
    target.options.emplace_back("application_name", "ringline");
    targets.push_back(std::move(target));
  }
  return targets;
}

// Suspends until the socket is ready, or a time.
class PostgresConnection::Ready {
 public:
  Ready(PostgresConnection& owner, unsigned events, std::int64_t deadline_ms) noexcept
      : owner_(owner), events_(events), deadline_ms_(deadline_ms) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    owner_.waiting_ = this;
    owner_.loop_.timers().arm(timer_, deadline_ms_);
    owner_.watch_->watch(loop::Fd{PQsocket(owner_.connection_.get())}, events_);
  }
  bool await_resume() const noexcept { return in_time_; }
  void finish(bool in_time) {
    timer_.disarm();
    owner_.waiting_ = nullptr;
    in_time_ = in_time;
    waiting_.resume();
  }

 private:
  void on_due() { finish(false); }
  PostgresConnection& owner_;
  unsigned events_;
  std::int64_t deadline_ms_;
  bool in_time_ = false;
  std::coroutine_handle<> waiting_;
  loop::TimerOf<Ready, &Ready::on_due> timer_{*this};
};

// What comes while nobody waits is not looked at until somebody does.
void PostgresConnection::on_ready(unsigned) {
  watch_->watch({}, 0);
  if (waiting_) waiting_->finish(true);
}

Task<bool> PostgresConnection::wait(unsigned events, std::int64_t deadline_ms) {
  Ready ready(*this, events, deadline_ms);
  const bool in_time = co_await ready;
  co_return in_time;
}

base::Error PostgresConnection::lose(std::string_view why) {
  broken_ = true;
  base::log::warn("postgres_connection_lost", {{"why", why}});
  return unavailable("the database is away");
}

Task<Result<void>> PostgresConnection::open(const PostgresTarget& target, std::chrono::milliseconds timeout) {
  ASSERT(!connection_ && !watch_);
  begun_ = false;
  queued_ = 0;
  opening_ = 0;
  refused_.reset();
  auto connected = co_await connect(target, loop_.now_ms() + timeout.count());
  broken_ = !connected;
  co_return connected;
}

// Names of hosts are looked up by libpq here, which waits: addresses do not (libpq, PQconnectStartParams).
Task<Result<void>> PostgresConnection::connect(const PostgresTarget& target, std::int64_t deadline_ms) {
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : target.options) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  connection_.reset(PQconnectStartParams(keys.data(), values.data(), 0));
  watch_ = std::make_unique<loop::FdWatch>(loop_.ring(), [this](unsigned events) { on_ready(events); });
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (connection_ && PQstatus(connection_.get()) != CONNECTION_BAD && state != PGRES_POLLING_OK) {
    const bool in_time = co_await wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms);
    if (!in_time) co_return std::unexpected(unavailable(target.name + " did not answer in time"));
    state = PQconnectPoll(connection_.get());
    if (state == PGRES_POLLING_FAILED) break;
  }
  if (!connection_ || PQstatus(connection_.get()) != CONNECTION_OK) {
    std::string why = connection_ ? PQerrorMessage(connection_.get()) : "out of memory";
    while (why.ends_with('\n')) why.pop_back();
    co_return std::unexpected(unavailable(std::move(why)));
  }
  if (PQsetnonblocking(connection_.get(), 1) != 0 || PQenterPipelineMode(connection_.get()) != 1)
    co_return std::unexpected(unavailable(target.name + " takes no pipeline"));
  co_return Result<void>();
}

namespace {

// Until a watch says that the kernel has let go of it.
struct Closed {
  loop::FdWatch& watch;
  loop::Loop& loop;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    watch.close([this, waiting] { loop.resume(waiting); });
  }
  void await_resume() const noexcept {}
};

}  // namespace

Task<void> PostgresConnection::close() {
  ASSERT(!waiting_);
  broken_ = true;
  if (!watch_) co_return;
  Closed closed{*watch_, loop_};
  co_await closed;
  watch_.reset();
  connection_.reset();
}

// False: it was not sent. U+0000 cannot be in a text of PostgreSQL's.
bool PostgresConnection::send(const char* sql, const SqlValues& values) {
  std::vector<std::string> numbers(values.size());
  std::vector<const char*> texts(values.size(), nullptr);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (const auto* number = std::get_if<std::int64_t>(&values[i])) {
      numbers[i] = std::to_string(*number);
      texts[i] = numbers[i].c_str();
    } else if (const auto* text = std::get_if<std::string>(&values[i])) {
      if (text->find('\0') != text->npos) {
        refused_ =
            base::Error{.code = Errc::conflict, .message = "the database keeps no text with U+0000", .field = {}};
        return false;
      }
      texts[i] = text->c_str();
    }
  }
  std::string text = sql;
  std::ranges::replace(text, '?', '$');  // ?1 is $1 here
  if (PQsendQueryParams(connection_.get(), text.c_str(), static_cast<int>(values.size()), nullptr, texts.data(),
                        nullptr, nullptr, 0) == 1)
    return true;
  refused_ = lose(PQerrorMessage(connection_.get()));
  return false;
}

void PostgresConnection::queue(const char* sql, SqlValues values) {
  if (broken_ || refused_) return;
  if (!begun_) {
    begun_ = true;
    const char* begin = kind_ == Kind::write ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    if (!send(begin, {})) return;
    if (role_ == ServerRole::primary && !send(kTimeline, {})) return;
    opening_ = role_ == ServerRole::primary ? 2 : 1;
    queued_ += opening_;
  }
  if (send(sql, values)) ++queued_;
}

std::int64_t PostgresConnection::due_ms() const noexcept {
  return loop_.now_ms() + timeout_.count() * (kind_ == Kind::write ? kWriteTimeouts : 1);
}

Task<Result<std::vector<Rows>>> PostgresConnection::flush() {
  if (broken_) co_return std::unexpected(refused_ ? *refused_ : unavailable("the database is away"));
  std::optional<base::Error> refused = std::exchange(refused_, std::nullopt);
  const unsigned opening = std::exchange(opening_, 0);
  if (queued_ == 0) {
    if (refused) co_return std::unexpected(*refused);
    co_return std::vector<Rows>();
  }
  queued_ = 0;
  const std::int64_t deadline = due_ms();
  if (PQpipelineSync(connection_.get()) != 1) co_return std::unexpected(lose(PQerrorMessage(connection_.get())));
  const bool sent = co_await send_all(deadline);
  if (!sent) co_return std::unexpected(lose("what was sent was not taken"));
  std::vector<Rows> rows;
  auto received = co_await receive(deadline, rows);
  take_opening(opening, rows);
  if (!received) co_return std::unexpected(received.error());
  if (refused) co_return std::unexpected(*refused);
  co_return rows;
}

// Also where a statement behind it was refused.
void PostgresConnection::take_opening(unsigned count, std::vector<Rows>& rows) {
  if (count == 0 || rows.size() < count) return;
  if (count == 2) timeline_ = rows[1].front().text(0);
  rows.erase(rows.begin(), rows.begin() + count);
}

// libpq keeps what the socket does not take; what comes meanwhile is read, or both sides would wait for each other.
Task<bool> PostgresConnection::send_all(std::int64_t deadline_ms) {
  for (;;) {
    const int left = PQflush(connection_.get());
    if (left <= 0) co_return left == 0;
    const bool in_time = co_await wait(POLLIN | POLLOUT, deadline_ms);
    if (!in_time || PQconsumeInput(connection_.get()) != 1) co_return false;
  }
}

// The next result, null at the end of a statement's.
Task<bool> PostgresConnection::await_result(std::int64_t deadline_ms, ResultPtr& result) {
  while (PQisBusy(connection_.get()) == 1) {
    const bool in_time = co_await wait(POLLIN, deadline_ms);
    if (!in_time || PQconsumeInput(connection_.get()) != 1) co_return false;
  }
  result.reset(PQgetResult(connection_.get()));
  co_return PQstatus(connection_.get()) == CONNECTION_OK;
}

// Up to the end of the pipeline.
Task<Result<void>> PostgresConnection::receive(std::int64_t deadline_ms, std::vector<Rows>& all) {
  std::optional<base::Error> failed;
  for (;;) {
    ResultPtr result;
    const bool whole = co_await await_result(deadline_ms, result);
    if (!whole) co_return std::unexpected(lose(PQerrorMessage(connection_.get())));
    if (!result) continue;
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_PIPELINE_SYNC) break;
    if (status == PGRES_PIPELINE_ABORTED) continue;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      all.push_back(read_rows(result.get()));
      continue;
    }
    if (!failed) failed = postgres_error(result.get());
    if (failed->code == Errc::unavailable && failed->sys != kTryAgain) broken_ = true;
  }
  if (failed) co_return std::unexpected(*failed);
  co_return Result<void>();
}

Task<Result<void>> PostgresConnection::copy(const char* sql, std::string_view rows) {
  ASSERT(begun_ && queued_ == 0);
  if (broken_) co_return std::unexpected(unavailable("the database is away"));
  PGconn* const c = connection_.get();
  if (PQexitPipelineMode(c) != 1 || PQsendQuery(c, sql) != 1) co_return std::unexpected(lose(PQerrorMessage(c)));
  auto done = co_await copy_in(rows, due_ms());
  if (!broken_ && PQenterPipelineMode(c) != 1) co_return std::unexpected(lose(PQerrorMessage(c)));
  co_return done;
}

Task<Result<void>> PostgresConnection::copy_in(std::string_view rows, std::int64_t deadline_ms) {
  PGconn* const c = connection_.get();
  const bool asked = co_await send_all(deadline_ms);
  if (!asked) co_return std::unexpected(lose("what was sent was not taken"));
  auto begun = co_await receive_copy(PGRES_COPY_IN, deadline_ms);
  if (!begun) co_return begun;
  constexpr std::size_t kPieceBytes = 1024 * 1024;  // its size is an int there
  while (!rows.empty()) {
    const std::string_view piece = rows.substr(0, kPieceBytes);
    if (PQputCopyData(c, piece.data(), static_cast<int>(piece.size())) != 1)
      co_return std::unexpected(lose(PQerrorMessage(c)));
    rows.remove_prefix(piece.size());
    const bool sent = co_await send_all(deadline_ms);
    if (!sent) co_return std::unexpected(lose("what was sent was not taken"));
  }
  if (PQputCopyEnd(c, nullptr) != 1) co_return std::unexpected(lose(PQerrorMessage(c)));
  const bool ended = co_await send_all(deadline_ms);
  if (!ended) co_return std::unexpected(lose("what was sent was not taken"));
  auto done = co_await receive_copy(PGRES_COMMAND_OK, deadline_ms);
  co_return done;
}

// What the server says to a COPY: that it reads, or at the end that it has kept the rows. What it refuses is read to its end too.
Task<Result<void>> PostgresConnection::receive_copy(ExecStatusType wanted, std::int64_t deadline_ms) {
  std::optional<base::Error> failed;
  for (;;) {
    ResultPtr result;
    const bool whole = co_await await_result(deadline_ms, result);
    if (!whole) co_return std::unexpected(lose(PQerrorMessage(connection_.get())));
    if (!result) break;
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == wanted && status == PGRES_COPY_IN) co_return Result<void>();  // its end comes after the rows
    if (status == wanted || failed) continue;
    failed = postgres_error(result.get());
    if (failed->code == Errc::unavailable && failed->sys != kTryAgain) broken_ = true;
  }
  if (failed) co_return std::unexpected(*failed);
  co_return Result<void>();
}

Task<Result<Rows>> PostgresConnection::execute(const char* sql, SqlValues values) {
  queue(sql, std::move(values));
  auto rows = co_await flush();
  if (!rows) co_return std::unexpected(rows.error());
  co_return std::move(rows->back());
}

void PostgresConnection::begin(Kind kind) noexcept {
  ASSERT(!begun_);
  kind_ = kind;
  newest_id_ = 0;
  timeline_.clear();
}

Task<Result<void>> PostgresConnection::commit(std::uint64_t& reserved) {
  if (!begun_) co_return Result<void>();
  if (!broken_ && PQtransactionStatus(connection_.get()) != PQTRANS_INTRANS)
    co_return base::fail(Errc::internal, "a statement failed and nobody looked");
  const std::uint64_t keep = newest_id_ > reserved ? newest_id_ + kIdsAhead : 0;
  if (keep != 0) queue("UPDATE meta SET value = ?1 WHERE name = 'highest_id' AND value < ?1", {sql_value(keep)});
  queue("COMMIT", {});
  auto done = co_await flush();
  if (!done) co_return std::unexpected(done.error());  // to be rolled back
  begun_ = false;
  if (PQtransactionStatus(connection_.get()) != PQTRANS_IDLE)
    co_return std::unexpected(lose("a commit that left it open"));
  if (keep > reserved) reserved = keep;
  co_return Result<void>();
}

Task<void> PostgresConnection::rollback() {
  refused_.reset();
  if (!std::exchange(begun_, false) || broken_) co_return;
  begun_ = true;  // no new one for this
  queue("ROLLBACK", {});
  auto done = co_await flush();
  begun_ = false;
  if (!done) broken_ = true;
}

}  // namespace ringline::backend
