// Requests: whole, cut at every byte, pipelined, over the limits, and those that two readers may read in two ways.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ringline/protocol/http.hpp"

namespace ringline::protocol {
namespace {

using Status = RequestReader::Status;

struct Outcome {
  std::vector<Request> requests;
  int status = 0;  // of the refusal
  int continues = 0;
  bool unfinished = false;
};

// Feeds `text` in pieces; each request gets a reader of its own, as a connection does it.
Outcome read_all(const std::vector<std::string_view>& pieces, HttpLimits limits = {}) {
  Outcome outcome;
  std::unique_ptr<RequestReader> reader;
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      if (!reader) reader = std::make_unique<RequestReader>(limits);
      RequestReader::Step step = reader->feed(piece);
      EXPECT_LE(step.consumed, piece.size());
      piece.remove_prefix(step.consumed);
      if (step.status == Status::want_continue) ++outcome.continues;
      if (step.status == Status::failed) {
        outcome.status = reader->error_status();
        EXPECT_FALSE(reader->error().empty());
        return outcome;
      }
      if (step.status == Status::need_more) EXPECT_TRUE(piece.empty());
      if (step.status != Status::complete) continue;
      outcome.requests.push_back(reader->take());
      reader.reset();
    }
  }
  outcome.unfinished = reader != nullptr;
  return outcome;
}
Outcome read(std::string_view text, HttpLimits limits = {}) { return read_all({text}, limits); }

// The status with which a request is refused, and the same whichever way it is cut. 0: it is taken or not finished.
int refusal(std::string_view text, HttpLimits limits = {}) {
  int whole = read(text, limits).status;
  for (std::size_t cut = 1; cut < text.size(); ++cut)
    EXPECT_EQ(read_all({text.substr(0, cut), text.substr(cut)}, limits).status, whole)
        << "cut at " << cut << " of " << text;
  return whole;
}

std::string get_with(std::string_view lines) { return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(lines) + "\r\n"; }
std::string chunked(std::string_view body) {
  return "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body);
}

TEST(HttpReader, ReadsTheParts) {
  Outcome outcome =
      read("GET /a%20b/c?x=1%2B1&y=a+b&z HTTP/1.1\r\nHost: chat.example:3080\r\nX-One: 1\r\nx-ONE:  2  \r\n\r\n");
  ASSERT_EQ(outcome.requests.size(), 1U);
  const Request& request = outcome.requests[0];
  EXPECT_EQ(request.method, Method::get);
  EXPECT_EQ(request.method_text, "GET");
  EXPECT_EQ(request.path, "/a b/c");
  EXPECT_EQ(request.query("x"), "1+1");
  EXPECT_EQ(request.query("y"), "a b");
  EXPECT_EQ(request.query("z"), "");
  EXPECT_FALSE(request.query("w"));
  EXPECT_EQ(request.header("host"), "chat.example:3080");
  EXPECT_EQ(request.header("X-One"), "1");
  EXPECT_TRUE(request.header_has("X-One", "2"));
  EXPECT_TRUE(request.keep_alive);
  EXPECT_FALSE(request.upgrade_websocket);
}

TEST(HttpReader, CutAtEveryByteGivesTheSame) {
  std::string text = "\r\nPOST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" +
                     chunked("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n") +
                     "GET /three HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  std::vector<std::vector<std::string_view>> ways;
  for (std::size_t cut = 1; cut < text.size(); ++cut)
    ways.push_back({std::string_view(text).substr(0, cut), std::string_view(text).substr(cut)});
  ways.emplace_back();
  for (std::size_t i = 0; i < text.size(); ++i) ways.back().push_back(std::string_view(text).substr(i, 1));
  for (const auto& pieces : ways) {
    Outcome outcome = read_all(pieces);
    ASSERT_EQ(outcome.requests.size(), 3U) << "cut after " << pieces[0];
    EXPECT_EQ(outcome.requests[0].body, "hello");
    EXPECT_EQ(outcome.requests[1].body, "abcde");
    EXPECT_FALSE(outcome.requests[1].header("Trailer")) << "trailer fields must not pass for headers";
    EXPECT_EQ(outcome.requests[2].path, "/three");
    EXPECT_FALSE(outcome.requests[2].keep_alive);
    EXPECT_FALSE(outcome.unfinished);
  }
}

TEST(HttpReader, LeavesWhatFollowsAnUpgrade) {
  std::string head = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
  std::string text = head + "\x81\x85....";
  RequestReader reader;
  RequestReader::Step step = reader.feed(text);
  ASSERT_EQ(step.status, Status::complete);
  EXPECT_EQ(step.consumed, head.size());
  EXPECT_TRUE(reader.take().upgrade_websocket);
}

TEST(HttpReader, KeepAliveByVersionAndHeader) {
  EXPECT_TRUE(read(get_with("")).requests.at(0).keep_alive);
  EXPECT_FALSE(read(get_with("Connection: Close\r\n")).requests.at(0).keep_alive);
  EXPECT_FALSE(read("GET / HTTP/1.0\r\n\r\n").requests.at(0).keep_alive);
  EXPECT_TRUE(read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").requests.at(0).keep_alive);
}

TEST(HttpReader, SaysContinueOnce) {
  std::string head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
  Outcome outcome = read_all({head, "o", "k"});
  EXPECT_EQ(outcome.continues, 1);
  EXPECT_EQ(outcome.requests.at(0).body, "ok");
  EXPECT_EQ(read(get_with("Expect: 100-continue\r\n")).continues, 0) << "there is no body to wait for";
  EXPECT_EQ(refusal(get_with("Expect: a-miracle\r\n")), 417);
}

TEST(HttpReader, KnowsWhereItStands) {
  RequestReader reader;
  EXPECT_EQ(reader.feed("POST / HTTP/1.1\r\nHost: a\r\n").status, Status::need_more);
  EXPECT_FALSE(reader.in_body());
  EXPECT_EQ(reader.feed("Content-Length: 1\r\n\r\n").status, Status::need_more);
  EXPECT_TRUE(reader.in_body());
}

TEST(HttpReader, FormsOfTheTarget) {
  Outcome absolute = read("GET http://b.example:80/x?q=1 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(absolute.requests.at(0).path, "/x");
  EXPECT_EQ(absolute.requests.at(0).query("q"), "1");
  EXPECT_EQ(absolute.requests.at(0).header("Host"), "b.example:80") << "the target's host goes before the header's";
  EXPECT_EQ(read("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).path, "/");
  EXPECT_EQ(read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).path, "*");
  EXPECT_EQ(read("GET /s?q={a|b} HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).query("q"), "{a|b}")
      << "as browsers send it";
  EXPECT_EQ(refusal("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /% HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

TEST(HttpReader, RefusesWhatCanBeReadInTwoWays) {
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501);
  EXPECT_EQ(
      refusal(
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
      400);
  EXPECT_EQ(refusal("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(refusal(get_with("X: a\r\n b\r\n")), 400) << "a folded line";
  EXPECT_EQ(refusal(get_with(" X: a\r\n")), 400);
  EXPECT_EQ(refusal(get_with("X : a\r\n")), 400) << "white space before the colon";
  EXPECT_EQ(refusal(get_with("Transfer-Encoding : chunked\r\n")), 400);
  EXPECT_EQ(refusal(get_with("X\r\n")), 400);
  EXPECT_EQ(refusal(get_with(": a\r\n")), 400);
  EXPECT_EQ(refusal(get_with("X: a\nY: b\r\n")), 400) << "a lone LF";
  EXPECT_EQ(refusal(get_with("X: a\rY: b\r\n")), 400) << "a lone CR";
  EXPECT_EQ(refusal(get_with(std::string_view("X: a\0b\r\n", 8))), 400);
  EXPECT_EQ(refusal(get_with("Host: b\r\n")), 400) << "two hosts";
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\n\r\n"), 400) << "no host";
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
}

TEST(HttpReader, RefusesBadRequestLines) {
  EXPECT_EQ(refusal("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /\tx HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / http/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(refusal("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  EXPECT_EQ(refusal("\x16\x03\x01\x02"), 400) << "a TLS hello is not waited for";
  EXPECT_EQ(refusal("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(read("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").requests.size(), 1U);
}

TEST(HttpReader, RefusesBadChunks) {
  EXPECT_EQ(refusal(chunked("g\r\n")), 400);
  EXPECT_EQ(refusal(chunked("-1\r\n")), 400);
  EXPECT_EQ(refusal(chunked("0x3\r\nabc\r\n0\r\n\r\n")), 400);
  EXPECT_EQ(refusal(chunked(" 3\r\nabc\r\n0\r\n\r\n")), 400);
  EXPECT_EQ(refusal(chunked("3\nabc\r\n0\r\n\r\n")), 400);
  EXPECT_EQ(refusal(chunked("3\r\nabcd\r\n0\r\n\r\n")), 400) << "longer than said";
  EXPECT_EQ(refusal(chunked("3;a\nb\r\nabc\r\n0\r\n\r\n")), 400) << "a line break in an extension";
  EXPECT_EQ(refusal(chunked("fffffffffffffffff\r\n")), 400);
  EXPECT_EQ(refusal(chunked("\r\n")), 400);
  EXPECT_EQ(refusal(chunked("3\r\nabc0\r\n\r\n")), 400);
}

// One row a request: what is wrong with it, its lines after the Host's, its body, and the answer (0: it is taken, with `body`).
struct Row {
  std::string_view what;
  std::string_view lines;
  std::string_view sent;
  int status;
  std::string_view body = {};
};
constexpr std::string_view kChunk = "3\r\nabc\r\n0\r\n\r\n";

TEST(HttpReader, LengthsOfABody) {
  constexpr Row kRows[] = {
      {"a length", "Content-Length: 3\r\n", "abc", 0, "abc"},
      {"leading zeros", "Content-Length: 003\r\n", "abc", 0, "abc"},
      {"white space around", "content-length:  \t3 \t\r\n", "abc", 0, "abc"},
      {"chunked", "Transfer-Encoding: chunked\r\n", kChunk, 0, "abc"},
      {"in any case", "transfer-ENCODING:\tChunked \r\n", kChunk, 0, "abc"},
      {"both", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", kChunk, 400},
      {"both, the other way", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", kChunk, 400},
      {"both, another encoding", "Transfer-Encoding: identity\r\nContent-Length: 3\r\n", "abc", 400},
      {"twice the same", "Content-Length: 3\r\nContent-Length: 3\r\n", "abc", 400},
      {"twice", "Content-Length: 3\r\ncontent-length: 5\r\n", "abcde", 400},
      {"a list", "Content-Length: 3,3\r\n", "abc", 400},
      {"a list that ends", "Content-Length: 3,\r\n", "abc", 400},
      {"two numbers", "Content-Length: 3 3\r\n", "abc", 400},
      {"a sign", "Content-Length: +3\r\n", "abc", 400},
      {"less than nothing", "Content-Length: -3\r\n", "", 400},
      {"hexadecimal", "Content-Length: 0x3\r\n", "abc", 400},
      {"a fraction", "Content-Length: 3.0\r\n", "abc", 400},
      {"an exponent", "Content-Length: 3e0\r\n", "abc", 400},
      {"quoted", "Content-Length: \"3\"\r\n", "abc", 400},
      {"nothing", "Content-Length: \r\n", "abc", 400},
      {"above 64 bits", "Content-Length: 18446744073709551619\r\n", "abc", 400},
      {"a control character", "Content-Length: \v3\r\n", "abc", 400},
      {"encoded twice", "Transfer-Encoding: chunked, chunked\r\n", kChunk, 501},
      {"encoded in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", kChunk, 400},
      {"two encodings in two lines", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", kChunk, 501},
      {"another encoding", "Transfer-Encoding: gzip\r\n", kChunk, 501},
      {"identity", "Transfer-Encoding: identity\r\n", "", 501},
      {"chunked is not last", "Transfer-Encoding: chunked, gzip\r\n", kChunk, 501},
      {"nearly chunked", "Transfer-Encoding: chunked;q=1\r\n", kChunk, 501},
      {"quoted", "Transfer-Encoding: \"chunked\"\r\n", kChunk, 501},
      {"an empty element", "Transfer-Encoding: chunked,\r\n", kChunk, 501},
      {"no encoding", "Transfer-Encoding: \r\n", kChunk, 501},
      {"a control character", "Transfer-Encoding: \vchunked\r\n", kChunk, 400},
      {"a space before the colon", "Transfer-Encoding : chunked\r\n", kChunk, 400},
      {"folded", "Transfer-Encoding:\r\n chunked\r\n", kChunk, 400},
      {"a name with a space", "Content Length: 3\r\n", "abc", 400},
  };
  for (const Row& row : kRows) {
    std::string text = "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(row.lines) + "\r\n" + std::string(row.sent);
    EXPECT_EQ(refusal(text), row.status) << row.what;
    Outcome outcome = read(text + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    if (row.status != 0) {
      EXPECT_TRUE(outcome.requests.empty()) << row.what << ": nothing is taken for the next request";
      continue;
    }
    ASSERT_EQ(outcome.requests.size(), 2U) << row.what;
    EXPECT_EQ(outcome.requests[0].body, row.body) << row.what;
    EXPECT_EQ(outcome.requests[1].path, "/next") << row.what;
  }
}

TEST(HttpReader, ChunksByTheLetter) {
  constexpr Row kRows[] = {
      {"upper and lower case", "", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 0, "01234567890123456789"},
      {"leading zeros", "", "0003\r\nabc\r\n000\r\n\r\n", 0, "abc"},
      {"extensions", "", "3;a;b=c;d=\"e;\\\"f\"\r\nabc\r\n0;x\r\n\r\n", 0, "abc"},
      {"trailers", "", "3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n", 0, "abc"},
      {"line breaks in the data", "", "4\r\n\r\n\r\n\r\n0\r\n\r\n", 0, "\r\n\r\n"},
      {"16 digits", "", "ffffffffffffffff\r\n", 413},
      {"17 digits", "", "fffffffffffffffff\r\n", 400},
      {"what is 3 in 64 bits", "", "10000000000000003\r\nabc\r\n0\r\n\r\n", 400},
      {"a sign", "", "+3\r\nabc\r\n0\r\n\r\n", 400},
      {"a space before", "", " 3\r\nabc\r\n0\r\n\r\n", 400},
      {"a space after", "", "3 \r\nabc\r\n0\r\n\r\n", 400},
      {"an underscore", "", "1_0\r\n", 400},
      {"no size", "", ";a\r\nabc\r\n0\r\n\r\n", 400},
      {"an empty line", "", "\r\n3\r\nabc\r\n0\r\n\r\n", 400},
      {"LF after the size", "", "3\nabc\r\n0\r\n\r\n", 400},
      {"CR after the size", "", "3\rabc\r\n0\r\n\r\n", 400},
      {"LF after the data", "", "3\r\nabc\n0\r\n\r\n", 400},
      {"two bytes too many", "", "3\r\nabcXX0\r\n\r\n", 400},
      {"LF in an extension", "", "3;a\nb\r\nabc\r\n0\r\n\r\n", 400},
      {"LF in a quoted extension", "", "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", 400},
      {"CR in an extension", "", "3;a\rb\r\nabc\r\n0\r\n\r\n", 400},
      {"an extension without a name", "", "3;\r\nabc\r\n0\r\n\r\n", 400},
      {"LF after the last chunk", "", "3\r\nabc\r\n0\n\r\n\r\n", 400},
      {"LF in a trailer", "", "0\r\nA: b\nC: d\r\n\r\n", 400},
      {"a trailer that ends twice", "", "0\r\nA: b\n\nGET / HTTP/1.1\r\n\r\n", 400},
      {"CR in a trailer", "", "0\r\nA: b\rC: d\r\n\r\n", 400},
      {"a trailer without a name", "", "0\r\n: b\r\n\r\n", 400},
      {"a trailer without a colon", "", "0\r\nab\r\n\r\n", 400},
      {"a space before a trailer's colon", "", "0\r\nA : b\r\n\r\n", 400},
      {"a folded trailer: dropped like all", "", "0\r\nA: b\r\n c\r\n\r\n", 0},
      {"a length in a trailer", "", "0\r\nContent-Length: 5\r\n\r\n", 400},
      {"a host in a trailer", "", "0\r\nHost: b\r\n\r\n", 0},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(refusal(chunked(row.sent)), row.status) << row.what;
    Outcome outcome = read(chunked(row.sent) + get_with(""));
    EXPECT_EQ(outcome.requests.size(), row.status == 0 ? 2U : 0U) << row.what;
    if (row.status != 0) continue;
    EXPECT_EQ(outcome.requests.at(0).body, row.body) << row.what;
    EXPECT_EQ(outcome.requests.at(0).header("Host"), "a") << row.what;
  }
}

TEST(HttpReader, RequestLinesAndHosts) {
  struct Line {
    std::string_view what, text;
    int status;
  };
  constexpr Line kLines[] = {
      {"only LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"LF after the first line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      {"LF before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CR in the first line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
      {"HTTP/0.9", "GET /\r\n\r\n", 400},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"HTTP/3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
      {"HTTP/11", "GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
      {"HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
      {"HTTP/01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400},
      {"a method with a tab", "GE\tT / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a white space line before the headers", "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", 400},
      {"authority form", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400},
      {"authority form of another method", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400},
      {"another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a scheme without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a user in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"absolute without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
      {"a star for POST", "POST * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"two hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400},
      {"a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"a host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
      {"a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
      {"no host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 0},
      {"an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
      {"an IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
      {"OPTIONS of all", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"an unknown method", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 0},
  };
  for (const Line& line : kLines) EXPECT_EQ(refusal(line.text), line.status) << line.what;
  using namespace std::string_literals;
  EXPECT_EQ(refusal("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"s), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n"s), 400);
}

TEST(HttpReader, WhatComesBesideABodyIsBounded) {
  HttpLimits limits{.body_bytes = 1000};
  std::string single, extended, padded;
  for (int i = 0; i < 1000; ++i) single += "1\r\nx\r\n";
  for (int i = 0; i < 100; ++i) {
    extended += "1;" + std::string(1000, 'e') + "\r\nx\r\n";
    padded += std::string(1000, '0') + "1\r\nx\r\n";
  }
  std::string end = "0\r\n\r\n";
  EXPECT_EQ(read(chunked(single + end), limits).requests.at(0).body.size(), 1000U);
  for (const std::string& text : {chunked(extended + end), chunked(padded + end)}) {
    EXPECT_EQ(read(text, limits).status, 400);
    std::vector<std::string_view> pieces;
    for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(pieces.back().size()))
      pieces.push_back(rest.substr(0, 100));
    EXPECT_EQ(read_all(pieces, limits).status, 400);
  }
}

TEST(HttpReader, ListsInSeveralLines) {
  RequestReader reader;
  reader.feed(get_with("X-List: a\r\nOther: 1\r\nx-list: b;c=1, d\r\n"));
  Request request = reader.take();
  EXPECT_EQ(request.header_list("X-List"), "a, b;c=1, d");
  EXPECT_EQ(request.header("X-List"), "a");
  EXPECT_EQ(request.header_list("None"), "");
}

TEST(HttpReader, Limits) {
  HttpLimits limits{.head_bytes = 256, .body_bytes = 8, .target_bytes = 64};
  EXPECT_EQ(refusal("GET /" + std::string(100, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", limits), 414);
  EXPECT_EQ(refusal("GET /" + std::string(64, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", limits), 414);
  EXPECT_EQ(refusal("GET /" + std::string(500, 'x'), limits), 414) << "not waited for";
  EXPECT_EQ(refusal(get_with("X: " + std::string(300, 'x') + "\r\n"), limits), 431);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", limits), 413) << "before the body comes";
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", limits), 400);
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", limits), 413);
  EXPECT_EQ(refusal(chunked("9\r\n123456789\r\n0\r\n\r\n"), limits), 413);
  EXPECT_EQ(refusal(chunked("5\r\n12345\r\n4\r\n1234\r\n0\r\n\r\n"), limits), 413);
  EXPECT_EQ(read(chunked("5\r\n12345\r\n3\r\n123\r\n0\r\n\r\n"), limits).requests.at(0).body, "12345123");
  EXPECT_NE(read(chunked("3;" + std::string(20'000, 'x')), limits).status, 0) << "an endless extension";
  EXPECT_NE(read(chunked("0\r\n" + std::string(20'000, 'x')), limits).status, 0) << "an endless trailer";
}

// Beast asserts that it sees five bytes of a last chunk: four of them ended the process.
TEST(HttpReader, ChunkedByteByByte) {
  for (const char* body : {"0\r\n\r\n", "00;a=b\r\nX: y\r\n\r\n", "1\r\nx\r\n0\r\n\r\n"}) {
    const std::string text = chunked(body) + "GET ";
    std::vector<std::string_view> pieces;
    for (std::size_t i = 0; i < text.size(); ++i) pieces.push_back(std::string_view(text).substr(i, 1));
    const Outcome outcome = read_all(pieces);
    ASSERT_EQ(outcome.requests.size(), 1U) << body;
    EXPECT_EQ(outcome.requests[0].body, body[0] == '1' ? "x" : "");
    EXPECT_TRUE(outcome.unfinished);
  }
}

TEST(HttpReader, AfterAChunkALineEndIsNotWaitedFor) { EXPECT_EQ(refusal(chunked("3\r\nabc02\n\xff")), 400); }

TEST(HttpReader, AQuotedExtensionEndsWithItsLine) {
  EXPECT_EQ(refusal(chunked("4;q=\"1\r\nwiki\r\n0\r\n\r\n")), 400);
  EXPECT_EQ(refusal(chunked("4;q=\"1\r\nwi\"\r\n0\r\n\r\n")), 400);
  EXPECT_EQ(refusal(chunked("4;q=\"1\r\nwiki\r\n"), {.body_bytes = 8}), 400);
  EXPECT_EQ(refusal(chunked("1\r\nx\r\n1;q=\"1\r\n")), 400);
  EXPECT_EQ(refusal(chunked("4;q=\"1\"\r\nwiki\r\n0;a=\"b\"\r\n\r\n")), 0);
}

TEST(HttpReader, LimitsDoNotDependOnTheCut) {
  const HttpLimits limits{.head_bytes = 128, .body_bytes = 16, .target_bytes = 32};
  EXPECT_EQ(refusal(std::string(65, 'M') + " / HTTP/1.1\r\nHost: a\r\n\r\n", limits), 414);
  EXPECT_EQ(refusal(std::string(53, 'M') + " / HTTP/1.1\r\nHost: a\r\n\r\n", limits), 0);
  EXPECT_EQ(refusal("GET " + std::string(100, '\1') + " HTTP/1.1\r\nHost: a\r\n\r\n", limits), 414);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: a\r\nX: \1" + std::string(200, 'x') + "\r\n\r\n", limits), 431);
  EXPECT_EQ(refusal("GET " + std::string(60, 'x') + "\r\r\nHost: a\r\n\r\n", limits), 414);
  EXPECT_EQ(refusal("GET " + std::string(59, 'x') + "\r\r\nHost: a\r\n\r\n", limits), 400);
  // Of a lone LF and an excess the first counts.
  EXPECT_EQ(refusal("GET " + std::string(100, 'x') + "\n", limits), 414);
  EXPECT_EQ(refusal("GET \n" + std::string(100, 'x'), limits), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nX: " + std::string(120, 'x') + "\n", limits), 431);
}

TEST(HttpReader, BlankLinesTakeNoRoomFromTheHead) {
  const HttpLimits limits{.head_bytes = 40, .body_bytes = 16, .target_bytes = 32};
  const std::string head = "GET /0123456789 HTTP/1.1\r\nHost: abc\r\n\r\n";
  ASSERT_EQ(head.size(), limits.head_bytes - 1);
  const Outcome outcome = read("\r\n\r\n" + head + "GET", limits);
  EXPECT_EQ(outcome.requests.size(), 1U);
  EXPECT_TRUE(outcome.unfinished);
  EXPECT_EQ(refusal("\r\n\r\n" + head, limits), 0);
}

HttpLimits streaming() {
  return {.body_bytes = 10, .streams = [](std::string_view method, std::string_view path) {
            return method == "PUT" && path == "/large";
          }};
}

TEST(HttpReader, LeavesABodyThatIsStreamed) {
  const std::string head =
      "PUT /large?x=1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000000000\r\n\r\n";
  const std::string text = head + "the body";
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    RequestReader reader(streaming());
    RequestReader::Step step = reader.feed(std::string_view(text).substr(0, cut));
    std::size_t consumed = step.consumed;
    if (step.status != Status::complete) {
      ASSERT_EQ(step.status, Status::need_more) << cut;
      step = reader.feed(std::string_view(text).substr(cut));
      consumed += step.consumed;
    }
    ASSERT_EQ(step.status, Status::complete) << cut;
    EXPECT_EQ(consumed, head.size()) << cut;
    const Request request = reader.take();
    EXPECT_EQ(request.stream_bytes, 5'000'000'000U);
    EXPECT_EQ(request.body, "");
  }
}

TEST(HttpReader, AStreamedBodySaysHowLongItIs) {
  EXPECT_EQ(refusal("PUT /large HTTP/1.1\r\nHost: a\r\n\r\n", streaming()), 411);
  EXPECT_EQ(refusal("PUT /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", streaming()), 411);
  EXPECT_EQ(refusal("PUT /large HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", streaming()),
            400);
  EXPECT_EQ(refusal("PUT /other HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", streaming()), 413);
  EXPECT_EQ(refusal("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", streaming()), 413);
}

TEST(HttpReader, AnyMethodIsRead) {
  EXPECT_EQ(read("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).method, Method::del);
  EXPECT_EQ(read("PATCH /x HTTP/1.1\r\nHost: a\r\n\r\n").requests.at(0).method, Method::patch);
  Outcome other = read("BREW /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(other.requests.at(0).method, Method::other);
  EXPECT_EQ(other.requests.at(0).method_text, "BREW");
}

}  // namespace
}  // namespace ringline::protocol
