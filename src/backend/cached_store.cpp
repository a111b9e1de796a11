// See cached_store.hpp.
#include "ringline/backend/cached_store.hpp"

#include <algorithm>
#include <type_traits>

#include "backend/answer_cache.hpp"
#include "backend/cached_answers.hpp"
#include "backend/patience.hpp"
#include "backend/sigv4.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/chat/room_event.hpp"

namespace ringline::backend {

using base::Errc;
using base::FileId;
using base::Result;
using base::RoomId;
using base::SessionId;
using base::Task;
using base::UserId;
using chat::Account;
using chat::Event;
using chat::EventKind;
using chat::File;
using chat::HistoryPage;
using chat::HistoryQuery;
using chat::RoomPage;
using chat::SearchPage;
using chat::SearchQuery;
using chat::SessionRow;

namespace {

// Where an answer is kept, and for how long.
struct Place {
  std::string key;
  std::chrono::milliseconds age{};
  bool is_page = false;
  // A key; where something is under it the answer is not to be believed, or (of a session) it has ended.
  std::string mark = {};
};

std::string session_key(SessionId id) { return "cache:session:" + id.text(); }
std::string ended_key(SessionId id) { return "cache:ended:" + id.text(); }
std::string account_key(UserId id) { return "cache:account:" + id.text(); }
std::string rooms_key(UserId id) { return "cache:rooms:" + id.text(); }
// A mark in place of many answers: pages of a room's history, and lists of public rooms, are too many to be dropped one by one.
std::string history_changed_key(RoomId id) { return "cache:history:" + id.text() + ":changed"; }
constexpr const char* kListsChangedKey = "cache:list:changed";

Place place_of(SessionId id) { return {.key = session_key(id), .mark = ended_key(id)}; }
Place place_of(UserId account) { return {.key = account_key(account), .age = limits::kCachedAccountAge}; }

Place place_of(const HistoryQuery& query) {
  const char* from = query.from == HistoryQuery::From::before ? "before" : "after";
  std::string key = "cache:history:" + query.room.text() + ":" + from;
  // The answer reached as far as the asker knew the store to reach: one who knows of more, or of less, joins it with another part of the log.
  for (std::uint64_t number : {query.position, static_cast<std::uint64_t>(query.limit), query.stored_seq})
    key += ":" + std::to_string(number);
  return {.key = std::move(key),
          .age = limits::kCachedHistoryAge,
          .is_page = true,
          .mark = history_changed_key(query.room)};
}

Place place_of_list(std::string_view query, std::string_view cursor, std::size_t limit) {
  const std::string text = std::to_string(limit) + " " + std::string(cursor) + "\n" + std::string(query);
  return {.key = "cache:list:" + sha256_hex(text),
          .age = limits::kCachedRoomsAge,
          .is_page = true,
          .mark = kListsChangedKey};
}

// The rooms are a part of it: nobody gets what was found in others.
Place place_of(const SearchQuery& query) {
  std::vector<RoomId> rooms = query.rooms;
  std::ranges::sort(rooms);
  std::string text = query.from_user.text() + " " + std::to_string(query.cursor) + " " + std::to_string(query.limit);
  for (const std::string& word : query.words) text += " " + word;
  text += "\n";
  for (RoomId room : rooms) text += room.text() + " ";
  return {.key = "cache:search:" + sha256_hex(text), .age = limits::kCachedSearchAge, .is_page = true};
}

// What events make untrue of what is kept.
struct Changes {
  std::vector<UserId> users;    // their rooms
  std::vector<RoomId> history;  // of these
  bool lists = false;
};

template <class Id>
void sort_out(std::vector<Id>& ids) {
  std::ranges::sort(ids);
  const auto same = std::ranges::unique(ids);
  ids.erase(same.begin(), same.end());
}

std::chrono::milliseconds left_of(const SessionRow& session) {
  return std::chrono::milliseconds(std::max<std::int64_t>(session.expires_ms - base::wall_ms(), 1));
}

class CachedStore final : public chat::Store {
 public:
  CachedStore(std::unique_ptr<chat::Store> inner, loop::Loop& loop, Redis& redis, std::chrono::milliseconds session_ttl)
      : inner_(std::move(inner)), loop_(loop), cache_(loop, redis), session_ttl_(session_ttl) {}

  // ---- What is kept.
  Task<Result<Account>> find_account(UserId id) override { return ask(inner_->find_account(id), place_of(id)); }
  Task<Result<SessionRow>> find_session(SessionId id) override { return ask(inner_->find_session(id), place_of(id)); }
  Task<Result<std::vector<RoomId>>> rooms_of(UserId user) override {
    return ask(inner_->rooms_of(user), Place{.key = rooms_key(user), .age = limits::kCachedRoomsAge});
  }
  Task<Result<RoomPage>> list_public_rooms(std::string query, std::string cursor, std::size_t limit) override {
    Place place = place_of_list(query, cursor, limit);
    return ask(inner_->list_public_rooms(std::move(query), std::move(cursor), limit), std::move(place));
  }
  // What is asked by an id settles what becomes of an event: the store alone says that.
  Task<Result<HistoryPage>> history(HistoryQuery query) override {
    if (query.from != HistoryQuery::From::before && query.from != HistoryQuery::From::after)
      return inner_->history(query);
    return ask(inner_->history(query), place_of(query));
  }
  Task<Result<SearchPage>> search_messages(SearchQuery query) override {
    Place place = place_of(query);
    return ask(inner_->search_messages(std::move(query)), std::move(place));
  }

  // ---- What changes it.
  Task<Result<Account>> create_account(Account account) override {
    return note(inner_->create_account(std::move(account)));
  }
  Task<Result<Account>> create_guest(Account account) override {
    return note(inner_->create_guest(std::move(account)));
  }
  Task<Result<Account>> promote_guest(UserId guest, Account account) override {
    return note(inner_->promote_guest(guest, std::move(account)));
  }
  Task<Result<Account>> set_avatar(UserId user, FileId file, std::string url, std::int64_t now_ms) override {
    return note(inner_->set_avatar(user, file, std::move(url), now_ms));
  }
  Task<Result<void>> create_session(SessionRow session) override;
  Task<Result<SessionRow>> rotate_session(SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                          std::int64_t expires_ms) override;
  Task<Result<void>> end_session(SessionId id) override;
  Task<Result<chat::StoredRoom>> create_room(chat::Room room, std::vector<chat::Member> members,
                                             std::string direct_key) override;
  Task<Result<void>> ingest(std::vector<Event> events) override;
  Task<Result<chat::RoomPlace>> begin_epoch(RoomId room, std::uint64_t epoch) override;

  // ---- All others.
  Task<Result<Account>> find_account_by_name(std::string name) override {
    return inner_->find_account_by_name(std::move(name));
  }
  Task<Result<void>> set_password_hash(UserId id, std::string hash) override {
    return inner_->set_password_hash(id, std::move(hash));
  }
  Task<Result<void>> set_last_seen(UserId id, std::int64_t at_ms) override { return inner_->set_last_seen(id, at_ms); }
  Task<Result<chat::IdleGuests>> remove_idle_guests(std::int64_t not_seen_since_ms, std::size_t limit) override {
    return inner_->remove_idle_guests(not_seen_since_ms, limit);
  }
  Task<Result<std::vector<chat::SessionId>>> ended_sessions(std::vector<chat::SessionId> ids) override {
    return inner_->ended_sessions(std::move(ids));
  }
  Task<Result<std::vector<SessionRow>>> sessions_of(UserId user) override { return inner_->sessions_of(user); }
  Task<Result<chat::StoredRoom>> load_room(RoomId id) override { return inner_->load_room(id); }
  Task<Result<RoomId>> find_room_by_name(std::string name) override {
    return inner_->find_room_by_name(std::move(name));
  }
  Task<Result<std::uint64_t>> rooms_made_by(UserId user) override { return inner_->rooms_made_by(user); }
  Task<Result<void>> set_marks(std::vector<chat::ReadMark> marks) override {
    return inner_->set_marks(std::move(marks));
  }
  Task<Result<std::vector<chat::ReadMark>>> marks_of(UserId user) override { return inner_->marks_of(user); }
  Task<Result<std::uint64_t>> count_messages(RoomId room, std::uint64_t after, std::uint64_t up_to) override {
    return inner_->count_messages(room, after, up_to);
  }
  Task<Result<std::vector<chat::StoredEvent>>> events_after(RoomId room, std::uint64_t after, std::size_t limit,
                                                            std::uint64_t epoch) override {
    return inner_->events_after(room, after, limit, epoch);
  }
  Task<Result<std::optional<chat::Message>>> find_by_client_id(RoomId room, UserId sender,
                                                               std::string client_id) override {
    return inner_->find_by_client_id(room, sender, std::move(client_id));
  }
  Task<Result<std::vector<std::uint64_t>>> find_sends(RoomId room, std::vector<chat::SendKey> sends) override {
    return inner_->find_sends(room, std::move(sends));
  }
  Task<Result<std::vector<std::uint64_t>>> recent_client_keys(RoomId room, std::int64_t since_ms,
                                                              std::size_t limit) override {
    return inner_->recent_client_keys(room, since_ms, limit);
  }
  Task<Result<void>> create_file(File file, std::size_t waiting_max) override {
    return inner_->create_file(std::move(file), waiting_max);
  }
  Task<Result<File>> find_file(FileId id) override { return inner_->find_file(id); }
  Task<Result<File>> complete_file(FileId id, std::int64_t expires_ms) override {
    return inner_->complete_file(id, expires_ms);
  }
  Task<Result<File>> attach_file(FileId id, UserId owner, RoomId room) override {
    return inner_->attach_file(id, owner, room);
  }
  Task<Result<chat::FilePage>> list_files(chat::FileQuery query) override {
    return inner_->list_files(std::move(query));
  }
  Task<Result<void>> drop_file(FileId id, std::int64_t now_ms) override { return inner_->drop_file(id, now_ms); }
  Task<Result<std::vector<FileId>>> take_expired_files(std::int64_t now_ms, std::size_t limit) override {
    return inner_->take_expired_files(now_ms, limit);
  }
  Task<Result<void>> forget_file(FileId id) override { return inner_->forget_file(id); }
  bool healthy() const noexcept override { return inner_->healthy(); }
  std::int64_t safe_before_ms() const noexcept override { return inner_->safe_before_ms(); }

 private:
  template <class T>
  static bool is_away(const Result<T>& answer) {
    return !answer && answer.error().code == Errc::unavailable;
  }
  template <class T>
  std::string_view json_of(const T& answer) {
    out_.clear();
    write_answer(out_, answer);
    return out_.view();
  }

  template <class T>
  Task<Result<T>> ask(Task<Result<T>> asking, Place place);
  template <class T>
  void keep(const T& answer, const Place& place, std::int64_t asked_ms);
  template <class T>
  Task<std::optional<Result<T>>> recall(Place place);
  template <class T>
  Task<std::optional<Result<T>>> look_up(Place place);
  Task<Result<Account>> note(Task<Result<Account>> changing);
  Changes changes_of(const std::vector<Event>& events);
  void note(const Changes& changes);

  std::unique_ptr<chat::Store> inner_;
  loop::Loop& loop_;
  AnswerCache cache_;
  std::int64_t silent_until_ms_ = 0;  // the store did not answer in time: it counts as away
  const std::chrono::milliseconds session_ttl_;
  base::json::Writer out_;
  base::json::Reader in_;
};

// ---- Answers.

template <class T>
void CachedStore::keep(const T& answer, const Place& place, std::int64_t asked_ms) {
  if (loop_.now_ms() - asked_ms > limits::kCacheFresh.count() || !cache_.wants(place.key)) return;
  std::chrono::milliseconds age = place.age;
  if constexpr (std::is_same_v<T, SessionRow>) age = left_of(answer);
  cache_.fill(place.key, json_of(answer), age, place.is_page);
}

// Of a session its end is known too. That is kept apart from it: nothing that is written late can bring it back.
template <class T>
Task<std::optional<Result<T>>> CachedStore::recall(Place place) {
  constexpr bool is_session = std::is_same_v<T, SessionRow>;
  auto text = co_await cache_.get(place.key);
  if (!text) co_return std::nullopt;
  if (!place.mark.empty()) {
    auto mark = co_await cache_.get(place.mark);
    if (mark && *mark && is_session) co_return base::fail(Errc::not_found, "no such session");
    if (!mark || *mark) co_return std::nullopt;
  }
  if (!*text) co_return std::nullopt;
  const base::json::Value* value = in_.parse(**text);
  T answer{};
  if (!value || !read_answer(*value, answer)) {
    cache_.complain(place.key, "it cannot be read");
    co_return std::nullopt;
  }
  if constexpr (is_session)
    if (answer.expires_ms <= base::wall_ms()) co_return base::fail(Errc::not_found, "no such session");
  co_return answer;
}

template <class T>
Task<std::optional<Result<T>>> CachedStore::look_up(Place place) {
  auto kept = co_await recall<T>(std::move(place));
  ++(kept ? loop_.metrics().store_cache_hits : loop_.metrics().store_cache_misses);
  co_return kept;
}

// A store that is known to be away is asked last, and one that does not answer is not waited for: it may take all of its time for each of the calls that
// somebody who signs in needs.
template <class T>
Task<Result<T>> CachedStore::ask(Task<Result<T>> asking, Place place) {
  std::optional<Result<T>> kept;
  const bool known_away = !inner_->healthy() || loop_.now_ms() < silent_until_ms_;
  if (known_away) kept = co_await look_up<T>(place);
  if (kept) co_return std::move(*kept);
  const std::int64_t asked_ms = loop_.now_ms();
  // A search may well take seconds.
  const std::chrono::milliseconds patience = place.is_page ? limits::kStoreTimeout : limits::kCachePatience;
  auto call = PatientCall<T>::begin(loop_, std::move(asking));
  bool looked = known_away;
  for (;;) {
    const bool answered = co_await call->within(loop_, patience);
    if (answered) break;
    silent_until_ms_ = loop_.now_ms() + limits::kCachePause.count();
    if (!std::exchange(looked, true)) kept = co_await look_up<T>(place);
    if (kept) co_return std::move(*kept);
  }
  auto answer = call->take();
  if (answer) keep(*answer, place, asked_ms);
  if (is_away(answer) && !looked) kept = co_await look_up<T>(std::move(place));
  if (kept) co_return std::move(*kept);
  co_return answer;
}

// ---- Changes.

Task<Result<Account>> CachedStore::note(Task<Result<Account>> changing) {
  auto account = co_await std::move(changing);
  if (account) cache_.put(account_key(account->user.id), json_of(*account), limits::kCachedAccountAge);
  co_return account;
}

Task<Result<void>> CachedStore::create_session(SessionRow session) {
  auto made = co_await inner_->create_session(session);
  if (made) cache_.put(session_key(session.id), json_of(session), left_of(session));
  co_return made;
}

Task<Result<SessionRow>> CachedStore::rotate_session(SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                                     std::int64_t expires_ms) {
  auto session = co_await inner_->rotate_session(id, generation, now_ms, expires_ms);
  if (session) cache_.put(session_key(id), json_of(*session), left_of(*session));
  co_return session;
}

Task<Result<void>> CachedStore::end_session(SessionId id) {
  auto ended = co_await inner_->end_session(id);
  if (ended) cache_.put(ended_key(id), "1", session_ttl_);
  if (ended || is_away(ended)) cache_.drop(session_key(id));  // without an answer it may have been done
  co_return ended;
}

Task<Result<chat::StoredRoom>> CachedStore::create_room(chat::Room room, std::vector<chat::Member> members,
                                                        std::string direct_key) {
  Changes changes;
  for (const chat::Member& member : members) changes.users.push_back(member.user);
  auto made = co_await inner_->create_room(std::move(room), std::move(members), std::move(direct_key));
  if (made) note(changes);
  co_return made;
}

Changes CachedStore::changes_of(const std::vector<Event>& events) {
  Changes changes;
  for (const Event& event : events) {
    switch (event.kind) {
      case EventKind::message_edited:
      case EventKind::message_deleted:
      case EventKind::reaction_added:
      case EventKind::reaction_removed:
      case EventKind::message_pinned:
      case EventKind::message_unpinned:
        changes.history.push_back(event.room);
        break;
      case EventKind::member_joined:
      case EventKind::member_left:
        if (UserId user = chat::subject_of(in_, event)) changes.users.push_back(user);
        break;
      case EventKind::room_updated:
      case EventKind::room_deleted:
        changes.lists = true;
        break;
      case EventKind::message_created:  // pages end where the asker knew the store to end
      case EventKind::room_created:
      case EventKind::role_changed:
        break;
    }
  }
  sort_out(changes.users);
  sort_out(changes.history);
  return changes;
}

// A mark in place of many answers stays as long as any of them may.
void CachedStore::note(const Changes& changes) {
  for (UserId user : changes.users) cache_.drop(rooms_key(user));
  for (RoomId room : changes.history)
    cache_.put(history_changed_key(room), "1", limits::kCachedHistoryAge + limits::kCacheSettle);
  if (changes.lists) cache_.put(kListsChangedKey, "1", limits::kCachedRoomsAge + limits::kCacheSettle);
}

Task<Result<void>> CachedStore::ingest(std::vector<Event> events) {
  const Changes changes = changes_of(events);
  auto taken = co_await inner_->ingest(std::move(events));
  if (taken) note(changes);
  co_return taken;
}

Task<Result<chat::RoomPlace>> CachedStore::begin_epoch(RoomId room, std::uint64_t epoch) {
  auto place = co_await inner_->begin_epoch(room, epoch);
  if (place) note(Changes{.users = {}, .history = {room}});
  co_return place;
}

}  // namespace

std::unique_ptr<chat::Store> cached_store(std::unique_ptr<chat::Store> inner, loop::Loop& loop, Redis& redis,
                                          std::chrono::milliseconds session_ttl) {
  return std::make_unique<CachedStore>(std::move(inner), loop, redis, session_ttl);
}

}  // namespace ringline::backend
