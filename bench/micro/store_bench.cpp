// A batch of messages into the store: what its thread does behind chat. 5,000 rooms of two in turn; of each, so many at a time. SQLite: in the working
// directory, on a disk. PostgreSQL: in the empty database that DATABASE_URL names (scripts/services run postgres -- …), one batch after the other.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdlib.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ringline/backend/database.hpp"
#include "ringline/base/json.hpp"
#include "ringline/chat/objects.hpp"

namespace {

namespace backend = ringline::backend;
namespace base = ringline::base;
namespace chat = ringline::chat;

constexpr std::uint64_t kFirstRoom = 2;  // after the lobby
constexpr std::uint64_t kRooms = 5000;
constexpr std::size_t kBatchEvents = 8000;

const char* database_url() { return ::getenv("DATABASE_URL"); }

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::abort();
}

void run_on_sqlite(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  sqlite3_open(file.c_str(), &db);
  if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(sqlite3_errmsg(db));
  sqlite3_close(db);
}

void run_on_postgres(const std::string& sql) {
  PGconn* connection = PQconnectdb(database_url());
  PGresult* result = PQexec(connection, sql.c_str());
  if (PQresultStatus(result) != PGRES_COMMAND_OK) fail(PQerrorMessage(connection));
  PQclear(result);
  PQfinish(connection);
}

struct Bench {
  explicit Bench(bool on_postgres) {
    path = std::filesystem::current_path() / "store-bench-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    auto opened = on_postgres ? backend::open_postgres(database_url()) : backend::open_sqlite(path + "/store.db", {});
    if (!opened) fail(opened.error().message.c_str());
    store = std::move(*opened);
    const std::string rows = fmt::format(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2 * {0} - 1) INSERT INTO users"
        " SELECT {1} + i, 'u' || i, 'u' || i, '', '', '', '', 0, 1, 0, '', 0, 0, 0, 0 FROM n;"
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {0} - 1) INSERT INTO rooms"
        " (id, type, name, description, avatar_url, private, ephemeral, created_ms, updated_ms)"
        " SELECT {1} + i, 1, '', '', '', 1, 0, 0, 0 FROM n;",
        kRooms, kFirstRoom);
    if (on_postgres) {
      run_on_postgres("TRUNCATE users CASCADE; DELETE FROM rooms WHERE id > 1; " + rows);
    } else {
      run_on_sqlite(path + "/store.db", rows);
    }
  }
  ~Bench() {
    store.reset();
    std::filesystem::remove_all(path);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  std::vector<chat::Event> batch(std::uint64_t of_each) {
    std::vector<chat::Event> events;
    events.reserve(kBatchEvents);
    while (events.size() < kBatchEvents) {
      const std::uint64_t place = made++ / of_each % kRooms;
      const chat::Message message{.id = {made},
                                  .room = {kFirstRoom + place},
                                  .seq = ++seqs[place],
                                  .sender = {kFirstRoom + 2 * place + made % 2},
                                  .sender_username = "somebody",
                                  .text = std::string(200, 'x'),
                                  .created_ms = 1'700'000'000'000};
      chat::Event& event = events.emplace_back();
      event.room = message.room;
      event.seq = message.seq;
      event.id = message.id;
      event.actor = message.sender;
      event.at_ms = message.created_ms;
      body.clear();
      chat::begin_event(body, event, message.sender_username);
      body.key("message");
      chat::write_message(body, message);
      chat::end_message_created(body, fmt::format("c-{}", made));
      event.body = base::Blob::copy_of(body.view());
    }
    return events;
  }

  std::string path;
  std::unique_ptr<backend::Database> store;
  std::array<std::uint64_t, kRooms> seqs{};
  std::uint64_t made = 1'000'000;
  base::json::Writer body;
};

void ingest(benchmark::State& state, bool on_postgres) {
  if (on_postgres && database_url() == nullptr) return state.SkipWithError("no DATABASE_URL");
  Bench bench(on_postgres);
  for (auto _ : state) {
    state.PauseTiming();
    auto events = bench.batch(static_cast<std::uint64_t>(state.range(0)));
    state.ResumeTiming();
    if (auto taken = bench.store->ingest(std::move(events)); !taken) fail(taken.error().message.c_str());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatchEvents));
}
void on_sqlite(benchmark::State& state) { ingest(state, false); }
void on_postgres(benchmark::State& state) { ingest(state, true); }

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgName("of_each")->Arg(1)->Arg(20)->Arg(200)->Iterations(64)->UseRealTime()->MeasureProcessCPUTime();
}
BENCHMARK(on_sqlite)->Name("store/ingest")->Apply(sizes);
BENCHMARK(on_postgres)->Name("store/ingest_postgres")->Apply(sizes);

}  // namespace
