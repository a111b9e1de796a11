// A server on real sockets: cores on threads with descriptors of their own, each with ring, journal, shard and connections as the product has them, and a door of the
// test's. Clients are blocking sockets of the test's thread.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ringline/backend/database.hpp"
#include "ringline/backend/journal.hpp"
#include "ringline/base/random.hpp"
#include "ringline/chat/shard.hpp"
#include "ringline/chat/tokens.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/thread.hpp"
#include "ringline/loop/workers.hpp"
#include "ringline/net/chat_doors.hpp"
#include "ringline/net/hand_over.hpp"
#include "ringline/net/server.hpp"
#include "ringline/net/transfers.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::net::test {

using namespace std::chrono_literals;

// Answers at once, or after the delay that the path names: /later/50. PUT /up and GET /down/BYTES are transfers, of the user that `user` in the query
// names.
class HttpDoor final : public HttpHandler {
 public:
  static bool streams(std::string_view method, std::string_view path) { return method == "PUT" && path == "/up"; }
  void handle(base::ConnectionId connection, HttpRequest request) override {
    if (request.path == "/up" || request.path.starts_with("/down/"))
      return server->respond(connection, transfer(request));
    if (request.path.starts_with("/later/"))
      return loop->scope().spawn(later(*this, connection, request.path.substr(7)));
    if (request.path == "/large")
      return server->respond(
          connection,
          {.status = 200, .content_type = "text/plain", .body = std::string(large_bytes, 'x'), .headers = {}});
    std::string body = request.method + " " + request.path + " " + request.body;
    server->respond(connection, {.status = 200, .content_type = "text/plain", .body = std::move(body), .headers = {}});
  }
  static HttpResponse transfer(const HttpRequest& request) {
    const bool up = request.path == "/up";
    TransferOrder order{.kind = up ? TransferOrder::Kind::upload : TransferOrder::Kind::download,
                        .key = "key",
                        .mime_type = "text/plain",
                        .expects_continue = request.expects_continue};
    order.count = up ? request.stream_bytes.value_or(0) : std::strtoull(request.path.c_str() + 6, nullptr, 10);
    if (!request.query.empty()) order.user.value = std::strtoull(request.query[0].second.c_str(), nullptr, 10);
    HttpResponse answer;
    answer.status = up ? 204 : 200;
    answer.headers.emplace_back("X-Door", "test");
    answer.transfer = std::make_unique<TransferOrder>(std::move(order));
    return answer;
  }
  static base::Task<void> later(HttpDoor& door, base::ConnectionId connection, std::string delay) {
    co_await door.loop->sleep(std::chrono::milliseconds(std::atoi(delay.c_str())));
    door.server->respond(connection,
                         {.status = 200, .content_type = "text/plain", .body = "later " + delay, .headers = {}});
  }
  loop::Loop* loop = nullptr;
  Server* server = nullptr;
  std::size_t large_bytes = 1024 * 1024;
};

struct Setup {
  unsigned cores = 1;
  unsigned connections_max = 0;
  ServerTimes times = {};
  std::function<void(base::Settings&)> adjust = [](base::Settings&) {};
  // Where files are kept; made on the thread of transfers. None: there is no such thread.
  std::function<std::unique_ptr<chat::BlobStore>(loop::Loop&)> files = {};
  TransferLimits transfers = {};
};

class TestServer {
 public:
  explicit TestServer(Setup setup = {});
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  std::uint16_t port(unsigned core = 0) const;
  // Ends all connections, waits for every operation, checks that nothing is left.
  void stop();
  // Runs on a core's thread, and waits.
  void on_core(unsigned core, std::function<void(Server&, chat::Shard&)> job);
  base::Metrics metrics(unsigned core = 0);
  base::Metrics transfer_metrics();
  std::size_t in_kernel(unsigned core = 0);
  // Until a condition on the metrics holds, at most ten seconds.
  bool wait_for(std::function<bool(const base::Metrics&)> holds, unsigned core = 0);

 private:
  struct Core;
  struct Files;
  void run(unsigned core);

  Setup setup_;
  base::Settings settings_;
  std::filesystem::path directory_;
  chat::Tokens tokens_{std::vector<std::string>{"test secret, long enough for everything"}};
  loop::Workers workers_{1, "net-test", 64};
  std::unique_ptr<backend::Database> store_;
  loop::Mailboxes mailboxes_;
  std::unique_ptr<HandOverPorts> ports_;
  std::vector<std::unique_ptr<loop::Ring>> rings_;
  std::vector<loop::Fd> shared_;  // in every core's table
  std::unique_ptr<loop::Ring> files_ring_;
  std::unique_ptr<Files> files_;
  std::vector<std::unique_ptr<Core>> cores_;
  std::vector<loop::Loop*> loops_;
  std::barrier<> together_;
  std::barrier<> started_;
  std::vector<std::thread> threads_;
  std::atomic<unsigned> quiet_{0};
};

// A frame as a client sees it.
struct Frame {
  protocol::Opcode opcode = protocol::Opcode::text;
  std::string payload;
  std::uint16_t code() const {
    return payload.size() < 2 ? 0
                              : static_cast<std::uint16_t>(static_cast<std::uint8_t>(payload[0]) << 8 |
                                                           static_cast<std::uint8_t>(payload[1]));
  }
};

class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer = 0);
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view bytes) const;
  bool try_send(std::string_view bytes) const;  // false: the server has closed
  void half_close() const { ::shutdown(socket_, SHUT_WR); }
  void reset();  // closes with RST
  void close();
  // The next response, head and body.
  std::string response();
  std::string get(std::string_view path);
  bool ended();  // end of stream, or a reset, and nothing else comes within five seconds
  int socket() const { return socket_; }
  int take_socket() { return std::exchange(socket_, -1); }

  std::string upgrade(std::string_view target, std::string_view more = {});
  void frame(protocol::Opcode opcode, std::string_view payload) const;
  void text(std::string_view payload) const { frame(protocol::Opcode::text, payload); }
  Frame frame();  // the next one
  // The next text frame that contains `part`; others are skipped.
  std::string wait_text(std::string_view part);
  // A guest on /ws, signed in and ready; the connection's id.
  void sign_in();

  std::string read(std::size_t bytes);

 private:
  bool fill();
  int socket_ = -1;
  std::string input_;
};

}  // namespace ringline::net::test
