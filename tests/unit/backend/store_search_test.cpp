// Searching: what is found, in which order, in how many pages; how the index of texts is fed behind.
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using chat::SearchQuery;

class SearchTest : public StoreTest {
 protected:
  SearchTest() {
    ann_ = add_user(5, "ann");
    bob_ = add_user(6, "bob");
    add_room(100, "Team", ann_);
    add_room(101, "Other", ann_);
  }

  // Texts of all pages, `<` between two.
  std::string found(SearchQuery query) {
    std::string all;
    for (int pages = 0; pages < 100; ++pages) {
      auto page = run(store().search_messages(query));
      if (!page) return page.error().message;
      for (const Message& message : page->messages) all += (all.empty() || all.back() == '<' ? "" : ",") + message.text;
      if (page->next == 0) return all;
      if (!page->messages.empty()) all += '<';
      query.cursor = page->next;
    }
    return "it does not end";
  }
  // Until nothing waits any more: the words of what was taken in are there.
  void feed() {
    const std::int64_t deadline = base::monotonic_ms() + 30'000;
    auto waits = [this] { return raw("SELECT count(*) FROM text_queue") != "0"; };
    while (waits() && base::monotonic_ms() < deadline) {
      store_->tend();
      std::this_thread::sleep_for(10ms);
    }
    ASSERT_FALSE(waits());
  }

  static constexpr RoomId kRoom{100};
  static constexpr RoomId kOther{101};
  UserId ann_;
  UserId bob_;
};

TEST_P(SearchTest, FindsAllWordsInTheRoomsAskedNewestFirst) {
  ASSERT_TRUE(ingest({message(kRoom, 1, ann_, "Red apple"), message(kOther, 1, ann_, "red pear"),
                      message(kRoom, 2, bob_, "green apple; red worm"), message(kRoom, 3, ann_, "nothing")}));
  feed();
  EXPECT_EQ(found({.words = {"red"}, .rooms = {kRoom}}), "green apple; red worm,Red apple");
  EXPECT_EQ(found({.words = {"red", "apple"}, .rooms = {kOther, kRoom}}), "green apple; red worm,Red apple");
  EXPECT_EQ(found({.words = {"red", "pear"}, .rooms = {kRoom}}), "");
  EXPECT_EQ(found({.words = {"red"}, .rooms = {kOther}}), "red pear");
  EXPECT_EQ(found({.words = {"red"}, .rooms = {}}), "");
  EXPECT_EQ(found({.words = {"red"}, .rooms = {kRoom}, .from_user = bob_}), "green apple; red worm");
  EXPECT_EQ(found({.words = {"re"}, .rooms = {kRoom}}), "");
  std::vector<RoomId> many;  // too many for words
  for (std::uint64_t id = 1; id <= 101; ++id) many.push_back(RoomId{id});
  EXPECT_EQ(run(store().search_messages({.words = {"red"}, .rooms = many}))->messages.size(), 3U);
  many.pop_back();
  EXPECT_EQ(found({.words = {"red"}, .rooms = many}), "green apple; red worm,Red apple");
  auto page = run(store().search_messages({.words = {"worm"}, .rooms = {kRoom}}));
  ASSERT_EQ(page->messages.size(), 1U);
  EXPECT_EQ(page->messages[0].sender_username, "bob");
  EXPECT_EQ(page->messages[0].room, kRoom);
  EXPECT_EQ(page->messages[0].seq, 2U);
}

// A word that is rare lies behind many ranges without it; one that all have fills each page from the first.
TEST_P(SearchTest, WalksBackAsFarAsItTakes) {
  constexpr std::uint64_t kMessages = 3000;
  std::vector<Event> events;
  for (std::uint64_t seq = 1; seq <= kMessages; ++seq)
    events.push_back(message(kRoom, seq, ann_, (seq == 2 ? "needle " : "hay ") + std::to_string(seq)));
  ASSERT_TRUE(ingest(std::move(events)));
  feed();
  EXPECT_EQ(found({.words = {"needle"}, .rooms = {kRoom}}), "needle 2");
  auto newest = run(store().search_messages({.words = {"hay"}, .rooms = {kRoom}, .limit = 2}));
  ASSERT_EQ(newest->messages.size(), 2U);
  EXPECT_EQ(newest->messages[0].text, "hay 3000");
  EXPECT_EQ(newest->messages[1].text, "hay 2999");
  std::uint64_t count = 0;
  std::uint64_t last = kMessages + 1;
  SearchQuery query{.words = {"hay"}, .rooms = {kRoom}, .limit = 100};
  do {
    auto page = run(store().search_messages(query));
    ASSERT_TRUE(page) << page.error().message;
    for (const Message& message : page->messages) {
      EXPECT_LT(message.seq, last);
      last = message.seq;
      ++count;
    }
    query.cursor = page->next;
  } while (query.cursor != 0);
  EXPECT_EQ(count, kMessages - 1);
}

TEST_P(SearchTest, FindsNothingOfWhatIsGone) {
  add_room(102, "Gone", ann_, true);
  ASSERT_TRUE(ingest({message(kRoom, 1, ann_, "word one"), message(RoomId{102}, 1, ann_, "word gone"),
                      message(kRoom, 2, ann_, "word two"), message(kRoom, 3, UserId{404}, "word refused")}));
  feed();
  EXPECT_EQ(found({.words = {"word"}, .rooms = {kRoom, RoomId{102}}}), "word two,word one");
  raw("UPDATE messages SET deleted_ms = 1, text = '' WHERE seq = 1");
  EXPECT_EQ(found({.words = {"word"}, .rooms = {kRoom}}), "word two");
  raw("DELETE FROM messages");
  EXPECT_EQ(found({.words = {"word"}, .rooms = {kRoom}, .limit = 1}), "");
}

ON_EVERY_ENGINE(SearchTest);

}  // namespace
}  // namespace ringline::backend::test
