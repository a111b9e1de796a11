// Accounts and sessions: registering, signing in, guests, refreshing, signing out. Called by REST and by sockets that come without a token.
#pragma once

#include <string>

#include "ringline/base/json.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

struct SignedIn {
  UserCard user;
  SessionId session;
  std::string access_token;
  std::string refresh_token;
  std::int64_t expires_ms = 0;  // of the access token, wall clock
  std::int64_t expires_in_s = 0;
};

// Where a request comes from, kept with its session.
struct Origin {
  std::string address;
  std::string user_agent;
};

// `guest`: who asks, if it is a guest: he becomes the account and keeps his id. Null: nobody.
base::Task<base::Result<SignedIn>> register_account(Shard::Parts& p, std::string username, std::string password,
                                                    std::string email, UserCard guest, Origin origin);
base::Task<base::Result<SignedIn>> log_in(Shard::Parts& p, std::string username, std::string password, Origin origin);
// An empty name is made up.
base::Task<base::Result<SignedIn>> make_guest(Shard::Parts& p, std::string name, std::string address);
base::Task<base::Result<SignedIn>> refresh(Shard::Parts& p, std::string refresh_token);
base::Task<base::Result<void>> log_out(Shard::Parts& p, UserId user, SessionId session);

// {"accessToken","refreshToken","expiresIn"}
void write_tokens(base::json::Writer& out, const SignedIn& signed_in);
// {"user", and the same}
void write_signed_in(base::json::Writer& out, const SignedIn& signed_in);

}  // namespace ringline::chat
