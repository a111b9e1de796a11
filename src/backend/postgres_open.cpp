// See postgres_open.hpp.
#include "backend/postgres_open.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "backend/schema/postgres.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/log.hpp"

namespace ringline::backend {

namespace {

using namespace std::chrono_literals;

constexpr auto kTryEvery = 500ms;
constexpr const char* kConnectSeconds = "5";  // for one server
constexpr unsigned kMonthsAhead = 2;
// Of all hosts one at a time changes the schema (PostgreSQL, "Advisory Locks"). Any number that nobody else takes: "RNGL".
constexpr const char* kLockSchema = "SELECT pg_advisory_xact_lock(1380861772)";

struct Finish {
  void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
using ConnectionPtr = std::unique_ptr<PGconn, Finish>;

std::string trimmed(const char* message) {
  std::string text = message ? message : "out of memory";
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<ConnectionPtr> connect(const PostgresTarget& target) {
  std::vector<const char*> keys{"connect_timeout"}, values{kConnectSeconds};
  for (const auto& [key, value] : target.options) {
    keys.push_back(key.c_str());
    values.push_back(value.c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);
  ConnectionPtr connection(PQconnectdbParams(keys.data(), values.data(), 0));
  if (PQstatus(connection.get()) == CONNECTION_OK) return connection;
  return base::fail(base::Errc::unavailable, trimmed(PQerrorMessage(connection.get())));
}

Result<ConnectionPtr> connect_to_one(const std::vector<PostgresTarget>& targets, std::chrono::milliseconds wait) {
  const std::int64_t deadline = base::monotonic_ms() + wait.count();
  std::string why;
  for (;;) {
    for (const PostgresTarget& target : targets) {
      auto connection = connect(target);
      if (connection) return connection;
      why = connection.error().message;
      base::log::warn("postgres_not_reached", {{"server", target.name}, {"why", why}});
    }
    if (base::monotonic_ms() >= deadline)
      return base::fail(base::Errc::unavailable, "PostgreSQL cannot be used: " + why);
    std::this_thread::sleep_for(kTryEvery);
  }
}

Result<void> execute(PGconn* connection, const char* sql) {
  const ResultPtr result(PQexec(connection, sql));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return {};
  return base::fail(base::Errc::internal, trimmed(PQerrorMessage(connection)));
}

// None: there is no such table or row.
Result<std::optional<std::int64_t>> read_meta(PGconn* connection, const char* name) {
  const ResultPtr there(PQexec(connection, "SELECT to_regclass('meta') IS NOT NULL"));
  if (PQresultStatus(there.get()) != PGRES_TUPLES_OK)
    return base::fail(base::Errc::internal, trimmed(PQerrorMessage(connection)));
  if (*PQgetvalue(there.get(), 0, 0) != 't') return std::nullopt;
  const char* const values[] = {name};
  const ResultPtr row(
      PQexecParams(connection, "SELECT value FROM meta WHERE name = $1", 1, nullptr, values, nullptr, nullptr, 0));
  if (PQresultStatus(row.get()) != PGRES_TUPLES_OK)
    return base::fail(base::Errc::internal, trimmed(PQerrorMessage(connection)));
  if (PQntuples(row.get()) == 0) return std::nullopt;
  return std::stoll(PQgetvalue(row.get(), 0, 0));
}

// In one transaction, under the lock: all of it or nothing.
Result<void> migrate(PGconn* connection) {
  auto schema = read_meta(connection, "schema");
  if (!schema) return std::unexpected(schema.error());
  auto oldest = read_meta(connection, "oldest");
  if (!oldest) return std::unexpected(oldest.error());
  const auto steps = static_cast<std::size_t>(schema->value_or(0));
  if (steps > kPostgresMigrations.size() && oldest->value_or(0) > static_cast<std::int64_t>(kPostgresMigrations.size()))
    return base::fail(base::Errc::internal,
                      fmt::format("the database was made by a newer Ringline (schema {}, this one knows {}): start "
                                  "that one, or restore a backup",
                                  steps, kPostgresMigrations.size()));
  for (std::size_t step = steps; step < kPostgresMigrations.size(); ++step) {
    if (auto done = execute(connection, kPostgresMigrations[step]); !done)
      return base::fail(base::Errc::internal, fmt::format("the database could not be brought from schema {} to {}: {}",
                                                          step, step + 1, done.error().message));
  }
  if (steps < kPostgresMigrations.size()) {
    const std::string said = fmt::format(
        "UPDATE meta SET value = {} WHERE name = 'schema'; UPDATE meta SET value = {} WHERE name = 'oldest'",
        kPostgresMigrations.size(), kPostgresOldest);
    if (auto done = execute(connection, said.c_str()); !done) return done;
  }
  for (const std::string& statement : partition_statements(base::wall_ms()))
    if (auto done = execute(connection, statement.c_str()); !done) return done;
  return {};
}

Result<void> take_lease(PGconn* connection, const std::string& holder) {
  std::string sql = kTakeLease;
  std::ranges::replace(sql, '?', '$');
  const std::string time = std::to_string(base::limits::kPostgresLease.count());
  const char* const values[] = {holder.c_str(), time.c_str()};
  const ResultPtr taken(PQexecParams(connection, sql.c_str(), 2, nullptr, values, nullptr, nullptr, 0));
  if (PQresultStatus(taken.get()) != PGRES_COMMAND_OK)
    return base::fail(base::Errc::internal, trimmed(PQerrorMessage(connection)));
  if (std::string_view(PQcmdTuples(taken.get())) == "1") return {};
  return base::fail(base::Errc::conflict,
                    fmt::format("another Ringline host uses this database: stop it, or wait {} s if it is gone; each "
                                "needs a database of its own until Redis is built",
                                base::limits::kPostgresLease / 1s));
}

std::uint64_t first_id_of(std::chrono::year_month month) {
  const std::chrono::sys_days day(month / 1);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(day.time_since_epoch()).count();
  return static_cast<std::uint64_t>(ms - base::kIdEpochMs) << (base::kHostBits + base::kCoreBits + base::kCounterBits);
}

}  // namespace

std::vector<std::string> partition_statements(std::int64_t wall_ms) {
  const std::chrono::sys_days today = std::chrono::floor<std::chrono::days>(
      std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(wall_ms)));
  const std::chrono::year_month_day date(today);
  std::chrono::year_month month = date.year() / date.month();
  std::vector<std::string> statements;
  for (unsigned i = 0; i <= kMonthsAhead; ++i, month += std::chrono::months(1)) {
    statements.push_back(fmt::format(
        "CREATE TABLE IF NOT EXISTS messages_{:04}_{:02} PARTITION OF messages FOR VALUES FROM ({}) TO ({})",
        static_cast<int>(month.year()), static_cast<unsigned>(month.month()), first_id_of(month),
        first_id_of(month + std::chrono::months(1))));
  }
  return statements;
}

Result<void> prepare_postgres(const std::vector<PostgresTarget>& targets, std::chrono::milliseconds wait,
                              const std::string& holder) {
  auto connection = connect_to_one(targets, wait);
  if (!connection) return std::unexpected(connection.error());
  PGconn* c = connection->get();
  PQsetNoticeProcessor(c, [](void*, const char*) {}, nullptr);  // "already exists, skipping"
  auto done = execute(c, "BEGIN");
  if (done) done = execute(c, kLockSchema);
  if (done) done = migrate(c);
  if (done && !holder.empty()) done = take_lease(c, holder);
  if (done) done = execute(c, "COMMIT");
  return done;  // what was not committed goes with the connection
}

}  // namespace ringline::backend
