// Access tokens: what is signed is read again, and whatever else is presented is refused. Refresh tokens and their rotation.
#include "ringline/chat/tokens.hpp"

#include <gtest/gtest.h>
#include <jwt.h>

namespace ringline::chat {
namespace {

constexpr std::int64_t kNow = 1'800'000'000'123;
const std::string kSecret = "first secret, long enough for its purpose";
const std::string kOld = "second secret, which signed before it";

Claims claims() {
  return {.user = UserId{42},
          .session = SessionId{43},
          .role = UserRole::admin,
          .issued_ms = kNow,
          .expires_ms = kNow + 900'000};
}

// A token as somebody else may make it.
class Forged {
 public:
  Forged() { jwt_new(&jwt_); }
  ~Forged() { jwt_free(jwt_); }
  Forged(const Forged&) = delete;
  Forged& operator=(const Forged&) = delete;
  Forged& with(const char* name, const char* value) { return jwt_add_grant(jwt_, name, value), *this; }
  Forged& with(const char* name, long value) { return jwt_add_grant_int(jwt_, name, value), *this; }
  Forged& usual() {
    return with("sub", "42")
        .with("sid", "43")
        .with("role", "user")
        .with("iat", kNow / 1000)
        .with("exp", kNow / 1000 + 900);
  }
  std::string sign(jwt_alg_t algorithm, const std::string& key) {
    jwt_set_alg(jwt_, algorithm,
                algorithm == JWT_ALG_NONE ? nullptr : reinterpret_cast<const unsigned char*>(key.data()),
                algorithm == JWT_ALG_NONE ? 0 : static_cast<int>(key.size()));
    char* text = jwt_encode_str(jwt_);
    std::string token = text ? text : "";
    std::free(text);
    EXPECT_FALSE(token.empty());
    return token;
  }

 private:
  jwt_t* jwt_ = nullptr;
};

std::string_view reason(const base::Result<Claims>& result) { return result ? "taken" : result.error().reason; }

TEST(Tokens, AreReadAgain) {
  Tokens tokens({kSecret});
  auto read = tokens.verify(tokens.sign(claims()), kNow);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->user, UserId{42});
  EXPECT_EQ(read->session, SessionId{43});
  EXPECT_EQ(read->role, UserRole::admin);
  EXPECT_FALSE(read->service);
  EXPECT_EQ(read->issued_ms, 1'800'000'000'000);
  EXPECT_EQ(read->expires_ms, 1'800'000'900'000);
  EXPECT_EQ(tokens.sign(claims()), tokens.sign(claims()));  // a pair that is asked for twice is the same
}

TEST(Tokens, Expire) {
  Tokens tokens({kSecret});
  std::string token = tokens.sign(claims());
  EXPECT_TRUE(tokens.verify(token, 1'800'000'899'999));
  EXPECT_EQ(reason(tokens.verify(token, 1'800'000'900'000)), "token_expired");
  EXPECT_EQ(tokens.verify(token, INT64_MAX).error().code, base::Errc::unauthenticated);
}

TEST(Tokens, OldSecretsVerifyAndTheFirstSigns) {
  Tokens before({kOld});
  Tokens now({kSecret, kOld});
  EXPECT_TRUE(now.verify(before.sign(claims()), kNow));
  EXPECT_EQ(reason(before.verify(now.sign(claims()), kNow)), "token_invalid");
}

TEST(Tokens, OfOtherAlgorithmsAreRefused) {
  Tokens tokens({kSecret});
  EXPECT_EQ(reason(tokens.verify(Forged().usual().sign(JWT_ALG_HS256, kSecret), kNow)), "taken");
  for (jwt_alg_t algorithm : {JWT_ALG_NONE, JWT_ALG_HS384, JWT_ALG_HS512})
    EXPECT_EQ(reason(tokens.verify(Forged().usual().sign(algorithm, kSecret), kNow)), "token_invalid");
  // RS256 with a signature of our choice: {"alg":"RS256","typ":"JWT"}
  std::string token = Forged().usual().sign(JWT_ALG_HS256, kSecret);
  EXPECT_EQ(reason(tokens.verify("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9" + token.substr(token.find('.')), kNow)),
            "token_invalid");
}

TEST(Tokens, OfOtherFormsAreRefused) {
  Tokens tokens({kSecret});
  std::string good = tokens.sign(claims());
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_EQ(reason(tokens.verify(good.substr(0, i), kNow)), "token_invalid") << i;
    std::string changed = good;
    changed[i] = changed[i] == 'A' ? 'Q' : 'A';
    // The last character of a part carries bits that are thrown away.
    if (i + 1 < good.size() && good[i + 1] != '.')
      EXPECT_EQ(reason(tokens.verify(changed, kNow)), "token_invalid") << i;
  }
  EXPECT_EQ(reason(tokens.verify(good + std::string("\0more", 5), kNow)), "token_invalid");
  EXPECT_EQ(reason(tokens.verify(std::string(10'000, 'a'), kNow)), "token_invalid");
}

TEST(Tokens, NeedTheirClaims) {
  Tokens tokens({kSecret});
  auto judge = [&](Forged& forged) {
    return std::string(reason(tokens.verify(forged.sign(JWT_ALG_HS256, kSecret), kNow)));
  };
  long later = kNow / 1000 + 60;
  EXPECT_EQ(judge(Forged().with("sid", "43").with("role", "user").with("exp", later)), "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("role", "user").with("exp", later)), "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("sid", "43").with("exp", later)), "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("sid", "43").with("role", "user")), "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("sid", "43").with("role", "owner").with("exp", later)),
            "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "0x2a").with("sid", "43").with("role", "user").with("exp", later)),
            "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", 42L).with("sid", "43").with("role", "user").with("exp", later)),
            "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("sid", "43").with("role", "user").with("exp", "soon")),
            "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("sid", "43").with("role", "user").with("exp", -1L)), "token_invalid");
  EXPECT_EQ(judge(Forged().with("sub", "42").with("sid", "43").with("role", "user").with("exp", LONG_MAX)),
            "token_invalid");
}

TEST(Tokens, ABackEndNamesNobodyOrSomebody) {
  Tokens tokens({kSecret});
  auto alone =
      tokens.verify(Forged().with("role", "service").with("exp", kNow / 1000 + 60).sign(JWT_ALG_HS256, kSecret), kNow);
  ASSERT_TRUE(alone);
  EXPECT_TRUE(alone->service);
  EXPECT_FALSE(alone->user);
  auto acting = tokens.verify(tokens.sign({.user = UserId{9}, .service = true, .expires_ms = kNow + 60'000}), kNow);
  ASSERT_TRUE(acting);
  EXPECT_EQ(acting->user, UserId{9});
  EXPECT_EQ(acting->role, UserRole::user);
}

TEST(RefreshTokens, AreReadAgainAndNothingElseIs) {
  Tokens tokens({kSecret});
  std::string token = tokens.make_refresh(SessionId{43}, 7);
  EXPECT_EQ(token.size(), 64U);
  auto read = tokens.parse_refresh(token);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->session, SessionId{43});
  EXPECT_EQ(read->generation, 7U);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(tokens.parse_refresh(changed)) << i;
    EXPECT_FALSE(tokens.parse_refresh(token.substr(0, i))) << i;
  }
  EXPECT_FALSE(tokens.parse_refresh(token + "A"));
  EXPECT_EQ(tokens.parse_refresh("+" + token.substr(1)).error().reason, "token_invalid");
  EXPECT_FALSE(Tokens({kOld}).parse_refresh(token));
  EXPECT_TRUE(Tokens({kOld, kSecret}).parse_refresh(token));
}

TEST(RefreshTokens, RotateRepeatAndEnd) {
  SessionRow session{.id = SessionId{43}, .generation = 7, .rotated_ms = kNow};
  EXPECT_EQ(decide_refresh(session, 7, kNow), RefreshDecision::rotate);
  EXPECT_EQ(decide_refresh(session, 7, kNow + 86'000'000), RefreshDecision::rotate);
  EXPECT_EQ(decide_refresh(session, 6, kNow + 60'000), RefreshDecision::repeat);
  EXPECT_EQ(decide_refresh(session, 6, kNow - 5), RefreshDecision::repeat);
  EXPECT_EQ(decide_refresh(session, 6, kNow + 60'001), RefreshDecision::reused);
  EXPECT_EQ(decide_refresh(session, 5, kNow), RefreshDecision::reused);
  EXPECT_EQ(decide_refresh(session, 8, kNow), RefreshDecision::reused);
  EXPECT_EQ(decide_refresh(session, UINT64_MAX, kNow), RefreshDecision::reused);
  EXPECT_EQ(decide_refresh({.id = SessionId{43}}, UINT64_MAX, 0), RefreshDecision::reused);
}

}  // namespace
}  // namespace ringline::chat
