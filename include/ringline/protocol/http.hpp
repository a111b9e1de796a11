// HTTP/1.1 requests in, responses out, without a socket. The parsing is Boost.Beast's; what it lets through and a proxy might read otherwise is
// refused before (see src/protocol/http_reader.cpp). A reader exists only while a request is incomplete: an idle connection has none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringline/base/limits.hpp"

namespace ringline::protocol {

enum class Method : std::uint8_t { get, head, post, put, patch, del, options, other };

// A complete request. Owns its bytes.
class Request {
 public:
  Method method = Method::other;
  unsigned version = 11;           // 10 or 11
  bool keep_alive = true;          // what its version and Connection say
  bool upgrade_websocket = false;  // GET, Connection: upgrade, Upgrade: websocket
  std::string method_text;         // "GET"
  std::string target;              // as sent
  std::string path;                // percent-decoded, without query; "*" for OPTIONS *
  std::string body;
  std::optional<std::uint64_t>
      stream_bytes;  // so many of a body follow, and are not the reader's: see HttpLimits::streams

  // The first header of that name, regardless of case.
  std::optional<std::string_view> header(std::string_view name) const noexcept;
  // All of that name, joined by ", ": of a header that is a list, such as Sec-WebSocket-Extensions.
  std::string header_list(std::string_view name) const;
  // The first query parameter of that name, decoded ('+' is a space). A bad escape is kept as it is.
  std::optional<std::string> query(std::string_view name) const;
  std::string_view query_text() const noexcept;  // what follows '?', as sent
  // Whether a comma list such as Connection has the token, regardless of case.
  bool header_has(std::string_view name, std::string_view token) const noexcept;

 private:
  friend class RequestReader;
  std::vector<std::pair<std::string, std::string>> headers_;
};

struct HttpLimits {
  std::size_t head_bytes = base::limits::kHttpHeadBytes;  // 431
  std::size_t body_bytes = base::limits::kHttpBodyBytes;  // 413
  std::size_t target_bytes = 8 * 1024;                    // 414
  std::string_view large_body_path = {};  // the one path whose bodies may be larger; lives as long as the reader
  std::size_t large_body_bytes = 0;
  // Requests whose bodies are not read here: they are complete with their head, and must say how long the body is. Null: none.
  bool (*streams)(std::string_view method, std::string_view path) = nullptr;
};

class RequestReader {
 public:
  enum class Status : std::uint8_t {
    need_more,      // all input was consumed
    want_continue,  // the head is in, the client waits for "100 Continue"; said once
    complete,       // take() it; what was not consumed is the next request's, or the WebSocket's
    failed,         // answer with error_status() and close
  };
  struct Step {
    std::size_t consumed = 0;
    Status status = Status::need_more;
  };

  explicit RequestReader(HttpLimits limits = {});
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  Step feed(std::string_view input);
  Request take();                           // once, after `complete`
  int error_status() const noexcept;        // 400, 411, 413, 414, 417, 431, 501, 505
  std::string_view error() const noexcept;  // a literal, for the answer and the log
  bool in_body() const noexcept;            // the head is complete: other time-outs hold

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

using Header = std::pair<std::string_view, std::string_view>;

struct ResponseHead {
  int status = 200;
  std::string_view content_type = {};    // empty: none
  std::string_view date = {};            // an IMF-fixdate; empty: left out
  std::span<const Header> headers = {};  // others; not Content-Length, Connection, Date, Content-Type
  bool keep_alive = true;
  bool head_only = false;  // the answer to HEAD: Content-Length of the body, but no body
  std::optional<std::uint64_t> content_length = std::nullopt;  // of a body that follows by itself, or to HEAD does not
};

// Appends head and body. 204 and 304 get neither Content-Length nor body.
void append_response(std::string& out, const ResponseHead& head, std::string_view body);
std::string_view reason_phrase(int status) noexcept;

// Sun, 06 Nov 1994 08:49:37 GMT (29 bytes).
void append_http_date(std::string& out, std::int64_t wall_ms);

// Whether an answer compressed by gzip is what Accept-Encoding asks for: taken, and not liked less than the plain one. Empty: it was not sent.
bool wants_gzip(std::string_view accept_encoding) noexcept;
// Whether If-None-Match names `etag` (with its quotes), by the weak comparison that RFC 9110 wants for it. "*" names any.
bool names_etag(std::string_view if_none_match, std::string_view etag) noexcept;

// What a Range header (RFC 9110, 14.1.2) means of so many bytes. What is not understood, or names several ranges, is as if it were not there.
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool partial = false;     // the header holds
  bool satisfiable = true;  // false: 416
};
ByteRange parse_range(std::string_view header, std::uint64_t size) noexcept;

// Percent-decoding. None: an escape is not two hex digits, or stands for a NUL.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space = false);

// Whether a browser at `origin` (its Origin header) may use the server that it called `host` (its Host header): on the list of patterns
// ("*", "https://a.example", "https://*.example.org"), or, when there is no list, of the same origin or (not `production`) any localhost port.
bool origin_allowed(std::string_view origin, std::string_view host, std::span<const std::string> patterns,
                    bool production) noexcept;

}  // namespace ringline::protocol
