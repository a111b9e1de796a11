// What is done to a PostgreSQL before it is used: it is waited for, its schema brought up to date, the partitions of the months to come made.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "backend/postgres_connection.hpp"

namespace ringline::backend {

// These block. Hosts that upgrade at the same time wait for each other. `holder`: see PostgresOptions.
Result<void> prepare_postgres(const std::vector<PostgresTarget>& targets, std::chrono::milliseconds wait,
                              const std::string& holder);

// Takes the lease of ?1 for ?2 milliseconds if it is free or his: then one row is changed. 0 milliseconds: lets it go.
inline constexpr const char* kTakeLease =
    "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms)"
    " INSERT INTO leases SELECT 'database', ?1, now_ms + ?2 FROM clock"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms"
    " WHERE leases.holder = excluded.holder OR leases.until_ms < (SELECT now_ms FROM clock)";

// The statements that make the partitions of `messages` for the month of `wall_ms` and the two after it.
std::vector<std::string> partition_statements(std::int64_t wall_ms);

}  // namespace ringline::backend
