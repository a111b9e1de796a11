// What Redis keeps of a store's answers, on real servers: what is answered while the store is away, for how long, and what is never answered. The store is
// SQLite's, behind a door that can be shut.
#include "ringline/backend/cached_store.hpp"

#include "redis_support.hpp"
#include "ringline/chat/blobs.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using base::FileId;
using chat::File;
using chat::HistoryPage;
using chat::HistoryQuery;
using chat::RoomPage;
using chat::SearchPage;
using chat::SearchQuery;
using chat::SessionRow;

// A store that answers `unavailable` while it is away, and keeps an answer that it has back until it is let go of.
class Gate final : public chat::Store {
 public:
  struct State {
    bool away = false;
    bool well = true;    // as far as it knows
    bool holds = false;  // calls that begin now
    bool released = false;
    mutable unsigned calls = 0;  // that it had
  };
  Gate(std::unique_ptr<chat::Store> inner, loop::Loop& loop, const State& state)
      : inner_(std::move(inner)), loop_(loop), state_(state) {}

  Task<Result<Account>> create_account(Account a) override { return gate(inner_->create_account(std::move(a))); }
  Task<Result<Account>> create_guest(Account a) override { return gate(inner_->create_guest(std::move(a))); }
  Task<Result<Account>> promote_guest(UserId id, Account a) override {
    return gate(inner_->promote_guest(id, std::move(a)));
  }
  Task<Result<Account>> find_account(UserId id) override { return gate(inner_->find_account(id)); }
  Task<Result<Account>> find_account_by_name(std::string name) override {
    return gate(inner_->find_account_by_name(std::move(name)));
  }
  Task<Result<void>> set_password_hash(UserId id, std::string hash) override {
    return gate(inner_->set_password_hash(id, std::move(hash)));
  }
  Task<Result<void>> set_last_seen(UserId id, std::int64_t at) override { return gate(inner_->set_last_seen(id, at)); }
  Task<Result<chat::IdleGuests>> remove_idle_guests(std::int64_t since, std::size_t limit) override {
    return gate(inner_->remove_idle_guests(since, limit));
  }
  Task<Result<void>> create_session(SessionRow s) override { return gate(inner_->create_session(std::move(s))); }
  Task<Result<SessionRow>> find_session(SessionId id) override { return gate(inner_->find_session(id)); }
  Task<Result<std::vector<chat::SessionId>>> ended_sessions(std::vector<chat::SessionId> ids) override {
    return gate(inner_->ended_sessions(std::move(ids)));
  }
  Task<Result<std::vector<SessionRow>>> sessions_of(UserId id) override { return gate(inner_->sessions_of(id)); }
  Task<Result<SessionRow>> rotate_session(SessionId id, std::uint64_t generation, std::int64_t now,
                                          std::int64_t expires) override {
    return gate(inner_->rotate_session(id, generation, now, expires));
  }
  Task<Result<void>> end_session(SessionId id) override { return gate(inner_->end_session(id)); }
  Task<Result<chat::StoredRoom>> create_room(chat::Room room, std::vector<chat::Member> members,
                                             std::string key) override {
    return gate(inner_->create_room(std::move(room), std::move(members), std::move(key)));
  }
  Task<Result<chat::StoredRoom>> load_room(RoomId id) override { return gate(inner_->load_room(id)); }
  Task<Result<RoomId>> find_room_by_name(std::string name) override {
    return gate(inner_->find_room_by_name(std::move(name)));
  }
  Task<Result<RoomPage>> list_public_rooms(std::string query, std::string cursor, std::size_t limit) override {
    return gate(inner_->list_public_rooms(std::move(query), std::move(cursor), limit));
  }
  Task<Result<std::vector<RoomId>>> rooms_of(UserId id) override { return gate(inner_->rooms_of(id)); }
  Task<Result<std::uint64_t>> rooms_made_by(UserId id) override { return gate(inner_->rooms_made_by(id)); }
  Task<Result<void>> set_marks(std::vector<chat::ReadMark> marks) override {
    return gate(inner_->set_marks(std::move(marks)));
  }
  Task<Result<std::vector<chat::ReadMark>>> marks_of(UserId id) override { return gate(inner_->marks_of(id)); }
  Task<Result<std::uint64_t>> count_messages(RoomId id, std::uint64_t after, std::uint64_t up_to) override {
    return gate(inner_->count_messages(id, after, up_to));
  }
  Task<Result<void>> ingest(std::vector<Event> events) override { return gate(inner_->ingest(std::move(events))); }
  Task<Result<chat::RoomPlace>> begin_epoch(RoomId id, std::uint64_t epoch) override {
    return gate(inner_->begin_epoch(id, epoch));
  }
  Task<Result<HistoryPage>> history(HistoryQuery query) override { return gate(inner_->history(query)); }
  Task<Result<std::vector<chat::StoredEvent>>> events_after(RoomId id, std::uint64_t after, std::size_t limit,
                                                            std::uint64_t epoch) override {
    return gate(inner_->events_after(id, after, limit, epoch));
  }
  Task<Result<SearchPage>> search_messages(SearchQuery query) override {
    return gate(inner_->search_messages(std::move(query)));
  }
  Task<Result<std::optional<Message>>> find_by_client_id(RoomId id, UserId sender, std::string key) override {
    return gate(inner_->find_by_client_id(id, sender, std::move(key)));
  }
  Task<Result<std::vector<std::uint64_t>>> find_sends(RoomId id, std::vector<chat::SendKey> sends) override {
    return gate(inner_->find_sends(id, std::move(sends)));
  }
  Task<Result<std::vector<std::uint64_t>>> recent_client_keys(RoomId id, std::int64_t since,
                                                              std::size_t limit) override {
    return gate(inner_->recent_client_keys(id, since, limit));
  }
  Task<Result<void>> create_file(File file, std::size_t max) override {
    return gate(inner_->create_file(std::move(file), max));
  }
  Task<Result<File>> find_file(FileId id) override { return gate(inner_->find_file(id)); }
  Task<Result<File>> complete_file(FileId id, std::int64_t expires) override {
    return gate(inner_->complete_file(id, expires));
  }
  Task<Result<File>> attach_file(FileId id, UserId owner, RoomId room) override {
    return gate(inner_->attach_file(id, owner, room));
  }
  Task<Result<chat::FilePage>> list_files(chat::FileQuery query) override {
    return gate(inner_->list_files(std::move(query)));
  }
  Task<Result<Account>> set_avatar(UserId user, FileId file, std::string url, std::int64_t now) override {
    return gate(inner_->set_avatar(user, file, std::move(url), now));
  }
  Task<Result<void>> drop_file(FileId id, std::int64_t now) override { return gate(inner_->drop_file(id, now)); }
  Task<Result<std::vector<FileId>>> take_expired_files(std::int64_t now, std::size_t limit) override {
    return gate(inner_->take_expired_files(now, limit));
  }
  Task<Result<void>> forget_file(FileId id) override { return gate(inner_->forget_file(id)); }
  bool healthy() const noexcept override { return state_.well; }
  std::int64_t safe_before_ms() const noexcept override { return inner_->safe_before_ms(); }

 private:
  template <class T>
  Task<Result<T>> gate(Task<Result<T>> call) {
    ++state_.calls;
    if (state_.away) co_return base::fail_later(Errc::unavailable, 1000, "the store is away");
    const bool held = state_.holds;
    auto answer = co_await std::move(call);
    while (held && !state_.released) co_await loop_.sleep(1ms);
    co_return answer;
  }
  std::unique_ptr<chat::Store> inner_;
  loop::Loop& loop_;
  const State& state_;
};

constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::chrono::hours kSessionTtl{24};

class RedisCacheTest : public RedisFixture, public testing::WithParamInterface<const char*> {
 protected:
  // Ids that no other test has, nor an earlier run.
  void SetUp() override {
    RedisFixture::SetUp();
    if (IsSkipped()) return;
    redis_ = &connect(options(GetParam()));
    auto opened = open_sqlite(directory_.file("ringline.db"));
    ASSERT_TRUE(opened) << opened.error().message;
    database_ = std::move(*opened);
    store_ =
        cached_store(std::make_unique<Gate>(database_->client(loop()), loop(), gate_), loop(), *redis_, kSessionTtl);
    first_id_ = static_cast<std::uint64_t>(base::wall_ms()) * 1000;
    ann_ = UserId{first_id_ + 1};
    room_ = RoomId{first_id_ + 2};
    const Account made = account(ann_.value, "ann");
    ASSERT_TRUE(run(store().create_account(made)));
    ASSERT_TRUE(make_room(room_, {ann_}));
  }
  void TearDown() override {
    if (store_) settle();
  }

  chat::Store& store() { return *store_; }
  // Until all that was begun is written.
  void settle() {
    ASSERT_TRUE(until([this] { return loop().scope().running() == 0; }));
  }
  bool make_room(RoomId id, std::vector<UserId> users) {
    std::vector<chat::Member> members;
    for (UserId user : users) members.push_back({.user = user, .joined_ms = kNow});
    const chat::Room room{.id = id,
                          .type = chat::RoomType::channel,
                          .name = "Team " + id.text(),
                          .description = "for\nall",
                          .created_by = users.front(),
                          .created_ms = kNow,
                          .updated_ms = kNow + 1};
    return run(store().create_room(room, members, {})).has_value();
  }
  SessionRow session(std::uint64_t id, std::int64_t lasts_ms = kHourMs) const {
    const std::int64_t now = base::wall_ms();
    return {.id = SessionId{first_id_ + id},
            .user = ann_,
            .rotated_ms = now,
            .created_ms = now,
            .last_used_ms = now,
            .expires_ms = now + lasts_ms,
            .user_agent = "a browser",
            .address = "192.0.2.1"};
  }
  Event joined(std::uint64_t seq, UserId user) const {
    return event(room_, seq, EventKind::member_joined, ann_,
                 R"(,"member":{"user":{"id":")" + user.text() + R"("},"role":"member"})");
  }
  Event left(std::uint64_t seq, UserId user) const {
    return event(room_, seq, EventKind::member_left, ann_, R"(,"userId":")" + user.text() + R"(","reason":"left")");
  }
  bool ingest(std::vector<Event> events) { return run(store().ingest(std::move(events))).has_value(); }

  // Of the key in Redis: its text, and for how long it stays (-2: it is not there).
  std::string kept(const std::string& key) { return ask(*redis_, {"GET", key}, key); }
  std::int64_t lifetime(const std::string& key) { return std::stoll(ask(*redis_, {"PTTL", key}, key)); }
  void set(const std::string& key, const std::string& text) {
    ASSERT_EQ(ask(*redis_, {"SET", key, text, "PX", "60000"}, key), "OK");
  }
  // As when its time is over.
  void forget(const std::string& key) {
    settle();
    ASSERT_EQ(ask(*redis_, {"DEL", key}, key), "1");
  }
  // What the store says while it is away: the code of an error.
  template <class T>
  static std::string code(const Result<T>& answer) {
    return answer ? "ok" : std::string(base::name_of(answer.error().code));
  }

  Gate::State gate_;
  Redis* redis_ = nullptr;
  Directory directory_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<chat::Store> store_;
  std::uint64_t first_id_ = 0;
  UserId ann_;
  RoomId room_;
};
INSTANTIATE_TEST_SUITE_P(Servers, RedisCacheTest, testing::Values("single", "cluster"));
// What does not depend on the servers.
class RedisCacheBoundsTest : public RedisCacheTest {};
INSTANTIATE_TEST_SUITE_P(Servers, RedisCacheBoundsTest, testing::Values("single"));

TEST_P(RedisCacheTest, WhoWasKnownSignsInWhileTheStoreIsAway) {
  const SessionRow row = session(10);
  ASSERT_TRUE(run(store().create_session(row)));
  ASSERT_TRUE(run(store().find_account(ann_)));
  forget("cache:rooms:" + ann_.text());  // the mark of the room that was made
  ASSERT_TRUE(run(store().rooms_of(ann_)));
  settle();
  gate_.away = true;
  gate_.well = false;
  auto found = run(store().find_session(row.id));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->user, ann_);
  EXPECT_EQ(found->expires_ms, row.expires_ms);
  EXPECT_TRUE(found->remembered);
  auto who = run(store().find_account(ann_));
  ASSERT_TRUE(who) << who.error().message;
  EXPECT_EQ(who->user.username, "ann");
  EXPECT_EQ(who->user.created_ms, kNow);
  EXPECT_FALSE(who->banned);
  EXPECT_EQ(run(store().rooms_of(ann_)).value(), std::vector{room_});
  // Nothing is known of others, and no password is.
  EXPECT_EQ(code(run(store().find_session(SessionId{first_id_ + 11}))), "unavailable");
  EXPECT_EQ(code(run(store().find_account(UserId{first_id_ + 11}))), "unavailable");
  EXPECT_EQ(code(run(store().rooms_of(UserId{first_id_ + 11}))), "unavailable");
  EXPECT_EQ(code(run(store().find_account_by_name("ann"))), "unavailable");
  EXPECT_TRUE(who->password_hash.empty());
  EXPECT_EQ(kept("cache:account:" + ann_.text()).find("$2b$"), std::string::npos);
  EXPECT_EQ(kept("cache:session:" + row.id.text()).find("192.0.2.1"), std::string::npos);
  EXPECT_EQ(loop().metrics().store_cache_hits, 3U);
  EXPECT_EQ(loop().metrics().store_cache_misses, 3U);
  // Each stays for its time.
  auto stays = [this](const std::string& key, std::int64_t age_ms) {
    const std::int64_t left = lifetime(key);
    return left > age_ms - 60'000 && left <= age_ms;
  };
  EXPECT_TRUE(stays("cache:session:" + row.id.text(), kHourMs));
  EXPECT_TRUE(stays("cache:account:" + ann_.text(), kHourMs));
  EXPECT_TRUE(stays("cache:rooms:" + ann_.text(), kHourMs / 12));
  gate_.away = false;
  EXPECT_TRUE(run(store().find_session(row.id))->remembered) << "it is not known to be back";
  EXPECT_EQ(code(run(store().find_account(UserId{first_id_ + 11}))), "not_found");
  gate_.well = true;
  EXPECT_FALSE(run(store().find_session(row.id))->remembered);
}

TEST_P(RedisCacheTest, ASessionThatEndedOrExpiredIsNotThere) {
  const SessionRow ended = session(10), rotated = session(11), short_one = session(12);
  for (const SessionRow& row : {ended, rotated, short_one}) ASSERT_TRUE(run(store().create_session(row)));
  ASSERT_TRUE(run(store().end_session(ended.id)));
  auto newer = run(store().rotate_session(rotated.id, 0, base::wall_ms(), rotated.expires_ms + kHourMs));
  ASSERT_TRUE(newer) << newer.error().message;
  settle();
  EXPECT_GT(lifetime("cache:session:" + rotated.id.text()), kHourMs) << "used again, kept longer";
  EXPECT_GT(lifetime("cache:ended:" + ended.id.text()), 23 * kHourMs);
  // What is written late, by a host that had found it before, does not bring it back.
  const std::string late = "cache:session:" + ended.id.text();
  std::string text = kept("cache:session:" + rotated.id.text());
  set(late, text);
  // One whose time is over, before Redis has noticed.
  const std::string at = "cache:session:" + short_one.id.text();
  text = kept(at);
  text.replace(text.find(std::to_string(short_one.expires_ms)), 13, std::to_string(base::wall_ms() - 1));
  set(at, text);
  gate_.away = true;
  EXPECT_EQ(code(run(store().find_session(ended.id))), "not_found");
  EXPECT_EQ(code(run(store().find_session(short_one.id))), "not_found");
  EXPECT_EQ(run(store().find_session(rotated.id))->generation, 1U);
  // Of one that is ended now nobody knows whether it is.
  EXPECT_EQ(code(run(store().end_session(rotated.id))), "unavailable");
  settle();
  EXPECT_EQ(code(run(store().find_session(rotated.id))), "unavailable");
}

TEST_P(RedisCacheTest, PagesAreAnsweredToTheQuestionsThatWereAsked) {
  std::vector<Event> events;
  for (std::uint64_t seq = 1; seq <= 6; ++seq)
    events.push_back(message(room_, seq, ann_, "red \"" + std::to_string(seq) + "\"\n"));
  ASSERT_TRUE(ingest(std::move(events)));
  const HistoryQuery before{
      .room = room_, .from = HistoryQuery::From::before, .position = 5, .limit = 2, .stored_seq = 4};
  const HistoryQuery after{
      .room = room_, .from = HistoryQuery::From::after, .position = 3, .limit = 50, .stored_seq = 6};
  HistoryQuery by_id{
      .room = room_, .from = HistoryQuery::From::around_id, .position = room_.value * 1'000'000 + 10'003};
  const SearchQuery search{.words = {"red"}, .rooms = {RoomId{1}, room_}, .limit = 2};
  const std::string name = "team " + room_.text();
  auto stored_search = [&] { return run(store().search_messages(search)); };
  SearchQuery any = search;
  any.limit = 50;
  ASSERT_TRUE(until([&] {  // words are taken in behind
    database_->tend();
    return run(store().search_messages(any))->messages.size() == 6;
  }));
  const SearchPage found = stored_search().value();
  const auto stored_before = run(store().history(before)), stored_after = run(store().history(after));
  ASSERT_TRUE(stored_before && stored_after && run(store().history(by_id)));
  ASSERT_TRUE(run(store().list_public_rooms(name, {}, 5)));
  settle();
  gate_.away = true;
  auto texts = [](const auto& page) {
    std::vector<std::string> all;
    for (const Message& one : page.messages) all.push_back(std::to_string(one.seq) + one.text);
    return all;
  };
  auto page = run(store().history(before));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(texts(*page), texts(*stored_before));
  EXPECT_TRUE(page->has_before && page->has_after);
  page = run(store().history(after));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(texts(*page), (std::vector<std::string>{"4red \"4\"\n", "5red \"5\"\n", "6red \"6\"\n"}));
  EXPECT_FALSE(page->has_after);
  // One who knows the store to have more, or less, would join it with another part of the log.
  HistoryQuery later = after;
  later.stored_seq = 7;
  EXPECT_EQ(code(run(store().history(later))), "unavailable");
  EXPECT_EQ(code(run(store().history(by_id))), "unavailable");
  auto again = stored_search();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(texts(*again), texts(found));
  EXPECT_EQ(again->next, found.next);
  SearchQuery other = search;
  std::ranges::reverse(other.rooms);
  EXPECT_TRUE(run(store().search_messages(other))) << "the same rooms";
  other.rooms.pop_back();
  EXPECT_EQ(code(run(store().search_messages(other))), "unavailable") << "he is not in all of them";
  auto rooms = run(store().list_public_rooms(name, {}, 5));
  ASSERT_TRUE(rooms) << rooms.error().message;
  ASSERT_EQ(rooms->rooms.size(), 1U);
  EXPECT_EQ(rooms->rooms[0].id, room_);
  EXPECT_EQ(rooms->rooms[0].type, chat::RoomType::channel);
  EXPECT_EQ(rooms->rooms[0].description, "for\nall");
  EXPECT_EQ(rooms->rooms[0].updated_ms, kNow + 6);
  EXPECT_EQ(rooms->member_counts, std::vector<std::uint64_t>{1});
  EXPECT_EQ(code(run(store().list_public_rooms(name, {}, 6))), "unavailable");
}

TEST_P(RedisCacheTest, ChangesAreToldAndNoOldAnswerHidesThem) {
  const UserId bob{first_id_ + 3};
  ASSERT_TRUE(run(store().create_guest(account(bob.value, "bob", true))));
  const std::string bobs = "cache:rooms:" + bob.text();
  // Asked for before he joins, answered after: nothing is kept, for now.
  gate_.holds = true;
  std::optional<Result<std::vector<RoomId>>> old;
  base::Scope scope;
  scope.spawn(HandLoop::keep(store().rooms_of(bob), old));
  static_cast<void>(until([] { return false; }, 50ms));
  gate_.holds = false;
  ASSERT_TRUE(ingest({joined(1, bob)}));
  gate_.released = true;
  ASSERT_TRUE(until([&] { return scope.running() == 0; }));
  settle();
  EXPECT_EQ(kept(bobs), "");
  EXPECT_LE(lifetime(bobs), limits::kCacheSettle.count());
  gate_.away = true;
  EXPECT_EQ(code(run(store().rooms_of(bob))), "unavailable");
  gate_.away = false;
  forget(bobs);
  EXPECT_EQ(run(store().rooms_of(bob)).value(), std::vector{room_});
  settle();
  EXPECT_NE(kept(bobs), "");
  ASSERT_TRUE(ingest({left(2, bob)}));
  settle();
  EXPECT_EQ(kept(bobs), "");
  // His profile is replaced, whatever is there.
  Account promoted = account(bob.value, "robert");
  ASSERT_TRUE(run(store().promote_guest(bob, promoted)));
  settle();
  gate_.away = true;
  EXPECT_EQ(run(store().find_account(bob))->user.username, "robert");
  EXPECT_FALSE(run(store().find_account(bob))->user.guest);
  gate_.away = false;
  // No page of a room in which a message changed is answered, as long as any may be kept.
  ASSERT_TRUE(ingest({message(room_, 3, ann_, "three"), message(room_, 4, ann_, "four")}));
  const HistoryQuery page{.room = room_, .from = HistoryQuery::From::before, .position = 4, .stored_seq = 3};
  ASSERT_TRUE(run(store().history(page)));
  settle();
  gate_.away = true;
  EXPECT_TRUE(run(store().history(page)));
  gate_.away = false;
  ASSERT_TRUE(ingest({event(room_, 5, EventKind::message_deleted, ann_, R"(,"messageId":"1")")}));
  settle();
  EXPECT_GT(lifetime("cache:history:" + room_.text() + ":changed"), limits::kCachedHistoryAge.count());
  gate_.away = true;
  EXPECT_EQ(code(run(store().history(page))), "unavailable");
  gate_.away = false;
  // Nor a list where a room is gone.
  ASSERT_TRUE(run(store().list_public_rooms(room_.text(), {}, 5)));
  ASSERT_TRUE(ingest({event(room_, 6, EventKind::room_deleted, ann_, "")}));
  settle();
  gate_.away = true;
  EXPECT_EQ(code(run(store().list_public_rooms(room_.text(), {}, 5))), "unavailable");
  forget("cache:list:changed");  // it is everybody's
}

TEST_P(RedisCacheBoundsTest, AnAnswerThatTookLongIsNotKept) {
  const UserId bob{first_id_ + 3};
  ASSERT_TRUE(run(store().create_guest(account(bob.value, "bob", true))));
  gate_.holds = true;
  std::optional<Result<std::vector<RoomId>>> late;
  base::Scope scope;
  scope.spawn(HandLoop::keep(store().rooms_of(bob), late));
  static_cast<void>(until([] { return false; }, limits::kCacheFresh + 100ms));
  gate_.released = true;
  ASSERT_TRUE(until([&] { return scope.running() == 0; }));
  settle();
  EXPECT_TRUE(late->has_value());
  EXPECT_EQ(lifetime("cache:rooms:" + bob.text()), -2);
}

TEST_P(RedisCacheBoundsTest, AStoreThatDoesNotAnswerIsNotWaitedForAgainAndAgain) {
  forget("cache:rooms:" + ann_.text());
  ASSERT_TRUE(run(store().rooms_of(ann_)));
  settle();
  gate_.holds = true;
  EXPECT_TRUE(run(store().find_account(ann_)));
  const unsigned calls = gate_.calls;
  EXPECT_EQ(run(store().rooms_of(ann_)).value(), std::vector{room_});
  EXPECT_EQ(gate_.calls, calls) << "it was not asked";
  EXPECT_EQ(loop().metrics().store_cache_hits, 2U);
  // What is not there it is asked for all the same, and waited for.
  std::optional<Result<Account>> other;
  base::Scope scope;
  scope.spawn(HandLoop::keep(store().find_account(UserId{first_id_ + 11}), other));
  EXPECT_TRUE(until([&] { return gate_.calls > calls; }));
  gate_.released = true;
  ASSERT_TRUE(until([&] { return scope.running() == 0; }));
  EXPECT_EQ(code(*other), "not_found");
}

TEST_P(RedisCacheBoundsTest, WhatIsNotOneOfOursIsAsIfNothingWereThere) {
  const std::string key = "cache:account:" + ann_.text();
  settle();
  gate_.away = true;
  EXPECT_TRUE(run(store().find_account(ann_)));
  for (const std::string& text :
       {std::string("rubbish"), std::string("[]"), std::string("{}"), std::string("7"),
        std::string(R"({"user":{"id":"1"},"banned":false})"), std::string(limits::kCacheValueBytes + 1, 'x')}) {
    set(key, text);
    EXPECT_EQ(code(run(store().find_account(ann_))), "unavailable") << text.substr(0, 80);
  }
  forget(key);
  EXPECT_EQ(ask(*redis_, {"RPUSH", key, "a list"}, key), "1");
  EXPECT_EQ(code(run(store().find_account(ann_))), "unavailable");
  forget(key);
}

// A page that is too large is not kept; nor are more of them than a minute may have.
TEST_P(RedisCacheBoundsTest, WhatWouldBeTooMuchIsNotKept) {
  std::vector<Event> events;
  const std::string text(limits::kCacheValueBytes / 4, 'x');
  for (std::uint64_t seq = 1; seq <= 5; ++seq) events.push_back(message(room_, seq, ann_, text));
  ASSERT_TRUE(ingest(std::move(events)));
  auto page = [&](std::uint64_t position, std::size_t limit) {
    HistoryQuery query{.room = room_, .from = HistoryQuery::From::before, .position = position, .limit = limit};
    return run(store().history(query)).has_value();
  };
  auto is_kept = [&](std::uint64_t position, std::size_t limit) {
    settle();
    const std::string number = std::to_string(position) + ":" + std::to_string(limit);
    return lifetime("cache:history:" + room_.text() + ":before:" + number + ":0") > 0;
  };
  ASSERT_TRUE(page(6, 5) && page(6, 3));
  EXPECT_FALSE(is_kept(6, 5));
  EXPECT_TRUE(is_kept(6, 3));
  const std::uint64_t enough = limits::kCachePageBytes / (3 * text.size());
  for (std::uint64_t i = 1; i <= enough; ++i) ASSERT_TRUE(page(6 + i, 3) && page(6, 3));
  EXPECT_TRUE(is_kept(6 + enough / 2, 3)) << "the same one again costs nothing";
  EXPECT_FALSE(is_kept(6 + enough, 3));
}

// A Redis that cannot be reached: as without one.
TEST_P(RedisCacheBoundsTest, WithoutRedisItIsTheStoreAlone) {
  Redis& nowhere = make(options(GetParam()));  // never started
  auto alone =
      cached_store(std::make_unique<Gate>(database_->client(loop()), loop(), gate_), loop(), nowhere, kSessionTtl);
  EXPECT_EQ(run(alone->rooms_of(ann_)).value(), std::vector{room_});
  const SessionRow row = session(20);
  ASSERT_TRUE(run(alone->create_session(row)));
  ASSERT_TRUE(run(alone->end_session(row.id)));
  EXPECT_EQ(code(run(alone->find_session(row.id))), "not_found");
  gate_.away = true;
  EXPECT_EQ(code(run(alone->rooms_of(ann_))), "unavailable");
  EXPECT_EQ(code(run(alone->find_session(row.id))), "unavailable");
  settle();
}

}  // namespace
}  // namespace ringline::backend::test
