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
namespace limits = base::limits;

constexpr unsigned kHostsMax = (1U << base::kHostBits) - 1;  // 0 is whoever stands alone
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

Result<ResultPtr> ask(PGconn* connection, std::string sql, const std::vector<std::string>& values) {
  std::ranges::replace(sql, '?', '$');
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  ResultPtr result(PQexecParams(connection, sql.c_str(), static_cast<int>(texts.size()), nullptr, texts.data(), nullptr,
                                nullptr, 0));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
  return base::fail(base::Errc::internal, trimmed(PQerrorMessage(connection)));
}

Result<void> take_lease(PGconn* connection, const std::string& holder) {
  auto taken = ask(connection, kTakeLease, {holder, std::to_string(limits::kPostgresLease.count())});
  if (!taken) return std::unexpected(taken.error());
  if (std::string_view(PQcmdTuples(taken->get())) == "1") return {};
  return base::fail(
      base::Errc::conflict,
      fmt::format("another Ringline host uses this database: stop it, or wait {} s if it is gone; several "
                  "hosts need the same REDIS_URL each",
                  limits::kPostgresLease / 1s));
}

// That nobody had, or else that nobody has had for longest.
Result<unsigned> free_number(PGconn* connection) {
  auto found = ask(connection,
                   "SELECT coalesce((SELECT min(n) FROM generate_series(1, ?1::int) n"
                   " WHERE NOT EXISTS (SELECT 1 FROM leases WHERE name = 'host-' || n)),"
                   " (SELECT substr(name, 6)::int FROM leases WHERE name LIKE 'host-%' AND until_ms + ?2::bigint <"
                   " (extract(epoch FROM clock_timestamp()) * 1000)::bigint ORDER BY until_ms LIMIT 1), 0)",
                   {std::to_string(kHostsMax), std::to_string(limits::kHostNumberRest / 1ms)});
  if (!found) return std::unexpected(found.error());
  const int number = std::stoi(PQgetvalue(found->get(), 0, 0));
  if (number > 0) return static_cast<unsigned>(number);
  return base::fail(base::Errc::conflict,
                    fmt::format("all {} numbers of hosts are in use, or were within the last {} min", kHostsMax,
                                limits::kHostNumberRest / 1min));
}

Result<void> take_number(PGconn* connection, HostNumber& host) {
  auto held = ask(connection,
                  "SELECT 1 FROM leases WHERE name = 'database' AND until_ms >"
                  " (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
                  {});
  if (!held) return std::unexpected(held.error());
  if (PQntuples(held->get()) > 0)
    return base::fail(base::Errc::conflict,
                      fmt::format("a Ringline host that stands alone, or a command, uses this database: stop it, or "
                                  "wait {} s if it is gone; several hosts need the same REDIS_URL each",
                                  limits::kPostgresLease / 1s));
  if (host.number == 0) {
    auto free = free_number(connection);
    if (!free) return std::unexpected(free.error());
    host.number = *free;
  }
  auto taken =
      ask(connection, kTakeNumber,
          {std::to_string(host.number), host.holder, host.former, std::to_string(limits::kPostgresLease.count())});
  if (!taken) return std::unexpected(taken.error());
  if (std::string_view(PQcmdTuples(taken->get())) == "1") return {};
  return base::fail(base::Errc::conflict,
                    fmt::format("another process is host {} of this database: if this DATA_DIR is a copy of its, give "
                                "this host an empty one; otherwise wait {} s, until it is known to be gone",
                                host.number, limits::kPostgresLease / 1s));
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

Result<void> prepare_postgres(const std::vector<PostgresTarget>& targets, PostgresOptions& options) {
  auto connection = connect_to_one(targets, options.start_wait);
  if (!connection) return std::unexpected(connection.error());
  PGconn* c = connection->get();
  PQsetNoticeProcessor(c, [](void*, const char*) {}, nullptr);  // "already exists, skipping"
  auto done = execute(c, "BEGIN");
  if (done) done = execute(c, kLockSchema);
  if (done) done = migrate(c);
  if (done && options.host) done = take_number(c, *options.host);
  if (done && !options.host && !options.holder.empty()) done = take_lease(c, options.holder);
  if (done) done = execute(c, "COMMIT");
  return done;  // what was not committed goes with the connection
}

}  // namespace ringline::backend
