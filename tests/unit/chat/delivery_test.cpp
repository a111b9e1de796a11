// Delivery to one connection that reads slowly or comes back: on the real shard and journal in the simulated world, one core, with nothing else going on.
#include "chat/delivery.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/people.hpp"
#include "delivery_support.hpp"

namespace ringline::chat::test {
namespace {

using base::json::find_string;

constexpr const char* kRoom = "a room";

TEST_F(DeliveryTest, WhoLeavesWhileHeCatchesUpIsToldThatItIsNotComplete) {
  auto writer = ready("writer");
  auto reader = ready("reader");
  const std::string token = token_of(*reader);
  const std::string left = join(*writer, kRoom), kept = join(*writer, "another");
  join(*reader, kRoom);
  join(*reader, "another");
  leave(*reader);
  for (const std::string& room : {left, kept})
    run(*writer, "send_message", R"({"roomId":")" + room + R"(","text":"missed"})");

  auto back = guest("reader", token, {{room_id(left), 2, 1}, {room_id(kept), 2, 1}},
                    true);  // it has no room for what it missed
  auto other = guest("reader", token);
  ASSERT_TRUE(until([&] { return !other->bodies("ready").empty() && !back->bodies("ready").empty(); }));
  run(*other, "leave_room", R"({"roomId":")" + left + "\"}");
  pass(std::chrono::seconds(1));
  drain(*back);
  ASSERT_TRUE(until([&] { return !back->bodies("resumed").empty(); }));
  const std::string resumed = back->bodies("resumed").at(0);
  EXPECT_NE(resumed.find('"' + left + R"(":{"from":2,"to":3,"epoch":1,"complete":false})"), std::string::npos)
      << resumed;
  EXPECT_NE(resumed.find('"' + kept + R"(":{"from":2,"to":3,"epoch":1,"complete":true})"), std::string::npos)
      << resumed;
  EXPECT_EQ(back->bodies("message_created").size(), 1U) << "of the room that it is still in";
  for (Guest* gone : {back.get(), other.get(), writer.get()}) leave(*gone);
}

TEST_F(DeliveryTest, WhoLeavesWhenHeHasCaughtUpIsToldThatItIsComplete) {
  auto writer = ready("writer");
  auto reader = ready("reader");
  const std::string token = token_of(*reader);
  const std::string room = join(*writer, kRoom);
  join(*reader, kRoom);
  leave(*reader);
  run(*writer, "send_message", R"({"roomId":")" + room + R"(","text":"missed"})");
  auto back = guest("reader", token, {{room_id(room), 2, 1}});
  ASSERT_TRUE(until([&] { return !back->bodies("resumed").empty(); }));
  EXPECT_NE(back->bodies("resumed").at(0).find(R"("complete":true)"), std::string::npos);
  for (Guest* gone : {back.get(), writer.get()}) leave(*gone);
}

// The seqs of the room events that it got, in their order.
std::vector<std::int64_t> seqs(const Guest& guest, base::json::Reader& reader) {
  std::vector<std::int64_t> found;
  for (const Guest::Got& one : guest.got) {
    const base::json::Value* body = reader.parse(one.body);
    if (auto seq = body ? base::json::find_integer(*body, "seq") : std::nullopt) found.push_back(*seq);
  }
  return found;
}

TEST_F(DeliveryTest, WhoComesBackAtOnceSharesWhatIsReadAndGetsItsOwnPartOfIt) {
  constexpr unsigned kMessages = 1400;  // more than are at hand
  static_assert(kMessages > base::limits::kTailEvents);
  auto writer = ready("writer"), reader = ready("reader");
  const std::string token = token_of(*reader), room = join(*writer, kRoom);
  join(*reader, kRoom);
  leave(*reader);
  const std::string message = R"({"roomId":")" + room + R"(","text":"missed"})";
  for (unsigned i = 0; i < kMessages; ++i) run(*writer, "send_message", message);
  const std::int64_t last = 2 + kMessages;  // room_created, and the reader joined
  pass(base::limits::kTailAge + std::chrono::minutes(1));
  run(*writer, "send_message", message);  // with it the tail is trimmed
  pass(std::chrono::seconds(5));
  ASSERT_EQ(seqs(*writer, reader_).back(), last + 1);

  std::vector<std::unique_ptr<Guest>> back;
  const std::vector<std::uint64_t> points = {2, 2, 2, 3, 50, 200, 280, 390, 700, 1402, 1403, 2, 2, 2, 2, 2, 2};
  for (std::uint64_t seq : points) back.push_back(guest("reader", token, {{room_id(room), seq, 1}}));
  ASSERT_TRUE(until(
      [&] { return std::ranges::all_of(back, [](const auto& one) { return !one->bodies("resumed").empty(); }); }));
  for (std::size_t i = 0; i < back.size(); ++i) {
    std::vector<std::int64_t> got = seqs(*back[i], reader_), wanted;
    for (std::int64_t seq = static_cast<std::int64_t>(points[i]) + 1; seq <= last + 1; ++seq) wanted.push_back(seq);
    EXPECT_EQ(got, wanted) << "from " << points[i];
    EXPECT_NE(back[i]->bodies("resumed").at(0).find(R"("complete":true)"), std::string::npos);
    EXPECT_EQ(back[i]->got.back().name, "resumed");
  }
  EXPECT_LE(db_.log_reads, 8U) << "two for each of few beginnings, not two for each of seventeen";
  run(*writer, "send_message", message);
  pass(std::chrono::seconds(1));
  for (auto& one : back) EXPECT_EQ(seqs(*one, reader_).back(), last + 2);

  pass(std::chrono::seconds(5));  // what was kept is forgotten
  const unsigned reads = db_.log_reads;
  auto late = guest("reader", token, {{room_id(room), 2, 1}});
  ASSERT_TRUE(until([&] { return !late->bodies("resumed").empty(); }));
  EXPECT_GT(db_.log_reads, reads);
  EXPECT_EQ(seqs(*late, reader_).size(), static_cast<std::size_t>(last + 2 - 2));
  back.push_back(std::move(late));
  back.push_back(std::move(writer));
  for (auto& gone : back) leave(*gone);
}

class TwoCoresTest : public DeliveryTest {
 protected:
  TwoCoresTest() : DeliveryTest(2) {}
};

// His seat comes from the room's home behind the event, nobody else on his core speaks his protocol, and the room has so many members that it waits a
// little between its flushes.
TEST_F(TwoCoresTest, WhoComesByAnotherProtocolGetsTheEventHeCameWith) {
  std::vector<std::unique_ptr<Guest>> guests;
  for (int i = 0; i < 30; ++i) guests.push_back(ready("writer"));
  Guest& writer = *guests[0];
  for (const std::string name : {"a", "b", "c", "d"}) {  // home on this core or that
    guests.push_back(ready("reader", Wire::socketio));
    for (int i = 0; i < 30; ++i) join(*guests[i], name);
    const std::string message = R"({"roomId":")" + part(writer.answer, {"room", "id"}) + R"(","text":"flushed"})";
    run(writer, "send_message", message);
    run(*guests.back(), "join", R"({"room":")" + name + "\"}");
    pass(std::chrono::seconds(1));
    EXPECT_EQ(seqs(*guests.back(), reader_), std::vector<std::int64_t>{seqs(writer, reader_).back()}) << name;
  }
  for (auto& gone : guests) leave(*gone);
}

// The members of the answer to `join`, as "username:online", in their order.
std::vector<std::string> members(const Guest& guest, base::json::Reader& reader) {
  std::vector<std::string> shown;
  const base::json::Value* list = base::json::find(*reader.parse(guest.answer), "members");
  for (const base::json::Value& member : list->GetArray()) {
    const base::json::Value* user = base::json::find(member, "user");
    std::string name(find_string(*user, "username").value_or(""));
    const bool online = base::json::find_bool(member, "online").value_or(false);
    EXPECT_EQ(find_string(*user, "status"), online ? "online" : "offline");
    shown.push_back(name.substr(0, name.find('-')) + (online ? ":here" : ":away"));
  }
  return shown;
}

TEST_F(DeliveryTest, JoinShowsTheMembersAsTheyAre) {
  using testing::UnorderedElementsAre;
  auto anna = ready("anna"), bert = ready("bert");
  const std::string token = token_of(*bert), room = join(*anna, kRoom);
  EXPECT_THAT(members(*anna, reader_), UnorderedElementsAre("anna:here"));
  const unsigned name_reads = db_.name_reads;
  join(*bert, kRoom);
  EXPECT_THAT(members(*bert, reader_), UnorderedElementsAre("anna:here", "bert:here"));
  leave(*bert);
  join(*anna, kRoom);
  EXPECT_EQ(members(*anna, reader_), (std::vector<std::string>{"anna:here", "bert:away"}));
  auto carl = ready("carl");
  join(*carl, kRoom);
  EXPECT_EQ(members(*carl, reader_).back(), "bert:away");
  EXPECT_EQ(members(*carl, reader_).size(), 3U);
  run(*carl, "leave_room", R"({"roomId":")" + room + "\"}");
  join(*anna, kRoom);
  EXPECT_EQ(members(*anna, reader_), (std::vector<std::string>{"anna:here", "bert:away"}));
  bert = guest("bert", token);
  ASSERT_TRUE(until([&] { return !bert->bodies("ready").empty(); }));
  join(*anna, kRoom);
  EXPECT_THAT(members(*anna, reader_), UnorderedElementsAre("anna:here", "bert:here"));
  EXPECT_LE(db_.name_reads, name_reads + 1) << "the name is remembered";
  pass(std::chrono::seconds(1));
  for (Guest* gone : {anna.get(), bert.get(), carl.get()}) leave(*gone);
}

TEST_F(DeliveryTest, JoinShowsAHundredMembersOfALargeRoom) {
  std::vector<std::unique_ptr<Guest>> people;
  for (unsigned i = 0; i < base::limits::kJoinMembers + 3; ++i) {
    people.push_back(ready("p" + std::to_string(i)));
    join(*people.back(), kRoom);
    std::vector<std::string> shown = members(*people.back(), reader_);
    EXPECT_EQ(shown.size(), std::min<std::size_t>(i + 1, base::limits::kJoinMembers));
    EXPECT_EQ(std::ranges::count(shown, "p" + std::to_string(i) + ":here"), 1) << "he who joins is among them";
  }
  for (unsigned i = 0; i < 50; ++i) leave(*people[i]);
  join(*people.back(), kRoom);
  std::vector<std::string> shown = members(*people.back(), reader_);
  EXPECT_EQ(shown.size(), base::limits::kJoinMembers);
  EXPECT_TRUE(std::ranges::is_partitioned(shown, [](const std::string& one) { return one.ends_with(":here"); }));
  EXPECT_EQ(std::ranges::count_if(shown, [](const std::string& one) { return one.ends_with(":here"); }), 53);
  pass(std::chrono::seconds(1));
  for (unsigned i = 50; i < people.size(); ++i) leave(*people[i]);
}

TEST_F(DeliveryTest, OfRoomsThatHaveMuchToSendOneWaitsForTheNextTurn) {
  constexpr std::size_t kMembers = 180;
  std::vector<std::unique_ptr<Guest>> people;
  std::array<std::string, 2> rooms;
  for (std::size_t i = 0; i < kMembers; ++i) {
    people.push_back(ready("p" + std::to_string(i)));
    rooms = {join(*people.back(), "one"), join(*people.back(), "other")};
  }
  pass(std::chrono::seconds(1));
  std::string text;
  for (std::size_t i = 0; i < base::limits::kTextPoints; ++i) text += "\u20ac";  // three bytes each
  ASSERT_GE(kMembers * text.size(), base::limits::kTurnBytes);
  // By two people: they are sequenced and committed together.
  for (std::size_t i = 0; i < rooms.size(); ++i)
    begin(*people[i], "send_message", R"({"roomId":")" + rooms[i] + R"(","text":")" + text + "\"}");
  auto texts = [&] { return people.back()->bodies("message_created").size(); };
  ASSERT_TRUE(until([&] { return texts() > 0; }));
  EXPECT_EQ(texts(), 1U);
  EXPECT_TRUE(until([&] { return texts() == rooms.size(); }));
  pass(std::chrono::seconds(1));
  for (auto& one : people) leave(*one);
}

// What `presence_changed` said last of each user, and how often something was said of him.
struct Presence {
  std::string status;
  unsigned times = 0;
};
std::map<std::string, Presence> presence(const Guest& guest, base::json::Reader& reader) {
  std::map<std::string, Presence> seen;
  for (const std::string& body : guest.bodies("presence_changed")) {
    const base::json::Value* value = reader.parse(body);
    Presence& one = seen[std::string(find_string(*value, "userId").value_or(""))];
    one.status = find_string(*value, "status").value_or("");
    ++one.times;
  }
  return seen;
}

TEST_F(DeliveryTest, PresenceIsKeptForASlowReaderAndToldOnce) {
  auto slow = ready("slow");
  join(*slow, kRoom);
  auto stays = ready("stays"), goes = ready("goes");
  const std::string token = token_of(*goes), stays_id = id_of(*stays), goes_id = id_of(*goes);
  const std::string room = join(*stays, kRoom);
  join(*goes, kRoom);
  pass(std::chrono::seconds(3));
  slow->slow = slow->full = true;
  slow->got.clear();
  for (int i = 0; i < 3; ++i) {
    leave(*goes);
    pass(std::chrono::seconds(2));
    goes = guest("goes", token);
    pass(std::chrono::seconds(2));
  }
  leave(*goes);
  begin(*stays, "start_typing", R"({"roomId":")" + room + "\"}");
  pass(std::chrono::seconds(2));
  EXPECT_TRUE(slow->got.empty());
  drain(*slow);
  ASSERT_TRUE(until([&] { return !slow->bodies("presence_changed").empty(); }));
  pass(std::chrono::seconds(1));
  auto seen = presence(*slow, reader_);
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[goes_id].status, "offline");
  EXPECT_EQ(seen[goes_id].times, 1U);
  EXPECT_TRUE(slow->bodies("typing_started").empty()) << "that may be lost: it ends by itself";
  for (Guest* gone : {slow.get(), stays.get()}) leave(*gone);
}

TEST_F(DeliveryTest, WhoMissedTheChangesOfTooManyIsToldHowAllAre) {
  constexpr unsigned kPeople = 1100, kRooms = 2;  // more than are kept, in rooms that are not too large for it
  static_assert(kPeople > base::limits::kMissedStates && kPeople / kRooms < base::limits::kPresenceRoomMembers);
  auto slow = ready("slow");
  for (unsigned room = 0; room < kRooms; ++room) join(*slow, "room " + std::to_string(room));
  std::vector<std::unique_ptr<Guest>> people;
  for (unsigned i = 0; i < kPeople; ++i) {
    people.push_back(ready("p" + std::to_string(i)));
    join(*people.back(), "room " + std::to_string(i % kRooms));
  }
  pass(std::chrono::seconds(3));
  slow->slow = slow->full = true;
  slow->got.clear();
  for (unsigned i = 0; i < kPeople; ++i)
    if (i % 20 != 0) leave(*people[i]);
  pass(std::chrono::seconds(90));  // most are not in memory any more
  drain(*slow);
  pass(std::chrono::seconds(5));
  auto seen = presence(*slow, reader_);
  for (unsigned i = 0; i < kPeople; ++i) {
    const Presence& one = seen[id_of(*people[i])];
    EXPECT_EQ(one.status, i % 20 == 0 ? "online" : "offline") << i;
    EXPECT_EQ(one.times, 1U) << i;
  }
  for (unsigned i = 0; i < kPeople; i += 20) leave(*people[i]);
  leave(*slow);
}

TEST_F(DeliveryTest, AGuestWhoDoesNotComeBackLeavesHisRooms) {
  auto stays = ready("stays"), idle = ready("idle");
  const std::string room = join(*stays, kRoom), idle_id = id_of(*idle);
  join(*idle, kRoom);
  db_.idle = {{UserId::parse(idle_id).value(), room_id(room)}};
  pass(std::chrono::minutes(3));
  EXPECT_TRUE(stays->bodies("member_left").empty()) << "he is here";
  leave(*idle);
  ASSERT_TRUE(
      world_.run_until(host_.loops(), [&] { return !stays->bodies("member_left").empty(); }, std::chrono::minutes(3)));
  EXPECT_EQ(part(stays->bodies("member_left")[0], {"userId"}), idle_id);
  pass(std::chrono::minutes(3));
  EXPECT_EQ(stays->bodies("member_left").size(), 1U);
  run(*stays, "list_members", R"({"roomId":")" + room + "\"}");
  EXPECT_EQ(stays->answer.find(idle_id), std::string::npos);
  leave(*stays);
  EXPECT_TRUE(host_.let_go()) << "what is done every minute may be under way";
}

// ---- A room whose room_created could not be committed.

class FailedRoomTest : public DeliveryTest {
 protected:
  // Asks for a room while the disk fails, and gets the error.
  void fail_to_make(Guest& maker, std::string_view command, const std::string& data) {
    pass(std::chrono::seconds(1));  // the journal makes its next segment
    world_.disk().fail_syncs(1);
    begin(maker, command, data);
    ASSERT_TRUE(until([&] { return maker.answered; }));
    ASSERT_FALSE(maker.answered_ok) << maker.answer;
    EXPECT_EQ(part(maker.answer, {"code"}), "unavailable");
  }
  static std::string with(const std::string& user) { return R"("memberIds":[")" + user + R"("]})"; }
};

TEST_F(FailedRoomTest, MembersHearOfItWhenItIsCommitted) {
  auto maker = ready("maker"), member = ready("member");
  fail_to_make(*maker, "create_room", R"({"type":"group","name":"hidden","private":true,)" + with(id_of(*member)));
  EXPECT_TRUE(member->bodies("room_created").empty());
  ASSERT_TRUE(until([&] { return !member->bodies("room_created").empty(); }));
  pass(std::chrono::seconds(5));
  EXPECT_EQ(member->bodies("room_created").size(), 1U);
  EXPECT_EQ(maker->bodies("room_created"), member->bodies("room_created"));
  const std::string room = part(member->bodies("room_created")[0], {"roomId"});
  run(*member, "send_message", R"({"roomId":")" + room + R"(","text":"here I am"})");
  EXPECT_EQ(maker->bodies("message_created").size(), 1U);
  for (Guest* gone : {maker.get(), member.get()}) leave(*gone);
}

TEST_F(FailedRoomTest, ADirectRoomAskedForAgainIsBegunThen) {
  auto maker = ready("maker"), member = ready("member");
  const std::string data = R"({"type":"direct",)" + with(id_of(*member));
  fail_to_make(*maker, "create_room", data);
  run(*maker, "create_room", data);
  const std::string room = part(maker->answer, {"room", "id"});
  ASSERT_TRUE(until([&] { return !member->bodies("room_created").empty() && !maker->bodies("room_created").empty(); }));
  pass(std::chrono::seconds(5));
  EXPECT_EQ(member->bodies("room_created").size(), 1U);
  EXPECT_EQ(part(member->bodies("room_created")[0], {"roomId"}), room);
  for (Guest* gone : {maker.get(), member.get()}) leave(*gone);
}

TEST_F(FailedRoomTest, AJoinThatFailedToMakeARoomBeginsItWhenItIsSentAgain) {
  auto maker = ready("maker"), second = ready("second");
  fail_to_make(*maker, "join", R"({"room":"a room"})");
  const std::string room = join(*second, "a room");  // somebody else's attempt begins it as well
  EXPECT_EQ(join(*maker, "a room"), room);
  ASSERT_TRUE(until([&] { return !maker->bodies("member_joined").empty(); }));
  EXPECT_EQ(maker->bodies("room_created").size(), 1U);
  EXPECT_EQ(second->bodies("member_joined").size(), 1U);
  for (Guest* gone : {maker.get(), second.get()}) leave(*gone);
}

TEST_F(DeliveryTest, AQuietRoomKeepsNoEventsAndStillGivesAll) {
  auto writer = ready("writer"), reader = ready("reader");
  const std::string token = token_of(*reader);
  const std::string room = join(*writer, kRoom);
  join(*reader, kRoom);
  leave(*reader);
  constexpr std::size_t kSent = 20;
  for (std::size_t i = 0; i < kSent; ++i)
    run(*writer, "send_message", R"({"roomId":")" + room + R"(","text":")" + std::to_string(i) + "\"}");
  const base::Metrics& metrics = host_.loops()[0]->metrics();
  EXPECT_GE(metrics.tail_events, kSent);
  pass(base::limits::kTailAge - std::chrono::seconds(10));
  EXPECT_GE(metrics.tail_events, kSent) << "it is not quiet yet";
  pass(std::chrono::minutes(2));
  EXPECT_EQ(metrics.tail_events, 0U);
  EXPECT_EQ(metrics.tail_bytes, 0U);

  auto back = guest("reader", token, {{room_id(room), 2, 1}});
  ASSERT_TRUE(until([&] { return !back->bodies("resumed").empty(); }));
  const std::vector<std::string> got = back->bodies("message_created");
  ASSERT_EQ(got.size(), kSent);
  for (std::size_t i = 0; i < kSent; ++i) EXPECT_EQ(part(got[i], {"message", "text"}), std::to_string(i));

  run(*writer, "send_message", R"({"roomId":")" + room + R"(","text":"again"})");
  ASSERT_TRUE(until([&] { return back->bodies("message_created").size() == kSent + 1; }));
  pass(base::limits::kTailAge + std::chrono::minutes(2));
  EXPECT_EQ(metrics.tail_events, 0U) << "it is quiet again";
  for (Guest* gone : {back.get(), writer.get()}) leave(*gone);
}

// What the store has may be lost with a server of it: until it says that it is not, the log keeps it.
TEST_F(DeliveryTest, TheLogLetsGoOfWhatIsSafe) {
  constexpr unsigned kMessages = 500;  // some segments
  constexpr unsigned kInUse = 2;       // segments: one that is written, and the next
  const base::Metrics& metrics = host_.loops()[0]->metrics();
  db_.safe_before_ms = 0;
  auto writer = ready("writer");
  const std::string room = join(*writer, kRoom);
  const std::string message = R"({"roomId":")" + room + R"(","text":")" + std::string(4000, 'x') + "\"}";
  for (unsigned i = 0; i < kMessages; ++i) run(*writer, "send_message", message);
  pass(std::chrono::seconds(10));
  EXPECT_EQ(metrics.store_lag_events, 0U);
  const std::uint64_t kept = metrics.journal_segments;
  EXPECT_GT(kept, kInUse + 1);
  db_.safe_before_ms = world_.now_ns() / 1'000'000 - 9000;  // when the last was stored already
  pass(std::chrono::seconds(2));
  EXPECT_EQ(metrics.journal_segments, kInUse);
  leave(*writer);
}

TEST_F(DeliveryTest, SizesOfWhatAUserIs) {
  EXPECT_LE(sizeof(HomeUser), 96U);
  EXPECT_LE(sizeof(HomeMember), 56U);
  EXPECT_LE(sizeof(Person), 48U);
  EXPECT_LE(sizeof(Session), 80U);
  EXPECT_LE(sizeof(LocalRoom::Seat), 24U);
}

}  // namespace
}  // namespace ringline::chat::test
