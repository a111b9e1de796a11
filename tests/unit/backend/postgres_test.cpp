// What is PostgreSQL's alone: the URL, partitions, two hosts at once, text that it cannot keep, schemas of other versions. All but the first two need
// RINGLINE_TEST_POSTGRES.
#include <gmock/gmock.h>

#include "backend/postgres_open.hpp"
#include "backend/postgres_pool.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> names(const std::string& url) {
  auto targets = read_postgres_url(url);
  std::vector<std::string> found;
  if (!targets) return {targets.error().message};
  for (const PostgresTarget& target : *targets) found.push_back(target.name);
  return found;
}

TEST(PostgresUrl, NamesTheServersThatAreTriedInTurn) {
  EXPECT_THAT(names("postgresql://u:p@a/d"), ElementsAre("a:5432"));
  EXPECT_THAT(names("postgresql://u@a:1,b:2,[::1]:3/d?target_session_attrs=any"), ElementsAre("a:1", "b:2", "::1:3"));
  EXPECT_THAT(names("postgresql://u@a,b/d?port=7"), ElementsAre("a:7", "b:7"));
  EXPECT_THAT(names("postgresql:///d?host=/run/postgresql"), ElementsAre("/run/postgresql:5432"));
  const std::vector<std::string> refused = names("postgresql://u:hidden@[::1/d");
  EXPECT_THAT(refused, ElementsAre(HasSubstr("DATABASE_URL cannot be read")));
  EXPECT_THAT(refused, ElementsAre(Not(HasSubstr("hidden"))));
}

TEST(PostgresPartitions, AreOfThisMonthAndTheNextTwo) {
  constexpr std::int64_t kDecember2020 = 1'607'000'000'000;
  EXPECT_THAT(
      partition_statements(kDecember2020),
      ElementsAre(HasSubstr("messages_2020_12 "), HasSubstr("messages_2021_01 "), HasSubstr("messages_2021_02 ")));
  EXPECT_THAT(partition_statements(base::kIdEpochMs).front(), HasSubstr("FROM (0) TO (11234023833600000)"));
}

// However often they are tried.
TEST(PostgresServers, ThatAreNotReachedAreNamedOnce) {
  using namespace std::chrono_literals;
  auto ring = loop::Ring::open({.entries = 256, .receive_buffers = 64, .receive_buffer_bytes = 4096});
  ASSERT_TRUE(ring);
  loop::Mailboxes mailboxes(1);
  loop::Loop loop(0, mailboxes, std::move(*ring));
  loop::Loop* const peers[] = {&loop};
  loop.set_peers(peers);
  testing::internal::CaptureStderr();
  PostgresPool pool(
      loop,
      {.targets = *read_postgres_url("postgresql://u@127.0.0.1:1,127.0.0.1:2/d"), .connections = 4, .timeout = 1s});
  for (const std::int64_t until_ms = base::monotonic_ms() + 500; base::monotonic_ms() < until_ms;) loop.turn(true);
  pool.stop();
  while (loop.scope().running() > 0) loop.turn(true);
  loop.scope().spawn(pool.close());
  while (loop.scope().running() > 0) loop.turn(true);
  const std::string said = testing::internal::GetCapturedStderr();
  for (const char* server : {R"("server":"127.0.0.1:1")", R"("server":"127.0.0.1:2")"}) {
    const std::size_t first = said.find(server);
    EXPECT_NE(first, said.npos) << said;
    EXPECT_EQ(said.find(server, first + 1), said.npos) << said;
  }
}

class Postgres : public StoreFixture {
 protected:
  Postgres() : StoreFixture(engines().back()) {}
  void SetUp() override {
    if (engine_ != Engine::postgres) GTEST_SKIP() << "no RINGLINE_TEST_POSTGRES";
  }
};

TEST_F(Postgres, MessagesGoIntoThePartitionOfTheirMonth) {
  UserId ann = add_user(5, "ann");
  const std::uint64_t now = base::IdMaker(0, 0).next(base::wall_ms());
  add_room(now, "Team", ann);
  Message sent{.id = EventId{now + 5}, .room = RoomId{now}, .seq = 1, .sender = ann, .text = "hello"};
  sent.created_ms = kNow;
  base::json::Writer out;
  chat::write_message(out, sent);
  Event head = event(RoomId{now}, 1, EventKind::message_created, ann, R"(,"message":)" + std::string(out.view()));
  head.id = sent.id;
  ASSERT_TRUE(ingest({head}));
  EXPECT_EQ(raw("SELECT reason FROM dead_letters"), "");
  EXPECT_EQ(raw("SELECT count(*) FROM messages"), "1");
  EXPECT_EQ(raw("SELECT count(*) FROM messages_other"), "0");
}

TEST_F(Postgres, AMonthThatIsTakenAwayIsGoneFromAllThatIsRead) {
  UserId ann = add_user(5, "ann");
  const std::uint64_t now = base::IdMaker(0, 0).next(base::wall_ms());
  const RoomId room{now};
  add_room(now, "Team", ann);
  auto said = [&](std::uint64_t seq, std::uint64_t id) {
    Message sent{.id = EventId{id}, .room = room, .seq = seq, .sender = ann, .text = "hello " + std::to_string(seq)};
    sent.created_ms = kNow;
    base::json::Writer out;
    chat::write_message(out, sent);
    Event head = event(room, seq, EventKind::message_created, ann, R"(,"message":)" + std::string(out.view()));
    head.id = sent.id;
    return head;
  };
  ASSERT_TRUE(ingest({said(1, now + 1), said(2, 7000)}));  // the second is in no month's partition
  const std::int64_t deadline = base::monotonic_ms() + 20'000;
  while (raw("SELECT count(*) FROM text_queue") != "0" && base::monotonic_ms() < deadline)
    std::this_thread::sleep_for(10ms);
  raw("DROP TABLE " + raw("SELECT tableoid::regclass FROM messages WHERE seq = 1"));
  auto page = run(store().history({.room = room}));
  ASSERT_EQ(page->messages.size(), 1U);
  EXPECT_EQ(page->messages[0].seq, 2U);
  auto found = run(store().search_messages({.words = {"hello"}, .rooms = {room}}));
  ASSERT_EQ(found->messages.size(), 1U);
  EXPECT_EQ(found->messages[0].seq, 2U);
  EXPECT_EQ(run(store().events_after(room, 0, 10)).error().code, Errc::not_found);
}

// Two hosts, each with connections of its own: names are given once, and the same events once.
TEST_F(Postgres, TwoHostsAgree) {
  auto other = open_postgres(schema_->url());
  ASSERT_TRUE(other) << other.error().message;
  auto client = (*other)->client(*loop_);
  std::vector<std::string> given;
  auto make = [](chat::Store& store, std::uint64_t id, std::vector<std::string>& names) -> Task<void> {
    auto made = co_await store.create_guest(account(id, "guest", true));
    if (made) names.push_back(base::fold_case(made->user.username));
  };
  base::Scope scope;
  for (std::uint64_t id = 1000; id < 1100; ++id) scope.spawn(make(id % 2 == 0 ? store() : *client, id, given));
  loop_.settle(scope);
  std::ranges::sort(given);
  EXPECT_EQ(given.size(), 100U);
  EXPECT_EQ(std::ranges::unique(given).size(), 0U);

  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  std::vector<Event> batch;
  for (std::uint64_t seq = 1; seq <= 500; ++seq)
    batch.push_back(message(RoomId{100}, seq, ann, "text", "key-" + std::to_string(seq)));
  unsigned taken = 0;
  auto take = [](chat::Store& store, std::vector<Event> events, unsigned& done) -> Task<void> {
    auto ok = co_await store.ingest(std::move(events));
    if (ok) ++done;
  };
  for (int time = 0; time < 4; ++time) {
    scope.spawn(take(store(), batch, taken));
    scope.spawn(take(*client, batch, taken));
  }
  loop_.settle(scope);
  EXPECT_EQ(taken, 8U);
  EXPECT_EQ(raw("SELECT count(*) FROM messages"), "500");
  EXPECT_EQ(raw("SELECT count(*) FROM dead_letters"), "0");
}

TEST_F(Postgres, TextThatItCannotKeepIsADeadLetter) {
  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  const std::string zero("zero\0byte", 9);
  ASSERT_TRUE(ingest({message(RoomId{100}, 1, ann, "one"), message(RoomId{100}, 2, ann, zero),
                      message(RoomId{100}, 3, ann, "three")}));
  EXPECT_EQ(raw("SELECT seq FROM dead_letters"), "2");
  EXPECT_EQ(run(store().events_after(RoomId{100}, 0, 10))->size(), 3U);
  Account odd = account(6, "bob");
  odd.user.bio = zero;
  EXPECT_EQ(run(store().create_account(odd)).error().code, Errc::conflict);
  EXPECT_EQ(run(store().find_account(UserId{6})).error().code, Errc::not_found);
}

TEST_F(Postgres, AClientIdThatWasUsedBeforeIsRefusedLater) {
  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  ASSERT_TRUE(ingest({message(RoomId{100}, 1, ann, "one", "same")}));
  ASSERT_TRUE(ingest({message(RoomId{100}, 2, ann, "again", "same"), message(RoomId{100}, 3, ann, "two", "other")}));
  EXPECT_EQ(raw("SELECT seq FROM dead_letters"), "2");
  EXPECT_EQ(raw("SELECT seq FROM messages ORDER BY seq"), "1,3");
}

TEST_F(Postgres, OfANewerRinglineIsUsedWhereThatOneLetsUs) {
  client_.reset();
  store_.reset();
  raw("UPDATE meta SET value = 900 WHERE name = 'schema'");
  EXPECT_TRUE(open_postgres(schema_->url()));
  raw("UPDATE meta SET value = 899 WHERE name = 'oldest'");
  auto refused = open_postgres(schema_->url());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("made by a newer Ringline (schema 900"));
}

TEST_F(Postgres, ASchemaWithTablesOfOthersIsLeftAsItIs) {
  Schema other;
  other.raw("CREATE TABLE sessions (id int)");
  auto refused = open_postgres(other.url());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("could not be brought from schema 0 to 1"));
  EXPECT_EQ(other.raw("SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"), "1");
}

TEST_F(Postgres, IsHeldByOneHost) {
  auto one = open_postgres(schema_->url(), {.holder = "one"});
  ASSERT_TRUE(one) << one.error().message;
  auto other = open_postgres(schema_->url(), {.holder = "other"});
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("another Ringline host uses this database"));
  EXPECT_TRUE(open_postgres(schema_->url(), {.holder = "one"})) << "it was killed, and is back";
  one->reset();
  auto next = open_postgres(schema_->url(), {.holder = "other"});
  EXPECT_TRUE(next) << next.error().message;
}

TEST_F(Postgres, HostsThatShareItHaveANumberEach) {
  auto host = [&](HostNumber number) { return open_postgres(schema_->url(), {.host = number}); };
  auto one = host({.holder = "a"});
  auto two = host({.holder = "b"});
  ASSERT_TRUE(one && two);
  EXPECT_EQ((*one)->host(), 1U);
  EXPECT_EQ((*two)->host(), 2U);
  auto alone = open_postgres(schema_->url(), {.holder = "c"});
  ASSERT_FALSE(alone);
  EXPECT_THAT(alone.error().message, HasSubstr("another Ringline host uses this database"));
  auto copy = host({.number = 2, .holder = "c", .former = "a"});
  ASSERT_FALSE(copy);
  EXPECT_THAT(copy.error().message, HasSubstr("another process is host 2 of this database"));
  auto killed_and_back = host({.number = 2, .holder = "c", .former = "b"});
  EXPECT_TRUE(killed_and_back) << killed_and_back.error().message;
  const std::int64_t deadline = base::monotonic_ms() + 20'000;
  while (!(*two)->host_taken() && base::monotonic_ms() < deadline) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE((*two)->host_taken());
  EXPECT_FALSE((*one)->host_taken());
  one->reset();
  auto next = host({.holder = "d"});
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ((*next)->host(), 3U) << "the number of one that is not there any more is left to it";
}

TEST_F(Postgres, WhoStandsAloneSharesItWithNobody) {
  auto alone = open_postgres(schema_->url(), {.holder = "a"});
  ASSERT_TRUE(alone) << alone.error().message;
  auto host = open_postgres(schema_->url(), {.host = HostNumber{.holder = "b"}});
  ASSERT_FALSE(host);
  EXPECT_THAT(host.error().message, HasSubstr("a Ringline host that stands alone, or a command, uses this database"));
  alone->reset();
  host = open_postgres(schema_->url(), {.host = HostNumber{.holder = "b"}});
  EXPECT_TRUE(host) << host.error().message;
}

TEST_F(Postgres, NumbersThatNobodyHadForAWhileGoToOthersWhenNoneIsLeft) {
  raw("INSERT INTO leases SELECT 'host-' || n, 'gone', 9999999999999 FROM generate_series(1, 255) n");
  auto host = open_postgres(schema_->url(), {.host = HostNumber{.holder = "a"}});
  ASSERT_FALSE(host);
  EXPECT_THAT(host.error().message, HasSubstr("all 255 numbers of hosts are in use"));
  raw("UPDATE leases SET until_ms = CASE name WHEN 'host-70' THEN 1 ELSE 2 END WHERE name IN ('host-70', 'host-7')");
  host = open_postgres(schema_->url(), {.host = HostNumber{.holder = "a"}});
  ASSERT_TRUE(host) << host.error().message;
  EXPECT_EQ((*host)->host(), 70U);
}

TEST_F(Postgres, WhoLostItWritesNothingAndReadsOn) {
  raw("INSERT INTO leases VALUES ('database', 'one', 0)");
  auto one = open_postgres(schema_->url(), {.holder = "one"});
  ASSERT_TRUE(one) << one.error().message;
  auto client = (*one)->client(*loop_);
  ASSERT_TRUE(run(client->create_account(account(5, "ann"))));
  raw("UPDATE leases SET holder = 'other', until_ms = 9999999999999");
  const std::int64_t deadline = base::monotonic_ms() + 20'000;
  while ((*one)->healthy() && base::monotonic_ms() < deadline) std::this_thread::sleep_for(10ms);
  EXPECT_FALSE(client->healthy());
  EXPECT_EQ(run(client->create_account(account(6, "bob"))).error().code, Errc::unavailable);
  EXPECT_TRUE(run(client->find_account(UserId{5})));
}

// Before the one who lost it has heard of that.
TEST_F(Postgres, EventsAreTakenInOnlyUnderTheLease) {
  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  auto one = open_postgres(schema_->url(), {.holder = "one"});
  ASSERT_TRUE(one) << one.error().message;
  auto client = (*one)->client(*loop_);
  ASSERT_TRUE(run(client->ingest({message(RoomId{100}, 1, ann, "one")})));
  raw("UPDATE leases SET holder = 'other', until_ms = 9999999999999");
  auto refused = run(client->ingest({message(RoomId{100}, 2, ann, "two")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_EQ(raw("SELECT ingested_seq FROM rooms WHERE id = 100"), "1");
  raw("UPDATE leases SET holder = 'one'");
  const std::int64_t deadline = base::monotonic_ms() + 20'000;
  while (!run(client->ingest({message(RoomId{100}, 2, ann, "two")})) && base::monotonic_ms() < deadline)
    std::this_thread::sleep_for(10ms);
  EXPECT_EQ(raw("SELECT ingested_seq FROM rooms WHERE id = 100"), "2");
}

// As where a standby took over without the last of it: what follows is not taken, and the journals are asked for the rest.
TEST_F(Postgres, WhatItHadAndLacksIsNoticedAndTakenInAgain) {
  UserId ann = add_user(5, "ann");
  add_room(100, "Team", ann);
  std::vector<Event> all;
  for (std::uint64_t seq = 1; seq <= 4; ++seq) all.push_back(message(RoomId{100}, seq, ann, "text"));
  ASSERT_TRUE(ingest({all[0], all[1], all[2]}));
  EXPECT_EQ(store_->rewinds(), 0U);
  raw("DELETE FROM messages WHERE seq > 1");
  raw("UPDATE rooms SET ingested_seq = 1, message_count = 1 WHERE id = 100");
  auto page = run(store().history({.room = RoomId{100}, .stored_seq = 3}));
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, Errc::unavailable);
  EXPECT_EQ(ingest({all[3]}).error().code, Errc::internal);
  EXPECT_EQ(store_->rewinds(), 1U);
  EXPECT_LT(store_->safe_before_ms(), 0);
  EXPECT_FALSE(store_->healthy());
  auto room = run(store().load_room(RoomId{100}));  // it does not know the room's next seq
  ASSERT_FALSE(room);
  EXPECT_EQ(room.error().code, Errc::unavailable);
  ASSERT_TRUE(store_->ingest(all));
  store_->retaken(1);
  EXPECT_EQ(run(store().load_room(RoomId{100}))->room.last_seq, 4U);
  EXPECT_EQ(run(store().history({.room = RoomId{100}, .stored_seq = 4}))->messages.size(), 4U);
  EXPECT_EQ(raw("SELECT epoch FROM rooms WHERE id = 100"), "1");
}

TEST_F(Postgres, OfSeveralServersTheOneThatIsThereIsUsed) {
  std::string url = schema_->url();
  const std::size_t host = url.find("host=");
  if (host == url.npos) GTEST_SKIP() << "the URL has no parameter host";
  auto opened = open_postgres(url.insert(host + 5, "/nowhere,"));
  ASSERT_TRUE(opened) << opened.error().message;
  auto client = (*opened)->client(*loop_);
  EXPECT_TRUE(run(client->create_account(account(5, "ann"))));
}

// What is refused at the end leaves the connection usable: here it is the row that keeps the highest id.
TEST_F(Postgres, ACommitThatFailsIsTakenBack) {
  raw("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'");
  raw("CREATE TRIGGER no BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION no()");
  auto opened = open_postgres(schema_->url(), {.connections = 1});
  ASSERT_TRUE(opened) << opened.error().message;
  auto client = (*opened)->client(*loop_);
  EXPECT_FALSE(run(client->create_account(account(5, "ann"))));
  raw("DROP TRIGGER no ON meta");
  EXPECT_TRUE(run(client->create_account(account(5, "ann"))));
  EXPECT_TRUE(run(client->find_account(UserId{5})));
}

TEST_F(Postgres, AServerThatIsNotThereIsSaid) {
  auto refused = open_postgres("postgresql:///x?host=/nowhere", {.start_wait = 0ms});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("PostgreSQL cannot be used"));
}

}  // namespace
}  // namespace ringline::backend::test
