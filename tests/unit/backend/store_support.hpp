// What the stores' tests share: a store of its own (SQLite: in a directory; PostgreSQL: in a schema of the database RINGLINE_TEST_POSTGRES), a loop to wait
// on, events as the sequencer writes them. Tests of what both engines do run on both; without that variable on SQLite alone.
#pragma once

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ringline/backend/database.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend::test {

using namespace std::chrono_literals;
using base::Errc;
using base::EventId;
using base::Result;
using base::RoomId;
using base::SessionId;
using base::Task;
using base::UserId;
using chat::Account;
using chat::Event;
using chat::EventKind;
using chat::Message;

inline constexpr std::int64_t kNow = 1'800'000'000'000;

class Directory {
 public:
  Directory() {
    std::string name = std::filesystem::temp_directory_path() / "ringline-store-XXXXXX";
    if (!::mkdtemp(name.data())) std::abort();
    path_ = name;
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  std::string file(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// One loop that is turned by hand.
class HandLoop {
 public:
  HandLoop() : mailboxes_(1), loop_(0, mailboxes_, open_ring()) {
    loop::Loop* const peers[] = {&loop_};
    loop_.set_peers(peers);
  }
  loop::Loop& operator*() noexcept { return loop_; }
  loop::Loop* operator->() noexcept { return &loop_; }

  // Until every task of the scope has ended.
  void settle(const base::Scope& scope) {
    std::int64_t deadline = base::monotonic_ms() + 60'000;
    while (scope.running() > 0) {
      ASSERT_LT(base::monotonic_ms(), deadline);
      loop_.turn(false);
      if (!loop_.anything_to_do()) std::this_thread::sleep_for(50us);
    }
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> answer;
    base::Scope scope;
    scope.spawn(keep(std::move(task), answer));
    settle(scope);
    return std::move(*answer);
  }

  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>& answer) {
    T got = co_await std::move(task);
    answer.emplace(std::move(got));
  }

 private:
  static std::unique_ptr<loop::Ring> open_ring() {
    auto ring = loop::Ring::open({.entries = 64, .receive_buffers = 16, .receive_buffer_bytes = 256});
    if (!ring) {
      ADD_FAILURE() << ring.error().message;
      std::abort();
    }
    return std::move(*ring);
  }
  loop::Mailboxes mailboxes_;
  loop::Loop loop_;
};

inline Account account(std::uint64_t id, std::string name, bool guest = false) {
  Account made;
  made.user.id = UserId{id};
  made.user.username = made.user.display_name = std::move(name);
  made.user.guest = guest;
  made.user.created_ms = made.user.updated_ms = kNow;
  if (!guest) made.password_hash = "$2b$04$hash";
  return made;
}

// The envelope of the wire contract, then `part`.
inline Event event(RoomId room, std::uint64_t seq, EventKind kind, UserId actor, std::string_view part) {
  Event made{.room = room,
             .seq = seq,
             .id = EventId{room.value * 1'000'000 + seq + 10'000},
             .at_ms = kNow + static_cast<std::int64_t>(seq),
             .actor = actor,
             .kind = kind,
             .body = {}};
  std::string body = R"({"roomId":")" + room.text() + R"(","seq":)" + std::to_string(seq) + R"(,"epoch":1,"id":")" +
                     made.id.text() + R"(","at":")" + base::rfc3339(made.at_ms) + R"(","actor":{"id":")" +
                     actor.text() + R"(","username":"ann"})" + std::string(part) + "}";
  made.body = base::Blob::copy_of(body);
  return made;
}

inline Event message(RoomId room, std::uint64_t seq, UserId sender, std::string text, std::string client_id = {}) {
  Event head = event(room, seq, EventKind::message_created, sender, "");
  Message content{
      .id = head.id, .room = room, .seq = seq, .sender = sender, .sender_username = "ann", .text = std::move(text)};
  content.created_ms = head.at_ms;
  base::json::Writer out;
  chat::write_message(out, content);
  std::string part = R"(,"message":)" + std::string(out.view());
  if (!client_id.empty()) part += R"(,"clientId":")" + client_id + '"';
  return event(room, seq, EventKind::message_created, sender, part);
}

enum class Engine : std::uint8_t { sqlite, postgres };
inline std::vector<Engine> engines() {
  if (::getenv("RINGLINE_TEST_POSTGRES") == nullptr) return {Engine::sqlite};
  return {Engine::sqlite, Engine::postgres};
}
inline std::string engine_name(const testing::TestParamInfo<Engine>& info) {
  return info.param == Engine::sqlite ? "Sqlite" : "Postgres";
}
#define ON_EVERY_ENGINE(suite) INSTANTIATE_TEST_SUITE_P(Engines, suite, testing::ValuesIn(engines()), engine_name)

// A schema of the test's own, gone with it.
class Schema {
 public:
  Schema() {
    static unsigned count = 0;
    name_ = "test_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
    run(server(), "CREATE SCHEMA " + name_);
  }
  ~Schema() { run(server(), "SET client_min_messages = error; DROP SCHEMA " + name_ + " CASCADE"); }
  Schema(const Schema&) = delete;
  Schema& operator=(const Schema&) = delete;

  std::string url() const {
    const std::string base = server();
    return base + (base.find('?') == base.npos ? "?" : "&") + "options=-csearch_path%3D" + name_;
  }
  // The first column of all rows, with commas.
  std::string raw(const std::string& sql) const { return run(url(), sql); }

 private:
  static std::string server() { return ::getenv("RINGLINE_TEST_POSTGRES"); }
  static std::string run(const std::string& url, const std::string& sql) {
    PGconn* connection = PQconnectdb(url.c_str());
    PGresult* result = PQexec(connection, sql.c_str());
    std::string text = PQresultErrorMessage(result);
    for (int row = 0; row < PQntuples(result); ++row)
      text += (row > 0 ? "," : "") + std::string(PQgetisnull(result, row, 0) ? "NULL" : PQgetvalue(result, row, 0));
    PQclear(result);
    PQfinish(connection);
    return text;
  }
  std::string name_;
};

class StoreFixture : public testing::Test {
 protected:
  explicit StoreFixture(Engine engine) : engine_(engine) {
    if (engine == Engine::postgres) schema_.emplace();
    reopen();
  }

  void reopen() { reopen({}); }
  void reopen(SqliteOptions options) {
    client_.reset();
    store_.reset();
    auto opened = engine_ == Engine::sqlite ? open_sqlite(path(), options) : open_postgres(schema_->url());
    if (!opened) {
      ADD_FAILURE() << opened.error().message;
      std::abort();
    }
    store_ = std::move(*opened);
    client_ = store_->client(*loop_);
  }
  std::string path() const { return directory_.file("ringline.db"); }
  chat::Store& store() { return *client_; }
  template <class T>
  T run(Task<T> task) {
    return loop_.run(std::move(task));
  }

  // A user, and a public room that he made, with these seqs of messages (others are changes of roles, which mean nothing).
  UserId add_user(std::uint64_t id, std::string name) {
    auto made = run(store().create_account(account(id, std::move(name))));
    EXPECT_TRUE(made) << made.error().message;
    return UserId{id};
  }
  chat::Room add_room(std::uint64_t id, std::string name, UserId owner, bool ephemeral = false) {
    chat::Room room{.id = RoomId{id},
                    .name = std::move(name),
                    .ephemeral = ephemeral,
                    .created_by = owner,
                    .created_ms = kNow,
                    .updated_ms = kNow};
    std::vector<chat::Member> members{{.user = owner, .joined_ms = kNow, .role = chat::MemberRole::owner}};
    auto made = run(store().create_room(room, members, {}));
    EXPECT_TRUE(made) << made.error().message;
    return made ? made->room : room;
  }
  Result<void> ingest(std::vector<Event> events) { return run(store().ingest(std::move(events))); }

  // The first column of all rows, with commas, read past the store.
  std::string raw(const std::string& sql) {
    if (schema_) return schema_->raw(sql);
    sqlite3* db = nullptr;
    sqlite3_open(path().c_str(), &db);
    std::string text;
    auto take = [](void* to, int, char** values, char**) {
      auto& all = *static_cast<std::string*>(to);
      all += (all.empty() ? "" : ",") + std::string(values[0] ? values[0] : "NULL");
      return 0;
    };
    char* error = nullptr;
    sqlite3_exec(db, sql.c_str(), take, &text, &error);
    if (error) text = error;
    sqlite3_free(error);
    sqlite3_close(db);
    return text;
  }

  const Engine engine_;
  std::optional<Schema> schema_;
  Directory directory_;
  HandLoop loop_;
  std::unique_ptr<Database> store_;
  std::unique_ptr<chat::Store> client_;
};

class StoreTest : public StoreFixture, public testing::WithParamInterface<Engine> {
 protected:
  StoreTest() : StoreFixture(GetParam()) {}
};
class SqliteTest : public StoreFixture {
 protected:
  SqliteTest() : StoreFixture(Engine::sqlite) {}
};

}  // namespace ringline::backend::test
