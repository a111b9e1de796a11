// HTTP requests on one connection. What the reader says must not depend on how the bytes arrive; a request is held against a second, naive framing of
// the same bytes, and written down again it must read as the same request: two readings of one request are how requests are smuggled.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "input.hpp"
#include "ringline/protocol/http.hpp"
#include "ringline/protocol/websocket.hpp"

namespace {

using namespace ringline;
using protocol::Request;
using protocol::RequestReader;
using Status = RequestReader::Status;

// So small that short inputs reach them.
constexpr protocol::HttpLimits kLimits{.head_bytes = 512, .body_bytes = 256, .target_bytes = 96};
constexpr std::array<std::string_view, 12> kNames = {"Host",
                                                     "Connection",
                                                     "Upgrade",
                                                     "Sec-WebSocket-Key",
                                                     "Sec-WebSocket-Version",
                                                     "Sec-WebSocket-Protocol",
                                                     "Content-Type",
                                                     "Authorization",
                                                     "Origin",
                                                     "Cookie",
                                                     "If-None-Match",
                                                     "X-Forwarded-For"};

struct Heard {
  std::vector<Request> requests;
  std::vector<std::size_t> ends;  // of each, in the stream
  int error = 0;
  bool unfinished = false;
};

// One reader after the other, as a connection does it.
class Stream {
 public:
  bool take(std::string_view piece) {
    while (!piece.empty()) {
      if (!reader_) reader_.emplace(kLimits);
      const RequestReader::Step step = reader_->feed(piece);
      ASSERT(step.consumed <= piece.size());
      piece.remove_prefix(step.consumed);
      consumed_ += step.consumed;
      if (!go_on(step.status, piece.empty())) return false;
    }
    return true;
  }
  Heard end() {
    heard_.unfinished = reader_.has_value();
    return std::move(heard_);
  }

 private:
  bool go_on(Status status, bool all) {
    switch (status) {
      case Status::need_more:
        ASSERT(all);
        return true;
      case Status::want_continue:
        ASSERT(all && reader_->in_body() && !asked_);
        asked_ = true;
        return true;
      case Status::complete:
        heard_.requests.push_back(reader_->take());
        heard_.ends.push_back(consumed_);
        reader_.reset();
        asked_ = false;
        return true;
      case Status::failed:
        heard_.error = reader_->error_status();
        ASSERT(heard_.error >= 400 && heard_.error < 600 && !reader_->error().empty());
        ASSERT(reader_->feed("GET / HTTP/1.1\r\n").status == Status::failed);
        reader_.reset();
        return false;
    }
    return false;
  }

  std::optional<RequestReader> reader_;
  Heard heard_;
  std::size_t consumed_ = 0;
  bool asked_ = false;
};

Heard read(std::string_view text, fuzz::Cut cut) {
  Stream stream;
  fuzz::for_each_piece(text, cut, [&](std::string_view piece) { return stream.take(piece); });
  return stream.end();
}

void check_same(const Request& a, const Request& b) {
  ASSERT(a.method == b.method && a.method_text == b.method_text && a.version == b.version);
  ASSERT(a.target == b.target && a.path == b.path && a.body == b.body);
  ASSERT(a.keep_alive == b.keep_alive && a.upgrade_websocket == b.upgrade_websocket);
  for (std::string_view name : kNames) ASSERT(a.header(name) == b.header(name));
}

// The body of `chunked`, by the letter of RFC 9112 7.1; `bytes` ends where the request does.
std::string dechunk(std::string_view bytes) {
  std::string body;
  while (true) {
    const auto line = bytes.find("\r\n");
    ASSERT(line != std::string_view::npos);
    std::size_t size = 0;
    const std::size_t digits = std::min(bytes.find_first_not_of("0123456789abcdefABCDEF"), line);
    ASSERT(digits > 0);
    for (char c : bytes.substr(0, digits)) {
      size = size * 16 + static_cast<std::size_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
      ASSERT(size <= kLimits.body_bytes);  // of many digits most are zeros in front
    }
    bytes.remove_prefix(line + 2);
    if (size == 0) break;
    ASSERT(size <= bytes.size() && bytes.substr(size).starts_with("\r\n"));
    body.append(bytes.substr(0, size));
    bytes.remove_prefix(size + 2);
  }
  while (!bytes.starts_with("\r\n")) {  // trailer fields
    const auto line = bytes.find("\r\n");
    ASSERT(line != std::string_view::npos);
    bytes.remove_prefix(line + 2);
  }
  ASSERT(bytes.size() == 2);
  return body;
}

// `bytes`: all that the reader took for this request.
void check_framing(const Request& request, std::string_view bytes) {
  while (bytes.starts_with("\r\n")) bytes.remove_prefix(2);
  const auto end = bytes.find("\r\n\r\n");
  ASSERT(end != std::string_view::npos && end + 4 <= kLimits.head_bytes);
  const std::string_view body = bytes.substr(end + 4);
  ASSERT(request.body.size() <= kLimits.body_bytes && request.target.size() <= kLimits.target_bytes);
  ASSERT(bytes.starts_with(request.method_text + " "));
  const auto length = request.header("Content-Length");
  if (request.header("Transfer-Encoding")) {
    ASSERT(!length && request.version == 11 && dechunk(body) == request.body);
  } else {
    ASSERT(body == request.body);
    ASSERT(length ? std::stoull(std::string(*length)) == body.size() : body.empty());
  }
  for (std::string_view name : kNames)
    ASSERT(request.header(name).value_or("").find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
}

void check_written_again(const Request& request) {
  std::string text =
      request.method_text + " " + request.target + (request.version == 11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
  for (std::string_view name : kNames)
    if (const auto value = request.header(name)) text.append(name).append(": ").append(*value).append("\r\n");
  text.append("Content-Length: " + std::to_string(request.body.size()) + "\r\n\r\n").append(request.body);
  RequestReader reader(
      {.head_bytes = 4 * kLimits.head_bytes, .body_bytes = kLimits.body_bytes, .target_bytes = kLimits.target_bytes});
  const RequestReader::Step step = reader.feed(text);
  ASSERT(step.status == Status::complete && step.consumed == text.size());
  const Request again = reader.take();
  ASSERT(again.method_text == request.method_text && again.target == request.target && again.path == request.path);
  ASSERT(again.version == request.version && again.body == request.body);
  for (std::string_view name : kNames) ASSERT(again.header(name) == request.header(name));
}

// What a server asks of a request.
void use(const Request& request) {
  const std::string_view query = request.query_text();
  ASSERT(query.size() < request.target.size());
  if (const auto first = request.query("EIO")) ASSERT(first->size() <= query.size());
  if (request.path != "*") ASSERT(request.path.starts_with('/') && request.path.find('\0') == std::string::npos);
  const auto plain = protocol::percent_decode(request.target.substr(0, request.target.find('?')));
  ASSERT(plain == request.path);
  constexpr std::array<std::string_view, 2> kProtocols = {"chat", "json"};
  const auto upgrade = protocol::check_upgrade(request, kProtocols);
  ASSERT(upgrade.status == 101 || ((upgrade.status == 400 || upgrade.status == 426) && !upgrade.problem.empty()));
  if (upgrade.status == 101) {
    ASSERT(request.upgrade_websocket && upgrade.accept.size() == 28);
    std::string answer;
    protocol::append_upgrade_response(answer, upgrade, "");
    ASSERT(answer.starts_with("HTTP/1.1 101 ") && answer.find("\r\n\r\n") == answer.size() - 4);
  }
  const std::array<std::string, 2> patterns = {"https://a.example", "https://*.b.example"};
  const std::string_view origin = request.header("Origin").value_or("null");
  const std::string_view host = request.header("Host").value_or("");
  (void)protocol::origin_allowed(origin, host, {}, true);
  if (protocol::origin_allowed(origin, host, patterns, true)) ASSERT(protocol::percent_decode(origin)->size() >= 17);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const fuzz::Cut cut = fuzz::choose_cut(input);
  const Heard whole = read(input.text(), fuzz::kWhole);
  const Heard pieces = read(input.text(), cut);
  ASSERT(whole.error == pieces.error && whole.unfinished == pieces.unfinished);
  ASSERT(whole.requests.size() == pieces.requests.size() && whole.ends == pieces.ends);
  std::size_t start = 0;
  for (std::size_t i = 0; i < whole.requests.size(); ++i) {
    const Request& request = whole.requests[i];
    check_same(request, pieces.requests[i]);
    check_framing(request, input.text().substr(start, whole.ends[i] - start));
    check_written_again(request);
    use(request);
    start = whole.ends[i];
  }
  return 0;
}
