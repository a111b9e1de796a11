// Taking events in: again, in parts, with holes, with rows that are refused; what they do to rooms and members.
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

class Ingest : public StoreTest {
 protected:
  Ingest() {
    ann_ = add_user(5, "ann");
    bob_ = add_user(6, "bob");
    add_room(100, "Team", ann_);
  }
  Event joined(std::uint64_t seq, UserId user) {
    return event(kRoom, seq, EventKind::member_joined, user,
                 R"(,"member":{"user":{"id":")" + user.text() + R"("},"role":"member","joinedAt":null})");
  }
  std::uint64_t ingested() { return run(store().load_room(kRoom))->room.last_seq; }

  static constexpr RoomId kRoom{100};
  UserId ann_;
  UserId bob_;
};

TEST_P(Ingest, WhatIsThereIsPassedOver) {
  std::vector<Event> batch{message(kRoom, 1, ann_, "one", "a"), message(kRoom, 2, ann_, "two"), joined(3, bob_)};
  ASSERT_TRUE(ingest(batch));
  ASSERT_TRUE(ingest(batch));
  reopen();
  batch.push_back(message(kRoom, 4, bob_, "four"));
  ASSERT_TRUE(ingest(batch));
  auto room = run(store().load_room(kRoom));
  EXPECT_EQ(room->room.last_seq, 4U);
  EXPECT_EQ(room->room.message_count, 3U);
  EXPECT_EQ(room->members.size(), 2U);
  EXPECT_EQ(raw("SELECT count(*) FROM dead_letters"), "0");
  EXPECT_EQ(raw("SELECT last_seq FROM rooms WHERE id = 100"), "4");
}

TEST_P(Ingest, AHoleIsAnErrorAndNothingOfTheBatchIsTaken) {
  add_room(101, "Other", ann_);
  auto taken =
      ingest({message(RoomId{101}, 1, ann_, "x"), message(kRoom, 1, ann_, "one"), message(kRoom, 4, ann_, "four")});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::internal);
  EXPECT_EQ(taken.error().message, "room 100: events 2 to 3 are missing before 4");
  store_->retaken(store_->rewinds());
  EXPECT_EQ(ingested(), 0U);
  EXPECT_EQ(run(store().load_room(RoomId{101}))->room.last_seq, 0U);
}

TEST_P(Ingest, AHoleAtStartUpBeginsANewEpoch) {
  ASSERT_TRUE(ingest({message(kRoom, 1, ann_, "one")}));
  ASSERT_TRUE(store_->ingest(
      {message(kRoom, 2, ann_, "two"), message(kRoom, 5, ann_, "five"), message(kRoom, 6, ann_, "six")}));
  auto room = run(store().load_room(kRoom));
  EXPECT_EQ(room->room.last_seq, 6U);
  EXPECT_EQ(room->room.epoch, 2U);
  EXPECT_EQ(run(store().events_after(kRoom, 0, 10))->size(), 2U);
  EXPECT_EQ(run(store().events_after(kRoom, 2, 10)).error().code, Errc::not_found);
  EXPECT_EQ(run(store().events_after(kRoom, 4, 10))->size(), 2U);
  EXPECT_EQ(run(store().load_room(kLobby))->room.epoch, 1U);
}

TEST_P(Ingest, WhatIsOfAnotherEpochIsRefusedWithItsRoom) {
  add_room(101, "Other", ann_);
  ASSERT_TRUE(ingest({message(kRoom, 1, ann_, "one")}));
  auto place = run(store().begin_epoch(kRoom, 2));
  ASSERT_TRUE(place);
  EXPECT_EQ(place->epoch, 2U);
  EXPECT_EQ(place->seq, 1U);
  auto taken = ingest({message(RoomId{101}, 1, ann_, "x"), message(kRoom, 2, ann_, "two")});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::conflict);
  EXPECT_EQ(taken.error().field, "100");
  EXPECT_EQ(run(store().load_room(RoomId{101}))->room.last_seq, 0U);
  Event next = message(kRoom, 2, ann_, "two");
  next.epoch = 2;
  ASSERT_TRUE(ingest({next}));
  EXPECT_EQ(ingested(), 2U);
}

// The same place in another history.
Event another(Event event) {
  const EventId id{event.id.value + 500};
  std::string body(event.body.view());
  for (std::size_t at = 0; (at = body.find(event.id.text(), at)) != body.npos;)
    body.replace(at, event.id.text().size(), id.text());
  event.id = id;
  event.body = base::Blob::copy_of(body);
  return event;
}

TEST_P(Ingest, AnotherEventAtASeqThatIsTakenIsRefusedWithItsRoom) {
  add_room(101, "Other", ann_);
  std::vector<Event> batch{message(kRoom, 1, ann_, "one"), joined(2, bob_), message(kRoom, 3, UserId{404}, "nobody's"),
                           message(kRoom, 4, ann_, "four")};
  ASSERT_TRUE(ingest(batch));
  auto refused = [&](std::vector<Event> events) {
    events.insert(events.begin(), message(RoomId{101}, 1, ann_, "x"));
    auto taken = ingest(std::move(events));
    return !taken && taken.error().code == Errc::conflict && taken.error().field == "100";
  };
  const Event next = message(kRoom, 5, ann_, "five");
  EXPECT_TRUE(refused({another(batch[3]), next}));
  EXPECT_TRUE(refused({batch[0], another(batch[1])}));  // and ends before what is there
  EXPECT_TRUE(refused({another(batch[2])}));
  EXPECT_TRUE(refused({another(message(kRoom, 2, ann_, "two")), batch[2], batch[3], next}));
  EXPECT_TRUE(refused({another(joined(4, bob_))}));
  EXPECT_EQ(ingested(), 4U);
  EXPECT_EQ(run(store().load_room(RoomId{101}))->room.last_seq, 0U);
  EXPECT_EQ(raw("SELECT seq FROM dead_letters"), "3");
  batch.push_back(next);
  EXPECT_TRUE(ingest(batch));
  EXPECT_TRUE(ingest({batch[1], batch[2]}));
  EXPECT_EQ(ingested(), 5U);
}

TEST_P(Ingest, OfAnEphemeralRoomWhatIsKeptIsCompared) {
  const RoomId gone{101};
  add_room(101, "Gone", ann_, true);
  std::vector<Event> batch{message(gone, 1, ann_, "secret", "k1"), message(gone, 2, ann_, "secret")};
  for (Event& e : batch) e.at_ms = base::wall_ms();
  ASSERT_TRUE(ingest(batch));
  EXPECT_TRUE(ingest(batch));
  EXPECT_EQ(ingest({another(batch[0])}).error().field, "101");
}

TEST_P(Ingest, WhatOtherHostsMayHaveIsLeftToThem) {
  ASSERT_TRUE(ingest({message(kRoom, 1, ann_, "one")}));
  Event old = message(kRoom, 3, ann_, "of another epoch");
  old.epoch = 2;
  ASSERT_TRUE(store_->ingest({message(kRoom, 2, ann_, "two"), old, message(kRoom, 4, ann_, "four")}, true));
  EXPECT_EQ(ingested(), 2U);
  EXPECT_EQ(run(store().load_room(kRoom))->room.epoch, 1U);
  ASSERT_TRUE(store_->ingest({message(kRoom, 3, ann_, "three"), message(kRoom, 4, ann_, "four")}, true));
  EXPECT_EQ(ingested(), 4U);
  EXPECT_EQ(raw("SELECT count(*) FROM dead_letters"), "0");
}

TEST_P(Ingest, AnEpochBeginsOnceWhoeverAsks) {
  EXPECT_EQ(run(store().begin_epoch(kRoom, 2))->epoch, 2U);
  EXPECT_EQ(run(store().begin_epoch(kRoom, 2))->epoch, 2U);
  EXPECT_EQ(run(store().begin_epoch(kRoom, 4))->epoch, 2U);  // not the one before
  EXPECT_EQ(run(store().begin_epoch(RoomId{999}, 2)).error().code, Errc::not_found);
}

TEST_P(Ingest, MembersComeAndGo) {
  ASSERT_TRUE(ingest({message(kRoom, 1, ann_, "one"), joined(2, bob_)}));
  auto room = run(store().load_room(kRoom));
  ASSERT_EQ(room->members.size(), 2U);
  const chat::Member& bob = room->members[1].member;
  EXPECT_EQ(bob.user, bob_);
  EXPECT_EQ(bob.joined_ms, kNow + 2);
  EXPECT_EQ(bob.read_seq, 2U);
  EXPECT_EQ(bob.read_count, 1U);
  ASSERT_TRUE(ingest({event(kRoom, 3, EventKind::role_changed, ann_, R"(,"userId":"6","role":"admin")")}));
  EXPECT_EQ(run(store().load_room(kRoom))->members[1].member.role, chat::MemberRole::admin);
  ASSERT_TRUE(ingest({event(kRoom, 4, EventKind::member_left, bob_, R"(,"userId":"6","reason":"left")")}));
  EXPECT_EQ(run(store().load_room(kRoom))->members.size(), 1U);
  EXPECT_TRUE(run(store().rooms_of(bob_))->empty());
}

TEST_P(Ingest, ARoomChanges) {
  auto updated = [&](std::uint64_t seq, const char* name, const char* is_private) {
    return event(kRoom, seq, EventKind::room_updated, ann_,
                 std::string(R"(,"room":{"name":")") + name + R"(","description":"new","avatarUrl":null,"private":)" +
                     is_private + "}");
  };
  ASSERT_TRUE(ingest({updated(1, "Crew", "false")}));
  EXPECT_EQ(*run(store().find_room_by_name("crew")), kRoom);
  EXPECT_EQ(run(store().find_room_by_name("team")).error().code, Errc::not_found);
  EXPECT_EQ(run(store().load_room(kRoom))->room.description, "new");
  // A name that is another room's: the event stands, the room keeps its name.
  ASSERT_TRUE(ingest({updated(2, "LOBBY", "false")}));
  EXPECT_EQ(*run(store().find_room_by_name("crew")), kRoom);
  EXPECT_EQ(raw("SELECT count(*) FROM dead_letters WHERE seq = 2"), "1");
  ASSERT_TRUE(ingest({updated(3, "Crew", "true")}));
  EXPECT_EQ(run(store().find_room_by_name("crew")).error().code, Errc::not_found);
  EXPECT_TRUE(run(store().load_room(kRoom))->room.is_private);
}

TEST_P(Ingest, WhatIsRefusedIsADeadLetterAndLeavesNoHole) {
  Event rubbish = event(kRoom, 2, EventKind::message_created, ann_, "");
  rubbish.body = base::Blob::copy_of("{not json");
  std::vector<Event> batch{message(kRoom, 1, ann_, "one", "same"),
                           rubbish,
                           message(kRoom, 3, ann_, "again", "same"),
                           message(kRoom, 4, UserId{404}, "no such user"),
                           joined(5, UserId{404}),
                           message(kRoom, 6, ann_, "last")};
  ASSERT_TRUE(ingest(batch));
  EXPECT_EQ(raw("SELECT seq FROM dead_letters ORDER BY seq"), "2,3,4,5");
  EXPECT_EQ(raw("SELECT reason FROM dead_letters WHERE seq = 2"), "the body is not a JSON object");
  EXPECT_NE(raw("SELECT reason FROM dead_letters WHERE seq = 3").find("UNIQUE"), std::string::npos);
  EXPECT_NE(raw("SELECT upper(reason) FROM dead_letters WHERE seq = 4").find("FOREIGN KEY"), std::string::npos);
  EXPECT_EQ(raw("SELECT body FROM dead_letters WHERE seq = 2"), "{not json");
  EXPECT_EQ(ingested(), 6U);
  auto events = run(store().events_after(kRoom, 0, 100));
  ASSERT_EQ(events->size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(events->at(i).body, batch[i].body.view());
  EXPECT_EQ(run(store().history({.room = kRoom}))->messages.size(), 2U);
}

TEST_P(Ingest, AnEventOfNoRoomIsADeadLetter) {
  ASSERT_TRUE(ingest({message(RoomId{999}, 7, ann_, "lost"), message(kRoom, 1, ann_, "kept")}));
  EXPECT_EQ(raw("SELECT room_id || ' ' || seq || ' ' || reason FROM dead_letters"), "999 7 no such room");
  EXPECT_EQ(ingested(), 1U);
}

TEST_P(Ingest, AMessageThatIsNotItsEventsIsRefused) {
  Event odd = message(kRoom, 1, ann_, "one");
  odd.id = EventId{4242};
  ASSERT_TRUE(ingest({odd}));
  EXPECT_EQ(raw("SELECT reason FROM dead_letters"), "the message is not the event's");
}

TEST_P(Ingest, AnEphemeralRoomKeepsKeysAndNoContent) {
  add_room(101, "Gone", ann_, true);
  const RoomId gone{101};
  std::int64_t before = base::wall_ms() - 1;
  std::vector<Event> batch{message(gone, 1, ann_, "secret", "k1"), message(gone, 2, ann_, "secret"),
                           event(gone, 3, EventKind::role_changed, ann_, R"(,"userId":"5","role":"owner")"),
                           message(gone, 4, ann_, "secret", "k1")};
  for (Event& e : batch) e.at_ms = base::wall_ms();
  ASSERT_TRUE(ingest(batch));
  EXPECT_EQ(run(store().load_room(gone))->room.last_seq, 4U);
  EXPECT_EQ(run(store().load_room(gone))->room.message_count, 3U);
  EXPECT_TRUE(run(store().history({.room = gone}))->messages.empty());
  EXPECT_EQ(run(store().events_after(gone, 0, 10)).error().code, Errc::not_found);
  EXPECT_EQ(run(store().events_after(gone, 2, 10))->size(), 1U);
  auto found = run(store().find_by_client_id(gone, ann_, "k1"));
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->seq, 1U);
  EXPECT_EQ((*found)->text, "");
  EXPECT_EQ(*run(store().recent_client_keys(gone, before, 10)),
            (std::vector<std::uint64_t>{chat::client_key(ann_, "k1")}));
  client_.reset();
  store_.reset();
  for (const char* table : {"messages", "room_events", "dead_letters"})
    EXPECT_EQ(raw(std::string("SELECT count(*) FROM ") + table +
                  (table == std::string("messages") ? "" : " WHERE body LIKE '%secret%'")),
              "0");
}

TEST_P(Ingest, OldKeysOfEphemeralRoomsGo) {
  add_room(101, "Gone", ann_, true);
  std::vector<Event> batch;
  for (std::uint64_t seq = 1; seq <= 10; ++seq) {
    batch.push_back(message(RoomId{101}, seq, ann_, "x", "k" + std::to_string(seq)));
    batch.back().at_ms = base::wall_ms() - 26 * 3600 * 1000;
  }
  ASSERT_TRUE(ingest(batch));
  Event now = message(RoomId{101}, 11, ann_, "x", "now");
  now.at_ms = base::wall_ms();
  ASSERT_TRUE(ingest({now}));
  EXPECT_EQ(raw("SELECT client_id FROM ephemeral_sends"), "now");
}

TEST_P(Ingest, TheHighestIdCountsWhatIsGoneToo) {
  Event one = message(kRoom, 1, ann_, "one");
  ASSERT_TRUE(store_->ingest({one}));
  EXPECT_GE(*store_->highest_id(), one.id.value);
  std::int64_t now = base::wall_ms();
  chat::SessionRow session{
      .id = SessionId{one.id.value + 5}, .user = ann_, .created_ms = now, .expires_ms = now + 1000};
  ASSERT_TRUE(run(store().create_session(session)));
  ASSERT_TRUE(run(store().end_session(session.id)));
  reopen();
  EXPECT_GE(*store_->highest_id(), one.id.value + 5);
}

// ---- Read marks.

class Marks : public Ingest {
 protected:
  Marks() {
    EXPECT_TRUE(ingest({joined(1, bob_), message(kRoom, 2, ann_, "two"), message(kRoom, 3, ann_, "three"),
                        message(kRoom, 4, UserId{404}, "refused"), message(kRoom, 5, ann_, "five")}));
  }
  // "SEQ COUNT" of a member.
  std::string mark(UserId user) {
    return raw("SELECT read_seq || ' ' || read_count FROM members WHERE room_id = 100 AND user_id = " + user.text());
  }
  Result<void> set(UserId user, std::uint64_t seq, std::uint64_t count, std::uint64_t epoch = 1, RoomId room = kRoom) {
    return run(store().set_marks({{.room = room, .user = user, .epoch = epoch, .seq = seq, .count = count}}));
  }
  std::uint64_t count(std::uint64_t after, std::uint64_t up_to, RoomId room = kRoom) {
    return run(store().count_messages(room, after, up_to)).value_or(UINT64_MAX);
  }
};

TEST_P(Marks, WhoSendsHasReadUpToThere) {
  EXPECT_EQ(mark(ann_), "5 4");
  EXPECT_EQ(mark(bob_), "1 0");
  ASSERT_TRUE(ingest({message(kRoom, 6, bob_, "six"), event(kRoom, 7, EventKind::member_left, bob_, R"(,"userId":"6")"),
                      message(kRoom, 8, ann_, "eight"), joined(9, bob_), message(kRoom, 10, ann_, "ten")}));
  EXPECT_EQ(mark(ann_), "10 7");
  EXPECT_EQ(mark(bob_), "9 6");
}

TEST_P(Marks, AreOnlyRaised) {
  add_room(101, "Other", bob_);
  ASSERT_TRUE(ingest({message(RoomId{101}, 1, ann_, "of no member")}));
  ASSERT_TRUE(run(store().set_marks({{.room = RoomId{101}, .user = bob_, .seq = 1, .count = 1},
                                     {.room = kRoom, .user = bob_, .seq = 3, .count = 2},
                                     {.room = kRoom, .user = ann_, .seq = 3, .count = 2},
                                     {.room = kRoom, .user = UserId{404}, .seq = 3, .count = 2},
                                     {.room = RoomId{404}, .user = bob_, .seq = 3, .count = 2}})));
  EXPECT_EQ(mark(bob_), "3 2");
  EXPECT_EQ(mark(ann_), "5 4");
  ASSERT_TRUE(set(bob_, 2, 1));
  EXPECT_EQ(mark(bob_), "3 2");
  ASSERT_TRUE(run(store().set_marks({})));
  reopen();
  auto marks = run(store().marks_of(bob_));
  ASSERT_TRUE(marks);
  ASSERT_EQ(marks->size(), 2U);
  std::ranges::sort(*marks, {}, &chat::ReadMark::room);
  EXPECT_EQ((*marks)[0].room, kRoom);
  EXPECT_EQ((*marks)[0].epoch, 1U);
  EXPECT_EQ((*marks)[0].seq, 3U);
  EXPECT_EQ((*marks)[0].count, 2U);
  EXPECT_EQ((*marks)[1].seq, 1U);
}

TEST_P(Marks, AreNeitherAheadOfTheStoreNorOfAnotherEpoch) {
  ASSERT_TRUE(set(bob_, 6, 5));
  EXPECT_EQ(mark(bob_), "1 0");
  ASSERT_TRUE(run(store().begin_epoch(kRoom, 2)));
  ASSERT_TRUE(set(bob_, 3, 2));
  EXPECT_EQ(mark(bob_), "1 0");
  ASSERT_TRUE(set(bob_, 3, 2, 2));
  EXPECT_EQ(mark(bob_), "3 2");
}

TEST_P(Marks, MessagesAreCountedAsTheirRoomCountsThem) {
  EXPECT_EQ(run(store().load_room(kRoom))->room.message_count, 4U);
  EXPECT_EQ(count(0, 5), 4U) << "one that was refused is one, too";
  EXPECT_EQ(count(0, 1), 0U);
  EXPECT_EQ(count(2, 4), 2U);
  EXPECT_EQ(count(3, 3), 0U);
  const RoomId gone{101};
  add_room(101, "Gone", ann_, true);
  std::vector<Event> batch{message(gone, 1, ann_, "secret"),
                           event(gone, 2, EventKind::role_changed, ann_, R"(,"userId":"5","role":"admin")"),
                           message(gone, 3, ann_, "secret", "k")};
  for (Event& e : batch) e.at_ms = base::wall_ms();
  ASSERT_TRUE(ingest(batch));
  EXPECT_EQ(run(store().load_room(gone))->room.message_count, 2U);
  EXPECT_EQ(count(0, 3, gone), 2U);
  EXPECT_EQ(count(1, 3, gone), 1U);
  EXPECT_EQ(run(store().count_messages(RoomId{404}, 0, 1)).error().code, Errc::not_found);
}

ON_EVERY_ENGINE(Ingest);
ON_EVERY_ENGINE(Marks);

}  // namespace
}  // namespace ringline::backend::test
