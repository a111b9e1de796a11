// What the store's tests share: a store in a directory of its own, a loop to wait on, events as the sequencer writes them.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ringline/backend/sqlite_store.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
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

class StoreTest : public testing::Test {
 protected:
  StoreTest() { reopen(); }

  void reopen(SqliteOptions options = {}) {
    client_.reset();
    store_.reset();
    auto opened = SqliteStore::open(path(), options);
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

  // The first column of the first row, read past the store.
  std::string raw(const std::string& sql) {
    sqlite3* db = nullptr;
    sqlite3_open(path().c_str(), &db);
    std::string text;
    auto take = [](void* to, int, char** values, char**) {
      *static_cast<std::string*>(to) = values[0] ? values[0] : "NULL";
      return 0;
    };
    char* error = nullptr;
    sqlite3_exec(db, sql.c_str(), take, &text, &error);
    if (error) text = error;
    sqlite3_free(error);
    sqlite3_close(db);
    return text;
  }

  Directory directory_;
  HandLoop loop_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<chat::Store> client_;
};

}  // namespace ringline::backend::test
