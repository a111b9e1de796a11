// The store's threads: group commit, many callers, deadlines, clients that go, a disk that is full, a process that dies.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <thread>

#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

class Threads : public SqliteTest {
 protected:
  static Task<void> sign_in(chat::Store& store, std::uint64_t id, unsigned& done) {
    auto made = co_await store.create_guest(account(id, "guest", true));
    if (!made) co_return;
    std::int64_t now = base::wall_ms();
    chat::SessionRow session{
        .id = SessionId{id + 1'000'000}, .user = made->user.id, .created_ms = now, .expires_ms = now + 60'000};
    auto kept = co_await store.create_session(session);
    auto found = co_await store.find_session(session.id);
    if (kept && found) ++done;
  }
};

TEST_F(Threads, AThousandGuestsAtOnce) {
  unsigned done = 0;
  base::Scope scope;
  for (std::uint64_t id = 1000; id < 2000; ++id) scope.spawn(sign_in(store(), id, done));
  loop_.settle(scope);
  EXPECT_EQ(done, 1000U);
  EXPECT_EQ(raw("SELECT count(DISTINCT username_folded) FROM users"), "1000");
  EXPECT_EQ(raw("SELECT username FROM users ORDER BY id DESC LIMIT 1").substr(0, 6), "guest-");
}

TEST_F(Threads, ServesWhileItRests) {
  unsigned done = 0;
  base::Scope scope;
  for (std::uint64_t id = 1000; id < 1400; ++id) {
    scope.spawn(sign_in(store(), id, done));
    if (id % 20 == 0) store_->rest();
    if (id % 100 == 0) loop_.settle(scope);
  }
  loop_.settle(scope);
  EXPECT_EQ(done, 400U);
}

TEST_F(Threads, OneThatFailsDoesNotUndoItsGroup) {
  unsigned made = 0;
  unsigned taken = 0;
  auto create = [](chat::Store& store, std::uint64_t id, std::string name, unsigned& ok,
                   unsigned& conflict) -> Task<void> {
    auto done = co_await store.create_account(account(id, std::move(name)));
    done ? ++ok : ++conflict;
  };
  base::Scope scope;
  for (std::uint64_t id = 10; id < 110; ++id)
    scope.spawn(create(store(), id, "name-" + std::to_string(id / 2), made, taken));
  loop_.settle(scope);
  EXPECT_EQ(made, 50U);
  EXPECT_EQ(taken, 50U);
  EXPECT_EQ(raw("SELECT count(*) FROM users"), "50");
}

TEST_F(Threads, CoresAtOnce) {
  constexpr unsigned kCores = 3;
  constexpr std::uint64_t kEach = 100;
  UserId ann = add_user(5, "ann");
  for (unsigned core = 0; core < kCores; ++core) add_room(100 + core, "room-" + std::to_string(core), ann);
  std::vector<std::thread> threads;
  for (unsigned core = 0; core < kCores; ++core) {
    threads.emplace_back([&, core] {
      HandLoop loop;
      auto client = store_->client(*loop);
      for (std::uint64_t seq = 1; seq <= kEach; ++seq) {
        std::vector<Event> batch{message(RoomId{100 + core}, seq, ann, "text", "key-" + std::to_string(seq))};
        EXPECT_TRUE(loop.run(client->ingest(std::move(batch))));
        EXPECT_EQ(loop.run(client->events_after(RoomId{100 + core}, seq - 1, 10))->size(), 1U);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(raw("SELECT count(*) FROM messages"), "300");
}

TEST_F(Threads, AnAnswerThatComesTooLateIsUnavailableAndTheWorkIsDone) {
  reopen({.readers = 1, .timeout = 50ms});
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  auto late = run(store().create_account(account(5, "ann")));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::unavailable);
  EXPECT_GT(late.error().retry_after_ms, 0U);
  sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  std::int64_t deadline = base::monotonic_ms() + 10'000;
  while (!run(store().find_account(UserId{5})) && base::monotonic_ms() < deadline) loop_->turn(false);
  EXPECT_TRUE(run(store().find_account(UserId{5})));
}

TEST_F(Threads, ALateAnswerToAClientThatIsGoneIsDropped) {
  reopen({.readers = 1, .timeout = 20ms});
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  {
    HandLoop loop;
    auto client = store_->client(*loop);
    EXPECT_EQ(loop.run(client->create_account(account(5, "ann"))).error().code, Errc::unavailable);
  }
  sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  client_.reset();
  store_.reset();  // runs what is queued
  EXPECT_EQ(raw("SELECT username FROM users"), "ann");
}

// Files of this process may not grow: the store meets it as a full disk.
class GrowthLimit {
 public:
  explicit GrowthLimit(rlim_t bytes) {
    before_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    rlimit tight{.rlim_cur = bytes, .rlim_max = old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
  }
  ~GrowthLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, before_);
  }

 private:
  rlimit old_{};
  sighandler_t before_;
};

TEST_F(Threads, AFullDiskIsUnavailableReadsGoOnAndItRecovers) {
  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  ASSERT_TRUE(ingest({message(RoomId{100}, 1, ann, "one")}));
  std::vector<Event> large;
  for (std::uint64_t seq = 2; seq < 1000; ++seq)
    large.push_back(message(RoomId{100}, seq, ann, std::string(4000, 'x')));
  {
    GrowthLimit limit(400 * 1024);
    for (int i = 0; i < 2; ++i) {
      auto taken = ingest(large);
      ASSERT_FALSE(taken);
      EXPECT_EQ(taken.error().code, Errc::unavailable);
      EXPECT_FALSE(store().healthy());
      EXPECT_EQ(run(store().history({.room = RoomId{100}}))->messages.size(), 1U);
    }
  }
  ASSERT_TRUE(ingest(large));
  EXPECT_TRUE(store().healthy());
  EXPECT_EQ(run(store().load_room(RoomId{100}))->room.last_seq, 999U);
}

// What `ingest` answered for is there after a kill, whole; what it did not is there whole or not at all.
TEST_F(Threads, AKilledProcessLosesNothingThatWasAnswered) {
  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  client_.reset();
  store_.reset();
  std::uint64_t answered = 0;
  for (int round = 0; round < 5; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    pid_t child = ::fork();
    if (child == 0) {
      auto store = open_sqlite(path());
      for (std::uint64_t seq = answered + 1;; seq += 10) {
        std::vector<Event> batch;
        for (std::uint64_t i = 0; i < 10; ++i)
          batch.push_back(message(RoomId{100}, seq + i, ann, "text", "key-" + std::to_string(seq + i)));
        if (!store || !(*store)->ingest(std::move(batch))) ::_exit(1);
        std::uint64_t last = seq + 9;
        if (::write(pipe_ends[1], &last, sizeof last) != sizeof last) ::_exit(1);
      }
    }
    ::close(pipe_ends[1]);
    std::uint64_t last = 0;
    for (int acks = 0; acks < 20; ++acks) {
      ASSERT_EQ(::read(pipe_ends[0], &last, sizeof last), static_cast<ssize_t>(sizeof last));
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    while (::read(pipe_ends[0], &last, sizeof last) == sizeof last) {
    }
    ::close(pipe_ends[0]);
    auto store = open_sqlite(path());
    ASSERT_TRUE(store) << store.error().message;
    answered = std::stoull(raw("SELECT ingested_seq FROM rooms WHERE id = 100"));
    EXPECT_GE(answered, last);
    EXPECT_LE(answered, last + 10);
    EXPECT_EQ(raw("SELECT count(*) || ' ' || max(seq) FROM messages"),
              std::to_string(answered) + " " + std::to_string(answered));
  }
}

}  // namespace
}  // namespace ringline::backend::test
