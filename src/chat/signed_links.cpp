// See blobs.hpp.
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <array>
#include <charconv>

#include "ringline/base/assert.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/chat/blobs.hpp"

namespace ringline::chat {

namespace {

// Stands in front, so that nothing else that the secret signs can pass for this.
constexpr std::string_view kPurpose = "ringline file links 1:";
constexpr std::size_t kSecondsDigits = 12;

std::string hmac(std::string_view key, std::string_view message) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(message.data()),
       message.size(), digest.data(), nullptr);
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string signature_of(std::string_view key, std::string_view method, FileId id, std::int64_t expires_s) {
  std::string text;
  for (const char byte : hmac(key, fmt::format("{}\n{}\n{}", method, id.value, expires_s)))
    fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned char>(byte));
  return text;
}

}  // namespace

void add_link(File& file, const FileLinks& links, std::int64_t wall_ms) {
  if (file.state != FileState::ready) return;
  Link link = links.download(file, wall_ms);
  file.url = std::move(link.url);
  file.url_expires_ms = link.expires_ms;
}

SignedLinks::SignedLinks(const std::vector<std::string>& secrets, std::chrono::milliseconds age) : age_(age) {
  ASSERT(!secrets.empty());
  for (const std::string& secret : secrets) keys_.push_back(hmac(secret, kPurpose));
}

Link SignedLinks::upload(const File& file, std::int64_t wall_ms) const {
  Link made = link("PUT", file.id, wall_ms + std::chrono::milliseconds(base::limits::kUploadLinkAge).count());
  made.headers.emplace_back("Content-Type", file.mime_type);
  return made;
}

Link SignedLinks::download(const File& file, std::int64_t wall_ms) const {
  return link("GET", file.id, wall_ms + age_.count());
}

// To the second, as they are signed.
Link SignedLinks::link(std::string_view method, FileId id, std::int64_t expires_ms) const {
  const std::int64_t expires_s = expires_ms / 1000;
  return {.method = std::string(method),
          .url = fmt::format("/api/v1/files/{}/content?expires={}&signature={}", id.value, expires_s,
                             signature_of(keys_.front(), method, id, expires_s)),
          .headers = {},
          .expires_ms = expires_s * 1000};
}

bool SignedLinks::holds(std::string_view method, FileId id, std::string_view expires, std::string_view signature,
                        std::int64_t wall_ms) const {
  std::int64_t expires_s = 0;
  const char* end = expires.data() + expires.size();
  const auto [stop, error] = std::from_chars(expires.data(), end, expires_s);
  if (error != std::errc{} || stop != end || expires.size() > kSecondsDigits || wall_ms >= expires_s * 1000)
    return false;
  bool ours = false;
  for (const std::string& key : keys_) {
    const std::string wanted = signature_of(key, method, id, expires_s);
    if (wanted.size() == signature.size() && CRYPTO_memcmp(wanted.data(), signature.data(), wanted.size()) == 0)
      ours = true;
  }
  return ours;
}

}  // namespace ringline::chat
