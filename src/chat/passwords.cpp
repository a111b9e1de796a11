// See passwords.hpp.
#include "ringline/chat/passwords.hpp"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>

#include "ringline/base/assert.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/random.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kHexBytes = SHA256_DIGEST_LENGTH * std::size_t{2};
constexpr std::size_t kBcryptBytes = 60;
constexpr std::size_t kBcryptSettingBytes = 29;  // "$2b$12$" and 22 characters of salt

// struct crypt_data is 32 KiB and holds the password until it is wiped.
class Crypt {
 public:
  ~Crypt() { OPENSSL_cleanse(data_.get(), sizeof(crypt_data)); }
  // Empty: the setting is none that crypt knows.
  std::string hash(const std::string& password, const std::string& setting) {
    const char* result = crypt_rn(password.c_str(), setting.c_str(), data_.get(), sizeof(crypt_data));
    return result ? std::string(result) : std::string();
  }

 private:
  std::unique_ptr<crypt_data> data_ = std::make_unique<crypt_data>();
};

std::string new_setting(unsigned cost) {
  std::array<std::byte, 16> random;
  base::random_bytes(random);
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting;
  const char* made = crypt_gensalt_rn("$2b$", cost, reinterpret_cast<const char*>(random.data()), random.size(),
                                      setting.data(), setting.size());
  ASSERT(made);
  return made;
}

bool same(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// The cost of a bcrypt hash; none: it is not one.
std::optional<unsigned> bcrypt_cost(std::string_view hash) noexcept {
  if (hash.size() != kBcryptBytes || hash[0] != '$' || hash[1] != '2' || hash[3] != '$' || hash[6] != '$')
    return std::nullopt;
  if (hash[2] != 'a' && hash[2] != 'b' && hash[2] != 'y') return std::nullopt;
  unsigned tens = static_cast<unsigned char>(hash[4]) - unsigned{'0'};
  unsigned ones = static_cast<unsigned char>(hash[5]) - unsigned{'0'};
  if (tens > 9 || ones > 9) return std::nullopt;
  return tens * 10 + ones;
}

bool check_bcrypt(std::string_view hash, const std::string& password) {
  return same(Crypt().hash(password, std::string(hash.substr(0, kBcryptSettingBytes))), hash);
}

bool check_sha256(std::string_view hash, std::string_view password) {
  std::string salted;
  if (hash.starts_with("sha256:")) {
    hash.remove_prefix(7);
    auto colon = hash.rfind(':');
    if (colon == std::string_view::npos) return false;
    salted = hash.substr(0, colon);
    hash.remove_prefix(colon + 1);
  }
  if (hash.size() != kHexBytes) return false;
  salted.append(password);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(salted.data()), salted.size(), digest.data());
  OPENSSL_cleanse(salted.data(), salted.size());
  std::string hex;
  for (unsigned char byte : digest) hex.append({"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]});
  std::string wanted(hash);
  std::ranges::transform(wanted, wanted.begin(),
                         [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c | 32) : c; });
  return same(hex, wanted);
}

}  // namespace

std::string hash_password(std::string_view password, unsigned cost) {
  ASSERT(cost >= kBcryptCostMin && cost <= kBcryptCostMax);
  ASSERT(password.size() <= base::limits::kPasswordBytesMax && password.find('\0') == std::string_view::npos);
  std::string hash = Crypt().hash(std::string(password), new_setting(cost));
  ASSERT(hash.size() == kBcryptBytes);
  return hash;
}

bool is_password_hash(std::string_view hash) noexcept {
  if (bcrypt_cost(hash)) return true;
  if (hash.starts_with("sha256:")) {
    const auto colon = hash.substr(7).rfind(':');
    if (colon == std::string_view::npos) return false;
    hash.remove_prefix(7 + colon + 1);
  }
  return hash.size() == kHexBytes && hash.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

PasswordCheck check_password(std::string_view hash, std::string_view password, unsigned cost) {
  bool readable = password.size() <= base::limits::kPasswordBytesMax && password.find('\0') == std::string_view::npos;
  std::string text(readable ? password : std::string_view());
  if (auto made_with = bcrypt_cost(hash)) {
    bool ok = check_bcrypt(hash, text) && readable;
    return {.ok = ok, .needs_rehash = ok && (*made_with != cost || hash[2] != 'b')};
  }
  if (check_sha256(hash, text) && readable) return {.ok = true, .needs_rehash = true};
  Crypt().hash(text, new_setting(cost));  // only for its time
  return {};
}

}  // namespace ringline::chat
