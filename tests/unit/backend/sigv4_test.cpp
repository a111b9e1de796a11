// The examples of the S3 API reference ("Signature Calculations for the Authorization Header", "Authenticating Requests: Using Query Parameters").
#include "backend/sigv4.hpp"

#include <gmock/gmock.h>

#include <algorithm>

namespace ringline::backend {
namespace {

using testing::HasSubstr;

const S3Credentials kWho{.access_key = "AKIAIOSFODNN7EXAMPLE",
                         .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                         .region = "us-east-1"};
constexpr std::int64_t kMay24 = 1'369'353'600'000;  // 2013-05-24T00:00:00Z
const std::string kHost = "examplebucket.s3.amazonaws.com";
const std::string kNothing = sha256_hex("");

std::string authorization(const S3Request& request) {
  const S3Request::Pairs headers = sign_headers(kWho, request, kMay24);
  auto found = std::ranges::find(headers, "authorization", &S3Request::Pairs::value_type::first);
  return found == headers.end() ? "none" : found->second;
}
std::string expected(const std::string& headers, const std::string& signature) {
  return "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
         headers + ",Signature=" + signature;
}

TEST(SigV4, GetObjectWithRange) {
  const S3Request request{.method = "GET",
                          .host = kHost,
                          .path = "/test.txt",
                          .query = {},
                          .headers = {{"range", "bytes=0-9"}},
                          .payload_hash = kNothing};
  EXPECT_EQ(authorization(request), expected("host;range;x-amz-content-sha256;x-amz-date",
                                             "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
}

TEST(SigV4, PutObject) {
  const S3Request request{
      .method = "PUT",
      .host = kHost,
      .path = "/test$file.text",
      .query = {},
      .headers = {{"x-amz-storage-class", "REDUCED_REDUNDANCY"}, {"date", "Fri, 24 May 2013 00:00:00 GMT"}},
      .payload_hash = sha256_hex("Welcome to Amazon S3.")};
  EXPECT_EQ(authorization(request), expected("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                                             "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST(SigV4, GetBucketLifecycle) {
  const S3Request request{.method = "GET",
                          .host = kHost,
                          .path = "/",
                          .query = {{"lifecycle", ""}},
                          .headers = {},
                          .payload_hash = kNothing};
  EXPECT_EQ(authorization(request), expected("host;x-amz-content-sha256;x-amz-date",
                                             "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST(SigV4, ListObjects) {
  const S3Request request{.method = "GET",
                          .host = kHost,
                          .path = "/",
                          .query = {{"prefix", "J"}, {"max-keys", "2"}},
                          .headers = {},
                          .payload_hash = kNothing};
  EXPECT_EQ(authorization(request), expected("host;x-amz-content-sha256;x-amz-date",
                                             "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

TEST(SigV4, PresignedGet) {
  const S3Request request{.method = "GET", .host = kHost, .path = "/test.txt", .query = {}, .headers = {}};
  EXPECT_EQ(sign_query(kWho, request, kMay24, std::chrono::seconds(86'400)),
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
            "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

TEST(SigV4, HeadersOfALinkAreNamedInIt) {
  const S3Request request{.method = "PUT",
                          .host = kHost,
                          .path = "/a",
                          .query = {},
                          .headers = {{"content-type", "image/png"}, {"content-length", "7"}}};
  EXPECT_THAT(sign_query(kWho, request, kMay24, std::chrono::seconds(60)),
              HasSubstr("&X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost&"));
}

TEST(SigV4, EncodesAllThatIsNotPlain) {
  EXPECT_EQ(encode_uri("a b/ü~+*", false), "a%20b%2F%C3%BC~%2B%2A");
  EXPECT_EQ(encode_uri("/a b/c", true), "/a%20b/c");
  EXPECT_EQ(encode_query({{"uploads", ""}}), "?uploads=");
  EXPECT_EQ(encode_query({{"b", "1"}, {"a", "x&y"}}), "?a=x%26y&b=1");
  EXPECT_EQ(encode_query({}), "");
}

}  // namespace
}  // namespace ringline::backend
