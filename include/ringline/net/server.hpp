// Server: the listener and the connections of one core.
//
// A connection starts as HTTP/1.1; an upgrade at a door makes it a WebSocket or an Engine.IO session with a speaker (speaker.hpp). Everybody outside net
// holds a ConnectionId and looks it up; null means gone. A request that names a session of another core goes there, socket and all (hand_over.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringline/base/metrics.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/net/speaker.hpp"
#include "ringline/net/transfers.hpp"

namespace ringline::net {

// A request that is not an upgrade, copied out of the connection.
struct HttpRequest {
  std::string method;
  std::string path;  // percent-decoded
  std::vector<std::pair<std::string, std::string>> query;
  std::string body;
  std::string content_type;
  std::string authorization;
  std::string idempotency_key;
  std::string user_agent;
  std::string if_none_match;
  std::string accept_encoding;
  std::string origin;
  std::string host;
  std::string access_control_request_method;   // of a preflight
  std::string access_control_request_headers;  // likewise
  std::string range;
  std::string if_range;
  // Of a body that is not read here (protocol::HttpLimits::streams): so many bytes follow, for a transfer. Any other answer ends the connection.
  std::optional<std::uint64_t> stream_bytes;
  bool expects_continue = false;
  std::string address;  // the client's: the peer's, or X-Forwarded-For's behind a trusted proxy
  bool from_loopback = false;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<std::uint64_t> content_length = std::nullopt;  // to HEAD, where there is no body to count
  // Instead of an answer: the socket goes to the thread of transfers, with this answer's status, type and headers.
  std::unique_ptr<TransferOrder> transfer = nullptr;
};

// Answers requests. `handle` returns at once; Server::respond is called for it now or later, exactly once, on the same core.
class HttpHandler {
 public:
  virtual void handle(base::ConnectionId connection, HttpRequest request) = 0;

 protected:
  ~HttpHandler() = default;
};

// Whether a page of `origin` may talk to us: CLIENT_ORIGIN, or unset the same host and, outside production, any localhost port.
bool origin_allowed(const base::Settings& settings, std::string_view origin, std::string_view host);

class HandOverPorts;

// How long a peer may take.
struct ServerTimes {
  std::chrono::milliseconds head = base::limits::kHttpHeadTimeout;
  std::chrono::milliseconds body = base::limits::kHttpBodyTimeout;
  std::chrono::milliseconds idle = base::limits::kHttpIdleTimeout;
  std::chrono::milliseconds stalled_send = base::limits::kStalledSendTimeout;
};

struct ServerOptions {
  unsigned host = 0;
  unsigned core = 0;
  unsigned connections_max = 0;  // of this core
  const base::Settings& settings;
  HttpHandler& http;
  Doors* doors = nullptr;              // null: plain HTTP only
  HandOverPorts* hand_over = nullptr;  // null: one core, nobody to give to
  ServerTimes times = {};
  protocol::HttpLimits http_limits = {};
};

class Server {
 public:
  Server(loop::Loop& loop, ServerOptions options);
  ~Server();  // only when `empty`

  // `port` 0: any free one. The port that is listened on.
  base::Result<std::uint16_t> listen(std::uint16_t port);
  void stop_listening();

  Speaker* find(base::ConnectionId id) noexcept;                // null: gone, or it has none
  chat::Session* find_session(base::ConnectionId id) noexcept;  // of chat's speakers
  void respond(base::ConnectionId connection, HttpResponse response);

  // Gives what was queued to the kernel and frees what is closed: the last hook of a turn.
  void on_turn_end();

  // It is quiet: what is kept for the next use goes.
  void rest() noexcept;

  // To every signed-in connection.
  void announce(std::string_view event, std::string_view body);
  void close_all(chat::CloseCode code, std::string_view reason);
  void kill_all();  // without waiting for peers
  bool empty() const noexcept;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringline::net
