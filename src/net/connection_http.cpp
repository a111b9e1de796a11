// A connection while it speaks HTTP/1.1, and its upgrade to a WebSocket.
#include <algorithm>
#include <array>

#include "net/client_address.hpp"
#include "net/connection.hpp"
#include "net/hand_over.hpp"
#include "net/http_state.hpp"
#include "net/server_impl.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/tcp.hpp"
#include "ringline/protocol/deflate.hpp"

namespace ringline::net {

using base::Errc;
using protocol::Request;
using protocol::RequestReader;

namespace {

std::string header(const Request& request, std::string_view name) {
  return std::string(request.header(name).value_or(""));
}

// Decoded name=value pairs; a later one of the same name is dropped.
std::vector<std::pair<std::string, std::string>> query_pairs(const Request& request) {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string_view text = request.query_text();
  while (!text.empty()) {
    auto end = std::min(text.find('&'), text.size());
    std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto equals = std::min(part.find('='), part.size());
    auto name = protocol::percent_decode(part.substr(0, equals), true);
    auto value = protocol::percent_decode(part.substr(std::min(equals + 1, part.size())), true);
    bool known = name && std::ranges::any_of(pairs, [&](const auto& pair) { return pair.first == *name; });
    if (name && value && !name->empty() && !known) pairs.emplace_back(std::move(*name), std::move(*value));
  }
  return pairs;
}

// The wire contract's code for a refusal's status.
std::string_view code_of(int status) {
  for (Errc code : {Errc::unauthenticated, Errc::forbidden, Errc::not_found, Errc::too_large})
    if (base::http_status(code) == status) return base::name_of(code);
  return base::name_of(Errc::invalid);
}

HttpRequest to_request(Request&& request, std::string address, bool from_loopback) {
  HttpRequest result;
  result.query = query_pairs(request);
  result.content_type = header(request, "Content-Type");
  result.authorization = header(request, "Authorization");
  result.idempotency_key = header(request, "Idempotency-Key");
  result.user_agent = header(request, "User-Agent");
  result.if_none_match = request.header_list("If-None-Match");
  result.accept_encoding = request.header_list("Accept-Encoding");
  result.origin = header(request, "Origin");
  result.host = header(request, "Host");
  result.range = header(request, "Range");
  result.if_range = header(request, "If-Range");
  result.stream_bytes = request.stream_bytes;
  result.expects_continue = request.version == 11 && request.header("Expect").has_value();
  result.access_control_request_method = header(request, "Access-Control-Request-Method");
  result.access_control_request_headers = header(request, "Access-Control-Request-Headers");
  result.address = std::move(address);
  result.from_loopback = from_loopback;
  result.method = std::move(request.method_text);
  result.path = std::move(request.path);
  result.body = std::move(request.body);
  return result;
}

}  // namespace

bool origin_allowed(const base::Settings& settings, std::string_view origin, std::string_view host) {
  return protocol::origin_allowed(origin, host, settings.client_origin, settings.production);
}

void Connection::take_http(std::string_view bytes) {
  if (state_ == State::closing || http_->close_after_output) return;
  http_->input.append(bytes);
  if (state_ == State::open) next_request();
  if (kind_ == Kind::http && http_->input.size() > kHttpInputBytes) stop_reading();
}

bool Connection::may_read_request() const noexcept {
  if (state_ != State::open || kind_ != Kind::http || http_->exchange_open || http_->close_after_output ||
      http_->input.empty())
    return false;
  return !outbox_ || outbox_->urgent_bytes() < base::limits::kReplyQueueBytes;
}

// Reads from the input until a request is complete, then hands it on; what follows it waits for its answer.
void Connection::next_request() {
  if (http_->reading) return;  // an answer that came at once: the loop below goes on
  http_->reading = true;
  while (may_read_request()) {
    if (!http_->reader) http_->reader = std::make_unique<RequestReader>(server_.http_limits);
    RequestReader::Step step = http_->reader->feed(http_->input);
    http_->input.erase(0, step.consumed);
    switch (step.status) {
      case RequestReader::Status::need_more:
        if (wait_ == Wait::idle) wait_for(Wait::head, server_.options.times.head);
        if (wait_ == Wait::head && http_->reader->in_body()) wait_for(Wait::body, server_.options.times.body);
        break;
      case RequestReader::Status::want_continue:
        output().append(protocol::kContinue);
        wait_for(Wait::body, server_.options.times.body);
        break;
      case RequestReader::Status::failed:
        refuse_http(http_->reader->error_status(), http_->reader->error());
        break;
      case RequestReader::Status::complete: {
        Request request = http_->reader->take();
        http_->reader.reset();
        take_request(std::move(request), false);
        break;
      }
    }
  }
  if (!http_) return;  // it is a WebSocket now
  http_->reading = false;
  if (http_->input.empty()) http_->input = {};  // an idle connection holds no buffer
}

void Connection::take_request(Request request, bool from_other_core) {
  const Door* door = server_.door_at(request.path);
  bool engineio = door && door->kind == Door::Kind::engineio;
  if (engineio && !from_other_core && server_.hand_over) {
    auto core = server_.hand_over->core_of(request.query("sid").value_or(""));
    if (core) return leave(std::move(request), *core);
  }
  ++http_->requests;
  ++server_.metrics.http_requests;
  if (http_->peer.empty()) http_->peer = loop::peer_address(socket_);
  std::string_view forwarded = request.header("X-Forwarded-For").value_or("");
  http_->address = client_address(http_->peer, forwarded, server_.options.settings.trust_proxy,
                                  server_.options.settings.trust_proxy_hops);
  http_->exchange_open = true;
  http_->keep_alive = request.keep_alive;
  http_->head_only = request.method == protocol::Method::head;
  http_->body_unread = request.stream_bytes.has_value();
  if (http_->body_unread) {
    http_->keep_alive = false;
    stop_reading();
  }
  wait_ = Wait::answer;
  timer().disarm();
  if (engineio) return answer_engineio(*door, std::move(request));
  if (request.upgrade_websocket)
    return door ? upgrade(*door, request) : refuse_http(404, "no WebSocket is taken at this path");
  static const std::array<std::string, 2> kLoopback = {"127.0.0.0/8", "::1"};
  bool local = forwarded.empty() && in_blocks(http_->peer, kLoopback);
  server_.options.http.handle(id_, to_request(std::move(request), http_->address, local));
}

void Connection::respond(HttpResponse response) {
  if (state_ != State::open || kind_ != Kind::http || !http_->exchange_open) return;
  if (response.transfer) return leave_for_transfer(std::move(response));
  if (response.status >= 400) ++server_.metrics.http_errors;
  std::string date;
  protocol::append_http_date(date, base::wall_ms());
  bool last = !http_->keep_alive || (http_->input_over && http_->input.empty());
  std::vector<protocol::Header> headers(response.headers.begin(), response.headers.end());
  protocol::append_response(output(),
                            {.status = response.status,
                             .content_type = response.content_type,
                             .date = date,
                             .headers = headers,
                             .keep_alive = !last,
                             .head_only = http_->head_only,
                             .content_length = response.content_length},
                            response.body);
  http_->exchange_open = false;
  http_->session = {};
  wait_for(Wait::idle, server_.options.times.idle);
  http_->close_after_output = last;
  if (http_->body_unread) {  // it is read on for a moment, and thrown away
    http_->refused = true;
    http_->input = {};
    paused_ = false;
    receive();
  }
  if (last) return;
  next_request();
  if (paused_ && may_read()) read_again();
}

void Connection::refuse_http(int status, std::string_view why) {
  ++server_.metrics.http_errors;
  ++server_.metrics.closed_protocol;
  base::log::info("request_refused", {{"connection", id_.text()}, {"status", status}, {"why", why}});
  std::string body = R"({"type":"about:blank","title":")" + std::string(protocol::reason_phrase(status)) +
                     R"(","status":)" + std::to_string(status) + R"(,"detail":")" + std::string(why) + R"(","code":")" +
                     std::string(code_of(status)) + R"("})";
  std::array<protocol::Header, 1> more = {protocol::Header{"Sec-WebSocket-Version", "13"}};
  if (status == 401) more = {protocol::Header{"WWW-Authenticate", "Bearer"}};
  std::span<const protocol::Header> headers;
  if (status == 426 || status == 401) headers = more;
  std::string date;
  protocol::append_http_date(date, base::wall_ms());
  protocol::append_response(output(),
                            {.status = status,
                             .content_type = "application/problem+json",
                             .date = date,
                             .headers = headers,
                             .keep_alive = false,
                             .head_only = http_->head_only && http_->exchange_open},
                            body);
  http_->close_after_output = true;
  http_->refused = true;
  http_->input = {};
  http_->reader.reset();
  wait_for(Wait::idle, server_.options.times.idle);
}

// The request that is under way is answered first.
void Connection::close_http() {
  if (!http_->exchange_open) return close_now();
  http_->keep_alive = false;
}

// To a WebSocket that is nothing else.
void Connection::upgrade(const Door& door, const Request& request) {
  if (!accept_upgrade(door, request, door.deflate)) return;
  kind_ = Kind::websocket;
  std::string input = std::move(http_->input);
  http_.reset();
  start_living(door);
  speaker_ = server_.options.doors->open(door, request, *this);
  speaker_->on_open();
  if (!input.empty()) take_frames(input);
}

// The opening handshake. False: it was refused.
bool Connection::accept_upgrade(const Door& door, const Request& request, bool may_deflate) {
  auto refuse = [this](int status, std::string_view why) {
    refuse_http(status, why);
    return false;
  };
  std::string_view origin = request.header("Origin").value_or("");
  if (!origin.empty() && !origin_allowed(server_.options.settings, origin, request.header("Host").value_or("")))
    return refuse(403, "this origin is not allowed: see CLIENT_ORIGIN");
  auto offered = std::span(&door.subprotocol, door.subprotocol.empty() ? 0 : 1);
  protocol::UpgradeCheck check = protocol::check_upgrade(request, offered);
  if (check.status != 101) return refuse(check.status, check.problem);
  if (auto refusal = server_.options.doors->check(door, request)) return refuse(refusal->status, refusal->why);
  std::string extensions;
  auto agreed =
      may_deflate ? protocol::negotiate_deflate(request.header_list("Sec-WebSocket-Extensions")) : std::nullopt;
  if (agreed) agreed->append_header_value(extensions);
  inflates_ = agreed.has_value();
  deflates_ = agreed && agreed->takes_ours();
  protocol::append_upgrade_response(output(), check, extensions);
  aside().address = http_->address;
  return true;
}

// ---- To another thread

void Connection::leave(Request request, unsigned core) {
  http_->leaving = std::make_unique<Leaving>(Leaving{core, std::move(request), nullptr});
  begin_leaving();
}

void Connection::leave_for_transfer(HttpResponse response) {
  ASSERT(server_.hand_over);
  std::unique_ptr<TransferOrder> order = std::move(response.transfer);
  order->status = response.status;
  order->headers = std::move(response.headers);
  http_->leaving = std::make_unique<Leaving>(Leaving{0, {}, std::move(order)});
  begin_leaving();
}

void Connection::begin_leaving() {
  state_ = State::leaving;
  server_.loop.ring().cancel(receive_op());
  wait_for(Wait::linger, server_.options.times.idle);  // for answers to earlier requests that nobody takes
  mark_dirty();                                        // it may be quiet already
}

// Nothing of the socket may be in the kernel on behalf of this connection when another one begins.
void Connection::leave_when_quiet() {
  if (receive_op().in_kernel() || send_op().in_kernel() || (outbox_ && !outbox_->empty())) return;
  timer().disarm();
  state_ = State::dead;
  if (outbox_) server_.give_back(std::move(outbox_));
  frames_.release(server_.frames);
  server_.dead.push_back(id_);
  loop::Fd socket = std::exchange(socket_, loop::Fd{});
  if (kind_ == Kind::probe) {
    Connection* session = server_.find(base::ConnectionId{secret_});
    if (!session) return server_.loop.ring().close(socket);
    return session->adopt(socket, take_unread());
  }
  server_.hand_over->give({.core = http_->leaving->core,
                           .order = std::move(http_->leaving->transfer),
                           .socket = socket,
                           .request = std::move(http_->leaving->request),
                           .input = std::move(http_->input)});
}

void Connection::start_with(Request request, std::string input) {
  http_ = std::make_unique<HttpState>();
  http_->input = std::move(input);
  server_.loop.ring().receive_multishot(receive_op(), socket_);
  http_->reading = true;
  take_request(std::move(request), true);
  if (kind_ != Kind::http) return;
  http_->reading = false;
  next_request();
}

}  // namespace ringline::net
