// What is known of files, and messages that name them.
#include "ringline/chat/blobs.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using base::FileId;
using chat::File;
using chat::FileState;

constexpr std::size_t kMany = 100;

class Files : public StoreTest {
 protected:
  Files() {
    ann_ = add_user(5, "ann");
    bob_ = add_user(6, "bob");
    add_room(100, "Team", ann_);
    add_room(101, "Other", ann_);
  }
  File draft(std::uint64_t id, UserId owner, std::uint64_t room = 0) {
    return {.id = FileId{id},
            .owner = owner,
            .room = RoomId{room},
            .name = "a \"name\".png",
            .mime_type = "image/png",
            .size = 70'000'000'000,
            .created_ms = kNow,
            .expires_ms = kNow + 1000};
  }
  void add(std::uint64_t id, UserId owner, std::uint64_t room = 0) {
    auto made = run(store().create_file(draft(id, owner, room), kMany));
    EXPECT_TRUE(made) << made.error().message;
  }
  void add_ready(std::uint64_t id, UserId owner, std::uint64_t room = 0) {
    add(id, owner, room);
    EXPECT_TRUE(run(store().complete_file(FileId{id}, 0)));
  }
  std::string listed(chat::FileQuery query) {
    auto page = run(store().list_files(std::move(query)));
    if (!page) return page.error().message;
    std::string ids;
    for (const File& file : page->files) ids += file.id.text() + " ";
    return ids + page->next_cursor.value_or("end");
  }
  Errc attach(std::uint64_t id, UserId owner, std::uint64_t room) {
    auto attached = run(store().attach_file(FileId{id}, owner, RoomId{room}));
    return attached ? Errc::internal : attached.error().code;
  }

  UserId ann_, bob_;
};

TEST_P(Files, AreKeptAsTheyAreDeclared) {
  add(1000, ann_, 100);
  reopen();
  auto file = run(store().find_file(FileId{1000}));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->owner, ann_);
  EXPECT_EQ(file->room, RoomId{100});
  EXPECT_EQ(file->name, "a \"name\".png");
  EXPECT_EQ(file->mime_type, "image/png");
  EXPECT_EQ(file->size, 70'000'000'000U);
  EXPECT_EQ(file->state, FileState::waiting);
  EXPECT_EQ(file->created_ms, kNow);
  EXPECT_EQ(file->expires_ms, kNow + 1000);
  EXPECT_EQ(run(store().find_file(FileId{1001})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().create_file(draft(1002, ann_, 999), kMany)).error().code, Errc::not_found);
}

TEST_P(Files, SoManyOfAUserMayWait) {
  add(1000, ann_);
  add(1001, ann_);
  EXPECT_EQ(run(store().create_file(draft(1002, ann_), 2)).error().code, Errc::rate_limited);
  EXPECT_TRUE(run(store().create_file(draft(1003, bob_), 2)));
  ASSERT_TRUE(run(store().complete_file(FileId{1000}, 0)));
  EXPECT_TRUE(run(store().create_file(draft(1002, ann_), 2)));
}

TEST_P(Files, AreCompletedOnce) {
  add(1000, ann_);
  auto ready = run(store().complete_file(FileId{1000}, kNow + 5));
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->state, FileState::ready);
  EXPECT_EQ(ready->expires_ms, kNow + 5);
  EXPECT_EQ(run(store().complete_file(FileId{1000}, kNow + 9))->expires_ms, kNow + 5);
  EXPECT_EQ(run(store().complete_file(FileId{1001}, 0)).error().code, Errc::not_found);
}

TEST_P(Files, BelongToOneRoomAtMost) {
  add(999, ann_);
  EXPECT_EQ(attach(999, ann_, 100), Errc::conflict) << "it is not there yet";
  add_ready(1000, ann_);
  EXPECT_EQ(attach(1000, bob_, 100), Errc::not_found) << "it is not his";
  auto attached = run(store().attach_file(FileId{1000}, ann_, RoomId{100}));
  ASSERT_TRUE(attached);
  EXPECT_EQ(attached->room, RoomId{100});
  EXPECT_TRUE(attached->sent);
  EXPECT_TRUE(run(store().attach_file(FileId{1000}, ann_, RoomId{100}))) << "a second time in the same room";
  EXPECT_EQ(attach(1000, ann_, 101), Errc::conflict);
  EXPECT_EQ(attach(1001, ann_, 100), Errc::not_found);
}

TEST_P(Files, AreListedByPagesNewestFirst) {
  for (std::uint64_t id = 1000; id < 1005; ++id) add_ready(id, ann_, id % 2 == 0 ? 100 : 0);
  add(1005, ann_);
  add_ready(1006, bob_);
  EXPECT_EQ(listed({.owner = ann_, .cursor = {}, .limit = 3}), "1004 1003 1002 1002");
  EXPECT_EQ(listed({.owner = ann_, .cursor = "1002", .limit = 3}), "1001 1000 end");
  EXPECT_EQ(listed({.owner = ann_, .room = RoomId{100}, .cursor = {}, .limit = 50}), "1004 1002 1000 end");
  EXPECT_EQ(listed({.owner = ann_, .cursor = "x", .limit = 3}), "is not one that was given out");
}

TEST_P(Files, GoAtOnceAndAreForgottenWhenTheirBytesAreRemoved) {
  add_ready(1000, ann_);
  ASSERT_TRUE(run(store().drop_file(FileId{1000}, kNow)));
  EXPECT_EQ(run(store().find_file(FileId{1000})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().drop_file(FileId{1000}, kNow)).error().code, Errc::not_found);
  EXPECT_EQ(run(store().take_expired_files(kNow, 10))->size(), 1U) << "its bytes may be there still";
  ASSERT_TRUE(run(store().forget_file(FileId{1000})));
  EXPECT_TRUE(run(store().take_expired_files(kNow, 10))->empty());
  EXPECT_EQ(raw("SELECT count(*) FROM files"), "0");
}

TEST_P(Files, ThoseWhoseTimeIsOverAreGone) {
  add(1000, ann_);
  add_ready(1001, ann_);
  auto expired = run(store().take_expired_files(kNow + 1000, 10));
  ASSERT_TRUE(expired);
  EXPECT_EQ(*expired, std::vector{FileId{1000}});
  EXPECT_EQ(run(store().find_file(FileId{1000})).error().code, Errc::not_found);
  EXPECT_EQ(run(store().complete_file(FileId{1000}, 0)).error().code, Errc::not_found) << "too late";
  EXPECT_TRUE(run(store().find_file(FileId{1001})));
}

TEST_P(Files, OfAGuestStayWhenHeBecomesAnAccount) {
  ASSERT_TRUE(run(store().create_guest(account(10, "guest-1", true))));
  add(1000, UserId{10});
  ASSERT_TRUE(run(store().complete_file(FileId{1000}, kNow + 5)));
  EXPECT_EQ(run(store().remove_idle_guests(kNow + 100, 10))->removed, 0U) << "while a file of his is known";
  ASSERT_TRUE(run(store().promote_guest(UserId{10}, account(10, "carl"))));
  EXPECT_TRUE(run(store().take_expired_files(kNow + 100, 10))->empty());
}

TEST_P(Files, AnAvatarIsForEverybodyAndTheOneBeforeGoes) {
  for (std::uint64_t id : {1000, 1001, 1002}) add_ready(id, ann_);
  auto shown = run(store().set_avatar(ann_, FileId{1000}, "/1000", kNow + 1));
  ASSERT_TRUE(shown) << shown.error().message;
  EXPECT_EQ(shown->user.avatar_url, "/1000");
  EXPECT_EQ(shown->user.updated_ms, kNow + 1);
  EXPECT_TRUE(run(store().find_file(FileId{1000}))->open);
  EXPECT_EQ(run(store().set_avatar(bob_, FileId{1001}, "/1001", kNow)).error().code, Errc::not_found);
  ASSERT_TRUE(run(store().set_avatar(ann_, FileId{1001}, "/1001", kNow + 2)));
  EXPECT_EQ(run(store().find_file(FileId{1000})).error().code, Errc::not_found);
  EXPECT_EQ(*run(store().take_expired_files(kNow + 2, 10)), std::vector{FileId{1000}});
  ASSERT_TRUE(run(store().attach_file(FileId{1001}, ann_, RoomId{100})));
  ASSERT_TRUE(run(store().set_avatar(ann_, FileId{1002}, "/1002", kNow + 3)));
  EXPECT_TRUE(run(store().find_file(FileId{1001}))) << "a message may name it";
}

// A message keeps the name of its file when that is gone.
TEST_P(Files, AreInTheMessagesThatNameThem) {
  const chat::SignedLinks links({"a secret"}, std::chrono::hours(1));
  client_ = store_->client(*loop_, &links);
  add_ready(1000, ann_);
  ASSERT_TRUE(run(store().attach_file(FileId{1000}, ann_, RoomId{100})));
  Event head = event(RoomId{100}, 1, EventKind::message_created, ann_, "");
  Message sent{.id = head.id, .room = RoomId{100}, .seq = 1, .sender = ann_, .sender_username = "ann", .type = "image"};
  sent.file = *run(store().find_file(FileId{1000}));
  sent.created_ms = head.at_ms;
  base::json::Writer out;
  chat::write_message(out, sent);
  ASSERT_TRUE(
      ingest({event(RoomId{100}, 1, EventKind::message_created, ann_, R"(,"message":)" + std::string(out.view()))}));
  EXPECT_EQ(raw("SELECT count(*) FROM dead_letters"), "0");

  auto page = run(store().history({.room = RoomId{100}}));
  ASSERT_TRUE(page);
  ASSERT_TRUE(page->messages.at(0).file);
  EXPECT_EQ(page->messages[0].file->name, "a \"name\".png");
  EXPECT_TRUE(page->messages[0].file->url.starts_with("/api/v1/files/1000/content?")) << page->messages[0].file->url;
  auto events = run(store().events_after(RoomId{100}, 0, 10));
  ASSERT_TRUE(events);
  EXPECT_NE(events->at(0).body.find(R"("file":{"id":"1000")"), std::string::npos);
  EXPECT_NE(events->at(0).body.find("&signature="), std::string::npos);
  EXPECT_EQ(run(store().load_room(RoomId{100}))->last_message->file->id, FileId{1000});

  ASSERT_TRUE(run(store().drop_file(FileId{1000}, kNow)));
  ASSERT_TRUE(run(store().forget_file(FileId{1000})));
  page = run(store().history({.room = RoomId{100}}));
  ASSERT_TRUE(page->messages.at(0).file);
  EXPECT_EQ(page->messages[0].file->name, "a \"name\".png");
  EXPECT_EQ(page->messages[0].file->url, "");
}

ON_EVERY_ENGINE(Files);

}  // namespace
}  // namespace ringline::backend::test
