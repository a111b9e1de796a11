// Access tokens (JWT, HS256) and refresh tokens. Immutable once made, so one object serves all cores.
//
// A refresh token is derived, not kept: base64url(session | generation | HMAC-SHA256(secret, both)). The store knows only the session's generation, so
// nothing at rest signs anybody in, and the token that follows can be made again for who asks twice (decide_refresh).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::chat {

struct Claims {
  UserId user;        // `sub`; may be 0 where `service` is set
  SessionId session;  // `sid`; likewise
  UserRole role = UserRole::user;
  bool service = false;  // role "service": a back end that holds the secret
  // Whole seconds on the wire: what is less is dropped.
  std::int64_t issued_ms = 0;
  std::int64_t expires_ms = 0;
};

struct RefreshClaims {
  SessionId session;
  std::uint64_t generation = 0;
};

class Tokens {
 public:
  static constexpr std::size_t kTokenBytesMax = 4096;

  // The first secret signs, all verify. At least one, none empty.
  explicit Tokens(std::vector<std::string> secrets);

  std::string sign(const Claims& claims) const;
  // Unauthenticated, reason token_invalid or token_expired. Any algorithm but HS256 is invalid, "none" above all.
  base::Result<Claims> verify(std::string_view token, std::int64_t now_ms) const;

  std::string make_refresh(SessionId session, std::uint64_t generation) const;
  // Unauthenticated, reason token_invalid, unless one of the secrets made it.
  base::Result<RefreshClaims> parse_refresh(std::string_view token) const;

 private:
  std::vector<std::string> secrets_;
};

// What becomes of a refresh token that is ours, for a session that has not ended:
//
//   of the session's generation      rotate: the store moves to the next generation (conflict: read the session again and decide again),
//                                    the answer is the pair of that one
//   of the one before, within 60 s   repeat: the answer got lost or two tabs asked at once; the same pair again, made of what the session
//                                    has: refresh token of its generation, access token issued at its rotated_ms
//   any other                        reused: somebody has a copy; the session ends, and with it every token of it
enum class RefreshDecision : std::uint8_t { rotate, repeat, reused };
inline constexpr std::int64_t kRefreshRepeatMs = 60'000;
RefreshDecision decide_refresh(const SessionRow& session, std::uint64_t generation, std::int64_t now_ms) noexcept;

}  // namespace ringline::chat
