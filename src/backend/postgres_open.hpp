// What is done to a PostgreSQL before it is used: it is waited for, its schema brought up to date, the partitions of the months to come made.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "backend/postgres_connection.hpp"
#include "ringline/backend/database.hpp"

namespace ringline::backend {

// These block. Hosts that upgrade at the same time wait for each other. The lease that `options` ask for is taken; a number that was left open is set.
Result<void> prepare_postgres(const std::vector<PostgresTarget>& targets, PostgresOptions& options);

// Takes the lease of the database for ?2 milliseconds if it is free or ?1's, and no host has a number: then one row is changed. -1 milliseconds: lets it go.
inline constexpr const char* kTakeLease =
    "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms)"
    " INSERT INTO leases SELECT 'database', ?1, now_ms + ?2 FROM clock"
    " WHERE NOT EXISTS (SELECT 1 FROM leases WHERE name LIKE 'host-%' AND until_ms > (SELECT now_ms FROM clock))"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms"
    " WHERE leases.holder = excluded.holder OR leases.until_ms < (SELECT now_ms FROM clock)";

// Likewise that of the number ?1 for ?4 milliseconds, if it is free, ?2's or ?3's.
inline constexpr const char* kTakeNumber =
    "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms)"
    " INSERT INTO leases SELECT 'host-' || ?1, ?2, now_ms + ?4 FROM clock"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms"
    " WHERE leases.holder IN (excluded.holder, ?3) OR leases.until_ms < (SELECT now_ms FROM clock)";

// The statements that make the partitions of `messages` for the month of `wall_ms` and the two after it.
std::vector<std::string> partition_statements(std::int64_t wall_ms);

}  // namespace ringline::backend
