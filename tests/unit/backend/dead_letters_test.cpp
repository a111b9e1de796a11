// Dead letters: what was refused, tried again after its reason is gone.
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

class DeadLetters : public StoreTest {
 protected:
  DeadLetters() {
    ann_ = add_user(5, "ann");
    add_room(100, "Team", ann_);
  }
  Event joined(std::uint64_t seq, UserId user, std::string_view role = "member") {
    return event(
        kRoom, seq, EventKind::member_joined, user,
        R"(,"member":{"user":{"id":")" + user.text() + R"("},"role":")" + std::string(role) + R"(","joinedAt":null})");
  }
  Event left(std::uint64_t seq, UserId user) {
    return event(kRoom, seq, EventKind::member_left, user, R"(,"userId":")" + user.text() + R"(")");
  }
  Event renamed(std::uint64_t seq, const std::string& name) {
    return event(kRoom, seq, EventKind::room_updated, ann_,
                 R"(,"room":{"name":")" + name + R"(","description":"","avatarUrl":"","private":false})");
  }
  std::vector<DeadLetter> letters() { return *store_->dead_letters({}, 100); }
  std::string retry(const Event& event) {
    auto reason = store_->retry_dead_letter(event);
    EXPECT_TRUE(reason) << reason.error().message;
    return reason.value_or("failed");
  }

  static constexpr RoomId kRoom{100};
  static constexpr UserId kBob{6};
  UserId ann_;
};

TEST_P(DeadLetters, AMessageWhoseSenderIsThereNowIsKept) {
  std::vector<Event> batch{message(kRoom, 1, ann_, "one"), message(kRoom, 2, kBob, "early", "k"),
                           message(kRoom, 3, ann_, "three")};
  ASSERT_TRUE(ingest(batch));
  auto found = letters();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].event.seq, 2U);
  EXPECT_EQ(found[0].event.actor, kBob);
  EXPECT_EQ(found[0].event.kind, EventKind::message_created);
  EXPECT_EQ(found[0].event.body.view(), batch[1].body.view());
  EXPECT_GE(found[0].refused_ms, base::wall_ms() - 60'000);
  EXPECT_EQ(retry(batch[1]), letters()[0].reason);  // as before
  EXPECT_EQ(run(store().history({.room = kRoom}))->messages.size(), 2U);
  EXPECT_EQ(run(store().events_after(kRoom, 0, 10))->size(), 3U);

  add_user(kBob.value, "bob");
  EXPECT_EQ(retry(batch[1]), "");
  EXPECT_TRUE(letters().empty());
  auto page = run(store().history({.room = kRoom}));
  ASSERT_EQ(page->messages.size(), 3U);
  EXPECT_EQ(page->messages[1].text, "early");
  EXPECT_EQ(run(store().events_after(kRoom, 0, 10))->size(), 3U);
  EXPECT_EQ(raw("SELECT count(*) FROM room_events"), "0");
  auto room = run(store().load_room(kRoom));
  EXPECT_EQ(room->room.last_seq, 3U);
  EXPECT_EQ(room->room.message_count, 3U);
  EXPECT_EQ(raw("SELECT updated_ms FROM rooms WHERE id = 100"), std::to_string(batch[2].at_ms));
  ASSERT_TRUE(ingest({message(kRoom, 4, kBob, "goes on")}));
  EXPECT_EQ(store_->retry_dead_letter(batch[1]).error().code, Errc::not_found);
}

TEST_P(DeadLetters, EventsOfARoomThatIsThereNowAreTakenInOrder) {
  std::vector<Event> batch{message(RoomId{200}, 1, ann_, "one"), message(RoomId{200}, 2, ann_, "two")};
  ASSERT_TRUE(ingest(batch));
  EXPECT_EQ(retry(batch[0]), "no such room");
  add_room(200, "Late", ann_);
  EXPECT_EQ(retry(batch[1]), "events 1 to 1 of the room are missing");
  EXPECT_EQ(letters().size(), 2U);
  EXPECT_EQ(retry(batch[0]), "");
  EXPECT_EQ(retry(batch[1]), "");
  EXPECT_EQ(run(store().history({.room = RoomId{200}}))->messages.size(), 2U);
  EXPECT_EQ(run(store().load_room(RoomId{200}))->room.last_seq, 2U);
}

TEST_P(DeadLetters, OfAnEpochThatHasEndedAreTakenTooSinceTheirPlaceIsFree) {
  const std::vector<Event> batch{message(RoomId{300}, 1, ann_, "one")};
  ASSERT_TRUE(ingest(batch));
  add_room(300, "Late", ann_);
  ASSERT_TRUE(store_->bump_epochs());
  EXPECT_EQ(retry(batch[0]), "");
  EXPECT_EQ(run(store().load_room(RoomId{300}))->room.last_seq, 1U);
}

TEST_P(DeadLetters, WhatLaterEventsSayIsNotUndone) {
  std::vector<Event> batch{joined(1, kBob), renamed(2, "lobby"), message(kRoom, 3, ann_, "x")};
  ASSERT_TRUE(ingest(batch));
  ASSERT_EQ(letters().size(), 2U);
  add_user(kBob.value, "bob");
  ASSERT_TRUE(ingest({joined(4, kBob, "admin"), left(5, ann_), renamed(6, "Crew")}));
  EXPECT_EQ(retry(batch[0]), "event 4 of the room says otherwise since: drop it");
  EXPECT_EQ(retry(batch[1]), "event 6 of the room says otherwise since: drop it");
  auto room = run(store().load_room(kRoom));
  ASSERT_EQ(room->members.size(), 1U);
  EXPECT_EQ(room->members[0].member.role, chat::MemberRole::admin);
  EXPECT_EQ(*run(store().find_room_by_name("crew")), kRoom);
  EXPECT_EQ(letters().size(), 2U);
  EXPECT_TRUE(store_->drop_dead_letter(batch[0]));
  EXPECT_EQ(store_->drop_dead_letter(batch[0]).error().code, Errc::not_found);
  EXPECT_EQ(letters().size(), 1U);
}

TEST_P(DeadLetters, AMemberWhoIsThereNowJoins) {
  const Event late = joined(1, kBob);
  ASSERT_TRUE(ingest({late, message(kRoom, 2, ann_, "x"), left(3, ann_)}));
  EXPECT_NE(retry(late), "");
  add_user(kBob.value, "bob");
  EXPECT_EQ(retry(late), "");
  EXPECT_EQ(run(store().load_room(kRoom))->members.size(), 1U);
}

TEST_P(DeadLetters, TheyComeInOrderAndInPages) {
  std::vector<Event> batch;
  for (std::uint64_t seq = 1; seq <= 5; ++seq) batch.push_back(message(kRoom, seq, UserId{404}, "x"));
  batch.push_back(message(RoomId{99}, 1, ann_, "x"));
  ASSERT_TRUE(ingest(batch));
  auto first = *store_->dead_letters({}, 4);
  ASSERT_EQ(first.size(), 4U);
  EXPECT_EQ(first[0].event.room, RoomId{99});
  auto rest = *store_->dead_letters(first.back().event, 4);
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_EQ(rest[1].event.seq, 5U);
}

ON_EVERY_ENGINE(DeadLetters);

}  // namespace
}  // namespace ringline::backend::test
