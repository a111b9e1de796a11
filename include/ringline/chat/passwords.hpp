// Password hashes: bcrypt made, bcrypt of any cost and the older SHA-256 checked. Everything here takes a tenth of a second of a CPU by intent:
// call it on a worker, never on a core.
#pragma once

#include <string>
#include <string_view>

namespace ringline::chat {

inline constexpr unsigned kBcryptCostMin = 4;
inline constexpr unsigned kBcryptCostMax = 31;

// "$2b$COST$…". The password has at most limits::kPasswordBytesMax bytes and no zero byte: bcrypt would not see what follows.
std::string hash_password(std::string_view password, unsigned cost);

// Whether it is one of those that check_password knows.
bool is_password_hash(std::string_view hash) noexcept;

struct PasswordCheck {
  bool ok = false;
  bool needs_rehash = false;  // right, but not bcrypt of `cost`
};
// `hash`: bcrypt ($2a$, $2b$, $2y$), `sha256:SALT:HEX` (of the salt's text, then the password), or 64 hex digits (of the password alone). Whatever else it
// is, empty for a user that is not there too, the answer is no, and takes as long as a wrong password: time does not tell who has an account.
PasswordCheck check_password(std::string_view hash, std::string_view password, unsigned cost);

}  // namespace ringline::chat
