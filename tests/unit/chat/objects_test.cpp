// The objects' JSON to the letter, the message's way back, and names.
#include "ringline/chat/objects.hpp"

#include <gtest/gtest.h>

#include "ringline/chat/event.hpp"

namespace ringline::chat {
namespace {

using base::json::Writer;

constexpr std::int64_t kAt = 1'769'903'999'123;  // 2026-01-31T23:59:59.123Z

TEST(Events, HaveOneEnvelope) {
  Event event{
      .room = RoomId{7}, .seq = 3, .epoch = 2, .id = base::EventId{41}, .at_ms = kAt, .actor = UserId{9}, .body = {}};
  Writer out;
  begin_event(out, event, "ann \"a\"");
  out.key("message").raw("{}");
  end_message_created(out, "key-1");
  EXPECT_EQ(out.view(), R"({"roomId":"7","seq":3,"epoch":2,"id":"41","at":"2026-01-31T23:59:59.123Z",)"
                        R"("actor":{"id":"9","username":"ann \"a\""},"message":{},"clientId":"key-1"})");
  out.clear();
  begin_event(out, event, "ann");
  end_message_created(out, {});
  EXPECT_TRUE(out.view().ends_with(R"("username":"ann"}})")) << out.view();
}

TEST(Names, GoBothWays) {
  for (auto role : {UserRole::user, UserRole::moderator, UserRole::admin}) EXPECT_EQ(user_role(name_of(role)), role);
  for (auto s : {Status::offline, Status::online, Status::away, Status::busy}) EXPECT_EQ(status(name_of(s)), s);
  for (auto type : {RoomType::direct, RoomType::group, RoomType::channel}) EXPECT_EQ(room_type(name_of(type)), type);
  for (auto role : {MemberRole::member, MemberRole::admin, MemberRole::owner})
    EXPECT_EQ(member_role(name_of(role)), role);
  EXPECT_FALSE(user_role("owner") || status("") || room_type("Direct") || member_role("user"));
}

TEST(Names, OfEvents) {
  unsigned known = 0;
  for (unsigned number = 0; number < 256; ++number) {
    auto kind = event_kind(static_cast<std::uint8_t>(number));
    if (!kind) continue;
    ++known;
    EXPECT_EQ(static_cast<unsigned>(*kind), number);
    EXPECT_FALSE(name_of(*kind).empty());
  }
  EXPECT_EQ(known, 13U);
  EXPECT_EQ(name_of(EventKind::member_left), "member_left");
  EXPECT_EQ(name_of(static_cast<EventKind>(200)), "");
}

TEST(Objects, User) {
  User user{.id = UserId{7}, .username = "ann"};
  Writer out;
  write_user(out, user, Status::away, false);
  EXPECT_EQ(
      out.view(),
      R"({"id":"7","username":"ann","displayName":null,"avatarUrl":null,"bio":null,"role":"user","guest":false,"status":"away",)"
      R"("lastSeen":null,"createdAt":null,"updatedAt":null})");
  user = {.id = UserId{7},
          .username = "ann",
          .display_name = "Ann \"A\"",
          .avatar_url = "/a",
          .bio = "b",
          .email = "a@b",
          .role = UserRole::admin,
          .guest = true,
          .created_ms = kAt,
          .updated_ms = kAt,
          .last_seen_ms = kAt};
  out.clear();
  write_user(out, user, Status::online, true);
  EXPECT_EQ(
      out.view(),
      R"({"id":"7","username":"ann","displayName":"Ann \"A\"","avatarUrl":"/a","bio":"b","email":"a@b","role":"admin","guest":true,)"
      R"("status":"online","lastSeen":"2026-01-31T23:59:59.123Z","createdAt":"2026-01-31T23:59:59.123Z",)"
      R"("updatedAt":"2026-01-31T23:59:59.123Z"})");
  out.clear();
  write_user(out, {.id = UserId{7}, .username = "ann"}, Status::offline, true);
  EXPECT_NE(out.view().find(R"("email":null)"), std::string_view::npos);
}

Message full_message() {
  return {.id = EventId{11},
          .room = RoomId{12},
          .seq = 13,
          .sender = UserId{14},
          .sender_username = "ann",
          .sender_avatar_url = "/a",
          .type = "voice",
          .text = "<script>\t\n\"\U0001F600",
          .client_id = {},
          .reply_to = EventId{15},
          .mentions = {UserId{16}, UserId{17}},
          .extra = R"({"k":[1,2.5]})",
          .created_ms = kAt,
          .edited_ms = kAt + 1000};
}

TEST(Objects, Message) {
  Writer out;
  write_message(out, {.id = EventId{11},
                      .room = RoomId{12},
                      .sender = UserId{14},
                      .sender_username = "ann",
                      .text = "hi",
                      .created_ms = kAt});
  EXPECT_EQ(
      out.view(),
      R"({"id":"11","roomId":"12","seq":null,"sender":{"id":"14","username":"ann","avatarUrl":null},"type":"text","text":"hi",)"
      R"("mentions":[],"reactions":[],"createdAt":"2026-01-31T23:59:59.123Z"})");
  out.clear();
  write_message(out, full_message());
  EXPECT_EQ(
      out.view(),
      R"({"id":"11","roomId":"12","seq":13,"sender":{"id":"14","username":"ann","avatarUrl":"/a"},"type":"voice",)"
      R"("text":"<script>\t\n\"😀","replyTo":"15","mentions":["16","17"],"reactions":[],"extra":{"k":[1,2.5]},)"
      R"("createdAt":"2026-01-31T23:59:59.123Z","editedAt":"2026-02-01T00:00:00.123Z"})");
}

TEST(Objects, ADeletedMessageKeepsItsPlaceWithoutItsContent) {
  Message message = full_message();
  message.edited_ms = 0;
  message.deleted_ms = kAt;
  Writer out;
  write_message(out, message);
  EXPECT_EQ(
      out.view(),
      R"({"id":"11","roomId":"12","seq":13,"sender":{"id":"14","username":"ann","avatarUrl":"/a"},"type":"voice","text":null,)"
      R"("mentions":[],"reactions":[],"createdAt":"2026-01-31T23:59:59.123Z","deletedAt":"2026-01-31T23:59:59.123Z"})");
}

TEST(Objects, AMessageIsReadAgain) {
  Writer out;
  write_message(out, full_message());
  base::json::Reader reader;
  const base::json::Value* value = reader.parse(out.view());
  ASSERT_TRUE(value);
  auto read = read_message(*value);
  ASSERT_TRUE(read);
  Writer again;
  write_message(again, *read);
  EXPECT_EQ(again.view(), out.view());
  EXPECT_EQ(read->created_ms, kAt);
  EXPECT_EQ(read->seq, 13U);
}

TEST(Objects, WhatIsNoMessageIsNotRead) {
  Writer out;
  write_message(out, full_message());
  std::string good(out.view());
  base::json::Reader reader;
  auto reads = [&](const std::string& text) {
    const base::json::Value* value = reader.parse(text);
    EXPECT_TRUE(value) << text;
    return value && read_message(*value).has_value();
  };
  EXPECT_TRUE(reads(good));
  EXPECT_FALSE(reads("[]"));
  EXPECT_FALSE(reads("{}"));
  const std::pair<const char*, const char*> changes[] = {{R"("id":"11")", R"("id":11)"},
                                                         {R"("id":"11")", R"("id":"-1")"},
                                                         {R"("roomId":"12")", R"("roomId":null)"},
                                                         {R"("id":"14")", R"("id":"x")"},
                                                         {R"("seq":13)", R"("seq":-4)"},
                                                         {R"("type":"voice")", R"("type":"")"},
                                                         {R"("type":"voice")", R"("type":7)"},
                                                         {R"("replyTo":"15")", R"("replyTo":{})"},
                                                         {R"(["16","17"])", R"([16])"},
                                                         {R"(["16","17"])", R"("16")"},
                                                         {"2026-01-31", "2026-02-30"},
                                                         {"T23:59:59.123Z", "T23:59:59.123+"},
                                                         {"23:59:59.123Z\"", "23:59:59Z\""},
                                                         {"T23:59", "T2x:59"},
                                                         {"\"createdAt\"", "\"created\""}};
  for (auto [from, to] : changes) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), std::string_view(from).size(), to);
    EXPECT_FALSE(reads(text)) << to;
  }
}

TEST(Objects, Room) {
  Room room{.id = RoomId{1}, .name = "lobby"};
  Writer out;
  write_room(out, room, 3, {}, nullptr);
  EXPECT_EQ(
      out.view(),
      R"({"id":"1","type":"group","name":"lobby","description":null,"avatarUrl":null,"private":false,"ephemeral":false,)"
      R"("createdBy":null,"memberCount":3,"lastMessage":null,"lastSeq":0,"epoch":1,"createdAt":null,"updatedAt":null})");
  room = {.id = RoomId{2},
          .type = RoomType::direct,
          .is_private = true,
          .ephemeral = true,
          .created_by = UserId{5},
          .created_ms = kAt,
          .updated_ms = kAt,
          .epoch = 4,
          .last_seq = 9};
  MemberView member{.role = MemberRole::owner, .last_read_seq = 7, .last_delivered_seq = 8, .unread = 2, .mentions = 1};
  out.clear();
  write_room(out, room, 2, R"({"id":"3"})", &member);
  EXPECT_EQ(
      out.view(),
      R"({"id":"2","type":"direct","name":null,"description":null,"avatarUrl":null,"private":true,"ephemeral":true,"createdBy":"5",)"
      R"("memberCount":2,"lastMessage":{"id":"3"},"lastSeq":9,"epoch":4,"createdAt":"2026-01-31T23:59:59.123Z",)"
      R"("updatedAt":"2026-01-31T23:59:59.123Z","role":"owner","lastReadSeq":7,"lastDeliveredSeq":8,"unread":2,"mentions":1,)"
      R"("pinned":false,"mutedUntil":null,"archived":false})");
}

}  // namespace
}  // namespace ringline::chat
