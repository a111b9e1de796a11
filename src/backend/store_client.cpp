// The Store port of one core: each call is packed into a job for the database's threads and awaited on the core's loop.
#include <semaphore>

#include "backend/sql_database.hpp"
#include "backend/store_queries.hpp"
#include "ringline/backend/import.hpp"
#include "ringline/base/memory.hpp"

namespace ringline::backend {

using base::FileId;
using chat::Account;
using chat::Event;
using chat::File;
using chat::FilePage;
using chat::FileQuery;
using chat::HistoryPage;
using chat::HistoryQuery;
using chat::Member;
using chat::Message;
using chat::Room;
using chat::RoomPage;
using chat::SearchPage;
using chat::SearchQuery;
using chat::SessionRow;
using chat::StoredEvent;
using chat::StoredRoom;

namespace {

class StoreClient final : public chat::Store {
 public:
  StoreClient(SqlDatabase& database, loop::Loop& loop, const chat::FileLinks* links)
      : database_(database), loop_(loop), links_(links), door_(std::make_shared<Door>(loop)) {}
  ~StoreClient() override { door_->shut(); }

  Task<Result<Account>> create_account(Account account) override {
    return write<Account>([account = std::move(account)](Sql& db) { return backend::create_account(db, account); });
  }
  Task<Result<Account>> create_guest(Account account) override {
    return write<Account>([account = std::move(account)](Sql& db) { return backend::create_guest(db, account); });
  }
  Task<Result<Account>> promote_guest(UserId guest, Account account) override {
    return write<Account>(
        [guest, account = std::move(account)](Sql& db) { return backend::promote_guest(db, guest, account); });
  }
  Task<Result<Account>> find_account(UserId id) override {
    return read<Account>([id](Sql& db) { return backend::find_account(db, id); });
  }
  Task<Result<Account>> find_account_by_name(std::string name) override {
    return read<Account>([name = std::move(name)](Sql& db) { return backend::find_account_by_name(db, name); });
  }
  Task<Result<void>> set_password_hash(UserId id, std::string hash) override {
    return write<void>([id, hash = std::move(hash)](Sql& db) { return backend::set_password_hash(db, id, hash); });
  }
  Task<Result<void>> set_last_seen(UserId id, std::int64_t at_ms) override {
    return write<void>([id, at_ms](Sql& db) { return backend::set_last_seen(db, id, at_ms); });
  }
  Task<Result<chat::IdleGuests>> remove_idle_guests(std::int64_t not_seen_since_ms, std::size_t limit) override {
    auto call = std::make_shared<Call<chat::IdleGuests>>(
        door_, [=](Sql& db) { return backend::remove_idle_guests(db, not_seen_since_ms, limit); });
    call->unchecked = true;
    return run(std::move(call), &SqlDatabase::write);
  }

  Task<Result<void>> create_session(SessionRow session) override {
    return write<void>([session = std::move(session)](Sql& db) { return backend::create_session(db, session); });
  }
  Task<Result<SessionRow>> find_session(SessionId id) override {
    return read<SessionRow>([id](Sql& db) { return backend::find_session(db, id); });
  }
  Task<Result<std::vector<SessionId>>> ended_sessions(std::vector<SessionId> ids) override {
    return read<std::vector<SessionId>>([ids = std::move(ids)](Sql& db) { return backend::ended_sessions(db, ids); });
  }
  Task<Result<std::vector<SessionRow>>> sessions_of(UserId user) override {
    return read<std::vector<SessionRow>>([user](Sql& db) { return backend::sessions_of(db, user); });
  }
  Task<Result<SessionRow>> rotate_session(SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                          std::int64_t expires_ms) override {
    return write<SessionRow>([=](Sql& db) { return backend::rotate_session(db, id, generation, now_ms, expires_ms); });
  }
  Task<Result<void>> end_session(SessionId id) override {
    return write<void>([id](Sql& db) { return backend::end_session(db, id); });
  }

  Task<Result<StoredRoom>> create_room(Room room, std::vector<Member> members, std::string direct_key) override {
    return write<StoredRoom>([room = std::move(room), members = std::move(members), direct_key = std::move(direct_key)](
                                 Sql& db) { return backend::create_room(db, room, members, direct_key); });
  }
  Task<Result<StoredRoom>> load_room(RoomId id) override {
    return read<StoredRoom>([id, links = links_](Sql& db) { return backend::load_room(db, id, links); });
  }
  Task<Result<RoomId>> find_room_by_name(std::string name) override {
    return read<RoomId>([name = std::move(name)](Sql& db) { return backend::find_room_by_name(db, name); });
  }
  Task<Result<RoomPage>> list_public_rooms(std::string query, std::string cursor, std::size_t limit) override {
    return read<RoomPage>([query = std::move(query), cursor = std::move(cursor), limit](Sql& db) {
      return backend::list_public_rooms(db, query, cursor, limit);
    });
  }
  Task<Result<std::vector<RoomId>>> rooms_of(UserId user) override {
    return read<std::vector<RoomId>>([user](Sql& db) { return backend::rooms_of(db, user); });
  }
  Task<Result<std::uint64_t>> rooms_made_by(UserId user) override {
    return read<std::uint64_t>([user](Sql& db) { return backend::rooms_made_by(db, user); });
  }

  Task<Result<void>> set_marks(std::vector<chat::ReadMark> marks) override {
    return write<void>([marks = std::move(marks)](Sql& db) { return db.set_marks(marks); });
  }
  Task<Result<std::vector<chat::ReadMark>>> marks_of(UserId user) override {
    return read<std::vector<chat::ReadMark>>([user](Sql& db) { return backend::marks_of(db, user); });
  }
  Task<Result<std::uint64_t>> count_messages(RoomId room, std::uint64_t after, std::uint64_t up_to) override {
    return read<std::uint64_t>([=](Sql& db) { return backend::count_messages(db, room, after, up_to); });
  }

  Task<Result<void>> ingest(std::vector<Event> events) override {
    auto call = std::allocate_shared<Call<void>>(
        base::Apart<Call<void>>{}, door_,
        [events = std::move(events)](Sql& db) { return db.ingest(events, Gaps::refuse); });
    call->restores = true;
    return run(std::move(call), &SqlDatabase::write);
  }
  Task<Result<chat::RoomPlace>> begin_epoch(RoomId room, std::uint64_t epoch) override {
    return write<chat::RoomPlace>([room, epoch](Sql& db) { return backend::begin_epoch(db, room, epoch); });
  }
  Task<Result<HistoryPage>> history(HistoryQuery query) override {
    return read_anywhere<HistoryPage>([query, links = links_](Sql& db) { return backend::history(db, query, links); });
  }
  Task<Result<std::vector<StoredEvent>>> events_after(RoomId room, std::uint64_t after, std::size_t limit,
                                                      std::uint64_t epoch) override {
    return read_anywhere<std::vector<StoredEvent>>(
        [=, links = links_](Sql& db) { return backend::events_after(db, room, after, limit, epoch, links); });
  }
  Task<Result<SearchPage>> search_messages(SearchQuery query) override {
    query.indexed = database_.indexed();
    auto searching = read_anywhere<SearchPage>(
        [query = std::move(query), links = links_](Sql& db) { return db.search(query, links); });
    return note_indexed(database_, std::move(searching));
  }
  Task<Result<std::optional<Message>>> find_by_client_id(RoomId room, UserId sender, std::string client_id) override {
    return read<std::optional<Message>>([room, sender, client_id = std::move(client_id), links = links_](Sql& db) {
      return backend::find_by_client_id(db, room, sender, client_id, links);
    });
  }
  Task<Result<std::vector<std::uint64_t>>> find_sends(RoomId room, std::vector<chat::SendKey> sends) override {
    return read<std::vector<std::uint64_t>>(
        [room, sends = std::move(sends)](Sql& db) { return backend::find_sends(db, room, sends); });
  }
  Task<Result<std::vector<std::uint64_t>>> recent_client_keys(RoomId room, std::int64_t since_ms,
                                                              std::size_t limit) override {
    return read<std::vector<std::uint64_t>>(
        [=](Sql& db) { return backend::recent_client_keys(db, room, since_ms, limit); });
  }

  Task<Result<void>> create_file(File file, std::size_t waiting_max) override {
    return write<void>(
        [file = std::move(file), waiting_max](Sql& db) { return backend::create_file(db, file, waiting_max); });
  }
  Task<Result<File>> find_file(FileId id) override {
    return read<File>([id](Sql& db) { return backend::find_file(db, id); });
  }
  Task<Result<File>> complete_file(FileId id, std::int64_t expires_ms) override {
    return write<File>([=](Sql& db) { return backend::complete_file(db, id, expires_ms); });
  }
  Task<Result<File>> attach_file(FileId id, UserId owner, RoomId room) override {
    return write<File>([=](Sql& db) { return backend::attach_file(db, id, owner, room); });
  }
  Task<Result<FilePage>> list_files(FileQuery query) override {
    return read<FilePage>([query = std::move(query)](Sql& db) { return backend::list_files(db, query); });
  }
  Task<Result<Account>> set_avatar(UserId user, FileId file, std::string url, std::int64_t now_ms) override {
    return write<Account>([user, file, url = std::move(url), now_ms](Sql& db) {
      return backend::set_avatar(db, user, file, url, now_ms);
    });
  }
  Task<Result<void>> drop_file(FileId id, std::int64_t now_ms) override {
    return write<void>([=](Sql& db) { return backend::drop_file(db, id, now_ms); });
  }
  Task<Result<std::vector<FileId>>> take_expired_files(std::int64_t now_ms, std::size_t limit) override {
    return write<std::vector<FileId>>([=](Sql& db) { return backend::take_expired_files(db, now_ms, limit); });
  }
  Task<Result<void>> forget_file(FileId id) override {
    return write<void>([id](Sql& db) { return backend::forget_file(db, id); });
  }

  bool healthy() const noexcept override { return database_.healthy(); }
  std::int64_t safe_before_ms() const noexcept override { return database_.journals_safe_ms(); }

 private:
  static Task<Result<SearchPage>> note_indexed(SqlDatabase& database, Task<Result<SearchPage>> searching) {
    auto page = co_await std::move(searching);
    if (page) database.note_indexed(page->indexed);
    co_return page;
  }
  template <class T>
  Task<Result<T>> write(Work<T> work) {
    return run(std::allocate_shared<Call<T>>(base::Apart<Call<T>>{}, door_, std::move(work)), &SqlDatabase::write);
  }
  template <class T>
  Task<Result<T>> read(Work<T> work) {
    return run(std::allocate_shared<Call<T>>(base::Apart<Call<T>>{}, door_, std::move(work)), &SqlDatabase::read);
  }

  template <class T>
  Task<Result<T>> read_anywhere(Work<T> work) {
    auto call = std::allocate_shared<Call<T>>(base::Apart<Call<T>>{}, door_, std::move(work));
    call->anywhere = true;
    return run(std::move(call), &SqlDatabase::read);
  }

  // Given to the threads when the task starts, not when it is made.
  template <class T>
  Task<Result<T>> run(std::shared_ptr<Call<T>> call, bool (SqlDatabase::*submit)(JobRef)) {
    if (!(database_.*submit)(call))
      co_return base::fail_later(base::Errc::unavailable, 1000, "too much waits for the database; try again");
    Wait<T> wait(loop_, database_.timeout(), *call);
    Result<T> answer = co_await wait;
    co_return answer;
  }

  SqlDatabase& database_;
  loop::Loop& loop_;
  const chat::FileLinks* links_;
  std::shared_ptr<Door> door_;
};

// A job that a thread of start-up, or of a command, waits for.
template <class T>
class BlockingJob final : public JobOf<T> {
 public:
  using JobOf<T>::JobOf;
  void deliver() override { done_.release(); }
  Result<T> wait() {
    done_.acquire();
    return std::move(*this->answer_);
  }

 private:
  std::binary_semaphore done_{0};
};

template <class T>
Result<T> call_now(SqlDatabase& database, bool (SqlDatabase::*submit)(JobRef), Work<T> work, bool restores = false) {
  auto job = std::make_shared<BlockingJob<T>>(std::move(work));
  job->restores = restores;
  if (!(database.*submit)(job)) return base::fail_later(base::Errc::unavailable, 1000, "too much is waiting");
  return job->wait();
}
template <class T>
Result<T> write_now(SqlDatabase& database, Work<T> work) {
  return call_now<T>(database, &SqlDatabase::write, std::move(work));
}

}  // namespace

std::unique_ptr<chat::Store> SqlDatabase::client(loop::Loop& loop, const chat::FileLinks* links) {
  return std::make_unique<StoreClient>(*this, loop, links);
}

Result<std::uint64_t> SqlDatabase::highest_id() {
  return write_now<std::uint64_t>(*this, [](Sql& db) { return backend::highest_id(db); });
}

Result<void> SqlDatabase::bump_epochs() {
  return write_now<void>(*this, [](Sql& db) { return backend::bump_epochs(db); });
}

Result<void> SqlDatabase::ingest(std::vector<Event> events, bool others) {
  const Gaps gaps = others ? Gaps::leave : Gaps::new_epoch;
  return call_now<void>(
      *this, &SqlDatabase::write, [events = std::move(events), gaps](Sql& db) { return db.ingest(events, gaps); },
      true);
}

Result<std::vector<DeadLetter>> SqlDatabase::dead_letters(const Event& after, std::size_t limit) {
  return call_now<std::vector<DeadLetter>>(
      *this, &SqlDatabase::read, [&after, limit](Sql& db) { return backend::dead_letters(db, after, limit); });
}

Result<std::string> SqlDatabase::retry_dead_letter(const Event& event) {
  return write_now<std::string>(*this, [&event](Sql& db) { return backend::retry_dead_letter(db, event); });
}

Result<void> SqlDatabase::drop_dead_letter(const Event& event) {
  return write_now<void>(*this, [&event](Sql& db) { return backend::drop_dead_letter(db, event); });
}

Result<Imported> SqlDatabase::imported() {
  return call_now<Imported>(*this, &SqlDatabase::read, [](Sql& db) { return backend::imported(db); });
}

Result<std::vector<ImportedMessage>> SqlDatabase::imported_messages(RoomId room) {
  return call_now<std::vector<ImportedMessage>>(*this, &SqlDatabase::read,
                                                [room](Sql& db) { return backend::imported_messages(db, room); });
}

Result<std::vector<ImportedUser>> SqlDatabase::import_users(std::vector<ImportUser> users) {
  return write_now<std::vector<ImportedUser>>(*this, [&users](Sql& db) { return backend::import_users(db, users); });
}

Result<std::vector<ImportedRoom>> SqlDatabase::import_rooms(std::vector<ImportRoom> rooms) {
  return write_now<std::vector<ImportedRoom>>(*this, [&rooms](Sql& db) { return backend::import_rooms(db, rooms); });
}

Result<std::vector<ImportRefusal>> SqlDatabase::import_messages(RoomId room, std::vector<Message> messages, bool join) {
  return write_now<std::vector<ImportRefusal>>(
      *this, [&](Sql& db) { return backend::import_messages(db, room, messages, join); });
}

}  // namespace ringline::backend
