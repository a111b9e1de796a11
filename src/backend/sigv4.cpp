// See sigv4.hpp.
#include "backend/sigv4.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <string>

namespace ringline::backend {

namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

std::string_view view(const Digest& digest) noexcept {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string hex(const Digest& digest) {
  std::string text;
  for (const unsigned char byte : digest) fmt::format_to(std::back_inserter(text), "{:02x}", byte);
  return text;
}

Digest hmac(std::string_view key, std::string_view message) noexcept {
  Digest digest;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(message.data()),
       message.size(), digest.data(), nullptr);
  return digest;
}

// 20130524T000000Z; its first eight characters are the date.
std::string amz_date(std::int64_t wall_ms) {
  using namespace std::chrono;
  const sys_seconds at = floor<seconds>(sys_time<milliseconds>(milliseconds(wall_ms)));
  const sys_days day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(at - day);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), time.hours().count(),
                     time.minutes().count(), time.seconds().count());
}

std::string scope_of(const S3Credentials& who, std::string_view date) {
  return fmt::format("{}/{}/s3/aws4_request", date.substr(0, 8), who.region);
}

// Each pair encoded, then in order of the encoded names and values.
std::string canonical_query(const S3Request::Pairs& query) {
  S3Request::Pairs encoded;
  for (const auto& [name, value] : query) encoded.emplace_back(encode_uri(name, false), encode_uri(value, false));
  std::ranges::sort(encoded);
  std::string text;
  for (const auto& [name, value] : encoded) text.append(text.empty() ? "" : "&").append(name).append("=").append(value);
  return text;
}

S3Request::Pairs with_host(const S3Request& request) {
  S3Request::Pairs headers = request.headers;
  headers.emplace_back("host", request.host);
  std::ranges::sort(headers);
  return headers;
}

std::string names_of(const S3Request::Pairs& headers) {
  std::string names;
  for (const auto& [name, value] : headers) names.append(names.empty() ? "" : ";").append(name);
  return names;
}

std::string signature(const S3Credentials& who, const S3Request& request, const S3Request::Pairs& headers,
                      const std::string& date) {
  std::string canonical = request.method + "\n" + encode_uri(request.path, true) + "\n";
  canonical += canonical_query(request.query) + "\n";
  for (const auto& [name, value] : headers) canonical.append(name).append(":").append(value).append("\n");
  canonical.append("\n").append(names_of(headers)).append("\n").append(request.payload_hash);
  const std::string to_sign =
      fmt::format("{}\n{}\n{}\n{}", kAlgorithm, date, scope_of(who, date), sha256_hex(canonical));
  Digest key = hmac("AWS4" + who.secret_key, std::string_view(date).substr(0, 8));
  key = hmac(view(key), who.region);
  key = hmac(view(key), "s3");
  key = hmac(view(key), "aws4_request");
  return hex(hmac(view(key), to_sign));
}

}  // namespace

S3Request::Pairs sign_headers(const S3Credentials& who, const S3Request& request, std::int64_t wall_ms) {
  const std::string date = amz_date(wall_ms);
  S3Request signing = request;
  signing.headers.emplace_back("x-amz-content-sha256", request.payload_hash);
  signing.headers.emplace_back("x-amz-date", date);
  const S3Request::Pairs headers = with_host(signing);
  S3Request::Pairs sent = std::move(signing.headers);
  sent.emplace_back("authorization",
                    fmt::format("{} Credential={}/{},SignedHeaders={},Signature={}", kAlgorithm, who.access_key,
                                scope_of(who, date), names_of(headers), signature(who, request, headers, date)));
  return sent;
}

std::string sign_query(const S3Credentials& who, const S3Request& request, std::int64_t wall_ms,
                       std::chrono::seconds valid) {
  const std::string date = amz_date(wall_ms);
  const S3Request::Pairs headers = with_host(request);
  S3Request signing = request;
  signing.payload_hash = kUnsignedPayload;
  signing.query.emplace_back("X-Amz-Algorithm", kAlgorithm);
  signing.query.emplace_back("X-Amz-Credential", who.access_key + "/" + scope_of(who, date));
  signing.query.emplace_back("X-Amz-Date", date);
  signing.query.emplace_back("X-Amz-Expires", std::to_string(valid.count()));
  signing.query.emplace_back("X-Amz-SignedHeaders", names_of(headers));
  return canonical_query(signing.query) + "&X-Amz-Signature=" + signature(who, signing, headers, date);
}

std::string encode_uri(std::string_view text, bool is_path) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string encoded;
  for (const char c : text) {
    if (kPlain.contains(c) || (is_path && c == '/')) {
      encoded.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(encoded), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string encode_query(const S3Request::Pairs& query) {
  return query.empty() ? std::string() : "?" + canonical_query(query);
}

std::string sha256_hex(std::string_view bytes) {
  Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return hex(digest);
}

}  // namespace ringline::backend
