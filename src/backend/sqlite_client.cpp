// The Store port of one core: each call is packed into a job for the store's threads and awaited on the core's loop.
#include "backend/sqlite_parts.hpp"

namespace ringline::backend {

using base::Task;
using chat::Account;
using chat::Event;
using chat::HistoryPage;
using chat::HistoryQuery;
using chat::Member;
using chat::Message;
using chat::Room;
using chat::RoomPage;
using chat::SessionRow;
using chat::StoredEvent;
using chat::StoredRoom;

namespace {

class SqliteClient final : public chat::Store {
 public:
  SqliteClient(SqliteStore::Parts& parts, loop::Loop& loop)
      : parts_(parts), loop_(loop), door_(std::make_shared<Door>(loop)) {}
  ~SqliteClient() override { door_->shut(); }

  Task<Result<Account>> create_account(Account account) override {
    return write<Account>(
        [account = std::move(account)](Connection& c) { return backend::create_account(c, account); });
  }
  Task<Result<Account>> create_guest(Account account) override {
    return write<Account>([account = std::move(account)](Connection& c) { return backend::create_guest(c, account); });
  }
  Task<Result<Account>> promote_guest(UserId guest, Account account) override {
    return write<Account>(
        [guest, account = std::move(account)](Connection& c) { return backend::promote_guest(c, guest, account); });
  }
  Task<Result<Account>> find_account(UserId id) override {
    return read<Account>([id](Connection& c) { return backend::find_account(c, id); });
  }
  Task<Result<Account>> find_account_by_name(std::string name) override {
    return read<Account>([name = std::move(name)](Connection& c) { return backend::find_account_by_name(c, name); });
  }
  Task<Result<void>> set_password_hash(UserId id, std::string hash) override {
    return write<void>([id, hash = std::move(hash)](Connection& c) { return backend::set_password_hash(c, id, hash); });
  }
  Task<Result<void>> set_last_seen(UserId id, std::int64_t at_ms) override {
    return write<void>([id, at_ms](Connection& c) { return backend::set_last_seen(c, id, at_ms); });
  }
  Task<Result<chat::IdleGuests>> remove_idle_guests(std::int64_t not_seen_since_ms, std::size_t limit) override {
    auto call = std::make_shared<Call<chat::IdleGuests>>(
        door_, [=](Connection& c) { return backend::remove_idle_guests(c, not_seen_since_ms, limit); });
    call->unchecked = true;
    return run(std::move(call), &SqliteStore::Parts::write);
  }

  Task<Result<void>> create_session(SessionRow session) override {
    return write<void>([session = std::move(session)](Connection& c) { return backend::create_session(c, session); });
  }
  Task<Result<SessionRow>> find_session(SessionId id) override {
    return read<SessionRow>([id](Connection& c) { return backend::find_session(c, id); });
  }
  Task<Result<std::vector<SessionRow>>> sessions_of(UserId user) override {
    return read<std::vector<SessionRow>>([user](Connection& c) { return backend::sessions_of(c, user); });
  }
  Task<Result<SessionRow>> rotate_session(SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                          std::int64_t expires_ms) override {
    return write<SessionRow>(
        [=](Connection& c) { return backend::rotate_session(c, id, generation, now_ms, expires_ms); });
  }
  Task<Result<void>> end_session(SessionId id) override {
    return write<void>([id](Connection& c) { return backend::end_session(c, id); });
  }

  Task<Result<StoredRoom>> create_room(Room room, std::vector<Member> members, std::string direct_key) override {
    return write<StoredRoom>([room = std::move(room), members = std::move(members), direct_key = std::move(direct_key)](
                                 Connection& c) { return backend::create_room(c, room, members, direct_key); });
  }
  Task<Result<StoredRoom>> load_room(RoomId id) override {
    return read<StoredRoom>([id](Connection& c) { return backend::load_room(c, id); });
  }
  Task<Result<RoomId>> find_room_by_name(std::string name) override {
    return read<RoomId>([name = std::move(name)](Connection& c) { return backend::find_room_by_name(c, name); });
  }
  Task<Result<RoomPage>> list_public_rooms(std::string query, std::string cursor, std::size_t limit) override {
    return read<RoomPage>([query = std::move(query), cursor = std::move(cursor), limit](Connection& c) {
      return backend::list_public_rooms(c, query, cursor, limit);
    });
  }
  Task<Result<std::vector<RoomId>>> rooms_of(UserId user) override {
    return read<std::vector<RoomId>>([user](Connection& c) { return backend::rooms_of(c, user); });
  }
  Task<Result<std::uint64_t>> rooms_made_by(UserId user) override {
    return read<std::uint64_t>([user](Connection& c) { return backend::rooms_made_by(c, user); });
  }

  Task<Result<void>> ingest(std::vector<Event> events) override {
    return write<void>(
        [events = std::move(events)](Connection& c) { return backend::ingest(c, events, Gaps::refuse); });
  }
  Task<Result<HistoryPage>> history(HistoryQuery query) override {
    return read<HistoryPage>([query](Connection& c) { return backend::history(c, query); });
  }
  Task<Result<std::vector<StoredEvent>>> events_after(RoomId room, std::uint64_t after, std::size_t limit) override {
    return read<std::vector<StoredEvent>>([=](Connection& c) { return backend::events_after(c, room, after, limit); });
  }
  Task<Result<std::optional<Message>>> find_by_client_id(RoomId room, UserId sender, std::string client_id) override {
    return read<std::optional<Message>>([room, sender, client_id = std::move(client_id)](Connection& c) {
      return backend::find_by_client_id(c, room, sender, client_id);
    });
  }
  Task<Result<std::vector<std::uint64_t>>> recent_client_keys(RoomId room, std::int64_t since_ms,
                                                              std::size_t limit) override {
    return read<std::vector<std::uint64_t>>(
        [=](Connection& c) { return backend::recent_client_keys(c, room, since_ms, limit); });
  }

  bool healthy() const noexcept override { return parts_.healthy.load(std::memory_order_relaxed); }

 private:
  template <class T>
  Task<Result<T>> write(Work<T> work) {
    return run(std::allocate_shared<Call<T>>(base::Apart<Call<T>>{}, door_, std::move(work)),
               &SqliteStore::Parts::write);
  }
  template <class T>
  Task<Result<T>> read(Work<T> work) {
    return run(std::allocate_shared<Call<T>>(base::Apart<Call<T>>{}, door_, std::move(work)),
               &SqliteStore::Parts::read);
  }

  // Given to the threads when the task starts, not when it is made.
  template <class T>
  Task<Result<T>> run(std::shared_ptr<Call<T>> call, bool (SqliteStore::Parts::*submit)(JobRef)) {
    if (!(parts_.*submit)(call))
      co_return base::fail_later(base::Errc::unavailable, 1000, "too much waits for the database; try again");
    Wait<T> wait(loop_, parts_.options.timeout, *call);
    Result<T> answer = co_await wait;
    co_return answer;
  }

  SqliteStore::Parts& parts_;
  loop::Loop& loop_;
  std::shared_ptr<Door> door_;
};

}  // namespace

std::unique_ptr<chat::Store> SqliteStore::client(loop::Loop& loop) {
  return std::make_unique<SqliteClient>(*parts_, loop);
}

}  // namespace ringline::backend
