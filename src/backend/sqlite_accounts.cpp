// Accounts and sessions in SQLite.
#include <fmt/format.h>

#include "backend/sqlite_queries.hpp"
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

Result<Account> first_account(Query& row) {
  if (row.next()) {
    Account account{.user = read_user(row, 0), .password_hash = std::string(row.text(kUserColumns))};
    account.banned = row.flag(kUserColumns + 1);
    return account;
  }
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return no_such_user();
}

SessionRow read_session(const Query& row) {
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

// False: the name is taken.
Result<bool> insert_account(Connection& c, const Account& account) {
  const chat::User& user = account.user;
  c.note(user.id);
  auto done = c.db.run(
      "INSERT INTO users (id, username, username_folded, display_name, avatar_url, bio, email, role, guest, banned,"
      " password_hash, created_ms, updated_ms, last_seen_ms)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT (username_folded) DO NOTHING",
      user.id, user.username, base::fold_case(user.username), user.display_name, user.avatar_url, user.bio, user.email,
      static_cast<int>(user.role), user.guest, account.banned, account.password_hash, user.created_ms, user.updated_ms,
      user.last_seen_ms);
  if (!done) return std::unexpected(done.error());
  return c.db.changes() == 1;
}

// `name` with `-N`, cut so that both fit into a name.
std::string numbered(std::string_view name, std::uint64_t number) {
  std::string suffix = fmt::format("-{}", number);
  std::string cut(name);
  for (std::size_t points = base::count_points(name); points + suffix.size() > base::limits::kNamePoints; --points) {
    while ((static_cast<unsigned char>(cut.back()) & 0xc0) == 0x80) cut.pop_back();
    cut.pop_back();
  }
  return cut + suffix;
}

// The first number to try: a popular name would else be counted up from 2 each time.
Result<std::uint64_t> first_number(Connection& c, const std::string& folded) {
  Query row = c.db.query("SELECT next FROM guest_names WHERE folded = ?1", folded);
  if (row.next()) return row.number(0);
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return 2;
}

}  // namespace

chat::User read_user(const Query& row, int column) {
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

Result<Account> create_account(Connection& c, const Account& account) {
  auto made = insert_account(c, account);
  if (!made) return std::unexpected(made.error());
  if (!*made) return name_taken();
  return account;
}

Result<Account> create_guest(Connection& c, Account account) {
  const std::string wanted = account.user.username;
  auto made = insert_account(c, account);
  if (!made) return std::unexpected(made.error());
  if (*made) return account;
  const std::string folded = base::fold_case(wanted);
  const bool shows_name = account.user.display_name == wanted;
  auto first = first_number(c, folded);
  if (!first) return std::unexpected(first.error());
  for (std::uint64_t number = *first; number < *first + kGuestNameTries; ++number) {
    account.user.username = numbered(wanted, number);
    if (shows_name) account.user.display_name = account.user.username;
    made = insert_account(c, account);
    if (!made) return std::unexpected(made.error());
    if (!*made) continue;
    auto kept =
        c.db.run("INSERT INTO guest_names VALUES (?1, ?2) ON CONFLICT (folded) DO UPDATE SET next = excluded.next",
                 folded, number + 1);
    if (!kept) return std::unexpected(kept.error());
    return account;
  }
  return name_taken();
}

Result<Account> promote_guest(Connection& c, UserId guest, const Account& account) {
  auto done = c.db.run(
      "UPDATE users SET username = ?2, username_folded = ?3, display_name = ?4, email = ?5, password_hash = ?6,"
      " updated_ms = ?7, guest = 0 WHERE id = ?1 AND guest = 1",
      guest, account.user.username, base::fold_case(account.user.username), account.user.display_name,
      account.user.email, account.password_hash, account.user.updated_ms);
  if (!done && done.error().code == Errc::conflict) return name_taken();
  if (!done) return std::unexpected(done.error());
  bool was_guest = c.db.changes() == 1;
  auto now = find_account(c, guest);
  if (now && !was_guest) return base::fail(Errc::conflict, "this is an account already");
  return now;
}

Result<Account> find_account(Connection& c, UserId id) {
  Query row = c.db.query("SELECT " ACCOUNT_COLUMNS " FROM users u WHERE u.id = ?1", id);
  return first_account(row);
}

Result<Account> find_account_by_name(Connection& c, std::string_view name) {
  Query row = c.db.query("SELECT " ACCOUNT_COLUMNS " FROM users u WHERE u.username_folded = ?1", base::fold_case(name));
  return first_account(row);
}

Result<void> set_password_hash(Connection& c, UserId id, std::string_view hash) {
  auto done = c.db.run("UPDATE users SET password_hash = ?2 WHERE id = ?1", id, hash);
  if (done && c.db.changes() == 0) return no_such_user();
  return done;
}

Result<void> set_last_seen(Connection& c, UserId id, std::int64_t at_ms) {
  return c.db.run("UPDATE users SET last_seen_ms = ?2 WHERE id = ?1 AND last_seen_ms < ?2", id, at_ms);
}

namespace {

// No user, no session, no room of his may be left behind: foreign keys do not help here.
Result<void> remove_guest(Connection& c, UserId id) {
  auto done = c.db.run("DELETE FROM sessions WHERE user_id = ?1", id);
  return done ? c.db.run("DELETE FROM users WHERE id = ?1 AND guest = 1 AND wrote = 0", id) : done;
}

Result<std::vector<UserId>> find_idle_guests(Connection& c, std::int64_t not_seen_since_ms, std::size_t limit) {
  std::vector<UserId> guests;
  Query row = c.db.query(
      "SELECT u.id FROM users u WHERE u.guest = 1 AND u.wrote = 0 AND u.created_ms <= ?1 AND u.last_seen_ms <= ?1"
      " AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id AND (s.expires_ms > ?2 OR s.last_used_ms > ?1))"
      " AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.created_by = u.id)"
      " AND NOT EXISTS (SELECT 1 FROM members m JOIN rooms r ON r.id = m.room_id WHERE m.user_id = u.id AND r.type = "
      "?3)"
      " ORDER BY u.created_ms LIMIT ?4",
      not_seen_since_ms, base::wall_ms(), static_cast<int>(chat::RoomType::direct), limit);
  while (row.next()) guests.push_back(UserId{row.number(0)});
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return guests;
}

}  // namespace

Result<chat::IdleGuests> remove_idle_guests(Connection& c, std::int64_t not_seen_since_ms, std::size_t limit) {
  auto guests = find_idle_guests(c, not_seen_since_ms, limit);
  if (!guests) return std::unexpected(guests.error());
  chat::IdleGuests idle;
  for (UserId guest : *guests) {
    const std::size_t before = idle.memberships.size();
    {
      Query row = c.db.query("SELECT room_id FROM members WHERE user_id = ?1", guest);
      while (row.next()) idle.memberships.emplace_back(guest, RoomId{row.number(0)});
      if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
    }
    if (idle.memberships.size() > before) continue;
    if (auto removed = remove_guest(c, guest); !removed) return std::unexpected(removed.error());
    ++idle.removed;
  }
  return idle;
}

Result<void> create_session(Connection& c, const SessionRow& s) {
  c.note(s.id);
  // A guest was last seen when his last session was used.
  auto seen = c.db.run(
      "UPDATE users SET last_seen_ms = max(last_seen_ms,"
      " (SELECT max(s.last_used_ms) FROM sessions s WHERE s.user_id = users.id)) WHERE guest = 1 AND id IN"
      " (SELECT user_id FROM sessions WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)",
      base::wall_ms(), kExpiredRemoved);
  if (!seen) return seen;
  auto removed = c.db.run(
      "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)",
      base::wall_ms(), kExpiredRemoved);
  if (!removed) return removed;
  auto done =
      c.db.run("INSERT INTO sessions (" SESSION_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", s.id, s.user,
               s.generation, s.rotated_ms, s.created_ms, s.last_used_ms, s.expires_ms, s.user_agent, s.address);
  if (!done && done.error().sys == SQLITE_CONSTRAINT_FOREIGNKEY) return no_such_user();
  return done;
}

Result<SessionRow> find_session(Connection& c, SessionId id) {
  Query row =
      c.db.query("SELECT " SESSION_COLUMNS " FROM sessions WHERE id = ?1 AND expires_ms > ?2", id, base::wall_ms());
  if (row.next()) return read_session(row);
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return no_such_session();
}

Result<std::vector<SessionRow>> sessions_of(Connection& c, UserId user) {
  std::vector<SessionRow> sessions;
  Query row =
      c.db.query("SELECT " SESSION_COLUMNS " FROM sessions WHERE user_id = ?1 AND expires_ms > ?2 ORDER BY id DESC",
                 user, base::wall_ms());
  while (row.next()) sessions.push_back(read_session(row));
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  return sessions;
}

Result<SessionRow> rotate_session(Connection& c, SessionId id, std::uint64_t generation, std::int64_t now_ms,
                                  std::int64_t expires_ms) {
  Query row = c.db.query(
      "UPDATE sessions SET generation = generation + 1, rotated_ms = ?3, last_used_ms = ?3, expires_ms = ?4"
      " WHERE id = ?1 AND generation = ?2 AND expires_ms > ?3 RETURNING " SESSION_COLUMNS,
      id, generation, now_ms, expires_ms);
  if (row.next()) return read_session(row);
  if (auto ok = row.check(); !ok) return std::unexpected(ok.error());
  auto there = find_session(c, id);
  if (!there) return there;
  return base::fail(Errc::conflict, "the session was refreshed meanwhile");
}

Result<void> end_session(Connection& c, SessionId id) {
  auto seen = c.db.run(
      "UPDATE users SET last_seen_ms = max(last_seen_ms, ?2) WHERE guest = 1 AND id ="
      " (SELECT user_id FROM sessions WHERE id = ?1)",
      id, base::wall_ms());
  return seen ? c.db.run("DELETE FROM sessions WHERE id = ?1", id) : seen;
}

}  // namespace ringline::backend
