// What the store's threads do for each call of the port: plain functions on a connection, inside a transaction of the caller's.
// A failure leaves the transaction usable and may leave half of what the function wrote: the caller takes it back (a savepoint a job).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/sqlite_db.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::backend {

using base::Result;
using base::RoomId;
using base::SessionId;
using base::UserId;

struct Connection {
  explicit Connection(Db opened) noexcept : db(std::move(opened)) {}

  Db db;
  std::uint64_t newest_id = 0;  // of what this transaction wrote

  template <class Tag>
  void note(base::Id<Tag> id) noexcept {
    if (id.value > newest_id) newest_id = id.value;
  }
};

// ---- Opening (sqlite_open.cpp).
Result<Connection> open_writer(const std::string& path);
Result<std::uint64_t> highest_id(Connection& c);
Result<void> keep_highest_id(Connection& c);
Result<void> bump_epochs(Connection& c);

// ---- Accounts and sessions (sqlite_accounts.cpp).
Result<chat::Account> create_account(Connection& c, const chat::Account& account);
Result<chat::Account> create_guest(Connection& c, chat::Account account);
Result<chat::Account> promote_guest(Connection& c, UserId guest, const chat::Account& account);
Result<chat::Account> find_account(Connection& c, UserId id);
Result<chat::Account> find_account_by_name(Connection& c, std::string_view name);
Result<void> set_password_hash(Connection& c, UserId id, std::string_view hash);
Result<void> set_last_seen(Connection& c, UserId id, std::int64_t at_ms);
// Runs without foreign keys (Job::unchecked): it has looked for what refers to whom it deletes.
Result<chat::IdleGuests> remove_idle_guests(Connection& c, std::int64_t not_seen_since_ms, std::size_t limit);
Result<void> create_session(Connection& c, const chat::SessionRow& session);
Result<chat::SessionRow> find_session(Connection& c, SessionId id);
Result<std::vector<chat::SessionRow>> sessions_of(Connection& c, UserId user);
Result<chat::SessionRow> rotate_session(Connection& c, SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                        std::int64_t expires_ms);
Result<void> end_session(Connection& c, SessionId id);

// ---- Rooms (sqlite_rooms.cpp).
Result<chat::StoredRoom> create_room(Connection& c, const chat::Room& room, const std::vector<chat::Member>& members,
                                     std::string_view direct_key);
Result<chat::StoredRoom> load_room(Connection& c, RoomId id);
Result<RoomId> find_room_by_name(Connection& c, std::string_view name);
Result<chat::RoomPage> list_public_rooms(Connection& c, std::string_view query, std::string_view cursor,
                                         std::size_t limit);
Result<std::vector<RoomId>> rooms_of(Connection& c, UserId user);
Result<std::uint64_t> rooms_made_by(Connection& c, UserId user);

// ---- Messages and events: reading (sqlite_messages.cpp), taking in (sqlite_ingest.cpp).
Result<chat::HistoryPage> history(Connection& c, const chat::HistoryQuery& query);
Result<std::optional<chat::Message>> last_message(Connection& c, RoomId room);
Result<std::vector<chat::StoredEvent>> events_after(Connection& c, RoomId room, std::uint64_t after, std::size_t limit);
Result<std::optional<chat::Message>> find_by_client_id(Connection& c, RoomId room, UserId sender,
                                                       std::string_view client_id);
Result<std::vector<std::uint64_t>> recent_client_keys(Connection& c, RoomId room, std::int64_t since_ms,
                                                      std::size_t limit);
// What becomes of a room whose next event is not there. At work it is an error: the batch is tried again. At start-up a journal may have lost it for good
// (and named it): what is behind is taken, in a new epoch of the room, so that no client resumes over the hole.
enum class Gaps : std::uint8_t { refuse, new_epoch };
Result<void> ingest(Connection& c, const std::vector<chat::Event>& events, Gaps gaps);

// ---- Shared by them: a user in the columns of RINGLINE_USER_COLUMNS, the first being `column`; and the name under which a public room is unique.
#define RINGLINE_USER_COLUMNS                                                                                     \
  "u.id, u.username, u.display_name, u.avatar_url, u.bio, u.email, u.role, u.guest, u.created_ms, u.updated_ms, " \
  "u.last_seen_ms"
inline constexpr int kUserColumns = 11;
chat::User read_user(const Query& row, int column);
std::optional<std::string> public_name(chat::RoomType type, bool is_private, std::string_view name);

}  // namespace ringline::backend
