// Windows of history at their edges, events in order, sends by their clientId.
#include <map>

#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using chat::HistoryQuery;
using From = chat::HistoryQuery::From;

// Room 100: seqs 1-20, messages at the even ones.
class Messages : public StoreTest {
 protected:
  Messages() {
    ann_ = add_user(5, "ann");
    add_room(100, "Team", ann_);
    std::vector<Event> events;
    for (std::uint64_t seq = 1; seq <= 20; ++seq) {
      events.push_back(seq % 2 == 0
                           ? message(kRoom, seq, ann_, "text " + std::to_string(seq), "key-" + std::to_string(seq))
                           : event(kRoom, seq, EventKind::role_changed, ann_, R"(,"userId":"5","role":"owner")"));
    }
    EXPECT_TRUE(ingest(std::move(events)));
  }

  // Seqs of the page, with "<" and ">" where more is there.
  std::string page(From from, std::uint64_t position, std::size_t limit) {
    auto got = run(store().history({.room = kRoom, .from = from, .position = position, .limit = limit}));
    if (!got) return std::string(base::name_of(got.error().code));
    std::string text = got->has_before ? "<" : "";
    for (const Message& m : got->messages) text += (text.empty() || text == "<" ? "" : " ") + std::to_string(m.seq);
    return text + (got->has_after ? ">" : "");
  }

  static constexpr RoomId kRoom{100};
  UserId ann_;
};

TEST_P(Messages, HistoryWindows) {
  EXPECT_EQ(page(From::newest, 0, 3), "<16 18 20");
  EXPECT_EQ(page(From::newest, 0, 10), "2 4 6 8 10 12 14 16 18 20");
  EXPECT_EQ(page(From::newest, 0, 9), "<4 6 8 10 12 14 16 18 20");
  EXPECT_EQ(page(From::before, 20, 2), "<16 18>");
  EXPECT_EQ(page(From::before, 21, 2), "<18 20");
  EXPECT_EQ(page(From::before, 5, 2), "2 4>");
  EXPECT_EQ(page(From::before, 4, 2), "2>");
  EXPECT_EQ(page(From::before, 2, 2), ">");
  EXPECT_EQ(page(From::before, 0, 2), ">");
  EXPECT_EQ(page(From::before, UINT64_MAX, 2), "<18 20");
  EXPECT_EQ(page(From::after, 0, 2), "2 4>");
  EXPECT_EQ(page(From::after, 2, 2), "<4 6>");
  EXPECT_EQ(page(From::after, 17, 2), "<18 20");
  EXPECT_EQ(page(From::after, 20, 2), "<");
  EXPECT_EQ(page(From::after, UINT64_MAX, 2), "<");
  EXPECT_EQ(page(From::around, 10, 5), "<6 8 10 12 14>");
  EXPECT_EQ(page(From::around, 9, 4), "<6 8 10 12>");
  EXPECT_EQ(page(From::around, 0, 3), "2 4 6>");
  EXPECT_EQ(page(From::around, 2, 4), "2 4 6 8>");
  EXPECT_EQ(page(From::around, 20, 4), "<14 16 18 20");
  EXPECT_EQ(page(From::around, 900, 3), "<16 18 20");
  EXPECT_EQ(page(From::around, 10, 100), "2 4 6 8 10 12 14 16 18 20");
  EXPECT_EQ(page(From::around, 10, 1), "<10>");
  EXPECT_EQ(page(From::around_id, message(kRoom, 10, ann_, "").id.value, 3), "<8 10 12>");
  EXPECT_EQ(page(From::around_id, 12345, 3), "not_found");
  EXPECT_EQ(page(From::around_id, UINT64_MAX, 3), "not_found");
}

TEST_P(Messages, HistoryOfAnEmptyRoomIsEmpty) {
  auto got = run(store().history({.room = kLobby}));
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->messages.empty());
  EXPECT_FALSE(got->has_before || got->has_after);
}

TEST_P(Messages, KeepEveryField) {
  Message sent{.id = EventId{777'777},
               .room = kRoom,
               .seq = 21,
               .sender = ann_,
               .type = "voice",
               .text = "a\"\n<script>\U0001F600"};
  sent.reply_to = EventId{55};
  sent.mentions = {UserId{5}, UserId{9'000'000'000'000'000'000}};
  sent.extra = R"({"a":[1,2.5,null,"x"]})";
  sent.created_ms = kNow + 21;
  base::json::Writer out;
  chat::write_message(out, sent);
  Event head = event(kRoom, 21, EventKind::message_created, ann_,
                     R"(,"message":)" + std::string(out.view()) + R"(,"clientId":"c\"1")");
  head.id = sent.id;
  ASSERT_TRUE(ingest({head}));
  auto got = run(store().history({.room = kRoom, .limit = 1}));
  ASSERT_EQ(got->messages.size(), 1U);
  const Message& read = got->messages[0];
  EXPECT_EQ(read.id, sent.id);
  EXPECT_EQ(read.seq, 21U);
  EXPECT_EQ(read.sender_username, "ann");
  EXPECT_EQ(read.type, "voice");
  EXPECT_EQ(read.text, sent.text);
  EXPECT_EQ(read.client_id, "c\"1");
  EXPECT_EQ(read.reply_to, sent.reply_to);
  EXPECT_EQ(read.mentions, sent.mentions);
  EXPECT_EQ(read.extra, sent.extra);
  EXPECT_EQ(read.created_ms, sent.created_ms);
}

TEST_P(Messages, EventsFollowInOrderAsTheyWereSent) {
  std::vector<Event> sent;
  for (std::uint64_t seq = 1; seq <= 20; ++seq)
    sent.push_back(seq % 2 == 0 ? message(kRoom, seq, ann_, "text " + std::to_string(seq), "key-" + std::to_string(seq))
                                : event(kRoom, seq, EventKind::role_changed, ann_, R"(,"userId":"5","role":"owner")"));
  for (std::uint64_t after = 0; after <= 20; ++after) {
    auto got = run(store().events_after(kRoom, after, 7));
    ASSERT_TRUE(got);
    ASSERT_EQ(got->size(), std::min<std::uint64_t>(7, 20 - after));
    for (std::size_t i = 0; i < got->size(); ++i) {
      const Event& expected = sent[after + i];
      EXPECT_EQ(got->at(i).seq, expected.seq);
      EXPECT_EQ(got->at(i).kind, expected.kind);
      EXPECT_EQ(got->at(i).body, expected.body.view());
    }
  }
  EXPECT_TRUE(run(store().events_after(kRoom, 21, 7))->empty());
  EXPECT_TRUE(run(store().events_after(kRoom, UINT64_MAX, 7))->empty());
  EXPECT_EQ(run(store().events_after(RoomId{999}, 0, 7)).error().code, Errc::not_found);
}

TEST_P(Messages, AreInTheEpochOfNow) {
  ASSERT_TRUE(store_->bump_epochs());
  EXPECT_EQ(run(store().load_room(kRoom))->room.epoch, 2U);
  auto got = run(store().events_after(kRoom, 1, 1));
  EXPECT_NE(got->at(0).body.find(R"("epoch":2,)"), std::string::npos);
}

TEST_P(Messages, AreFoundByClientIdOfTheirSenderInTheirRoom) {
  UserId bob = add_user(6, "bob");
  auto found = run(store().find_by_client_id(kRoom, ann_, "key-4"));
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->seq, 4U);
  EXPECT_EQ((*found)->text, "text 4");
  EXPECT_FALSE(*run(store().find_by_client_id(kRoom, ann_, "key-5")));
  EXPECT_FALSE(*run(store().find_by_client_id(kRoom, bob, "key-4")));
  EXPECT_FALSE(*run(store().find_by_client_id(kLobby, ann_, "key-4")));
}

TEST_P(Messages, ManySendsAreFoundAtOnce) {
  UserId bob = add_user(6, "bob");
  auto page = run(store().history({.room = kRoom, .limit = 100}));
  ASSERT_TRUE(page);
  std::vector<chat::SendKey> sends;
  std::vector<std::uint64_t> seqs;
  for (int times = 0; times < 10; ++times) {  // more than one query's
    for (const chat::Message& message : page->messages) {
      sends.push_back({.sender = ann_, .client_id = message.client_id, .id = message.id});
      seqs.push_back(message.seq);
    }
    sends.push_back({.sender = bob, .client_id = "key-4", .id = EventId{1}});
    sends.push_back({.sender = ann_, .client_id = "key-5", .id = page->messages.front().id});
    sends.push_back({.sender = ann_, .client_id = {}, .id = EventId{1}});
    seqs.insert(seqs.end(), 3, 0);
  }
  auto found = run(store().find_sends(kRoom, sends));
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, seqs);
  EXPECT_THAT(*run(store().find_sends(kLobby, sends)), testing::Each(0U));
  EXPECT_TRUE(run(store().find_sends(kRoom, {}))->empty());
}

TEST_P(Messages, RecentKeysAreNewestFirst) {
  auto keys = run(store().recent_client_keys(kRoom, kNow + 16, 100));
  ASSERT_TRUE(keys);
  EXPECT_EQ(*keys, (std::vector<std::uint64_t>{chat::client_key(ann_, "key-20"), chat::client_key(ann_, "key-18"),
                                               chat::client_key(ann_, "key-16")}));
  EXPECT_EQ(run(store().recent_client_keys(kRoom, 0, 4))->size(), 4U);
  EXPECT_TRUE(run(store().recent_client_keys(kLobby, 0, 4))->empty());
}

ON_EVERY_ENGINE(Messages);

}  // namespace
}  // namespace ringline::backend::test
