// See tokens.hpp. Signing and checking of JWTs is libjwt's; what it leaves open (algorithm, expiry, types of claims) is settled here.
#include "ringline/chat/tokens.hpp"

#include <jwt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include "ringline/base/assert.hpp"

namespace ringline::chat {

namespace {

struct FreeJwt {
  void operator()(jwt_t* token) const noexcept { jwt_free(token); }
};
using Jwt = std::unique_ptr<jwt_t, FreeJwt>;

constexpr std::string_view kServiceRole = "service";
constexpr std::int64_t kSecondsMax = INT64_C(1) << 40;  // above any date, below any overflow

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::unexpected<base::Error> invalid() { return base::fail_auth("token_invalid", "the token is not valid"); }

std::string_view text_claim(jwt_t* token, const char* name) noexcept {
  const char* text = jwt_get_grant(token, name);
  return text ? std::string_view(text) : std::string_view();
}

// Whole seconds only: what is no integer reads as 0.
std::optional<std::int64_t> time_claim_ms(jwt_t* token, const char* name) noexcept {
  errno = 0;
  long seconds = jwt_get_grant_int(token, name);
  if (errno != 0 || seconds <= 0 || seconds > kSecondsMax) return std::nullopt;
  return seconds * 1000;
}

// The token, if one of the secrets signed it with HS256.
Jwt decode(const std::vector<std::string>& secrets, const std::string& token) {
  for (const std::string& secret : secrets) {
    jwt_t* decoded = nullptr;
    int error = jwt_decode(&decoded, token.c_str(), bytes_of(secret), static_cast<int>(secret.size()));
    Jwt result(error == 0 ? decoded : nullptr);
    if (result && jwt_get_alg(result.get()) == JWT_ALG_HS256) return result;
  }
  return nullptr;
}

std::optional<Claims> read_claims(jwt_t* token) {
  Claims claims;
  std::string_view role = text_claim(token, "role");
  auto known = user_role(role);
  claims.service = role == kServiceRole;
  if (!known && !claims.service) return std::nullopt;
  if (known) claims.role = *known;
  auto user = UserId::parse(text_claim(token, "sub"));
  auto session = SessionId::parse(text_claim(token, "sid"));
  if (!claims.service && (!user || !session)) return std::nullopt;
  claims.user = user.value_or(UserId{});
  claims.session = session.value_or(SessionId{});
  auto expires = time_claim_ms(token, "exp");
  if (!expires) return std::nullopt;
  claims.expires_ms = *expires;
  claims.issued_ms = time_claim_ms(token, "iat").value_or(0);
  return claims;
}

// ---- Refresh tokens: 8 bytes session, 8 bytes generation, 32 bytes HMAC; 64 characters.

constexpr std::size_t kRefreshBytes = 8 + 8 + SHA256_DIGEST_LENGTH;
constexpr std::size_t kRefreshChars = kRefreshBytes / 3 * 4;
static_assert(kRefreshBytes % 3 == 0);  // no padding
using RefreshBytes = std::array<unsigned char, kRefreshBytes>;

void put(unsigned char* to, std::uint64_t number) noexcept {
  for (int i = 7; i >= 0; --i, number >>= 8) to[i] = static_cast<unsigned char>(number);
}
std::uint64_t get(const unsigned char* from) noexcept {
  std::uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = number << 8 | from[i];
  return number;
}

// The purpose stands in front, so that what one secret signs as a JWT can never pass for this.
RefreshBytes refresh_bytes(const std::string& secret, SessionId session, std::uint64_t generation) noexcept {
  constexpr std::string_view kPurpose = "ringline refresh 1:";
  RefreshBytes token;
  put(token.data(), session.value);
  put(token.data() + 8, generation);
  std::array<unsigned char, kPurpose.size() + 16> message;
  kPurpose.copy(reinterpret_cast<char*>(message.data()), kPurpose.size());
  std::copy_n(token.begin(), 16, message.begin() + kPurpose.size());
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), message.data(), message.size(), token.data() + 16,
       nullptr);
  return token;
}

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string to_base64url(const RefreshBytes& bytes) {
  std::string text;
  text.reserve(kRefreshChars);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = unsigned{bytes[i]} << 16 | unsigned{bytes[i + 1]} << 8 | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) text.push_back(kAlphabet[group >> shift & 63]);
  }
  return text;
}

std::optional<RefreshBytes> from_base64url(std::string_view text) noexcept {
  if (text.size() != kRefreshChars) return std::nullopt;
  RefreshBytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    unsigned group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      auto value = kAlphabet.find(text[i + j]);
      if (value == std::string_view::npos) return std::nullopt;
      group = group << 6 | static_cast<unsigned>(value);
    }
    for (std::size_t j = 0; j < 3; ++j) bytes[i / 4 * 3 + j] = static_cast<unsigned char>(group >> (16 - 8 * j));
  }
  return bytes;
}

}  // namespace

Tokens::Tokens(std::vector<std::string> secrets) : secrets_(std::move(secrets)) {
  ASSERT(!secrets_.empty());
  for (const std::string& secret : secrets_) ASSERT(!secret.empty());
}

std::string Tokens::sign(const Claims& claims) const {
  jwt_t* made = nullptr;
  int error = jwt_new(&made);
  ASSERT(error == 0);
  Jwt token(made);
  std::string role(claims.service ? kServiceRole : name_of(claims.role));
  const std::string& secret = secrets_.front();
  if (claims.user) error |= jwt_add_grant(made, "sub", claims.user.text().c_str());
  if (claims.session) error |= jwt_add_grant(made, "sid", claims.session.text().c_str());
  error |= jwt_add_grant(made, "role", role.c_str());
  error |= jwt_add_grant_int(made, "iat", claims.issued_ms / 1000);
  error |= jwt_add_grant_int(made, "exp", claims.expires_ms / 1000);
  error |= jwt_set_alg(made, JWT_ALG_HS256, bytes_of(secret), static_cast<int>(secret.size()));
  ASSERT(error == 0);
  std::unique_ptr<char, decltype(&std::free)> text(jwt_encode_str(made), &std::free);
  ASSERT(text);
  return text.get();
}

base::Result<Claims> Tokens::verify(std::string_view token, std::int64_t now_ms) const {
  if (token.empty() || token.size() > kTokenBytesMax || token.find('\0') != std::string_view::npos) return invalid();
  Jwt decoded = decode(secrets_, std::string(token));
  if (!decoded) return invalid();
  auto claims = read_claims(decoded.get());
  if (!claims) return invalid();
  if (now_ms >= claims->expires_ms) return base::fail_auth("token_expired", "the token has expired: refresh it");
  return *claims;
}

std::string Tokens::make_refresh(SessionId session, std::uint64_t generation) const {
  ASSERT(session);
  return to_base64url(refresh_bytes(secrets_.front(), session, generation));
}

base::Result<RefreshClaims> Tokens::parse_refresh(std::string_view token) const {
  auto bytes = from_base64url(token);
  if (!bytes) return invalid();
  RefreshClaims claims{.session = SessionId{get(bytes->data())}, .generation = get(bytes->data() + 8)};
  bool ours = false;
  for (const std::string& secret : secrets_) {
    RefreshBytes wanted = refresh_bytes(secret, claims.session, claims.generation);
    if (CRYPTO_memcmp(wanted.data(), bytes->data(), wanted.size()) == 0) ours = true;
  }
  if (!ours || !claims.session) return invalid();
  return claims;
}

RefreshDecision decide_refresh(const SessionRow& session, std::uint64_t generation, std::int64_t now_ms) noexcept {
  if (generation == session.generation) return RefreshDecision::rotate;
  bool before = session.generation > 0 && generation == session.generation - 1;
  if (before && now_ms - session.rotated_ms <= kRefreshRepeatMs) return RefreshDecision::repeat;
  return RefreshDecision::reused;
}

}  // namespace ringline::chat
