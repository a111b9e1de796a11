// Requests, read with Boost.Beast's parser. It is fed whole heads only, and each is checked here first: what Beast takes but another reader on the way
// (a proxy) may take otherwise is refused, since two readings of one request are how requests are smuggled. So: no folded lines, no lone CR or LF, no
// space before a colon, one Content-Length, no Transfer-Encoding beside it or other than `chunked`, one Host. Trailer fields are dropped: they must
// not pass for headers.
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "protocol/text.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::protocol {

namespace http = boost::beast::http;
using boost::beast::error_code;
using BeastText = boost::beast::string_view;

namespace {

constexpr std::size_t kBlankLinesMax = 2;  // before a request: RFC 9112 2.2 wants one forgiven
constexpr std::size_t kMethodBytesMax = 32;
constexpr std::size_t kUnreadBodyBytesMax =
    16 * 1024;  // a chunk's head or the trailer section, which Beast reads in one piece
// What chunked coding may take in all beside the body: enough for the largest body in chunks of one byte, and an allowance for extensions and trailers.
// Without it 16 KiB of extension could come with each byte. The bound does not depend on how much of the body is there: however the bytes are cut,
// the verdict is the same.
constexpr std::size_t kChunkBytesPerByte = 8;
constexpr std::size_t kChunkExtraBytesMax = 32 * 1024;

// The shortest end of a chunked body: "0" and two line ends. Once Beast has seen a last chunk it asserts that it is given as much, so what may be the
// beginning of one waits until it is as long; whatever it is, as much is still to come. Behind data it comes with a line end, and is long enough.
constexpr std::size_t kChunkedEndBytes = 5;

std::string_view view(BeastText text) { return {text.data(), text.size()}; }

struct Failure {
  int status = 0;
  std::string_view why;
};

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return is_token_char(c); });
}

// One line of the head after the first: NAME ":" VALUE, without control characters.
bool good_field_line(std::string_view line) {
  auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return false;
  return std::ranges::all_of(line.substr(colon + 1), [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
  });
}

// METHOD SP TARGET SP HTTP/1.x
Failure check_request_line(std::string_view line) {
  auto first = line.find(' ');
  auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first)))
    return {400, "bad request line"};
  std::string_view target = line.substr(first + 1, last - first - 1);
  bool clean = !target.empty() && std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  if (!clean) return {400, "bad request target"};
  std::string_view version = line.substr(last + 1);
  if (version == "HTTP/1.1" || version == "HTTP/1.0") return {};
  bool other = version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) && version[6] == '.' &&
               is_digit(version[7]);
  return other ? Failure{505, "HTTP/1.1 is spoken here"} : Failure{400, "bad request line"};
}

// `head` ends with its empty line.
Failure check_head(std::string_view head) {
  bool first = true;
  while (true) {
    auto end = head.find("\r\n");
    std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (line.empty()) return {};
    if (first) {
      Failure failure = check_request_line(line);
      if (failure.status != 0) return failure;
      first = false;
    } else if (!good_field_line(line)) {
      return {400, "bad header line"};
    }
  }
}

bool good_host(std::string_view host) {
  return std::ranges::all_of(host, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view(".-_:[]%~!$&'()*+;=").contains(c);
  });
}

// Whether `bytes` begin with the complete line of a chunk that is not the last. Beast wants more of one only if a quoted string in its extension goes on
// behind the line's end; it would count that chunk again with each piece.
bool is_chunk_line(std::string_view bytes) {
  if (bytes.starts_with("\r\n")) bytes.remove_prefix(2);  // the end of the chunk before
  const std::string_view size = bytes.substr(0, bytes.find_first_not_of("0123456789abcdefABCDEF"));
  return bytes.contains("\r\n") && size.find_first_not_of('0') != std::string_view::npos;
}

Method method_of(http::verb verb) {
  switch (static_cast<int>(verb)) {
    case static_cast<int>(http::verb::get):
      return Method::get;
    case static_cast<int>(http::verb::head):
      return Method::head;
    case static_cast<int>(http::verb::post):
      return Method::post;
    case static_cast<int>(http::verb::put):
      return Method::put;
    case static_cast<int>(http::verb::patch):
      return Method::patch;
    case static_cast<int>(http::verb::delete_):
      return Method::del;
    case static_cast<int>(http::verb::options):
      return Method::options;
    default:
      return Method::other;
  }
}

using Headers = std::vector<std::pair<std::string, std::string>>;

class Parser final : public http::basic_parser<true> {
 public:
  Parser(Request& request, Headers& headers) : request_(request), headers_(headers) {}

 private:
  void on_request_impl(http::verb verb, BeastText method, BeastText target, int version, error_code&) override {
    request_.method = method_of(verb);
    request_.method_text = view(method);
    request_.target = view(target);
    request_.version = static_cast<unsigned>(version);
  }
  void on_field_impl(http::field, BeastText name, BeastText value, error_code&) override {
    if (!in_body_) headers_.emplace_back(view(name), view(value));
  }
  void on_header_impl(error_code&) override { in_body_ = true; }
  std::size_t on_body_impl(BeastText bytes, error_code&) override {
    request_.body.append(view(bytes));
    return bytes.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastText extensions, error_code& error) override {
    bool clean =
        std::ranges::all_of(view(extensions), [](char c) { return c == '\t' || static_cast<unsigned char>(c) >= ' '; });
    if (!clean) error = http::make_error_code(http::error::bad_chunk_extension);
  }
  std::size_t on_chunk_body_impl(std::uint64_t, BeastText bytes, error_code& error) override {
    return on_body_impl(bytes, error);
  }
  void on_response_impl(int, BeastText, int, error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  void on_finish_impl(error_code&) override {}

  Request& request_;
  Headers& headers_;
  bool in_body_ = false;
};

}  // namespace

struct RequestReader::Impl {
  enum class State : std::uint8_t { head, body, complete, failed };

  explicit Impl(HttpLimits given) : limits(given), headers(request.headers_), parser(request, headers) {
    parser.header_limit(static_cast<std::uint32_t>(limits.head_bytes));
    parser.body_limit(limits.body_bytes);
    parser.eager(false);
  }

  Step fail(Failure reason, std::size_t consumed) {
    ASSERT(reason.status >= 400);
    state = State::failed;
    failure = reason;
    return {consumed, Status::failed};
  }
  Step feed_head(std::string_view input);
  Step head_complete(std::string_view input, std::size_t consumed);
  Step leave_body(std::size_t consumed);
  Step feed_body(std::string_view input);
  Failure check_unfinished() const;
  Failure check_fields();
  Failure check_length();
  Failure read_target();
  void note_connection();
  std::size_t count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(headers, [&](const auto& field) { return same_text(field.first, name); }));
  }
  void skip_blank_lines();

  HttpLimits limits;
  Request request;
  Headers& headers;
  Parser parser;
  std::string unread;  // the head so far; then what Beast wants more of before it reads it
  std::size_t blank_lines = 0;
  std::size_t beside_body = 0;  // bytes of the body's coding
  Failure failure;
  State state = State::head;
};

RequestReader::RequestReader(HttpLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestReader::~RequestReader() = default;

RequestReader::Step RequestReader::feed(std::string_view input) {
  switch (impl_->state) {
    case Impl::State::head:
      return impl_->feed_head(input);
    case Impl::State::body:
      return impl_->feed_body(input);
    case Impl::State::complete:
      return {0, Status::complete};
    case Impl::State::failed:
      return {0, Status::failed};
  }
  std::unreachable();
}

Request RequestReader::take() {
  ASSERT(impl_->state == Impl::State::complete);
  return std::move(impl_->request);
}

int RequestReader::error_status() const noexcept { return impl_->failure.status; }
std::string_view RequestReader::error() const noexcept { return impl_->failure.why; }
bool RequestReader::in_body() const noexcept { return impl_->state == Impl::State::body; }

void RequestReader::Impl::skip_blank_lines() {
  while (blank_lines < kBlankLinesMax && unread.starts_with("\r\n")) {
    unread.erase(0, 2);
    ++blank_lines;
  }
}

RequestReader::Step RequestReader::Impl::feed_head(std::string_view input) {
  std::size_t before = unread.size();
  std::size_t room = limits.head_bytes + 4 - std::min(before, limits.head_bytes + 4);
  std::string_view taken = input.substr(0, room);
  std::size_t skipped = blank_lines;
  unread.append(taken);
  skip_blank_lines();
  std::size_t from = blank_lines != skipped || before < 3 ? 0 : before - 3;
  auto end = unread.find("\r\n\r\n", from);
  if (end != std::string::npos) {
    std::size_t surplus = unread.size() - (end + 4);
    unread.resize(end + 4);
    return head_complete(input, taken.size() - surplus);
  }
  if (Failure problem = check_unfinished(); problem.status != 0) return fail(problem, taken.size());
  if (taken.size() == input.size()) return {taken.size(), Status::need_more};
  Step rest = feed_head(input.substr(taken.size()));  // blank lines had taken the room
  rest.consumed += taken.size();
  return rest;
}

// What can be said before the head is there: rubbish and excess are not waited for. A head that comes whole is held against the same, first: what is
// answered must not depend on how the bytes arrived.
Failure RequestReader::Impl::check_unfinished() const {
  if (unread.empty() || unread == "\r") return {};
  if (unread.front() != '\n' && !is_token_char(unread.front())) return {400, "bad request line"};
  const std::size_t line_end = unread.find("\r\n");
  std::string_view line = std::string_view(unread).substr(0, line_end);
  if (line_end == std::string::npos && line.ends_with('\r')) line.remove_suffix(1);  // perhaps half of its end
  const std::size_t line_max = limits.target_bytes + kMethodBytesMax;
  const bool long_line = line.size() > line_max;
  // What comes first counts: behind an excess nothing is looked at.
  const std::string_view read = std::string_view(unread).substr(0, (long_line ? line_max : limits.head_bytes) + 1);
  for (auto feed = read.find('\n'); feed != std::string_view::npos; feed = read.find('\n', feed + 1))
    if (feed == 0 || read[feed - 1] != '\r') return {400, "a line ends without CR"};
  if (long_line) return {414, "the request target is too long"};
  return unread.size() > limits.head_bytes ? Failure{431, "the request head is too large"} : Failure{};
}

// `consumed` bytes of `input` belong to the head; what follows is read on at once.
namespace {

// Of a head's request line, as sent.
std::string_view method_in(std::string_view head) { return head.substr(0, head.find(' ')); }
std::string_view path_in(std::string_view head) {
  head.remove_prefix(std::min(head.find(' ') + 1, head.size()));
  return head.substr(0, head.find_first_of(" ?"));
}

// Whether a head's request line asks for this path.
bool is_at(std::string_view head, std::string_view path) {
  auto target = std::min(head.find(' ') + 1, head.size());
  head.remove_prefix(target);
  if (path.empty() || !head.starts_with(path)) return false;
  head.remove_prefix(path.size());
  return head.starts_with(' ') || head.starts_with('?');
}

}  // namespace

RequestReader::Step RequestReader::Impl::head_complete(std::string_view input, std::size_t consumed) {
  if (Failure problem = check_unfinished(); problem.status != 0) return fail(problem, consumed);
  if (Failure problem = check_head(unread); problem.status != 0) return fail(problem, consumed);
  if (is_at(unread, limits.large_body_path)) limits.body_bytes = limits.large_body_bytes;
  const bool streams = limits.streams && limits.streams(method_in(unread), path_in(unread));
  streams ? parser.body_limit(boost::none) : parser.body_limit(limits.body_bytes);
  error_code error;
  parser.put(boost::asio::buffer(unread), error);
  if (error == http::error::body_limit) return fail({413, "the request body is too large"}, consumed);
  if (error || !parser.is_header_done()) return fail({400, "bad request head"}, consumed);
  unread.clear();
  if (Failure problem = check_fields(); problem.status != 0) return fail(problem, consumed);
  note_connection();
  if (streams) return leave_body(consumed);
  if (parser.is_done()) {
    state = State::complete;
    return {consumed, Status::complete};
  }
  state = State::body;
  parser.eager(true);
  if (consumed == input.size()) {
    bool waits = request.version == 11 && count("Expect") > 0;
    return {consumed, waits ? Status::want_continue : Status::need_more};
  }
  Step body = feed_body(input.substr(consumed));
  body.consumed += consumed;
  return body;
}

RequestReader::Step RequestReader::Impl::leave_body(std::size_t consumed) {
  const auto digits = request.header("Content-Length");
  if (!digits) return fail({411, "say how long the body is: Content-Length"}, consumed);
  std::uint64_t bytes = 0;
  std::from_chars(digits->data(), digits->data() + digits->size(), bytes);
  request.stream_bytes = bytes;
  state = State::complete;
  return {consumed, Status::complete};
}

Failure RequestReader::Impl::check_fields() {
  if (request.target.size() > limits.target_bytes) return {414, "the request target is too long"};
  std::size_t hosts = count("Host");
  if (hosts > 1 || (hosts == 0 && request.version == 11)) return {400, "one Host header is needed"};
  if (!good_host(request.header("Host").value_or(""))) return {400, "bad Host header"};
  if (Failure problem = check_length(); problem.status != 0) return problem;
  if (count("Expect") > 1 || (count("Expect") == 1 && !same_text(*request.header("Expect"), "100-continue")))
    return {417, "this expectation cannot be met"};
  return read_target();
}

// How long the body is may be said once and in one way.
Failure RequestReader::Impl::check_length() {
  std::size_t lengths = count("Content-Length");
  std::size_t encodings = count("Transfer-Encoding");
  if (lengths > 1 || (lengths == 1 && encodings > 0)) return {400, "the body's length is said twice"};
  if (lengths == 1) {
    std::string_view digits = *request.header("Content-Length");
    if (digits.empty() || !std::ranges::all_of(digits, is_digit)) return {400, "bad Content-Length"};
  }
  if (encodings == 0) return {};
  if (request.version == 10) return {400, "HTTP/1.0 has no Transfer-Encoding"};
  if (encodings > 1 || !same_text(*request.header("Transfer-Encoding"), "chunked"))
    return {501, "chunked is the only Transfer-Encoding taken"};
  return {};
}

// The four forms of RFC 9112 3.2, of which a server that is no proxy takes three.
Failure RequestReader::Impl::read_target() {
  std::string_view rest = request.target;
  if (rest == "*") {
    request.path = "*";
    return request.method == Method::options ? Failure{} : Failure{400, "bad request target"};
  }
  for (std::string_view scheme : {"http://", "https://"}) {
    if (rest.size() < scheme.size() || !same_text(rest.substr(0, scheme.size()), scheme)) continue;
    rest.remove_prefix(scheme.size());
    std::string_view host = rest.substr(0, rest.find_first_of("/?"));
    if (host.empty() || !good_host(host)) return {400, "bad request target"};
    for (auto& [name, value] : headers)
      if (same_text(name, "Host")) value = host;
    rest.remove_prefix(host.size());
    request.target = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
    rest = request.target;
  }
  if (!rest.starts_with('/')) return {400, "bad request target"};
  auto path = percent_decode(rest.substr(0, rest.find('?')));
  if (!path) return {400, "bad escape in the request target"};
  request.path = std::move(*path);
  return {};
}

void RequestReader::Impl::note_connection() {
  request.keep_alive = request.version == 11 ? !request.header_has("Connection", "close")
                                             : request.header_has("Connection", "keep-alive");
  request.upgrade_websocket = request.version == 11 && request.method == Method::get &&
                              request.header_has("Connection", "upgrade") && request.header_has("Upgrade", "websocket");
}

RequestReader::Step RequestReader::Impl::feed_body(std::string_view input) {
  // Beast reads a chunk's head or the trailer section from one piece of memory, so what it left is put before what came.
  std::size_t body_before = request.body.size();
  bool kept = !unread.empty();
  if (kept) unread.append(input);
  std::string_view bytes = kept ? std::string_view(unread) : input;
  error_code error;
  while (!bytes.empty() && !parser.is_done()) {
    if (parser.chunked() && request.body.empty() && bytes.front() == '0' && bytes.size() < kChunkedEndBytes) break;
    std::size_t used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
    bytes.remove_prefix(used);
    beside_body += used;
    if (error || used == 0) break;
  }
  if (error == http::error::need_more && is_chunk_line(bytes)) return fail({400, "bad chunk"}, input.size());
  if (error == http::error::need_more) error = {};
  if (error == http::error::body_limit) return fail({413, "the request body is too large"}, input.size());
  if (error) return fail({400, "bad request body"}, input.size());
  beside_body -= request.body.size() - body_before;
  if (beside_body > kChunkExtraBytesMax + kChunkBytesPerByte * limits.body_bytes)
    return fail({400, "more chunks than body"}, input.size());
  if (parser.is_done()) {
    ASSERT(bytes.size() <= input.size());
    state = State::complete;
    return {input.size() - bytes.size(), Status::complete};
  }
  if (bytes.size() >= kUnreadBodyBytesMax) return fail({400, "bad chunk"}, input.size());
  unread = std::string(bytes);
  return {input.size(), Status::need_more};
}

}  // namespace ringline::protocol
