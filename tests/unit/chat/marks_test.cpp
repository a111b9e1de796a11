// Read marks and unread counts of a user with connections on several cores: on the real shards in the simulated world.
#include "chat/marks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "delivery_support.hpp"

namespace ringline::chat::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class MarksTest : public DeliveryTest {
 protected:
  static constexpr unsigned kCores = 3;
  MarksTest() : DeliveryTest(kCores) {}

  std::unique_ptr<Guest> on_core(unsigned core, const std::string& name, const std::string& token = {},
                                 bool slow = false) {
    auto made = guest(name, token, {}, slow, Wire::plain, core);
    EXPECT_TRUE(until([&] { return !made->bodies("ready").empty(); }));
    return made;
  }
  static std::string in(const std::string& room, const std::string& more = {}) {
    return R"({"roomId":")" + room + "\"" + (more.empty() ? "" : "," + more) + "}";
  }
  // Its seq.
  std::uint64_t send(Guest& sender, const std::string& room) {
    run(sender, "send_message", in(room, R"("text":"x")"));
    return number(sender.answer, {"message", "seq"});
  }
  void mark(Guest& reader, const std::string& room, std::uint64_t seq) {
    run(reader, "mark_read", in(room, R"("seq":)" + std::to_string(seq)));
    EXPECT_EQ(reader.answer, "{}");
  }
  // What get_room says: the mark and the unread count.
  std::pair<std::uint64_t, std::uint64_t> seen(Guest& reader, const std::string& room) {
    run(reader, "get_room", in(room));
    return {number(reader.answer, {"room", "lastReadSeq"}), number(reader.answer, {"room", "unread"})};
  }
  // What unread_changed said of the room, in order.
  std::vector<std::uint64_t> told(const Guest& reader, const std::string& room) {
    std::vector<std::uint64_t> counts;
    for (const std::string& body : reader.bodies("unread_changed"))
      if (part(body, {"roomId"}) == room) counts.push_back(number(body, {"unread"}));
    return counts;
  }
  std::uint64_t number(std::string_view body, std::initializer_list<std::string_view> path) {
    const base::json::Value* value = reader_.parse(body);
    for (std::string_view name : path) value = value ? base::json::find(*value, name) : nullptr;
    EXPECT_TRUE(value && value->IsUint64()) << body;
    return value && value->IsUint64() ? value->GetUint64() : UINT64_MAX;
  }
  void leave_all(std::initializer_list<Guest*> guests) {
    for (Guest* gone : guests) leave(*gone);
    EXPECT_TRUE(host_.let_go()) << "marks may be on their way into the store";
  }
};

TEST_F(MarksTest, AMarkMovesForAllConnectionsOfItsUser) {
  auto writer = on_core(0, "writer"), one = on_core(1, "reader");
  const std::string room = join(*writer, "a room");
  join(*one, room);
  auto two = on_core(2, "reader", token_of(*one)), stranger = on_core(0, "stranger");
  join(*stranger, room);
  std::vector<std::uint64_t> seqs;
  for (int i = 0; i < 5; ++i) seqs.push_back(send(*writer, room));
  EXPECT_EQ(seen(*two, room).second, 5U);

  mark(*one, room, seqs[2]);
  EXPECT_EQ(seen(*two, room), std::pair(seqs[2], std::uint64_t{2}));
  ASSERT_TRUE(until([&] { return !told(*two, room).empty(); }));
  EXPECT_EQ(two->bodies("unread_changed")[0], R"({"roomId":")" + room + R"(","unread":2,"mentions":0})");
  mark(*two, room, seqs[1]);
  mark(*two, room, seqs[2]);
  mark(*two, room, 0);
  mark(*two, room, seqs[4]);
  EXPECT_EQ(seen(*one, room), std::pair(seqs[4], std::uint64_t{0}));
  pass(std::chrono::seconds(2));
  for (Guest* reader : {one.get(), two.get()}) EXPECT_THAT(told(*reader, room), ElementsAre(2U, 0U));
  for (Guest* other : {writer.get(), stranger.get()}) EXPECT_THAT(told(*other, room), IsEmpty());
  EXPECT_EQ(seen(*stranger, room).second, 5U);
  leave_all({writer.get(), one.get(), two.get(), stranger.get()});
}

TEST_F(MarksTest, ASeqThatTheRoomHasNotIsRefused) {
  auto reader = on_core(1, "reader");
  const std::string room = join(*reader, "a room");
  const std::uint64_t last = send(*reader, room);
  for (const std::string& seq :
       {std::to_string(last + 1), std::string("-1"), std::string("\"1\""), std::string("0.5")}) {
    begin(*reader, "mark_read", in(room, "\"seq\":" + seq));
    ASSERT_TRUE(until([&] { return reader->answered; }));
    EXPECT_FALSE(reader->answered_ok) << seq;
    EXPECT_FALSE(part(reader->answer, {"fields", "seq"}).empty()) << reader->answer;
  }
  leave_all({reader.get()});
}

TEST_F(MarksTest, WhoSendsHasReadWhatWasBefore) {
  auto writer = on_core(0, "writer"), one = on_core(1, "reader");
  const std::string room = join(*writer, "a room");
  join(*one, room);
  auto two = on_core(2, "reader", token_of(*one));
  const std::uint64_t first = send(*one, room);
  EXPECT_EQ(seen(*two, room), std::pair(first, std::uint64_t{0}));
  pass(std::chrono::seconds(2));
  EXPECT_THAT(told(*two, room), IsEmpty()) << "he had nothing unread";
  send(*writer, room);
  send(*writer, room);
  EXPECT_EQ(seen(*two, room), std::pair(first, std::uint64_t{2}));
  const std::uint64_t answer = send(*one, room);
  send(*one, room);
  pass(std::chrono::seconds(2));
  EXPECT_EQ(seen(*two, room), std::pair(answer + 1, std::uint64_t{0}));
  for (Guest* reader : {one.get(), two.get()}) EXPECT_THAT(told(*reader, room), ElementsAre(0U));
  leave_all({writer.get(), one.get(), two.get()});
}

TEST_F(MarksTest, WhatWasReadLongAgoIsCountedByTheStore) {
  auto writer = on_core(0, "writer"), reader = on_core(1, "reader");
  const std::string room = join(*writer, "a room");
  join(*reader, room);
  std::vector<std::uint64_t> seqs;
  for (int i = 0; i < 20; ++i) seqs.push_back(send(*writer, room));
  pass(base::limits::kTailAge + std::chrono::minutes(2));
  seqs.push_back(send(*writer, room));  // the tail has this one alone
  mark(*reader, room, seqs[2]);         // nearer to his mark
  EXPECT_EQ(seen(*reader, room), std::pair(seqs[2], std::uint64_t{18}));
  mark(*reader, room, seqs[17]);  // nearer to the end
  EXPECT_EQ(seen(*reader, room), std::pair(seqs[17], std::uint64_t{3}));
  mark(*reader, room, seqs[19]);
  EXPECT_EQ(seen(*reader, room), std::pair(seqs[19], std::uint64_t{1}));
  leave_all({writer.get(), reader.get()});
}

TEST_F(MarksTest, TheStoreGetsThemWhenItIsBack) {
  auto writer = on_core(0, "writer"), reader = on_core(1, "reader");
  const std::string room = join(*writer, "a room");
  join(*reader, room);
  const UserId user = UserId::parse(id_of(*reader)).value();
  const std::uint64_t read = send(*writer, room);
  pass(std::chrono::seconds(1));
  crashed_ = true;  // the store
  const std::uint64_t not_stored = send(*writer, room);
  mark(*reader, room, read);
  pass(std::chrono::seconds(5));
  mark(*reader, room, not_stored);
  const Member& stored = db_.rooms.at(room_id(room)).members.at(user);
  EXPECT_LT(stored.read_seq, read);
  crashed_ = false;
  ASSERT_TRUE(until([&] { return stored.read_seq == not_stored; }));
  EXPECT_EQ(stored.read_count, 2U);
  EXPECT_EQ(db_.wrong, "");
  mark(*reader, room, send(*writer, room));
  EXPECT_TRUE(until([&] {
    bool all = true;
    for (unsigned core = 0; core < kCores; ++core) all = host_.shard(core).all_stored() && all;
    return all;
  }));
  EXPECT_EQ(stored.read_count, 3U);
  leave_all({writer.get(), reader.get()});
}

// Whatever of it comes first: what he was told last is right.
TEST_F(MarksTest, WhoSignsInMeanwhileIsToldBehindReady) {
  auto writer = on_core(0, "writer"), one = on_core(1, "reader");
  const std::string room = join(*writer, "a room"), token = token_of(*one);
  join(*one, room);
  unsigned behind = 0;
  for (int wait_ms = 0; wait_ms < 40; ++wait_ms) {
    const std::uint64_t last = send(*writer, room);
    auto two = guest("reader", token, {}, false, Wire::plain, 2);
    pass(std::chrono::milliseconds(wait_ms));
    mark(*one, room, last);
    pass(std::chrono::milliseconds(200));
    ASSERT_FALSE(two->got.empty());
    EXPECT_EQ(two->got[0].name, "ready");
    const auto changes = told(*two, room);
    const bool fresh = two->got[0].body.find(R"("unread":0)") != std::string::npos;
    EXPECT_TRUE(changes.empty() ? fresh : changes.back() == 0) << wait_ms;
    if (!fresh) ++behind;
    leave(*two);
  }
  EXPECT_GT(behind, 0U) << "none was overtaken";
  leave_all({writer.get(), one.get()});
}

TEST_F(MarksTest, WhoReadsSlowlyIsToldTheLastOfEachRoom) {
  auto writer = on_core(0, "writer"), one = on_core(1, "reader");
  const std::string room = join(*writer, "a room");
  join(*one, room);
  auto slow = on_core(2, "reader", token_of(*one), true);
  std::vector<std::uint64_t> seqs;
  for (int i = 0; i < 3; ++i) seqs.push_back(send(*writer, room));
  for (std::uint64_t seq : seqs) mark(*one, room, seq);
  pass(std::chrono::seconds(1));
  EXPECT_THAT(told(*one, room), ElementsAre(2U, 1U, 0U));
  EXPECT_THAT(told(*slow, room), IsEmpty());
  drain(*slow);
  EXPECT_THAT(told(*slow, room), ElementsAre(0U));
  leave_all({writer.get(), one.get(), slow.get()});
}

}  // namespace
}  // namespace ringline::chat::test
