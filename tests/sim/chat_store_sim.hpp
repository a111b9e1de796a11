// A database for chat in the simulated world: in memory, durable as soon as a call has taken effect, which is somewhere between its start and its
// answer, both at random times. What had not taken effect when the power went has not happened.
//
// It refuses what SQLite refuses: an event behind a hole. In addition it notes in `wrong` what chat or recovery must never hand it.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ringline/base/json.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/store.hpp"
#include "ringline/loop/loop.hpp"
#include "world.hpp"

namespace ringline::chat::test {

using base::Errc;
using base::Result;
using base::Task;

struct RoomRow {
  Room room;
  std::map<UserId, Member> members;
  std::vector<UserId> first_members;
  std::vector<Event> log;  // the event of seq n at n - 1
};

// What survives crashes.
class Database {
 public:
  std::map<UserId, Account> accounts;
  std::map<SessionId, SessionRow> sessions;
  std::map<RoomId, RoomRow> rooms;
  std::map<std::string, RoomId> public_names;
  std::map<std::string, RoomId> pairs;  // of direct rooms
  std::map<FileId, File> files;
  std::map<std::string, std::string> blobs;
  std::uint64_t highest_id = 0;
  std::vector<std::pair<UserId, RoomId>> idle;  // memberships of guests who do not come back; a test's
  bool several_hosts = false;                   // then histories may part, and it is no error to hand it another one
  std::string wrong;
  std::int64_t safe_before_ms = INT64_MAX;  // Store::safe_before_ms
  unsigned calls = 0;                       // of any kind
  unsigned log_reads = 0;                   // of events
  unsigned name_reads = 0;                  // of rooms by name

  void note(std::uint64_t id) { highest_id = std::max(highest_id, id); }

  Result<void> ingest(const std::vector<Event>& events) {
    for (const Event& event : events) {
      const auto found = rooms.find(event.room);
      if (found == rooms.end()) return refuse("event " + event.id.text() + " of no room");
      std::vector<Event>& log = found->second.log;
      if (event.epoch != found->second.room.epoch) return parted(event);
      if (event.seq > log.size() + 1)
        return refuse("room " + event.room.text() + " jumps from seq " + std::to_string(log.size()) + " to " +
                      std::to_string(event.seq));
      if (event.seq <= log.size()) {
        const Event& had = log[event.seq - 1];
        if (several_hosts && had.id != event.id) return parted(event);
        if (had.id != event.id || had.body.view() != event.body.view())
          return refuse("another event at seq " + std::to_string(event.seq));
        continue;
      }
      apply(found->second, event);
    }
    return {};
  }

  Result<void> set_marks(const std::vector<ReadMark>& marks) {
    for (const ReadMark& mark : marks) {
      RoomRow& row = rooms.at(mark.room);
      if (row.room.epoch != mark.epoch || mark.seq > row.log.size()) continue;
      if (mark.count != messages(row, 0, mark.seq)) return refuse("a mark that counts other messages");
      if (const auto member = row.members.find(mark.user); member != row.members.end())
        raise(member->second, mark.seq, mark.count);
    }
    return {};
  }

  static std::uint64_t messages(const RoomRow& row, std::uint64_t after, std::uint64_t up_to) {
    return static_cast<std::uint64_t>(std::ranges::count_if(row.log, [&](const Event& event) {
      return event.kind == EventKind::message_created && event.seq > after && event.seq <= up_to;
    }));
  }

  Result<RoomPlace> begin_epoch(RoomId id, std::uint64_t epoch) {
    RoomRow& row = rooms.at(id);
    if (row.room.epoch + 1 == epoch) row.room.epoch = epoch;
    return RoomPlace{.epoch = row.room.epoch, .seq = row.log.size()};
  }

  StoredRoom load(const RoomRow& row) {
    StoredRoom stored{.room = row.room, .members = {}, .last_message = {}};
    stored.room.last_seq = row.log.size();
    for (const auto& [id, member] : row.members) stored.members.push_back({member, accounts.at(id).user});
    for (auto event = row.log.rbegin(); event != row.log.rend() && !stored.last_message; ++event)
      stored.last_message = message_of(*event);
    return stored;
  }

  std::optional<Message> message_of(const Event& event) {
    if (event.kind != EventKind::message_created) return std::nullopt;
    const base::json::Value* body = reader_.parse(event.body.view());
    ASSERT(body != nullptr);
    auto message = read_message(*base::json::find(*body, "message"));
    ASSERT(message.has_value());
    message->client_id = base::json::find_string(*body, "clientId").value_or("");
    return message;
  }

 private:
  std::unexpected<base::Error> refuse(std::string why) {
    if (wrong.empty()) wrong = "the store was handed this: " + why;
    return base::fail(Errc::internal, std::move(why));
  }

  static std::unexpected<base::Error> parted(const Event& event) {
    auto refused = base::fail(Errc::conflict, "another epoch");
    refused.error().field = event.room.text();
    return refused;
  }

  void apply(RoomRow& row, const Event& event) {
    row.log.push_back(event);
    row.room.updated_ms = event.at_ms;
    note(event.id.value);
    if (event.kind == EventKind::message_created) {
      ++row.room.message_count;
      if (const auto sender = row.members.find(event.actor); sender != row.members.end())
        raise(sender->second, event.seq, row.room.message_count);
    }
    if (event.kind == EventKind::member_left) row.members.erase(event.actor);
    if (event.kind == EventKind::member_joined)
      row.members[event.actor] = {
          .user = event.actor, .joined_ms = event.at_ms, .read_seq = event.seq, .read_count = row.room.message_count};
  }

  static void raise(Member& member, std::uint64_t seq, std::uint64_t count) {
    if (seq <= member.read_seq) return;
    member.read_seq = seq;
    member.read_count = count;
  }

  base::json::Reader reader_;
};

// The Store of one core.
class StoreSim final : public Store {
 public:
  StoreSim(sim::World& world, loop::Loop& loop, Database& db, const bool& down, unsigned failing_percent)
      : world_(world), loop_(loop), db_(db), down_(down), failing_percent_(failing_percent) {}

  Task<Result<Account>> create_account(Account account) override { return create_guest(std::move(account)); }
  Task<Result<Account>> create_guest(Account account) override {
    return run<Account>([&db = db_, account = std::move(account)]() mutable -> Result<Account> {
      account.user.username += "-" + account.user.id.text();
      db.note(account.user.id.value);
      return db.accounts[account.user.id] = account;
    });
  }
  Task<Result<Account>> promote_guest(UserId /*guest*/, Account account) override {
    return create_guest(std::move(account));
  }
  Task<Result<Account>> find_account(UserId id) override {
    return run<Account>([&db = db_, id]() -> Result<Account> { return copy_of(db.accounts, id); });
  }
  Task<Result<Account>> find_account_by_name(std::string /*name*/) override {
    return run<Account>([]() -> Result<Account> { return base::fail(Errc::not_found, "not asked for here"); });
  }
  Task<Result<void>> set_password_hash(UserId /*id*/, std::string /*hash*/) override { return nothing(); }
  Task<Result<void>> set_last_seen(UserId /*id*/, std::int64_t /*at_ms*/) override { return nothing(); }

  Task<Result<IdleGuests>> remove_idle_guests(std::int64_t /*since*/, std::size_t /*limit*/) override {
    return run<IdleGuests>([&db = db_]() -> Result<IdleGuests> {
      IdleGuests guests;
      for (const auto& [user, room] : db.idle)
        if (db.rooms.at(room).members.contains(user)) guests.memberships.emplace_back(user, room);
      return guests;
    });
  }

  Task<Result<void>> create_session(SessionRow session) override {
    return run<void>([&db = db_, session = std::move(session)]() -> Result<void> {
      db.note(session.id.value);
      db.sessions[session.id] = session;
      return {};
    });
  }
  Task<Result<SessionRow>> find_session(SessionId id) override {
    return run<SessionRow>([&db = db_, id]() -> Result<SessionRow> { return copy_of(db.sessions, id); });
  }
  Task<Result<std::vector<SessionId>>> ended_sessions(std::vector<SessionId> ids) override {
    return run<std::vector<SessionId>>([&db = db_, ids = std::move(ids)]() -> Result<std::vector<SessionId>> {
      std::vector<SessionId> ended;
      for (SessionId id : ids)
        if (!db.sessions.contains(id)) ended.push_back(id);
      return ended;
    });
  }
  Task<Result<std::vector<SessionRow>>> sessions_of(UserId /*user*/) override {
    return run<std::vector<SessionRow>>([]() -> Result<std::vector<SessionRow>> { return std::vector<SessionRow>(); });
  }
  Task<Result<SessionRow>> rotate_session(SessionId id, std::uint64_t /*generation*/, std::int64_t /*now_ms*/,
                                          std::int64_t /*expires_ms*/) override {
    return find_session(id);
  }
  Task<Result<void>> end_session(SessionId /*id*/) override { return nothing(); }

  Task<Result<StoredRoom>> create_room(Room room, std::vector<Member> members, std::string direct_key) override {
    return run<StoredRoom>([&db = db_, room = std::move(room), members = std::move(members),
                            direct_key = std::move(direct_key)]() -> Result<StoredRoom> {
      if (!direct_key.empty()) {
        const auto [pair, fresh] = db.pairs.try_emplace(direct_key, room.id);
        if (!fresh) return db.load(db.rooms.at(pair->second));
      }
      if (!room.is_private && !db.public_names.try_emplace(room.name, room.id).second)
        return base::fail(Errc::conflict, "the name is taken");
      RoomRow& row = db.rooms[room.id];
      row.room = room;
      db.note(room.id.value);
      for (const Member& member : members) {
        row.members[member.user] = member;
        row.first_members.push_back(member.user);
      }
      return db.load(row);
    });
  }
  Task<Result<StoredRoom>> load_room(RoomId id) override {
    return run<StoredRoom>([&db = db_, id]() -> Result<StoredRoom> {
      const auto found = db.rooms.find(id);
      if (found == db.rooms.end()) return base::fail(Errc::not_found, "no such room");
      return db.load(found->second);
    });
  }
  Task<Result<RoomId>> find_room_by_name(std::string name) override {
    return run<RoomId>([&db = db_, name = std::move(name)]() -> Result<RoomId> {
      ++db.name_reads;
      return copy_of(db.public_names, name);
    });
  }
  Task<Result<RoomPage>> list_public_rooms(std::string /*query*/, std::string /*cursor*/,
                                           std::size_t /*limit*/) override {
    return run<RoomPage>([]() -> Result<RoomPage> { return RoomPage(); });
  }
  Task<Result<std::vector<RoomId>>> rooms_of(UserId user) override {
    return run<std::vector<RoomId>>([&db = db_, user]() -> Result<std::vector<RoomId>> {
      std::vector<RoomId> rooms;
      for (const auto& [id, row] : db.rooms)
        if (row.members.contains(user)) rooms.push_back(id);
      return rooms;
    });
  }
  Task<Result<std::uint64_t>> rooms_made_by(UserId /*user*/) override {
    return run<std::uint64_t>([]() -> Result<std::uint64_t> { return 0; });
  }

  Task<Result<void>> set_marks(std::vector<ReadMark> marks) override {
    return run<void>([&db = db_, marks = std::move(marks)] { return db.set_marks(marks); });
  }
  Task<Result<std::vector<ReadMark>>> marks_of(UserId user) override {
    return run<std::vector<ReadMark>>([&db = db_, user]() -> Result<std::vector<ReadMark>> {
      std::vector<ReadMark> marks;
      for (const auto& [id, row] : db.rooms)
        if (const auto member = row.members.find(user); member != row.members.end())
          marks.push_back({.room = id,
                           .user = user,
                           .epoch = row.room.epoch,
                           .seq = member->second.read_seq,
                           .count = member->second.read_count});
      return marks;
    });
  }
  Task<Result<std::uint64_t>> count_messages(RoomId room, std::uint64_t after, std::uint64_t up_to) override {
    return run<std::uint64_t>([&db = db_, room, after, up_to]() -> Result<std::uint64_t> {
      return Database::messages(db.rooms.at(room), after, up_to);
    });
  }

  Task<Result<void>> ingest(std::vector<Event> events) override {
    return run<void>([&db = db_, events = std::move(events)] { return db.ingest(events); });
  }
  Task<Result<RoomPlace>> begin_epoch(RoomId room, std::uint64_t epoch) override {
    return run<RoomPlace>([&db = db_, room, epoch] { return db.begin_epoch(room, epoch); });
  }
  Task<Result<HistoryPage>> history(HistoryQuery query) override {
    return run<HistoryPage>([&db = db_, query]() -> Result<HistoryPage> { return page_of(db, query); });
  }
  Task<Result<std::vector<StoredEvent>>> events_after(RoomId room, std::uint64_t after, std::size_t limit,
                                                      std::uint64_t /*epoch*/) override {
    return run<std::vector<StoredEvent>>([&db = db_, room, after, limit]() -> Result<std::vector<StoredEvent>> {
      ++db.log_reads;
      std::vector<StoredEvent> events;
      for (const Event& event : db.rooms.at(room).log)
        if (event.seq > after && events.size() < limit)
          events.push_back({event.seq, event.kind, std::string(event.body.view())});
      return events;
    });
  }
  Task<Result<std::optional<Message>>> find_by_client_id(RoomId room, UserId sender, std::string client_id) override {
    return run<std::optional<Message>>(
        [&db = db_, room, sender, client_id = std::move(client_id)]() -> Result<std::optional<Message>> {
          for (const Event& event : db.rooms.at(room).log) {
            auto message = event.actor == sender ? db.message_of(event) : std::nullopt;
            if (message && message->client_id == client_id) return message;
          }
          return std::optional<Message>();
        });
  }
  Task<Result<std::vector<std::uint64_t>>> find_sends(RoomId room, std::vector<SendKey> sends) override {
    return run<std::vector<std::uint64_t>>(
        [&db = db_, room, sends = std::move(sends)]() -> Result<std::vector<std::uint64_t>> {
          std::map<std::pair<UserId, std::string>, std::uint64_t> named;
          std::map<EventId, std::uint64_t> by_id;
          for (const Event& event : db.rooms.at(room).log)
            if (auto message = db.message_of(event)) {
              named[{event.actor, message->client_id}] = event.seq;
              by_id[event.id] = event.seq;
            }
          std::vector<std::uint64_t> seqs;
          for (const SendKey& send : sends) {
            const bool has_name = !send.client_id.empty();
            seqs.push_back(has_name ? named[{send.sender, send.client_id}] : by_id[send.id]);
          }
          return seqs;
        });
  }
  Task<Result<std::vector<std::uint64_t>>> recent_client_keys(RoomId room, std::int64_t since_ms,
                                                              std::size_t limit) override {
    return run<std::vector<std::uint64_t>>([&db = db_, room, since_ms, limit]() -> Result<std::vector<std::uint64_t>> {
      std::vector<std::uint64_t> keys;
      const std::vector<Event>& log = db.rooms.at(room).log;
      for (auto event = log.rbegin(); event != log.rend() && keys.size() < limit; ++event) {
        auto message = event->at_ms >= since_ms ? db.message_of(*event) : std::nullopt;
        if (message && !message->client_id.empty()) keys.push_back(client_key(event->actor, message->client_id));
      }
      return keys;
    });
  }
  Task<Result<SearchPage>> search_messages(SearchQuery query) override {
    return run<SearchPage>([&db = db_, query = std::move(query)]() -> Result<SearchPage> {
      SearchPage page;
      for (RoomId room : query.rooms)
        for (const Event& event : db.rooms.at(room).log)
          if (auto message = db.message_of(event); message && has_all(*message, query.words))
            page.messages.push_back(std::move(*message));
      return page;
    });
  }
  Task<Result<void>> create_file(File file, std::size_t /*waiting_max*/) override {
    return run<void>([&db = db_, file = std::move(file)]() -> Result<void> {
      db.note(file.id.value);
      db.files[file.id] = file;
      return {};
    });
  }
  Task<Result<File>> find_file(FileId id) override {
    return run<File>([&db = db_, id] { return shown(db, id); });
  }
  Task<Result<File>> complete_file(FileId id, std::int64_t expires_ms) override {
    return run<File>([&db = db_, id, expires_ms] {
      if (shown(db, id)) {
        db.files[id].state = FileState::ready;
        db.files[id].expires_ms = expires_ms;
      }
      return shown(db, id);
    });
  }
  Task<Result<File>> attach_file(FileId id, UserId owner, RoomId room) override {
    return run<File>([&db = db_, id, owner, room]() -> Result<File> {
      auto file = shown(db, id);
      if (!file || file->owner != owner) return base::fail(Errc::not_found, "not there");
      if (file->state != FileState::ready || (file->room && file->room != room))
        return base::fail(Errc::conflict, "not for this room");
      db.files[id].room = room;
      db.files[id].sent = true;
      return db.files[id];
    });
  }
  Task<Result<FilePage>> list_files(FileQuery query) override {
    return run<FilePage>([&db = db_, query = std::move(query)]() -> Result<FilePage> {
      FilePage page;
      for (const auto& [id, file] : db.files)
        if (file.state == FileState::ready && (query.room ? file.room == query.room : file.owner == query.owner))
          page.files.push_back(file);
      return page;
    });
  }
  Task<Result<Account>> set_avatar(UserId user, FileId file, std::string url, std::int64_t /*now_ms*/) override {
    return run<Account>([&db = db_, user, file, url = std::move(url)]() -> Result<Account> {
      auto found = shown(db, file);
      if (!found || found->owner != user) return base::fail(Errc::not_found, "not there");
      db.files[file].open = true;
      db.accounts[user].user.avatar_url = url;
      return db.accounts[user];
    });
  }
  Task<Result<void>> drop_file(FileId id, std::int64_t now_ms) override {
    return run<void>([&db = db_, id, now_ms]() -> Result<void> {
      auto file = shown(db, id);
      if (!file) return std::unexpected(file.error());
      db.files[id].state = FileState::gone;
      db.files[id].expires_ms = now_ms;
      return {};
    });
  }
  Task<Result<std::vector<FileId>>> take_expired_files(std::int64_t now_ms, std::size_t /*limit*/) override {
    return run<std::vector<FileId>>([&db = db_, now_ms]() -> Result<std::vector<FileId>> {
      std::vector<FileId> expired;
      for (auto& [id, file] : db.files) {
        if (file.expires_ms == 0 || file.expires_ms > now_ms) continue;
        file.state = FileState::gone;
        expired.push_back(id);
      }
      return expired;
    });
  }
  Task<Result<void>> forget_file(FileId id) override {
    return run<void>([&db = db_, id]() -> Result<void> {
      if (db.files.contains(id) && db.files[id].sent) {
        db.files[id].expires_ms = 0;
      } else {
        db.files.erase(id);
      }
      return {};
    });
  }
  bool healthy() const noexcept override { return !down_; }
  std::int64_t safe_before_ms() const noexcept override { return db_.safe_before_ms; }

 private:
  static constexpr std::int64_t kAnswerMsMax = 12;

  // `job` takes effect between two waits.
  template <class Value, class Job>
  Task<Result<Value>> run(Job job) {
    ++db_.calls;
    co_await loop_.sleep(std::chrono::milliseconds(world_.draw(kAnswerMsMax)));
    if (down_ || world_.chance(failing_percent_))
      co_return base::fail_later(Errc::unavailable, 1000, "the store is away");
    Result<Value> result = job();
    co_await loop_.sleep(std::chrono::milliseconds(world_.draw(kAnswerMsMax)));
    if (down_) co_return base::fail_later(Errc::unavailable, 1000, "the store is away");
    co_return result;
  }
  Task<Result<void>> nothing() {
    return run<void>([]() -> Result<void> { return {}; });
  }

  template <class Map>
  static Result<typename Map::mapped_type> copy_of(const Map& map, const typename Map::key_type& key) {
    const auto found = map.find(key);
    if (found == map.end()) return base::fail(Errc::not_found, "not there");
    return found->second;
  }

  static bool has_all(const Message& message, const std::vector<std::string>& words) {
    const std::string said = " " + base::words_of(message.text) + " ";
    return std::ranges::all_of(words, [&](const std::string& word) { return said.contains(" " + word + " "); });
  }

  static Result<File> shown(const Database& db, FileId id) {
    auto file = copy_of(db.files, id);
    if (file && file->state == FileState::gone) return base::fail(Errc::not_found, "not there");
    return file;
  }

  static HistoryPage page_of(Database& db, const HistoryQuery& query) {
    using From = HistoryQuery::From;
    ASSERT(query.from != From::around);  // chat asks for the two sides
    std::vector<Message> all;
    for (const Event& event : db.rooms.at(query.room).log) {
      auto message = db.message_of(event);
      if (!message || (query.from == From::before && message->seq >= query.position) ||
          (query.from == From::after && message->seq <= query.position) ||
          (query.from == From::around_id && message->id.value != query.position))
        continue;
      all.push_back(std::move(*message));
    }
    HistoryPage page;
    const bool oldest = query.from == From::after;
    const std::size_t taken = std::min(all.size(), query.limit);
    const auto first = oldest ? all.begin() : all.end() - static_cast<std::ptrdiff_t>(taken);
    page.messages.assign(first, first + static_cast<std::ptrdiff_t>(taken));
    (oldest ? page.has_after : page.has_before) = all.size() > taken;
    return page;
  }

  sim::World& world_;
  loop::Loop& loop_;
  Database& db_;
  const bool& down_;
  unsigned failing_percent_;
};

// Where the bytes of files are: in memory, and as slow as the store.
class BlobsSim final : public Blobs {
 public:
  BlobsSim(sim::World& world, loop::Loop& loop, std::map<std::string, std::string>& blobs)
      : world_(world), loop_(loop), blobs_(blobs) {}

  Task<Result<BlobHead>> look(std::string key) override {
    co_await wait();
    const auto found = blobs_.find(key);
    if (found == blobs_.end()) co_return base::fail(Errc::not_found, "not there");
    co_return BlobHead{.size = found->second.size(),
                       .version = found->second,
                       .first = found->second.substr(0, BlobHead::kFirstBytes)};
  }
  Task<Result<std::string>> sha256(std::string key) override {
    co_await wait();
    if (!blobs_.contains(key)) co_return base::fail(Errc::not_found, "not there");
    co_return std::string(64, '0');  // of everything
  }
  Task<Result<void>> accept(std::string from, std::string to, std::string version) override {
    co_await wait();
    const auto found = blobs_.find(from);
    if (found == blobs_.end() || found->second != version) co_return base::fail(Errc::conflict, "another one");
    blobs_[to] = version;
    blobs_.erase(from);
    co_return Result<void>();
  }
  Task<Result<void>> remove(std::string key) override {
    co_await wait();
    blobs_.erase(key);
    co_return Result<void>();
  }

 private:
  Task<void> wait() { co_await loop_.sleep(std::chrono::milliseconds(world_.draw(12))); }
  sim::World& world_;
  loop::Loop& loop_;
  std::map<std::string, std::string>& blobs_;
};

}  // namespace ringline::chat::test
