// Accounts and sessions.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "backend/store_queries.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::backend {

using base::Errc;
using chat::Account;
using chat::SessionRow;

namespace {

constexpr unsigned kGuestNameTries = 1000;
constexpr unsigned kExpiredRemoved = 2;  // with each new session, so that the table stays as large as what is alive

#define ACCOUNT_COLUMNS RINGLINE_USER_COLUMNS ", u.password_hash, u.banned"
#define SESSION_COLUMNS "id, user_id, generation, rotated_ms, created_ms, last_used_ms, expires_ms, user_agent, address"

std::unexpected<base::Error> no_such_user() { return base::fail(Errc::not_found, "no such user"); }
std::unexpected<base::Error> no_such_session() { return base::fail(Errc::not_found, "no such session"); }
std::unexpected<base::Error> name_taken() { return base::fail(Errc::conflict, "this name is taken"); }

Result<Account> first_account(const Result<Rows>& rows) {
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return no_such_user();
  const Rows::Row row = rows->front();
  Account account{.user = read_user(row, 0), .password_hash = std::string(row.text(kUserColumns))};
  account.banned = row.flag(kUserColumns + 1);
  return account;
}

SessionRow read_session(const Rows::Row& row) {
  return {.id = SessionId{row.number(0)},
          .user = UserId{row.number(1)},
          .generation = row.number(2),
          .rotated_ms = row.integer(3),
          .created_ms = row.integer(4),
          .last_used_ms = row.integer(5),
          .expires_ms = row.integer(6),
          .user_agent = std::string(row.text(7)),
          .address = std::string(row.text(8))};
}

// Of a statement whose rows do not matter.
Result<void> done(const Result<Rows>& rows) { return rows ? Result<void>() : std::unexpected(rows.error()); }

// False: the name is taken.
Task<Result<bool>> insert_account(Sql& db, const Account& account) {
  const chat::User& user = account.user;
  db.note(user.id);
  auto made = co_await db.query(
      "INSERT INTO users (id, username, username_folded, display_name, avatar_url, bio, email, role, guest, banned,"
      " password_hash, created_ms, updated_ms, last_seen_ms)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT (username_folded) DO NOTHING",
      user.id, user.username, base::fold_case(user.username), user.display_name, user.avatar_url, user.bio, user.email,
      static_cast<int>(user.role), user.guest, account.banned, account.password_hash, user.created_ms, user.updated_ms,
      user.last_seen_ms);
  if (!made) co_return std::unexpected(made.error());
  co_return made->changed == 1;
}

// The first number to try: a popular name would else be counted up from 2 each time.
Task<Result<std::uint64_t>> first_number(Sql& db, const std::string& folded) {
  auto rows = co_await db.query("SELECT next FROM guest_names WHERE folded = ?1", folded);
  if (!rows) co_return std::unexpected(rows.error());
  co_return rows->empty() ? 2 : rows->front().number(0);
}

}  // namespace

std::string numbered_name(std::string_view name, std::uint64_t number) {
  std::string suffix = fmt::format("-{}", number);
  std::string cut(name);
  for (std::size_t points = base::count_points(name); points + suffix.size() > base::limits::kNamePoints; --points) {
    while ((static_cast<unsigned char>(cut.back()) & 0xc0) == 0x80) cut.pop_back();
    cut.pop_back();
  }
  return cut + suffix;
}

chat::User read_user(const Rows::Row& row, unsigned column) {
  chat::User user;
  user.id = UserId{row.number(column)};
  user.username = row.text(column + 1);
  user.display_name = row.text(column + 2);
  user.avatar_url = row.text(column + 3);
  user.bio = row.text(column + 4);
  user.email = row.text(column + 5);
  user.role = static_cast<chat::UserRole>(row.integer(column + 6));
  user.guest = row.flag(column + 7);
  user.created_ms = row.integer(column + 8);
  user.updated_ms = row.integer(column + 9);
  user.last_seen_ms = row.integer(column + 10);
  return user;
}

Task<Result<Account>> create_account(Sql& db, const Account& account) {
  auto made = co_await insert_account(db, account);
  if (!made) co_return std::unexpected(made.error());
  if (!*made) co_return name_taken();
  co_return account;
}

Task<Result<Account>> create_guest(Sql& db, Account account) {
  const std::string wanted = account.user.username;
  auto made = co_await insert_account(db, account);
  if (!made) co_return std::unexpected(made.error());
  if (*made) co_return account;
  const std::string folded = base::fold_case(wanted);
  const bool shows_name = account.user.display_name == wanted;
  auto first = co_await first_number(db, folded);
  if (!first) co_return std::unexpected(first.error());
  for (std::uint64_t number = *first; number < *first + kGuestNameTries; ++number) {
    account.user.username = numbered_name(wanted, number);
    if (shows_name) account.user.display_name = account.user.username;
    made = co_await insert_account(db, account);
    if (!made) co_return std::unexpected(made.error());
    if (!*made) continue;
    auto kept = co_await db.query(
        "INSERT INTO guest_names VALUES (?1, ?2) ON CONFLICT (folded) DO UPDATE SET next = excluded.next", folded,
        number + 1);
    if (!kept) co_return std::unexpected(kept.error());
    co_return account;
  }
  co_return name_taken();
}

Task<Result<Account>> promote_guest(Sql& db, UserId guest, const Account& account) {
  auto changed = co_await db.query(
      "UPDATE users SET username = ?2, username_folded = ?3, display_name = ?4, email = ?5, password_hash = ?6,"
      " updated_ms = ?7, guest = 0 WHERE id = ?1 AND guest = 1",
      guest, account.user.username, base::fold_case(account.user.username), account.user.display_name,
      account.user.email, account.password_hash, account.user.updated_ms);
  if (!changed && changed.error().code == Errc::conflict) co_return name_taken();
  if (!changed) co_return std::unexpected(changed.error());
  // What he has uploaded is an account's now, and stays.
  auto kept = co_await db.query("UPDATE files SET expires_ms = 0 WHERE owner_id = ?1 AND state = ?2", guest,
                                static_cast<int>(chat::FileState::ready));
  if (!kept) co_return std::unexpected(kept.error());
  auto now = co_await find_account(db, guest);
  if (now && changed->changed != 1) co_return base::fail(Errc::conflict, "this is an account already");
  co_return now;
}

Task<Result<Account>> find_account(Sql& db, UserId id) {
  auto rows = co_await db.query("SELECT " ACCOUNT_COLUMNS " FROM users u WHERE u.id = ?1", id);
  co_return first_account(rows);
}

Task<Result<Account>> find_account_by_name(Sql& db, std::string_view name) {
  auto rows =
      co_await db.query("SELECT " ACCOUNT_COLUMNS " FROM users u WHERE u.username_folded = ?1", base::fold_case(name));
  co_return first_account(rows);
}

Task<Result<void>> set_password_hash(Sql& db, UserId id, std::string_view hash) {
  auto changed = co_await db.query("UPDATE users SET password_hash = ?2 WHERE id = ?1", id, hash);
  if (changed && changed->changed == 0) co_return no_such_user();
  co_return done(changed);
}

Task<Result<void>> set_last_seen(Sql& db, UserId id, std::int64_t at_ms) {
  auto changed = co_await db.query("UPDATE users SET last_seen_ms = ?2 WHERE id = ?1 AND last_seen_ms < ?2", id, at_ms);
  co_return done(changed);
}

namespace {

// No user, no session, no room of his may be left behind: foreign keys may not help here.
Task<Result<void>> remove_guest(Sql& db, UserId id) {
  auto removed = co_await db.query("DELETE FROM sessions WHERE user_id = ?1", id);
  if (removed) removed = co_await db.query("DELETE FROM users WHERE id = ?1 AND guest = 1 AND wrote = 0", id);
  co_return done(removed);
}

}  // namespace

Task<Result<chat::IdleGuests>> remove_idle_guests(Sql& db, std::int64_t not_seen_since_ms, std::size_t limit) {
  auto guests = co_await db.query(
      "SELECT u.id FROM users u WHERE u.guest = 1 AND u.wrote = 0 AND u.created_ms <= ?1 AND u.last_seen_ms <= ?1"
      " AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id AND (s.expires_ms > ?2 OR s.last_used_ms > ?1))"
      " AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.created_by = u.id)"
      " AND NOT EXISTS (SELECT 1 FROM files f WHERE f.owner_id = u.id)"
      " AND NOT EXISTS (SELECT 1 FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.user_id = u.id AND r.type = "
      "?3)"
      " ORDER BY u.created_ms LIMIT ?4",
      not_seen_since_ms, base::wall_ms(), static_cast<int>(chat::RoomType::direct), limit);
  if (!guests) co_return std::unexpected(guests.error());
  chat::IdleGuests idle;
  for (const Rows::Row guest : *guests) {
    const UserId id{guest.number(0)};
    auto rooms = co_await db.query("SELECT room_id FROM members WHERE user_id = ?1", id);
    if (!rooms) co_return std::unexpected(rooms.error());
    for (const Rows::Row row : *rooms) idle.memberships.emplace_back(id, RoomId{row.number(0)});
    if (!rooms->empty()) continue;
    auto removed = co_await remove_guest(db, id);
    if (!removed) co_return std::unexpected(removed.error());
    ++idle.removed;
  }
  co_return idle;
}

Task<Result<void>> create_session(Sql& db, const SessionRow& s) {
  db.note(s.id);
  // A guest was last seen when his last session was used.
  auto expired = co_await db.query(
      "SELECT id, user_id, last_used_ms FROM sessions WHERE expires_ms <= ?1"
      " ORDER BY expires_ms LIMIT ?2",
      base::wall_ms(), kExpiredRemoved);
  if (!expired) co_return std::unexpected(expired.error());
  for (const Rows::Row row : *expired) {
    auto seen =
        co_await db.query("UPDATE users SET last_seen_ms = ?2 WHERE id = ?1 AND guest = 1 AND last_seen_ms < ?2",
                          row.number(1), row.integer(2));
    if (seen) seen = co_await db.query("DELETE FROM sessions WHERE id = ?1", row.number(0));
    if (!seen) co_return std::unexpected(seen.error());
  }
  auto made = co_await db.query(
      "INSERT INTO sessions (" SESSION_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", s.id, s.user,
      s.generation, s.rotated_ms, s.created_ms, s.last_used_ms, s.expires_ms, s.user_agent, s.address);
  if (!made && made.error().sys == kNoReference) co_return no_such_user();
  co_return done(made);
}

Task<Result<SessionRow>> find_session(Sql& db, SessionId id) {
  auto rows = co_await db.query("SELECT " SESSION_COLUMNS " FROM sessions WHERE id = ?1 AND expires_ms > ?2", id,
                                base::wall_ms());
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->empty()) co_return no_such_session();
  co_return read_session(rows->front());
}

Task<Result<std::vector<SessionId>>> ended_sessions(Sql& db, const std::vector<SessionId>& ids) {
  constexpr std::size_t kAtOnce = 16;
  std::vector<SessionId> ended;
  for (std::size_t from = 0; from < ids.size(); from += kAtOnce) {
    const std::span<const SessionId> some = std::span(ids).subspan(from, std::min(kAtOnce, ids.size() - from));
    SqlValues values{sql_value(base::wall_ms())};
    for (SessionId id : some) values.push_back(sql_value(id));
    while (values.size() < 1 + kAtOnce) values.push_back(values.back());
    auto rows = co_await db.execute(
        "SELECT id FROM sessions WHERE expires_ms > ?1 AND id IN"
        " (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        std::move(values));
    if (!rows) co_return std::unexpected(rows.error());
    std::vector<SessionId> alive;
    for (const Rows::Row row : *rows) alive.push_back(SessionId{row.number(0)});
    std::ranges::copy_if(some, std::back_inserter(ended),
                         [&](SessionId id) { return std::ranges::find(alive, id) == alive.end(); });
  }
  co_return ended;
}

Task<Result<std::vector<SessionRow>>> sessions_of(Sql& db, UserId user) {
  auto rows = co_await db.query("SELECT " SESSION_COLUMNS
                                " FROM sessions WHERE user_id = ?1 AND expires_ms > ?2 ORDER BY id DESC",
                                user, base::wall_ms());
  if (!rows) co_return std::unexpected(rows.error());
  std::vector<SessionRow> sessions;
  for (const Rows::Row row : *rows) sessions.push_back(read_session(row));
  co_return sessions;
}

Task<Result<SessionRow>> rotate_session(Sql& db, SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                        std::int64_t expires_ms) {
  auto rows = co_await db.query(
      "UPDATE sessions SET generation = generation + 1, rotated_ms = ?3, last_used_ms = ?3, expires_ms = ?4"
      " WHERE id = ?1 AND generation = ?2 AND expires_ms > ?3 RETURNING " SESSION_COLUMNS,
      id, generation, now_ms, expires_ms);
  if (!rows) co_return std::unexpected(rows.error());
  if (!rows->empty()) co_return read_session(rows->front());
  auto there = co_await find_session(db, id);
  if (!there) co_return there;
  co_return base::fail(Errc::conflict, "the session was refreshed meanwhile");
}

Task<Result<void>> end_session(Sql& db, SessionId id) {
  auto seen = co_await db.query(
      "UPDATE users SET last_seen_ms = ?2 WHERE guest = 1 AND last_seen_ms < ?2 AND id ="
      " (SELECT user_id FROM sessions WHERE id = ?1)",
      id, base::wall_ms());
  if (seen) seen = co_await db.query("DELETE FROM sessions WHERE id = ?1", id);
  co_return done(seen);
}

}  // namespace ringline::backend
