// See accounts.hpp.
#include "ringline/chat/accounts.hpp"

#include "chat/parts.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/random.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/chat/passwords.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kAgentBytes = 200;  // of a User-Agent that is kept
constexpr std::size_t kEmailBytes = 254;  // RFC 5321, section 4.5.3.1.3 and its erratum 1690

Result<std::string> clean_username(std::string_view name) {
  auto begin = name.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return base::fail_field("username", "must not be empty");
  name = name.substr(begin, name.find_last_not_of(" \t\n") - begin + 1);
  if (base::count_points(name) > base::limits::kNamePoints)
    return base::fail_field("username", "must be at most 64 characters");
  if (!base::is_clean_name(name))
    return base::fail_field("username", "must not hold line breaks or control characters");
  if (name.find_first_not_of("0123456789") == std::string_view::npos)
    return base::fail_field("username", "must not be digits only");
  return std::string(name);
}

SignedIn tokens_for(const Parts& p, const User& user, const SessionRow& session, std::int64_t issued_ms) {
  SignedIn result;
  result.user = UserCard::of(user);
  result.session = session.id;
  result.expires_in_s = p.o.settings.access_token_age.count() / 1000;
  result.expires_ms = issued_ms + p.o.settings.access_token_age.count();
  result.access_token = p.o.tokens.sign({.user = user.id,
                                         .session = session.id,
                                         .role = user.role,
                                         .issued_ms = issued_ms,
                                         .expires_ms = result.expires_ms});
  result.refresh_token = p.o.tokens.make_refresh(session.id, session.generation);
  return result;
}

// A new session of a user, made known at his home.
Task<Result<SignedIn>> begin_session(Parts& p, User user, Origin origin) {
  std::int64_t now = base::wall_ms();
  SessionRow session{
      .id = SessionId{p.next_id()}, .user = user.id, .rotated_ms = now, .created_ms = now, .last_used_ms = now};
  session.expires_ms = now + p.o.settings.session_ttl.count();
  session.address = std::move(origin.address);
  session.user_agent = origin.user_agent.substr(0, kAgentBytes);
  auto kept = co_await p.o.store.create_session(session);
  if (!kept) co_return std::unexpected(kept.error());
  co_return tokens_for(p, user, session, now);
}

Result<void> check_password_form(std::string_view password) {
  if (password.size() < base::limits::kPasswordBytesMin)
    return base::fail_field("password", "must be at least 8 bytes");
  if (password.size() > base::limits::kPasswordBytesMax)
    return base::fail_field("password", "must be at most 72 bytes");
  if (password.find('\0') != std::string_view::npos) return base::fail_field("password", "must not hold a zero byte");
  return {};
}

}  // namespace

Task<Result<SignedIn>> register_account(Parts& p, std::string username, std::string password, std::string email,
                                        UserCard guest, Origin origin) {
  auto name = clean_username(username);
  if (!name) co_return std::unexpected(name.error());
  if (auto form = check_password_form(password); !form) co_return std::unexpected(form.error());
  if (email.size() > kEmailBytes || (!email.empty() && email.find('@') == std::string::npos))
    co_return base::fail_field("email", "must be a mail address");
  Account account;
  auto hash_job = [&account, &password, cost = p.o.settings.bcrypt_cost] {
    account.password_hash = hash_password(password, cost);
  };
  auto hashed = co_await p.o.around.run_blocking(hash_job);
  if (!hashed) co_return std::unexpected(hashed.error());
  std::int64_t now = base::wall_ms();
  account.user = User{.id = UserId{p.next_id()},
                      .username = *name,
                      .display_name = *name,
                      .email = std::move(email),
                      .created_ms = now,
                      .updated_ms = now};
  Result<Account> made = base::fail(Errc::internal, "not made");
  if (guest) {
    account.user.id = guest->id;
    made = co_await p.o.store.promote_guest(guest->id, std::move(account));
  } else {
    made = co_await p.o.store.create_account(std::move(account));
  }
  if (!made) co_return std::unexpected(made.error());
  if (guest) p.on(p.home(guest->id), [user = made->user](Parts& there) { there.people.changed(user); });
  co_return co_await begin_session(p, made->user, std::move(origin));
}

Task<Result<SignedIn>> log_in(Parts& p, std::string username, std::string password, Origin origin) {
  auto found = co_await p.o.store.find_account_by_name(username);
  if (!found && found.error().code != Errc::not_found) co_return std::unexpected(found.error());
  PasswordCheck check;
  std::string hash = found ? found->password_hash : std::string();  // an unknown name costs the same time
  auto check_job = [&] { check = check_password(hash, password, p.o.settings.bcrypt_cost); };
  auto checked = co_await p.o.around.run_blocking(check_job);
  if (!checked) co_return std::unexpected(checked.error());
  if (!found || !check.ok) co_return base::fail_auth("wrong_password", "the name or the password is wrong");
  if (found->banned) co_return base::fail_auth("banned", "this account is banned");
  if (check.needs_rehash) {
    std::string fresh;
    auto hash_job = [&fresh, &password, cost = p.o.settings.bcrypt_cost] { fresh = hash_password(password, cost); };
    auto hashed = co_await p.o.around.run_blocking(hash_job);
    if (hashed) {
      auto kept = co_await p.o.store.set_password_hash(found->user.id, fresh);
      if (!kept)
        base::log::warn("password_not_rehashed", {{"user", found->user.id.text()}, {"why", kept.error().message}});
    }
  }
  co_return co_await begin_session(p, found->user, std::move(origin));
}

Task<Result<SignedIn>> make_guest(Parts& p, std::string name, std::string address) {
  if (!p.o.settings.allow_guests)
    co_return base::fail_auth("token_missing", "this server takes no guests: sign in first");
  if (name.find_first_not_of(" \t\n") == std::string::npos) name = "guest-" + base::random_token(4);
  auto clean = clean_username(name);
  if (!clean) {
    Error error = clean.error();
    error.field = "name";
    co_return std::unexpected(error);
  }
  if (p.o.settings.rate_limit_guests != 0) {
    auto counting = static_cast<unsigned>(std::hash<std::string>{}(address) % p.o.cores);
    auto asking = ask<std::uint32_t>(p, counting, [address](Parts& there, Answer<std::uint32_t> answer) {
      answer(there, there.people.take_guest(address));
    });
    std::uint32_t wait_ms = co_await asking;
    if (wait_ms != 0) {
      ++p.o.metrics.rate_limited;
      co_return base::fail_later(Errc::rate_limited, wait_ms, "too many new guests from this address; wait a little");
    }
  }
  std::int64_t now = base::wall_ms();
  Account account;
  account.user = User{.id = UserId{p.next_id()},
                      .username = *clean,
                      .display_name = *clean,
                      .guest = true,
                      .created_ms = now,
                      .updated_ms = now};
  auto made = co_await p.o.store.create_guest(std::move(account));
  if (!made) co_return std::unexpected(made.error());
  Origin origin{.address = std::move(address), .user_agent = {}};
  auto signed_in = co_await begin_session(p, made->user, std::move(origin));
  if (!signed_in) co_return signed_in;
  p.on(p.home(made->user.id),
       [user = made->user, session = signed_in->session](Parts& there) { there.people.introduce(user, session); });
  co_return signed_in;
}

Task<Result<SignedIn>> refresh(Parts& p, std::string refresh_token) {
  auto parsed = p.o.tokens.parse_refresh(refresh_token);
  if (!parsed) co_return std::unexpected(parsed.error());
  auto session = co_await p.o.store.find_session(parsed->session);
  if (!session && session.error().code == Errc::not_found)
    co_return base::fail_auth("session_ended", "this session has ended; sign in again");
  if (!session) co_return std::unexpected(session.error());
  auto account = co_await p.o.store.find_account(session->user);
  if (!account) co_return std::unexpected(account.error());
  if (account->banned) co_return base::fail_auth("banned", "this account is banned");
  std::int64_t now = base::wall_ms();
  RefreshDecision decision = decide_refresh(*session, parsed->generation, now);
  if (decision == RefreshDecision::rotate) {
    auto rotated =
        co_await p.o.store.rotate_session(session->id, parsed->generation, now, now + p.o.settings.session_ttl.count());
    if (rotated) co_return tokens_for(p, account->user, *rotated, now);
    if (rotated.error().code != Errc::conflict) co_return std::unexpected(rotated.error());
    auto again = co_await p.o.store.find_session(session->id);  // another request was quicker by a moment
    if (!again) co_return std::unexpected(again.error());
    session = std::move(again);
    decision = decide_refresh(*session, parsed->generation, now);
  }
  if (decision == RefreshDecision::repeat) co_return tokens_for(p, account->user, *session, session->rotated_ms);
  if (session->remembered) co_return base::fail_later(Errc::unavailable, 1000, "the database is away");
  base::log::warn("refresh_token_reused", {{"session", session->id.text()}, {"user", session->user.text()}});
  auto ended = co_await log_out(p, session->user, session->id);
  if (!ended) co_return std::unexpected(ended.error());
  co_return base::fail_auth("session_ended", "this refresh token was used before: the session is ended");
}

Task<Result<void>> log_out(Parts& p, UserId user, SessionId session) {
  auto ended = co_await p.o.store.end_session(session);
  if (!ended) co_return ended;
  p.on(p.home(user), [user, session](Parts& there) { there.people.end_session(user, session); });
  co_return Result<void>{};
}

void write_tokens(Writer& out, const SignedIn& signed_in) {
  out.begin_object().key("accessToken").string(signed_in.access_token);
  out.key("refreshToken").string(signed_in.refresh_token);
  out.key("expiresIn").integer(signed_in.expires_in_s).end_object();
}

void write_signed_in(Writer& out, const SignedIn& signed_in) {
  out.begin_object().key("user");
  write_user(out, *signed_in.user, Status::offline, true);
  out.key("accessToken").string(signed_in.access_token).key("refreshToken").string(signed_in.refresh_token);
  out.key("expiresIn").integer(signed_in.expires_in_s).end_object();
}

}  // namespace ringline::chat
