// AWS Signature Version 4 for S3 (S3 API reference, "Authenticating Requests"): by headers for what the server asks itself, by query for links that it
// gives away. Nothing is sent from here, and no clock is read.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringline::backend {

struct S3Credentials {
  std::string access_key;
  std::string secret_key;
  std::string region;
};

// Of a body that is not hashed: sent as it comes, or by somebody else.
inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";

// What is signed, all of it decoded. Names of headers are in lower case.
struct S3Request {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  std::string method;
  std::string host;  // as in the Host header
  std::string path;  // "/BUCKET/KEY", or "/KEY" where the bucket is in the host's name
  Pairs query;
  Pairs headers;                                             // to be signed, beside `host`
  std::string payload_hash = std::string(kUnsignedPayload);  // SHA-256 in hex, of headers alone
};

// The headers to send, without Host: the request's own, x-amz-date, x-amz-content-sha256, authorization.
S3Request::Pairs sign_headers(const S3Credentials& who, const S3Request& request, std::int64_t wall_ms);
// The query to send, encoded: the request's own and X-Amz-…. Whoever uses the link sends the request's headers as they are.
std::string sign_query(const S3Credentials& who, const S3Request& request, std::int64_t wall_ms,
                       std::chrono::seconds valid);

// Percent-encoding as S3 wants it: all but letters, digits and -._~; a slash stays one in a path.
std::string encode_uri(std::string_view text, bool is_path);
// "?a=b&c", or nothing.
std::string encode_query(const S3Request::Pairs& query);
std::string sha256_hex(std::string_view bytes);

}  // namespace ringline::backend
