// The bus on real servers: what two hosts do to the stream of one room, one call after the other. The chat on top of it, with all that may come between, is in
// tests/sim/chat_hosts_test.cpp; that what it does there is what Redis does is checked here.
#include "ringline/backend/redis_bus.hpp"

#include "backend/redis_topology.hpp"
#include "redis_support.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::backend::test {
namespace {

using base::EventId;
using base::RoomId;
using base::UserId;
using chat::Event;
using chat::EventKind;
using chat::Proposal;
using chat::RoomEvent;
using chat::StreamPlace;
using chat::Verdict;
using Kind = chat::Verdict::Kind;

struct HeardOfBus final : chat::BusListener {
  std::vector<RoomEvent> events;
  std::vector<std::string> passing;
  std::vector<RoomId> following;
  std::vector<UserId> users;  // likewise
  std::vector<std::string> told;
  std::function<void()> when_lost = [] {};
  void on_event(RoomEvent event) override { events.push_back(std::move(event)); }
  void on_passing(RoomId, unsigned host, std::string_view name, std::string_view body) override {
    passing.push_back(std::to_string(host) + " " + std::string(name) + " " + std::string(body));
  }
  void on_user(UserId user, std::string_view what, std::string_view body) override {
    passing.push_back(user.text() + " " + std::string(what) + " " + std::string(body));
  }
  void on_following(RoomId room) override { following.push_back(room); }
  void on_following(UserId user) override { users.push_back(user); }
  void on_lost() override {
    told.emplace_back("lost");
    when_lost();
  }
  void on_away() override { told.emplace_back("away"); }
  void on_back() override { told.emplace_back("back"); }
};

// The servers that the parameter stands for, and of them the one that has the room.
std::vector<std::string> servers(std::string_view which) {
  if (which == "single") return {"single"};
  return {"cluster-1", "cluster-2", "cluster-3"};
}
std::string server_of(std::string_view which) { return servers(which).back(); }

class RedisBusTest : public RedisFixture, public testing::WithParamInterface<const char*> {
 protected:
  struct Host {
    HeardOfBus heard;
    std::unique_ptr<RedisBus> bus;
  };

  ~RedisBusTest() override {
    for (auto& host : hosts_) run(closed(*host->bus));
  }

  // A room that no other test has, in a cluster on its third server.
  void SetUp() override {
    RedisFixture::SetUp();
    if (IsSkipped()) return;
    do room_ = RoomId{static_cast<std::uint64_t>(base::wall_ms()) * 1000 + ++rooms_};
    while (slot_of("{" + room_.text() + "}") < 2 * kSlotsOfOne);
  }

  Host& start(unsigned number) {
    auto host = std::make_unique<Host>();
    auto made = RedisBus::make(loop(), workers(), options(GetParam()), number, host->heard, replicas_);
    EXPECT_TRUE(made) << made.error().message;
    host->bus = std::move(*made);
    hosts_.push_back(std::move(host));
    auto started = run(hosts_.back()->bus->start());
    EXPECT_TRUE(started) << started.error().message;
    return *hosts_.back();
  }
  // Until it takes new events, all hosts having put back what they have.
  Host& join(unsigned number) {
    Host& host = start(number);
    EXPECT_TRUE(all_there());
    return host;
  }
  // Likewise all hosts; each puts back when it is told to.
  bool all_there() {
    return ticking([&] {
      for (auto& host : hosts_)
        if (!host->heard.told.empty() && host->heard.told.back() == "lost") host->bus->have_put_back();
      return std::ranges::all_of(hosts_, [](const auto& host) { return host->bus->is_there(); });
    });
  }
  template <class So>
  bool ticking(So so) {
    return until([&] {
      for (auto& host : hosts_) host->bus->on_tick(loop().now_ms());
      return so();
    });
  }

  // A message with this id, of this sender, which is also its text.
  Proposal message(std::uint64_t id, std::uint64_t sender, std::string client_id = {}) {
    RoomEvent entry;
    entry.event = {.room = room_, .id = EventId{id}, .at_ms = 1'800'000'000'000, .actor = UserId{sender}};
    std::string body = R"({"roomId":")" + room_.text() + R"(","seq":null,"epoch":1,"id":")" + std::to_string(id) +
                       R"(","at":"2027-01-15T08:00:00.000Z","actor":{"id":")" + std::to_string(sender) +
                       R"(","username":"ann"},"message":{"id":")" + std::to_string(id) + R"(","roomId":")" +
                       room_.text() + R"(","seq":null,"text":"line\n\"message\":"})";
    if (!client_id.empty()) body += R"(,"clientId":")" + client_id + "\"";
    entry.event.body = base::Blob::copy_of(body + "}");
    entry.client_key = client_id.empty() ? 0 : 77;
    EXPECT_TRUE(chat::find_message(entry));
    return chat::propose(entry, 1, {}, client_id);
  }
  Proposal left(std::uint64_t id, std::uint64_t user) {
    RoomEvent entry;
    entry.event = {.room = room_, .id = EventId{id}, .at_ms = 1'800'000'000'000, .actor = UserId{user}};
    entry.event.kind = EventKind::member_left;
    entry.event.body = base::Blob::copy_of(R"({"roomId":")" + room_.text() + R"(","seq":null,"epoch":1,"userId":")" +
                                           std::to_string(user) + "\"}");
    return chat::propose(entry, 1, UserId{user}, {});
  }
  Verdict append(Host& host, Proposal proposal, StreamPlace known) {
    auto verdict = run(host.bus->append(std::move(proposal), known));
    EXPECT_TRUE(verdict) << verdict.error().message;
    return verdict ? *verdict : Verdict{};
  }

  // How long Redis keeps that key of the room: -1: without an end.
  std::string ttl(const std::string& what) {
    return cli((std::string_view(GetParam()) == "single" ? "single" : "cluster-3") + std::string(" TTL 'room:{") +
               room_.text() + "}:" + what + "'");
  }

  static constexpr unsigned kSlotsOfOne = 5461;  // of a cluster's server, see scripts/services
  unsigned replicas_ = 0;
  RoomId room_;
  static Task<void> append_and_note(RedisBus& bus, Proposal proposal, bool& answered) {
    auto verdict = co_await bus.append(std::move(proposal), {});
    EXPECT_FALSE(verdict);
    answered = true;
  }

 private:
  static Task<bool> closed(RedisBus& bus) {
    co_await bus.close();
    co_return true;
  }
  static inline std::uint64_t rooms_ = 0;
  std::vector<std::unique_ptr<Host>> hosts_;
};

TEST_P(RedisBusTest, GivesSeqsAndTellsAllWhoFollow) {
  Host& one = join(1);
  Host& two = join(2);
  two.bus->follow(room_);
  ASSERT_TRUE(until([&] { return !two.heard.following.empty(); }));
  const Proposal first = message(11, 5, "a");
  Verdict verdict = append(one, first, {});
  EXPECT_EQ(verdict.kind, Kind::taken);
  EXPECT_EQ(verdict.seq, 1U);
  verdict = append(one, message(12, 5), {.seq = 1, .id = EventId{11}});
  EXPECT_EQ(verdict.seq, 2U);
  ASSERT_TRUE(until([&] { return two.heard.events.size() == 2; }));
  const RoomEvent& heard = two.heard.events[0];
  const RoomEvent made = chat::with_seq(first, 1);
  EXPECT_EQ(heard.event.body.view(), made.event.body.view());
  EXPECT_EQ(heard.message(), made.message());
  EXPECT_EQ(heard.event.id, EventId{11});
  EXPECT_EQ(heard.event.seq, 1U);
  EXPECT_EQ(heard.event.actor, UserId{5});
  EXPECT_EQ(heard.event.at_ms, made.event.at_ms);
  EXPECT_EQ(heard.client_key, 77U);
  auto page = run(two.bus->read(room_, 0));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->events.size(), 2U);
  EXPECT_EQ(page->events[0].event.body.view(), made.event.body.view());
  EXPECT_EQ(page->last.seq, 2U);
  EXPECT_EQ(page->last.id, EventId{12});
  EXPECT_EQ(run(two.bus->read(room_, 1))->events.size(), 1U);
}

TEST_P(RedisBusTest, TakesAKeyOnce) {
  Host& one = join(1);
  Host& two = join(2);
  ASSERT_EQ(append(one, message(11, 5, "a"), {}).kind, Kind::taken);
  const Verdict again = append(two, message(12, 5, "a"), {});
  EXPECT_EQ(again.kind, Kind::duplicate);
  EXPECT_EQ(again.seq, 1U);
  EXPECT_EQ(again.id, EventId{11});
  EXPECT_EQ(append(two, message(13, 6, "a"), {}).kind, Kind::taken);  // another sender's
}

TEST_P(RedisBusTest, SaysWhoseRightsHaveChanged) {
  Host& one = join(1);
  ASSERT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  ASSERT_EQ(append(one, left(12, 6), {.seq = 1}).kind, Kind::taken);
  EXPECT_EQ(append(one, message(13, 6), {.seq = 1}).kind, Kind::stale);
  EXPECT_EQ(append(one, message(14, 5), {.seq = 1}).kind, Kind::taken);  // nothing of his has changed
  Proposal acked = message(15, 6);
  acked.forced = true;
  EXPECT_EQ(append(one, acked, {.seq = 1}).kind, Kind::taken);
  EXPECT_EQ(append(one, message(16, 6), {.seq = 2}).kind, Kind::taken);
}

TEST_P(RedisBusTest, SeveralAreTakenInOneCallUpToWhatIsInTheWay) {
  Host& one = join(1);
  one.bus->follow(room_);
  ASSERT_TRUE(until([&] { return !one.heard.following.empty(); }));
  ASSERT_EQ(append(one, message(10, 5, "a"), {}).kind, Kind::taken);
  auto append_all = [&](std::vector<Proposal> proposals, StreamPlace known) {
    auto verdicts = run(one.bus->append_all(std::move(proposals), known));
    std::string said;
    for (const Verdict& verdict : verdicts.value_or(std::vector<Verdict>()))
      said += std::to_string(static_cast<unsigned>(verdict.kind)) + ":" + std::to_string(verdict.seq) + ":" +
              verdict.id.text() + " ";
    return said;
  };
  // A duplicate is passed over; whose rights have changed among them ends it.
  std::vector<Proposal> several{message(11, 5), message(12, 5, "a"), message(13, 5, "b"), left(14, 6),
                                message(15, 5), message(16, 6),      message(17, 5)};
  EXPECT_EQ(append_all(several, {.seq = 1, .id = EventId{10}}), "0:2:11 1:1:10 0:3:13 0:4:14 0:5:15 4:5:15 ");
  EXPECT_EQ(append_all(several, {.seq = 9}), "2:5:15 ");  // all are behind it
  ASSERT_TRUE(until([&] { return one.heard.events.size() == 5; }));
  EXPECT_EQ(one.heard.events.back().event.id, EventId{15});
  EXPECT_EQ(one.heard.events[2].event.body.view(), chat::with_seq(message(13, 5, "b"), 3).event.body.view());
}

TEST_P(RedisBusTest, WhatItLostIsPutBack) {
  Host& one = join(1);
  const StreamPlace known{.seq = 42, .id = EventId{900}};
  Verdict verdict = append(one, message(11, 5), known);
  ASSERT_EQ(verdict.kind, Kind::behind);
  EXPECT_EQ(verdict.seq, 0U);
  std::vector<RoomEvent> lost{chat::with_seq(message(899, 5, "x"), 41), chat::with_seq(message(900, 5, "y"), 42)};
  const StreamPlace base{.seq = 40, .id = EventId{898}};
  ASSERT_TRUE(run(one.bus->put_back(room_, {}, base, lost)));
  EXPECT_FALSE(run(one.bus->put_back(room_, {}, base, lost)));  // it ends elsewhere now
  verdict = append(one, message(11, 5), known);
  EXPECT_EQ(verdict.kind, Kind::taken);
  EXPECT_EQ(verdict.seq, 43U);
  EXPECT_EQ(append(one, message(12, 5, "y"), known).kind, Kind::duplicate);
  EXPECT_EQ(append(one, message(13, 5), {.seq = 42, .id = EventId{7}}).kind, Kind::differs);
  EXPECT_EQ(append(one, message(13, 5), {.seq = 39}).kind, Kind::gone);
  auto page = run(one.bus->read(room_, 0));
  ASSERT_TRUE(page);
  ASSERT_EQ(page->events.size(), 3U);
  EXPECT_EQ(page->events[0].event.seq, 41U);
  EXPECT_EQ(page->events[0].event.body.view(), lost[0].event.body.view());
}

TEST_P(RedisBusTest, WhatIsLargeIsPutBackInPartsAndReadInPages) {
  Host& one = join(1);
  std::vector<RoomEvent> lost;
  for (std::uint64_t seq = 1; seq <= 100; ++seq) {
    lost.push_back(chat::with_seq(message(seq + 100, 5), seq));
    std::string body(lost.back().event.body.view());
    body.insert(body.find("line"), std::string(50'000, 'x'));
    lost.back().event.body = base::Blob::copy_of(body);
    ASSERT_TRUE(chat::find_message(lost.back()));
  }
  ASSERT_TRUE(run(one.bus->put_back(room_, {}, {}, lost)));
  auto page = run(one.bus->read(room_, 0));
  ASSERT_TRUE(page);
  ASSERT_FALSE(page->events.empty());
  EXPECT_LT(page->events.size(), 100U);
  EXPECT_EQ(page->last.seq, 100U);
  auto rest = run(one.bus->read(room_, page->events.back().event.seq));
  ASSERT_TRUE(rest);
  EXPECT_EQ(page->events.size() + rest->events.size(), 100U);
}

TEST_P(RedisBusTest, NothingIsPutBackIntoAnotherEpoch) {
  Host& one = join(1);
  ASSERT_TRUE(run(one.bus->begin_epoch(room_, {.epoch = 2, .seq = 7})));
  std::vector<RoomEvent> lost{chat::with_seq(message(11, 5), 8)};
  for (const std::uint64_t epoch : {1U, 3U}) {
    auto put = run(one.bus->put_back(room_, {.epoch = epoch, .seq = 7}, {.epoch = epoch, .seq = 7}, lost));
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, Errc::conflict);
  }
  EXPECT_TRUE(run(one.bus->put_back(room_, {.epoch = 2, .seq = 7}, {.epoch = 2, .seq = 7}, lost)));
}

TEST_P(RedisBusTest, ANewEpochBeginsOnce) {
  Host& one = join(1);
  ASSERT_EQ(append(one, message(11, 5, "a"), {}).kind, Kind::taken);
  ASSERT_TRUE(run(one.bus->begin_epoch(room_, {.epoch = 2, .seq = 7})));
  EXPECT_FALSE(run(one.bus->begin_epoch(room_, {.epoch = 2, .seq = 9})));
  const Verdict verdict = append(one, message(12, 5), {.epoch = 1, .seq = 1});
  EXPECT_EQ(verdict.kind, Kind::new_epoch);
  EXPECT_EQ(verdict.epoch, 2U);
  const Verdict taken = append(one, message(11, 5, "a"), {.epoch = 2, .seq = 7});
  EXPECT_EQ(taken.kind, Kind::taken);
  EXPECT_EQ(taken.seq, 8U);
}

TEST_P(RedisBusTest, OneHostTakesIn) {
  Host& one = join(1);
  Host& two = join(2);
  ASSERT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  auto claim = [&](Host& host) { return run(host.bus->claim_ingest({room_}))->front(); };
  EXPECT_TRUE(claim(one).ours);
  EXPECT_FALSE(claim(two).ours);
  EXPECT_EQ(claim(two).epoch, 0U);
  one.bus->stored({{.room = room_, .seq = 1, .epoch = 1, .id = EventId{11}}});
  EXPECT_TRUE(until([&] { return claim(two).stored == 1; }));
  EXPECT_EQ(claim(two).epoch, 1U);
  EXPECT_EQ(claim(two).id, EventId{11});
  EXPECT_TRUE(claim(one).ours);
  auto places = run(two.bus->places({room_, RoomId{4}}));
  ASSERT_TRUE(places);
  EXPECT_EQ((*places)[0].seq, 1U);
  EXPECT_EQ((*places)[0].id, EventId{11});
  EXPECT_EQ((*places)[1].seq, 0U);
}

TEST_P(RedisBusTest, ARoomWithoutAStreamIsTakenInByOneHostToo) {
  Host& one = join(1);
  Host& two = join(2);
  EXPECT_TRUE(run(two.bus->claim_ingest({room_}))->front().ours);
  EXPECT_FALSE(run(one.bus->claim_ingest({room_}))->front().ours);
  EXPECT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  EXPECT_FALSE(run(one.bus->claim_ingest({room_}))->front().ours);
  EXPECT_EQ(ttl("state"), "-1");
}

// What is said of a room's seqs is of one history.
TEST_P(RedisBusTest, WhatIsStoredOfAnotherHistoryIsPassedOver) {
  Host& one = join(1);
  ASSERT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  ASSERT_EQ(append(one, message(12, 5), {.seq = 1}).kind, Kind::taken);
  auto claim = [&] { return run(one.bus->claim_ingest({room_}))->front(); };
  one.bus->stored({{.room = room_, .seq = 2, .epoch = 1, .id = EventId{11}}});
  one.bus->stored({{.room = room_, .seq = 2, .epoch = 2, .id = EventId{12}}});
  one.bus->stored({{.room = room_, .seq = 3, .epoch = 1, .id = EventId{13}}});
  one.bus->stored({{.room = room_, .seq = 2, .epoch = 1, .id = {}}});
  EXPECT_EQ(claim().epoch, 0U);
  EXPECT_EQ(ttl("log"), "-1");
  one.bus->stored({{.room = room_, .seq = 2, .epoch = 1, .id = EventId{12}}});
  EXPECT_TRUE(until([&] { return claim().stored == 2; }));
  EXPECT_NE(ttl("log"), "-1");
  // The next epoch begins behind what the database has.
  ASSERT_TRUE(run(one.bus->begin_epoch(room_, {.epoch = 2, .seq = 1, .id = EventId{11}})));
  EXPECT_EQ(claim().stored, 1U);
  EXPECT_EQ(claim().epoch, 2U);
  one.bus->stored({{.room = room_, .seq = 2, .epoch = 1, .id = EventId{12}}});
  EXPECT_EQ(claim().stored, 1U);
}

// A room that is forgotten when nothing happens in it is not, when something does.
TEST_P(RedisBusTest, WhatIsNotStoredDoesNotExpire) {
  Host& one = join(1);
  ASSERT_TRUE(run(one.bus->put_back(room_, {}, {.epoch = 1, .seq = 7, .id = EventId{9}}, {})));
  EXPECT_NE(ttl("state"), "-1");
  std::vector<RoomEvent> lost{chat::with_seq(message(11, 5), 8)};
  ASSERT_TRUE(run(one.bus->put_back(room_, {.epoch = 1, .seq = 7}, {.epoch = 1, .seq = 7}, lost)));
  EXPECT_EQ(ttl("state"), "-1");
  EXPECT_EQ(ttl("log"), "-1");
  one.bus->stored({{.room = room_, .seq = 8, .epoch = 1, .id = EventId{11}}});
  EXPECT_TRUE(until([&] { return ttl("log") != "-1"; }));
  EXPECT_EQ(append(one, message(12, 5), {.seq = 8, .id = EventId{11}}).kind, Kind::taken);
  for (const char* what : {"state", "log", "keys"}) EXPECT_EQ(ttl(what), "-1");
}

TEST_P(RedisBusTest, WhatPassesComesToTheOthers) {
  Host& one = join(1);
  Host& two = join(2);
  for (Host* host : {&one, &two}) host->bus->follow(room_);
  ASSERT_TRUE(until([&] { return !one.heard.following.empty() && !two.heard.following.empty(); }));
  one.bus->pass(room_, "typing_started", R"({"a":"b c"})");
  ASSERT_TRUE(until([&] { return !two.heard.passing.empty(); }));
  EXPECT_EQ(two.heard.passing[0], R"(1 typing_started {"a":"b c"})");
  EXPECT_TRUE(one.heard.passing.empty());
}

TEST_P(RedisBusTest, AUserIsOneAtAllHosts) {
  Host& one = join(1);
  Host& two = join(2);
  const UserId user{room_.value};
  EXPECT_EQ(run(one.bus->set_presence(user, true)), 0U);
  EXPECT_EQ(run(two.bus->set_presence(user, true)), 1U);
  EXPECT_THAT(*run(one.bus->presence_of({UserId{9}, user})), testing::ElementsAre(0U, 1U));
  EXPECT_EQ(run(two.bus->set_presence(user, false)), 1U);
  EXPECT_EQ(run(one.bus->set_presence(user, true)), 0U);
  one.bus->note_membership(user, room_, true);
  one.bus->note_membership(user, RoomId{4}, false);
  EXPECT_TRUE(until([&] { return run(two.bus->recent_notes(user))->memberships.size() == 2; }));
  EXPECT_THAT(run(two.bus->recent_notes(user))->memberships,
              testing::UnorderedElementsAre(std::pair(room_, true), std::pair(RoomId{4}, false)));
}

// Where the connection of subscriptions alone is lost nothing else tells that something was missed.
TEST_P(RedisBusTest, ItIsToldOfEachUserThatHeIsFollowedAgain) {
  Host& one = join(1);
  const UserId user{room_.value};
  one.bus->follow(user);
  ASSERT_TRUE(until([&] { return one.heard.users.size() == 1; }));
  cli(server_of(GetParam()) + " CLIENT KILL TYPE pubsub");
  EXPECT_TRUE(until([&] { return one.heard.users.size() > 1; }));
  EXPECT_EQ(one.heard.users.back(), user);
  EXPECT_TRUE(all_there());
}

TEST_P(RedisBusTest, AMarkIsOnlyRaised) {
  Host& one = join(1);
  Host& two = join(2);
  const UserId user{room_.value};
  std::uint64_t rooms = 0;
  // What is kept behind this: what was noted later has come.
  auto note = [&](chat::ReadMark mark) {
    one.bus->note_mark(mark);
    one.bus->note_membership(user, RoomId{++rooms}, true);
    EXPECT_TRUE(until([&] { return run(two.bus->recent_notes(user))->memberships.size() == rooms; }));
    std::vector<std::array<std::uint64_t, 4>> kept;
    for (const chat::ReadMark& m : run(two.bus->recent_notes(user))->marks) {
      EXPECT_EQ(m.user, user);
      kept.push_back({m.room.value, m.epoch, m.seq, m.count});
    }
    return kept;
  };
  using Kept = std::array<std::uint64_t, 4>;
  auto of = [&](std::uint64_t epoch, std::uint64_t seq, std::uint64_t count) {
    return chat::ReadMark{.room = room_, .user = user, .epoch = epoch, .seq = seq, .count = count};
  };
  EXPECT_THAT(note(of(1, 9, 7)), testing::ElementsAre(Kept{room_.value, 1, 9, 7}));
  EXPECT_THAT(note(of(1, 8, 6)), testing::ElementsAre(Kept{room_.value, 1, 9, 7}));
  EXPECT_THAT(note(of(1, 10, 8)), testing::ElementsAre(Kept{room_.value, 1, 10, 8}));
  EXPECT_THAT(note(of(2, 3, 2)), testing::ElementsAre(Kept{room_.value, 2, 3, 2}));
  EXPECT_THAT(note(of(1, 11, 9)), testing::ElementsAre(Kept{room_.value, 2, 3, 2}));
}

TEST_P(RedisBusTest, SendsAreCountedTogether) {
  Host& one = join(1);
  Host& two = join(2);
  const UserId user{room_.value};
  constexpr std::int64_t kWindowMs = 60'000;
  const std::int64_t now = base::wall_ms();
  auto send = [&](Host& host, std::vector<std::int64_t> before) {
    return *run(host.bus->take_send(user, 5, kWindowMs, std::move(before)));
  };
  EXPECT_EQ(send(one, {now - 1000, now - 900, now - 70'000}), 0U);  // three in the window with this one
  EXPECT_EQ(send(two, {}), 0U);
  EXPECT_EQ(send(one, {}), 0U);
  const std::uint32_t wait = send(two, {});
  EXPECT_GT(wait, 1U);
  EXPECT_LE(wait, kWindowMs);
}

TEST_P(RedisBusTest, AServerThatIsStartedAgainGetsBackWhatItLost) {
  Host& one = join(1);
  Host& two = join(2);
  ASSERT_EQ(append(one, message(11, 5, "a"), {}).kind, Kind::taken);
  for (Host* host : {&one, &two}) host->heard.told.clear();
  // What is asked of the server as it was is answered, or not, before it is told that another is there.
  bool answered = false, in_time = false;
  one.heard.when_lost = [&] { in_time = answered; };
  control("freeze " + server_of(GetParam()));
  base::Scope asking;
  asking.spawn(append_and_note(*one.bus, message(14, 5), answered));
  control("kill " + server_of(GetParam()));
  EXPECT_TRUE(ticking([&] { return !one.bus->is_there(room_) && !two.bus->is_there(room_); }));
  control("start " + server_of(GetParam()));
  EXPECT_TRUE(ticking([&] { return one.heard.told.size() == 2 && two.heard.told.size() == 2; }));
  EXPECT_THAT(one.heard.told, testing::ElementsAre("away", "lost"));
  EXPECT_THAT(two.heard.told, testing::ElementsAre("away", "lost"));
  EXPECT_TRUE(in_time);
  // Not before both have put back what they have.
  one.bus->have_put_back();
  EXPECT_FALSE(run(one.bus->append(message(12, 5), {.seq = 1, .id = EventId{11}})));
  EXPECT_TRUE(run(one.bus->put_back(room_, {}, {}, {chat::with_seq(message(11, 5, "a"), 1)})));
  EXPECT_FALSE(one.bus->is_there(room_));
  two.bus->have_put_back();
  EXPECT_TRUE(ticking([&] { return one.bus->is_there() && two.bus->is_there(); }));
  EXPECT_EQ(append(two, message(12, 5, "a"), {.seq = 1, .id = EventId{11}}).kind, Kind::duplicate);
  EXPECT_EQ(append(two, message(13, 5), {.seq = 1, .id = EventId{11}}).seq, 2U);
}

TEST_P(RedisBusTest, AFullServerTakesNothingAndStillForgets) {
  Host& one = join(1);
  ASSERT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  for (const std::string& server : servers(GetParam())) cli(server + " CONFIG SET maxmemory 1");
  auto refused = run(one.bus->append(message(12, 5), {.seq = 1, .id = EventId{11}}));
  auto page = run(one.bus->read(room_, 0));
  one.bus->stored({{.room = room_, .seq = 1, .epoch = 1, .id = EventId{11}}});
  const bool stored = until([&] {
    auto claims = run(one.bus->claim_ingest({room_}));
    return claims && claims->front().stored == 1;
  });
  for (const std::string& server : servers(GetParam())) cli(server + " CONFIG SET maxmemory 0");
  EXPECT_FALSE(refused);
  EXPECT_TRUE(stored);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->events.size(), 1U);
  EXPECT_EQ(append(one, message(12, 5), {.seq = 1, .id = EventId{11}}).seq, 2U);
}

// What is told on a connection of before is of the server as it was: it is gone by the time that the loss is told. (Without its functions a server has
// forgotten that anybody put anything back.)
TEST_P(RedisBusTest, NothingOfBeforeComesAfterALoss) {
  Host& one = join(1);
  one.bus->follow(room_);
  ASSERT_TRUE(until([&] { return !one.heard.following.empty(); }));
  const std::string server = server_of(GetParam());
  auto subscribed_by = [&] {
    const std::string clients = cli(server + " CLIENT LIST TYPE pubsub");
    return clients.substr(0, clients.find(' '));
  };
  const std::string before = subscribed_by();
  EXPECT_THAT(before, testing::StartsWith("id="));
  bool gone = false;
  one.heard.when_lost = [&] {
    for (int tries = 0; tries < 100 && !gone; ++tries) gone = subscribed_by() != before;
  };
  one.heard.following.clear();
  one.heard.told.clear();
  cli(server + " FUNCTION FLUSH");
  ASSERT_TRUE(ticking([&] {
    if (one.bus->is_there()) (void)run(one.bus->append(message(11, 5), {}));
    return !one.heard.told.empty() && one.heard.told.back() == "lost";
  }));
  EXPECT_TRUE(gone);
  EXPECT_THAT(one.heard.told, testing::ElementsAre("away", "lost"));
  EXPECT_TRUE(until([&] { return !one.heard.following.empty(); }));
  EXPECT_TRUE(all_there());
  EXPECT_EQ(append(one, message(11, 5), {}).seq, 1U);
}

INSTANTIATE_TEST_SUITE_P(Of, RedisBusTest, testing::Values("single", "cluster"));

// A server of several that does not answer any more, and then does.
using RedisBusPartTest = RedisBusTest;
TEST_P(RedisBusPartTest, AServerThatIsAwayIsSoForItsRoomsAlone) {
  Host& one = join(1);
  RoomId other = room_;
  do ++other.value;
  while (slot_of("{" + other.text() + "}") / kSlotsOfOne != 1);
  one.bus->follow(other);
  ASSERT_TRUE(until([&] { return !one.heard.following.empty(); }));
  one.heard.told.clear();
  one.heard.following.clear();
  control("freeze cluster-2");
  EXPECT_TRUE(ticking([&] { return !one.bus->is_there(other); }));
  EXPECT_TRUE(one.bus->is_there(room_));
  EXPECT_TRUE(one.bus->is_there());
  EXPECT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  EXPECT_THAT(one.heard.told, testing::ElementsAre("away"));
  control("thaw cluster-2");
  EXPECT_TRUE(ticking([&] { return one.heard.told.size() == 2; }));
  EXPECT_THAT(one.heard.told, testing::ElementsAre("away", "back"));
  EXPECT_TRUE(one.bus->is_there(other));
  EXPECT_EQ(append(one, message(12, 5), {.seq = 1, .id = EventId{11}}).seq, 2U);
}
INSTANTIATE_TEST_SUITE_P(Of, RedisBusPartTest, testing::Values("cluster"));

// A replica takes over, and gives way again.
class RedisBusFailoverTest : public RedisBusTest {
 protected:
  static constexpr std::int64_t kOrderAgainMs = 6000;
  static bool in_cluster() { return std::string_view(GetParam()) == "cluster"; }
  void SetUp() override {
    RedisBusTest::SetUp();
    if (IsSkipped()) return;
    while (slot_of("{" + room_.text() + "}") >= kSlotsOfOne) ++room_.value;  // of the server that has a replica
  }
  static std::string master() {
    if (in_cluster()) return role("cluster-1") == "master" ? "cluster-1" : "cluster-4";
    const std::string place = cli("sentinel-1 SENTINEL GET-MASTER-ADDR-BY-NAME main");
    return place.ends_with(control("port main-1")) ? "main-1" : "main-2";
  }
  static std::string role(const std::string& server) {
    const std::string said = cli(server + " ROLE");
    return said.substr(0, said.find('\n'));
  }
  static bool lost(const Host& host) { return std::ranges::count(host.heard.told, "lost") > 0; }
  // The other server is the master, and has all that this one had.
  void fail_over() {
    const std::string before = master();
    ASSERT_TRUE(until([&] { return cli(before + " WAIT 1 1000") == "1"; }));
    const std::string other = before == "cluster-1" ? "cluster-4" : "cluster-1";
    const std::string order =
        in_cluster() ? other + " CLUSTER FAILOVER" : std::string("sentinel-1 SENTINEL FAILOVER main");
    // Ordered again where nothing comes of it: servers of a cluster vote about one master once in two of their timeouts, and an order lapses after 5 s.
    std::int64_t ordered_ms = 0;
    ASSERT_TRUE(ticking([&] {
      if (master() != before && role(before) == "slave") return true;
      if (base::monotonic_ms() - ordered_ms < kOrderAgainMs) return false;
      ordered_ms = base::monotonic_ms();
      cli(order);
      return false;
    }));
  }
};

TEST_P(RedisBusFailoverTest, IsALossAndSoIsTheWayBack) {
  Host& one = join(1);
  Host& two = join(2);
  ASSERT_EQ(append(one, message(11, 5), {}).seq, 1U);
  for (std::uint64_t seq = 2; seq <= 3; ++seq) {
    for (Host* host : {&one, &two}) host->heard.told.clear();
    fail_over();
    EXPECT_TRUE(ticking([&] {
      // Whoever does not hear of it otherwise is told so by the server.
      for (Host* host : {&one, &two})
        if (host->bus->is_there() && !lost(*host))
          (void)run(host->bus->append(message(99, 5), {.seq = 99}));  // no reign has as much
      return lost(one) && lost(two);
    }));
    EXPECT_TRUE(all_there());
    EXPECT_EQ(append(two, message(10 + seq, 5), {.seq = seq - 1, .id = EventId{9 + seq}}).seq, seq);
  }
}

TEST_P(RedisBusFailoverTest, WhereAReplicaIsWaitedForItHasWhatIsTaken) {
  replicas_ = 1;
  Host& one = join(1);
  ASSERT_EQ(append(one, message(11, 5), {}).kind, Kind::taken);
  const std::string main = master();
  const std::string replica =
      in_cluster() ? (main == "cluster-1" ? "cluster-4" : "cluster-1") : (main == "main-1" ? "main-2" : "main-1");
  control("freeze " + replica);
  auto early = run(one.bus->append(message(12, 5), {.seq = 1, .id = EventId{11}}));
  auto next = run(one.bus->append(message(13, 5), {.seq = 1, .id = EventId{11}}));
  control("thaw " + replica);
  EXPECT_FALSE(early);
  EXPECT_FALSE(next);
  // Since then it stands in the stream, and it is told so when the replica has it.
  EXPECT_TRUE(ticking([&] {
    auto again = run(one.bus->append(message(12, 5), {.seq = 1, .id = EventId{11}}));
    return again && again->kind == Kind::duplicate && again->seq == 2;
  }));
  EXPECT_EQ(append(one, message(13, 5), {.seq = 2, .id = EventId{12}}).seq, 3U);
}

INSTANTIATE_TEST_SUITE_P(Of, RedisBusFailoverTest, testing::Values("sentinel", "cluster"));

}  // namespace
}  // namespace ringline::backend::test
