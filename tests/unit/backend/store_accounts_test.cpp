// Accounts, guests and sessions.
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using Accounts = StoreTest;

TEST_P(Accounts, AreFoundByIdAndByNameRegardlessOfCase) {
  Account made = account(5, "Ärger");
  made.user.email = "a@example.org";
  made.user.role = chat::UserRole::moderator;
  made.user.bio = "a \"quoted\" \\ bio";
  ASSERT_TRUE(run(store().create_account(made)));
  for (auto found : {run(store().find_account(UserId{5})), run(store().find_account_by_name("äRGER"))}) {
    ASSERT_TRUE(found);
    EXPECT_EQ(found->user.username, "Ärger");
    EXPECT_EQ(found->user.email, "a@example.org");
    EXPECT_EQ(found->user.role, chat::UserRole::moderator);
    EXPECT_EQ(found->user.bio, made.user.bio);
    EXPECT_EQ(found->password_hash, "$2b$04$hash");
    EXPECT_EQ(found->user.created_ms, kNow);
    EXPECT_FALSE(found->banned);
  }
  EXPECT_EQ(run(store().find_account(UserId{6})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().find_account_by_name("nobody")).error().code, Errc::not_found);
}

TEST_P(Accounts, ANameIsTakenOnce) {
  add_user(5, "Ann");
  auto again = run(store().create_account(account(6, "aNN")));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::conflict);
  EXPECT_EQ(run(store().find_account(UserId{6})).error().code, Errc::not_found);
}

TEST_P(Accounts, AGuestWhoseNameIsTakenGetsTheNextNumber) {
  add_user(5, "Ann");
  add_user(6, "ann-3");
  EXPECT_EQ(run(store().create_guest(account(10, "Ann", true)))->user.username, "Ann-2");
  auto next = run(store().create_guest(account(11, "ANN", true)));
  EXPECT_EQ(next->user.username, "ANN-4");
  EXPECT_EQ(next->user.display_name, "ANN-4");
  EXPECT_EQ(run(store().create_guest(account(12, "ann", true)))->user.username, "ann-5");
  EXPECT_EQ(run(store().create_guest(account(13, "bob", true)))->user.username, "bob");
  EXPECT_TRUE(run(store().find_account(UserId{12}))->user.guest);
}

TEST_P(Accounts, ANumberedNameStaysWithinTheLengthOfAName) {
  std::string longest;
  for (int i = 0; i < 64; ++i) longest += "ü";
  EXPECT_EQ(run(store().create_guest(account(10, longest, true)))->user.username, longest);
  EXPECT_EQ(run(store().create_guest(account(11, longest, true)))->user.username,
            longest.substr(0, std::size_t{62} * 2) + "-2");
}

TEST_P(Accounts, AGuestBecomesAnAccountUnderHisId) {
  ASSERT_TRUE(run(store().create_guest(account(10, "guest-1", true))));
  add_user(5, "Ann");
  auto taken = run(store().promote_guest(UserId{10}, account(10, "ann")));
  EXPECT_EQ(taken.error().code, Errc::conflict);
  auto made = run(store().promote_guest(UserId{10}, account(10, "Bob")));
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->user.id, UserId{10});
  EXPECT_EQ(made->user.username, "Bob");
  EXPECT_FALSE(made->user.guest);
  EXPECT_EQ(made->password_hash, "$2b$04$hash");
  EXPECT_EQ(run(store().promote_guest(UserId{10}, account(10, "Bobby"))).error().code, Errc::conflict);
  EXPECT_EQ(run(store().promote_guest(UserId{99}, account(99, "Cy"))).error().code, Errc::not_found);
}

TEST_P(Accounts, PasswordAndLastSeenAreKept) {
  add_user(5, "Ann");
  ASSERT_TRUE(run(store().set_password_hash(UserId{5}, "other")));
  ASSERT_TRUE(run(store().set_last_seen(UserId{5}, kNow + 9)));
  ASSERT_TRUE(run(store().set_last_seen(UserId{5}, kNow + 3)));
  reopen();
  auto found = run(store().find_account(UserId{5}));
  EXPECT_EQ(found->password_hash, "other");
  EXPECT_EQ(found->user.last_seen_ms, kNow + 9);
  EXPECT_EQ(run(store().set_password_hash(UserId{6}, "x")).error().code, Errc::not_found);
}

class Sessions : public StoreTest {
 protected:
  chat::SessionRow session(std::uint64_t id, std::int64_t expires_in_ms = 60'000) {
    std::int64_t now = base::wall_ms();
    return {.id = SessionId{id},
            .user = UserId{5},
            .rotated_ms = now,
            .created_ms = now,
            .last_used_ms = now,
            .expires_ms = now + expires_in_ms,
            .user_agent = "agent",
            .address = "::1"};
  }
};

TEST_P(Sessions, AreThereUntilTheyEndOrExpire) {
  add_user(5, "Ann");
  ASSERT_TRUE(run(store().create_session(session(20))));
  ASSERT_TRUE(run(store().create_session(session(21))));
  ASSERT_TRUE(run(store().create_session(session(22, -1))));
  auto found = run(store().find_session(SessionId{20}));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->user, UserId{5});
  EXPECT_EQ(found->user_agent, "agent");
  EXPECT_EQ(found->address, "::1");
  EXPECT_EQ(run(store().find_session(SessionId{22})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().sessions_of(UserId{5}))->size(), 2U);
  ASSERT_TRUE(run(store().end_session(SessionId{20})));
  EXPECT_EQ(run(store().find_session(SessionId{20})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().sessions_of(UserId{5}))->at(0).id, SessionId{21});
}

TEST_P(Sessions, ThoseOfManyThatHaveEndedAreNamed) {
  add_user(5, "Ann");
  std::vector<SessionId> ids;
  for (std::uint64_t id = 20; id < 60; ++id) {
    ASSERT_TRUE(run(store().create_session(session(id))));
    ids.emplace_back(id);
  }
  ids.emplace_back(70);
  ASSERT_TRUE(run(store().end_session(SessionId{25})));
  auto ended = run(store().ended_sessions(ids));
  ASSERT_TRUE(ended);
  EXPECT_EQ(*ended, (std::vector<SessionId>{SessionId{25}, SessionId{70}}));
  EXPECT_TRUE(run(store().ended_sessions({}))->empty());
}

TEST_P(Sessions, ANewOneRemovesExpiredOnes) {
  add_user(5, "Ann");
  for (std::uint64_t id = 20; id < 30; ++id) ASSERT_TRUE(run(store().create_session(session(id, -1))));
  EXPECT_EQ(raw("SELECT count(*) FROM sessions"), "1");
}

TEST_P(Sessions, NeedAUser) { EXPECT_EQ(run(store().create_session(session(20))).error().code, Errc::not_found); }

TEST_P(Sessions, RotateOnceAGeneration) {
  add_user(5, "Ann");
  ASSERT_TRUE(run(store().create_session(session(20))));
  std::int64_t now = base::wall_ms();
  auto rotated = run(store().rotate_session(SessionId{20}, 0, now, now + 100'000));
  ASSERT_TRUE(rotated);
  EXPECT_EQ(rotated->generation, 1U);
  EXPECT_EQ(rotated->rotated_ms, now);
  EXPECT_EQ(rotated->expires_ms, now + 100'000);
  EXPECT_EQ(run(store().rotate_session(SessionId{20}, 0, now, now + 1)).error().code, Errc::conflict);
  EXPECT_EQ(run(store().rotate_session(SessionId{99}, 0, now, now + 1)).error().code, Errc::not_found);
  EXPECT_EQ(run(store().find_session(SessionId{20}))->generation, 1U);
}

// ---- Guests who do not come back.

constexpr std::int64_t kDayMs = 24 * 3600 * 1000;

class IdleGuests : public Sessions {
 protected:
  void SetUp() override { add_user(5, "Ann"); }
  UserId add_guest(std::uint64_t id, std::int64_t days_ago) {
    Account made = account(id, "guest-" + std::to_string(id), true);
    made.user.created_ms = base::wall_ms() - days_ago * kDayMs;
    EXPECT_TRUE(run(store().create_guest(made)));
    return UserId{id};
  }
  // Not seen for 30 days.
  chat::IdleGuests remove(std::size_t limit = 100) {
    auto removed = run(store().remove_idle_guests(base::wall_ms() - 30 * kDayMs, limit));
    EXPECT_TRUE(removed);
    return removed.value_or(chat::IdleGuests{});
  }
  std::string left() { return raw("SELECT id FROM users WHERE id != 5 ORDER BY id"); }
};

TEST_P(IdleGuests, AreRemovedWhenNothingOfTheirsIsKept) {
  add_guest(10, 40);
  add_guest(11, 29);  // was seen not so long ago
  UserId wrote = add_guest(12, 40), made_room = add_guest(13, 40), direct = add_guest(14, 40), kept = add_guest(15, 40);
  Account person = account(16, "person");
  person.user.created_ms = 1;
  ASSERT_TRUE(run(store().create_account(person)));
  add_room(1000, "room", UserId{5});
  add_room(1001, "his", made_room);
  ASSERT_TRUE(ingest({message(RoomId{1000}, 1, wrote, "I was here")}));
  chat::Room pair{.id = RoomId{1002}, .type = chat::RoomType::direct, .is_private = true, .created_by = UserId{5}};
  std::vector<chat::Member> both{{.user = UserId{5}}, {.user = direct}};
  ASSERT_TRUE(run(store().create_room(pair, both, "5:14")));
  chat::SessionRow alive = session(500);
  alive.user = kept;
  ASSERT_TRUE(run(store().create_session(alive)));

  EXPECT_EQ(remove().removed, 1U);
  EXPECT_EQ(left(), "11,12,13,14,15,16");
  EXPECT_EQ(run(store().find_account(UserId{10})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().history({.room = RoomId{1000}}))->messages.size(), 1U) << "with its sender";
  EXPECT_EQ(remove().removed, 0U);
  if (engine_ == Engine::sqlite) EXPECT_EQ(raw("PRAGMA foreign_key_check"), "");
}

TEST_P(IdleGuests, InRoomsLeaveThemFirst) {
  UserId guest = add_guest(10, 40);
  add_room(1000, "room", UserId{5});
  const std::string member = R"(,"member":{"user":{"id":"10"},"role":"member"})";
  ASSERT_TRUE(ingest({event(RoomId{1000}, 1, EventKind::member_joined, guest, member)}));
  for (int time = 0; time < 2; ++time) {
    auto idle = remove();
    EXPECT_EQ(idle.removed, 0U);
    ASSERT_EQ(idle.memberships.size(), 1U);
    EXPECT_EQ(idle.memberships[0], std::pair(guest, RoomId{1000}));
  }
  ASSERT_TRUE(ingest({event(RoomId{1000}, 2, EventKind::member_left, guest, R"(,"userId":"10","reason":"left")")}));
  EXPECT_EQ(remove().removed, 1U);
  EXPECT_EQ(left(), "");
}

TEST_P(IdleGuests, WereSeenWhenTheirLastSessionWasUsed) {
  UserId guest = add_guest(10, 40), ended = add_guest(11, 40);
  chat::SessionRow old = session(500, -1);
  old.user = guest;
  old.last_used_ms -= 2 * kDayMs;
  ASSERT_TRUE(run(store().create_session(old)));
  EXPECT_EQ(remove().removed, 1U) << "the other one";
  add_guest(11, 40);
  chat::SessionRow open = session(501);
  open.user = ended;
  ASSERT_TRUE(run(store().create_session(open)));  // takes away the one that has expired
  EXPECT_EQ(raw("SELECT count(*) FROM sessions"), "1");
  ASSERT_TRUE(run(store().end_session(open.id)));
  EXPECT_EQ(remove().removed, 0U);
  EXPECT_EQ(left(), "10,11");
}

TEST_P(IdleGuests, GoInBatchesAndForeignKeysHoldAfterwards) {
  for (std::uint64_t id = 10; id < 35; ++id) add_guest(id, 40);
  EXPECT_EQ(remove(10).removed, 10U);
  EXPECT_EQ(remove(10).removed, 10U);
  EXPECT_EQ(remove(10).removed, 5U);
  chat::SessionRow of_nobody = session(500);
  of_nobody.user = UserId{10};
  EXPECT_EQ(run(store().create_session(of_nobody)).error().code, Errc::not_found);
}

ON_EVERY_ENGINE(Accounts);
ON_EVERY_ENGINE(IdleGuests);
ON_EVERY_ENGINE(Sessions);

}  // namespace
}  // namespace ringline::backend::test
