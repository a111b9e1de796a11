// Rooms: names and pairs are unique, what a home core loads, lists.
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

class Rooms : public StoreTest {
 protected:
  Rooms() {
    ann_ = add_user(5, "ann");
    bob_ = add_user(6, "bob");
  }
  UserId ann_;
  UserId bob_;
};

TEST_P(Rooms, TheLobbyIsThere) {
  EXPECT_EQ(*run(store().find_room_by_name("Lobby")), kLobby);
  auto lobby = run(store().load_room(kLobby));
  ASSERT_TRUE(lobby);
  EXPECT_EQ(lobby->room.type, chat::RoomType::group);
  EXPECT_FALSE(lobby->room.is_private);
  EXPECT_FALSE(lobby->room.created_by);
  EXPECT_GT(lobby->room.created_ms, 0);
  EXPECT_TRUE(lobby->members.empty());
  EXPECT_FALSE(lobby->last_message);
}

TEST_P(Rooms, AreLoadedWithMembersAndLastMessage) {
  chat::Room made = add_room(100, "Team", ann_);
  EXPECT_EQ(made.last_seq, 0U);
  ASSERT_TRUE(ingest({message(RoomId{100}, 1, ann_, "one"), message(RoomId{100}, 2, ann_, "two"),
                      event(RoomId{100}, 3, EventKind::role_changed, ann_, R"(,"userId":"5","role":"admin")")}));
  auto room = run(store().load_room(RoomId{100}));
  ASSERT_TRUE(room);
  EXPECT_EQ(room->room.name, "Team");
  EXPECT_EQ(room->room.created_by, ann_);
  EXPECT_EQ(room->room.last_seq, 3U);
  EXPECT_EQ(room->room.message_count, 2U);
  EXPECT_EQ(room->room.updated_ms, kNow + 3);
  ASSERT_EQ(room->members.size(), 1U);
  EXPECT_EQ(room->members[0].user.username, "ann");
  EXPECT_EQ(room->members[0].member.role, chat::MemberRole::admin);
  ASSERT_TRUE(room->last_message);
  EXPECT_EQ(room->last_message->text, "two");
  EXPECT_EQ(run(store().load_room(RoomId{101})).error().code, Errc::not_found);
}

TEST_P(Rooms, APublicNameIsTakenOnceAndAPrivateOneNever) {
  add_room(100, "Team", ann_);
  chat::Room second{.id = RoomId{101}, .name = "tEAM", .created_by = ann_};
  EXPECT_EQ(run(store().create_room(second, {}, {})).error().code, Errc::conflict);
  EXPECT_EQ(run(store().load_room(RoomId{101})).error().code, Errc::not_found);
  second.is_private = true;
  EXPECT_TRUE(run(store().create_room(second, {}, {})));
  EXPECT_EQ(*run(store().find_room_by_name("TEAM")), RoomId{100});
  EXPECT_EQ(run(store().find_room_by_name("other")).error().code, Errc::not_found);
}

TEST_P(Rooms, ADirectRoomOfTwoIsOne) {
  chat::Room direct{.id = RoomId{100}, .type = chat::RoomType::direct, .is_private = true, .created_by = ann_};
  std::vector<chat::Member> both{{.user = ann_}, {.user = bob_}};
  auto first = run(store().create_room(direct, both, "5:6"));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->members.size(), 2U);
  direct.id = RoomId{101};
  auto second = run(store().create_room(direct, both, "5:6"));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->room.id, RoomId{100});
  EXPECT_EQ(second->members.size(), 2U);
}

TEST_P(Rooms, AMemberThatIsNoUserUndoesTheWhole) {
  chat::Room room{.id = RoomId{100}, .name = "Team", .created_by = ann_};
  std::vector<chat::Member> members{{.user = ann_}, {.user = UserId{77}}};
  EXPECT_EQ(run(store().create_room(room, members, {})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().find_room_by_name("team")).error().code, Errc::not_found);
}

TEST_P(Rooms, PublicOnesAreListedNewestFirstInPages) {
  add_room(100, "Apples", ann_);
  add_room(101, "Pears", ann_);
  add_room(102, "Pineapples", bob_);
  ASSERT_TRUE(run(store().create_room(
      {.id = RoomId{103}, .name = "Secret apples", .is_private = true, .created_by = ann_}, {}, {})));
  auto page = run(store().list_public_rooms("", "", 2));
  ASSERT_EQ(page->rooms.size(), 2U);
  EXPECT_EQ(page->rooms[0].name, "Pineapples");
  EXPECT_EQ(page->member_counts, (std::vector<std::uint64_t>{1, 1}));
  ASSERT_TRUE(page->next_cursor);
  auto rest = run(store().list_public_rooms("", *page->next_cursor, 2));
  ASSERT_EQ(rest->rooms.size(), 2U);
  EXPECT_EQ(rest->rooms[1].name, "lobby");
  EXPECT_FALSE(rest->next_cursor);
  EXPECT_EQ(run(store().list_public_rooms("APPLE", "", 10))->rooms.size(), 2U);
  EXPECT_EQ(run(store().list_public_rooms("100%", "", 10))->rooms.size(), 0U);
  auto bad = run(store().list_public_rooms("", "x", 10));
  EXPECT_EQ(bad.error().code, Errc::invalid);
  EXPECT_EQ(bad.error().field, "cursor");
}

TEST_P(Rooms, OfAUserAreInOrderOfActivity) {
  add_room(100, "a", ann_);
  add_room(101, "b", ann_);
  add_room(102, "c", bob_);
  ASSERT_TRUE(ingest({message(RoomId{100}, 1, ann_, "hi")}));
  EXPECT_EQ(*run(store().rooms_of(ann_)), (std::vector<RoomId>{RoomId{100}, RoomId{101}}));
  EXPECT_EQ(*run(store().rooms_made_by(ann_)), 2U);
  ASSERT_TRUE(ingest({event(RoomId{100}, 2, EventKind::room_deleted, ann_, "")}));
  EXPECT_EQ(*run(store().rooms_of(ann_)), (std::vector<RoomId>{RoomId{101}}));
  EXPECT_EQ(*run(store().rooms_made_by(ann_)), 1U);
  EXPECT_EQ(run(store().load_room(RoomId{100})).error().code, Errc::not_found);
  EXPECT_EQ(add_room(104, "A", bob_).id, RoomId{104});  // the name is free again
}

ON_EVERY_ENGINE(Rooms);

}  // namespace
}  // namespace ringline::backend::test
