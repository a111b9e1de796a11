// What is done for each call of the port: functions on a connection, inside a transaction of the caller's. What they are given lives until they are done.
// A failure may leave half of what a function wrote: the caller takes it back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/sql.hpp"
#include "ringline/backend/database.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::backend {

using base::RoomId;
using base::SessionId;
using base::UserId;

// ---- Accounts and sessions (store_accounts.cpp).
Task<Result<chat::Account>> create_account(Sql& db, const chat::Account& account);
Task<Result<chat::Account>> create_guest(Sql& db, chat::Account account);
Task<Result<chat::Account>> promote_guest(Sql& db, UserId guest, const chat::Account& account);
Task<Result<chat::Account>> find_account(Sql& db, UserId id);
Task<Result<chat::Account>> find_account_by_name(Sql& db, std::string_view name);
Task<Result<void>> set_password_hash(Sql& db, UserId id, std::string_view hash);
Task<Result<void>> set_last_seen(Sql& db, UserId id, std::int64_t at_ms);
// May run without foreign keys (Job::unchecked): it has looked for what refers to whom it deletes.
Task<Result<chat::IdleGuests>> remove_idle_guests(Sql& db, std::int64_t not_seen_since_ms, std::size_t limit);
Task<Result<void>> create_session(Sql& db, const chat::SessionRow& session);
Task<Result<chat::SessionRow>> find_session(Sql& db, SessionId id);
Task<Result<std::vector<SessionId>>> ended_sessions(Sql& db, const std::vector<SessionId>& ids);
Task<Result<std::vector<chat::SessionRow>>> sessions_of(Sql& db, UserId user);
Task<Result<chat::SessionRow>> rotate_session(Sql& db, SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                              std::int64_t expires_ms);
Task<Result<void>> end_session(Sql& db, SessionId id);

// ---- Files (store_files.cpp).
Task<Result<void>> create_file(Sql& db, const chat::File& file, std::size_t waiting_max);
Task<Result<chat::File>> find_file(Sql& db, base::FileId id);
Task<Result<chat::File>> complete_file(Sql& db, base::FileId id, std::int64_t expires_ms);
Task<Result<chat::File>> attach_file(Sql& db, base::FileId id, UserId owner, RoomId room);
Task<Result<chat::FilePage>> list_files(Sql& db, const chat::FileQuery& query);
Task<Result<void>> drop_file(Sql& db, base::FileId id, std::int64_t now_ms);
Task<Result<std::vector<base::FileId>>> take_expired_files(Sql& db, std::int64_t now_ms, std::size_t limit);
Task<Result<void>> forget_file(Sql& db, base::FileId id);
Task<Result<chat::Account>> set_avatar(Sql& db, UserId user, base::FileId file, std::string_view url,
                                       std::int64_t now_ms);

// ---- Rooms (store_rooms.cpp).
Task<Result<chat::StoredRoom>> create_room(Sql& db, const chat::Room& room, const std::vector<chat::Member>& members,
                                           std::string_view direct_key);
Task<Result<chat::StoredRoom>> load_room(Sql& db, RoomId id, const chat::FileLinks* links);
Task<Result<RoomId>> find_room_by_name(Sql& db, std::string_view name);
Task<Result<chat::RoomPage>> list_public_rooms(Sql& db, std::string_view query, std::string_view cursor,
                                               std::size_t limit);
Task<Result<std::vector<RoomId>>> rooms_of(Sql& db, UserId user);
Task<Result<std::uint64_t>> rooms_made_by(Sql& db, UserId user);
Task<Result<chat::RoomPlace>> begin_epoch(Sql& db, RoomId room, std::uint64_t epoch);
Task<Result<void>> bump_epochs(Sql& db);
Task<Result<std::uint64_t>> highest_id(Sql& db);

// ---- Read marks (store_marks.cpp).
Task<Result<std::vector<chat::ReadMark>>> marks_of(Sql& db, UserId user);
Task<Result<std::uint64_t>> count_messages(Sql& db, RoomId room, std::uint64_t after, std::uint64_t up_to);

// ---- Messages and events, out (store_messages.cpp). In: sqlite_ingest.cpp, postgres_ingest.cpp.
// `links`: for the files in messages; null: they come without links.
Task<Result<chat::HistoryPage>> history(Sql& db, chat::HistoryQuery query, const chat::FileLinks* links);
Task<Result<std::optional<chat::Message>>> last_message(Sql& db, RoomId room, const chat::FileLinks* links);
Task<Result<std::vector<chat::StoredEvent>>> events_after(Sql& db, RoomId room, std::uint64_t after, std::size_t limit,
                                                          std::uint64_t known_epoch, const chat::FileLinks* links);
base::Error behind();  // the answer would lack what was seen: kBehind
Task<Result<std::optional<chat::Message>>> find_by_client_id(Sql& db, RoomId room, UserId sender,
                                                             std::string_view client_id, const chat::FileLinks* links);
Task<Result<std::vector<std::uint64_t>>> find_sends(Sql& db, RoomId room, const std::vector<chat::SendKey>& sends);
Task<Result<std::vector<std::uint64_t>>> recent_client_keys(Sql& db, RoomId room, std::int64_t since_ms,
                                                            std::size_t limit);

// ---- Dead letters (dead_letters.cpp).
Task<Result<std::vector<DeadLetter>>> dead_letters(Sql& db, const chat::Event& after, std::size_t limit);
Task<Result<std::string>> retry_dead_letter(Sql& db, const chat::Event& event);
Task<Result<void>> drop_dead_letter(Sql& db, const chat::Event& event);

// A message m with its sender u and its file f, the first column being `column`. (Searching: sqlite_search.cpp, postgres_search.cpp.)
#define RINGLINE_MESSAGE_COLUMNS                                                                                       \
  "m.seq, m.id, m.sender_id, u.username, u.avatar_url, m.client_id, m.type, m.text, m.reply_to, m.mentions, m.extra, " \
  "m.created_ms, m.edited_ms, m.deleted_ms, " RINGLINE_FILE_COLUMNS
chat::Message read_message(const Rows::Row& row, unsigned column, RoomId room, const chat::FileLinks* links);

// ---- Import (store_import.cpp).
Task<Result<Imported>> imported(Sql& db);
Task<Result<std::vector<ImportedMessage>>> imported_messages(Sql& db, RoomId room);
Task<Result<std::vector<ImportedUser>>> import_users(Sql& db, const std::vector<ImportUser>& users);
Task<Result<std::vector<ImportedRoom>>> import_rooms(Sql& db, const std::vector<ImportRoom>& rooms);
Task<Result<std::vector<ImportRefusal>>> import_messages(Sql& db, RoomId room,
                                                         const std::vector<chat::Message>& messages, bool join);

// `name` with `-N`, cut so that both fit into a name.
std::string numbered_name(std::string_view name, std::uint64_t number);

// ---- Shared by them: a user in the columns of RINGLINE_USER_COLUMNS, the first being `column`; and the name under which a public room is unique.
#define RINGLINE_USER_COLUMNS                                                                                     \
  "u.id, u.username, u.display_name, u.avatar_url, u.bio, u.email, u.role, u.guest, u.created_ms, u.updated_ms, " \
  "u.last_seen_ms"
inline constexpr unsigned kUserColumns = 11;
chat::User read_user(const Rows::Row& row, unsigned column);
#define RINGLINE_FILE_COLUMNS \
  "f.id, f.owner_id, f.room_id, f.name, f.mime_type, f.size, f.state, f.sent, f.created_ms, f.expires_ms, f.open"
chat::File read_file(const Rows::Row& row, unsigned column);  // id 0: the row is of none
std::optional<std::string> public_name(chat::RoomType type, bool is_private, std::string_view name);

}  // namespace ringline::backend
