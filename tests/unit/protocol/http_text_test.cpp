// Responses, dates, escapes, origins.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "ringline/protocol/http.hpp"

namespace ringline::protocol {
namespace {

TEST(HttpResponse, HeadAndBody) {
  std::array<Header, 1> headers = {Header{"ETag", "\"1\""}};
  std::string out = "before";
  append_response(out, {.status = 200, .content_type = "text/plain", .date = "D", .headers = headers}, "hello");
  EXPECT_EQ(out,
            "beforeHTTP/1.1 200 OK\r\nDate: D\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nETag: \"1\"\r\n"
            "Connection: keep-alive\r\n\r\nhello");
}

TEST(HttpResponse, HeadHasTheLengthOnly) {
  std::string out;
  append_response(out, {.keep_alive = false, .head_only = true}, "hello");
  EXPECT_EQ(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
}

TEST(HttpResponse, NoContentHasNoLength) {
  for (int status : {204, 304}) {
    std::string out;
    append_response(out, {.status = status}, "");
    EXPECT_EQ(out.find("Content-Length"), std::string::npos);
  }
}

TEST(HttpResponse, EveryStatusThatIsUsedHasItsPhrase) {
  for (int status :
       {200, 201, 204, 304, 400, 401, 403, 404, 405, 408, 409, 413, 414, 417, 426, 429, 431, 500, 501, 503, 505})
    EXPECT_NE(reason_phrase(status), "Unknown") << status;
}

TEST(HttpDate, ImfFixdate) {
  std::string out;
  append_http_date(out, 784'111'777'999);
  EXPECT_EQ(out, "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(AcceptEncoding, Gzip) {
  for (std::string_view yes :
       {"gzip", "GZIP", "x-gzip", "*", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8, *;q=0.1", "deflate,gzip",
        "gzip;q=0.001", "identity;q=0.5, gzip", "identity;q=0, *;q=0.5", "gzip ; Q=1", " , gzip,", "*;q=0, gzip"})
    EXPECT_TRUE(wants_gzip(yes)) << yes;
  for (std::string_view no :
       {"", "identity", "br", "gzip;q=0", "gzip;q=0.000", "*;q=0", "gzip;q=0, *", "identity, gzip;q=0.5", "gzipped",
        "gzip;q=", "gzip;q=x", "gzip;q=2", "gzip;q=-1", "gzip;q=0.0001", "x-gzip;q=0, deflate", "gzip deflate"})
    EXPECT_FALSE(wants_gzip(no)) << no;
}

TEST(IfNoneMatch, ListsWeakOnesAndAll) {
  std::string_view etag = "\"abc\"";
  for (std::string_view yes : {"\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "\"x\",W/\"abc\" , \"y\"", "*", " * ",
                               "\"a,b\", \"abc\"", ", ,\"abc\""})
    EXPECT_TRUE(names_etag(yes, etag)) << yes;
  for (std::string_view no : {"", "abc", "\"abcd\"", "\"ABC\"", "w/\"abc\"", "\"x, \"abc\"", "\"x,\"abc\",y\"", "abc\"",
                              "\"abc", "**", "W/ \"abc\"", "W/abc"})
    EXPECT_FALSE(names_etag(no, etag)) << no;
}

TEST(Range, IsOnePartOrNothing) {
  auto of = [](std::string_view header, std::uint64_t size = 100) {
    const ByteRange range = parse_range(header, size);
    if (!range.satisfiable) return std::string("none");
    return (range.partial ? "" : "all: ") + std::to_string(range.first) + "+" + std::to_string(range.count);
  };
  EXPECT_EQ(of("bytes=0-9"), "0+10");
  EXPECT_EQ(of("bytes=10-"), "10+90");
  EXPECT_EQ(of("bytes=99-99"), "99+1");
  EXPECT_EQ(of("bytes=90-1000"), "90+10");
  EXPECT_EQ(of("bytes=-7"), "93+7");
  EXPECT_EQ(of("bytes=-1000"), "0+100");
  EXPECT_EQ(of("bytes=100-"), "none");
  EXPECT_EQ(of("bytes=100-200"), "none");
  EXPECT_EQ(of("bytes=-0"), "none");
  for (std::string_view odd : {"", "bytes", "bytes=", "bytes=-", "bytes=9-1", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b",
                               "bytes=0-1 ", "bytes= 0-1", "bytes=99999999999999999999-"})
    EXPECT_EQ(of(odd), "all: 0+100") << odd;
}

TEST(Response, ALengthOfItsOwn) {
  std::string out;
  append_response(out, {.status = 206, .keep_alive = false, .content_length = 5'000'000'000}, {});
  EXPECT_EQ(out, "HTTP/1.1 206 Partial Content\r\nContent-Length: 5000000000\r\nConnection: close\r\n\r\n");
}

TEST(PercentDecode, TakesWhatIsRight) {
  EXPECT_EQ(percent_decode("a%20b+c"), "a b+c");
  EXPECT_EQ(percent_decode("a%20b+c", true), "a b c");
  EXPECT_EQ(percent_decode("%E2%82%ac"), "\xe2\x82\xac");
  for (std::string_view bad : {"%", "%a", "a%2", "%gg", "%0g", "%00"}) EXPECT_FALSE(percent_decode(bad)) << bad;
}

TEST(Query, FirstOfANameAndBadEscapesAreKept) {
  RequestReader reader;
  reader.feed("GET /?a=1&a=2&%62=3&c=%zz&&=x HTTP/1.1\r\nHost: h\r\n\r\n");
  Request request = reader.take();
  EXPECT_EQ(request.query("a"), "1");
  EXPECT_EQ(request.query("b"), "3");
  EXPECT_EQ(request.query("c"), "%zz");
}

TEST(Origin, ByList) {
  std::vector<std::string> list = {"https://a.example", "https://*.example.org", "http://b.example:8080/"};
  auto allowed = [&](std::string_view origin) { return origin_allowed(origin, "whatever", list, true); };
  EXPECT_TRUE(allowed("https://a.example"));
  EXPECT_TRUE(allowed("HTTPS://A.example:443"));
  EXPECT_FALSE(allowed("http://a.example"));
  EXPECT_FALSE(allowed("https://a.example:444"));
  EXPECT_FALSE(allowed("https://a.example.evil"));
  EXPECT_TRUE(allowed("https://x.example.org"));
  EXPECT_TRUE(allowed("https://y.x.example.org"));
  EXPECT_FALSE(allowed("https://example.org"));
  EXPECT_FALSE(allowed("https://evilexample.org"));
  EXPECT_FALSE(allowed("https://evil.test/.example.org"));
  EXPECT_TRUE(allowed("http://b.example:8080"));
  EXPECT_FALSE(allowed("null"));
  EXPECT_FALSE(allowed(""));
  std::vector<std::string> any = {"*"};
  EXPECT_TRUE(origin_allowed("null", "h", any, true));
}

TEST(Origin, SameOneOrLocalhost) {
  auto allowed = [](std::string_view origin, std::string_view host, bool production) {
    return origin_allowed(origin, host, {}, production);
  };
  EXPECT_TRUE(allowed("https://chat.example", "chat.example", true));
  EXPECT_TRUE(allowed("https://chat.example", "chat.example:443", true));
  EXPECT_TRUE(allowed("http://chat.example:3080", "chat.example:3080", true));
  EXPECT_FALSE(allowed("http://chat.example:3081", "chat.example:3080", true));
  EXPECT_FALSE(allowed("http://other.example", "chat.example", true));
  EXPECT_TRUE(allowed("http://localhost:5173", "chat.example", false));
  EXPECT_TRUE(allowed("http://127.0.0.1:1", "chat.example", false));
  EXPECT_TRUE(allowed("http://[::1]:5173", "chat.example", false));
  EXPECT_FALSE(allowed("http://localhost:5173", "chat.example", true));
  EXPECT_FALSE(allowed("http://localhost.evil.example", "chat.example", false));
  EXPECT_FALSE(allowed("null", "null", false));
}

}  // namespace
}  // namespace ringline::protocol
