// The HTTP client against servers that do what real ones seldom do: answer early, late, half, or not at all.
#include "backend/http_client.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>
#include <thread>

#include "ringline/base/limits.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

// Each connection is given to `talk`, one after the other, on a thread of its own.
class Server {
 public:
  explicit Server(std::function<void(int)> talk)
      : talk_(std::move(talk)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, plain, size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, plain, &size) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int socket = 0; (socket = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(socket)) {
        talking_ = socket;
        talk_(socket);
        talking_ = -1;
      }
    });
  }
  ~Server() {
    ::shutdown(listener_, SHUT_RDWR);
    if (const int kept = talking_; kept >= 0) ::shutdown(kept, SHUT_RDWR);  // the client keeps connections
    thread_.join();
    ::close(listener_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/a%20path?b=c"; }

 private:
  std::function<void(int)> talk_;
  int listener_;
  std::atomic<int> talking_{-1};
  std::uint16_t port_ = 0;
  std::thread thread_;
};

void say(int socket, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}
// Up to the end of a head, then so many bytes; what was read.
std::string hear(int socket, std::size_t body = 0) {
  std::string text;
  std::array<char, 65536> piece;
  for (std::size_t wanted = std::string::npos; text.size() < wanted;) {
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), 0);
    if (got <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (const std::size_t end = text.find("\r\n\r\n"); wanted == std::string::npos && end != text.npos)
      wanted = end + 4 + body;
  }
  return text;
}
std::string answer(std::string_view head, std::size_t length) {
  return "HTTP/1.1 " + std::string(head) + "\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n";
}

class HttpClientTest : public testing::Test {
 protected:
  ~HttpClientTest() override {
    base::Scope scope;
    scope.spawn(client_.close());
    loop_.settle(scope);
  }
  HttpOut get(const Server& server) {
    return {.method = "GET", .url = server.url(), .headers = {{"X-Mine", "yes"}}, .body = {}, .timeout = 5000ms};
  }
  HttpOut put(const Server& server, std::size_t bytes) {
    return {.method = "PUT", .url = server.url(), .headers = {}, .body = {}, .stream_bytes = bytes, .timeout = 5000ms};
  }
  template <class T>
  T run(Task<T> task) {
    return loop_.run(std::move(task));
  }
  static Task<std::string> text_of(HttpClient& client, HttpOut out, std::size_t bytes_max = 1 << 24) {
    HttpExchange exchange(client, std::move(out));
    auto status = co_await exchange.status();
    if (!status) co_return "error: " + status.error().message;
    auto body = co_await exchange.read_all(bytes_max);
    if (!body) co_return "broken: " + body.error().message;
    co_return std::to_string(*status) + " " + std::string(exchange.header("x-said")) + " " + *body;
  }
  // What `write` said last, and the status.
  static Task<std::string> sent(HttpClient& client, HttpOut out, std::string bytes) {
    HttpExchange exchange(client, std::move(out));
    std::span<const std::byte> left = std::as_bytes(std::span(bytes));
    std::string written = "all";
    while (!left.empty()) {
      const auto piece = left.first(std::min<std::size_t>(left.size(), 65'536));
      auto taken = co_await exchange.write(piece);
      if (!taken) co_return "error: " + taken.error().message;
      if (!*taken) {
        written = "not all";
        break;
      }
      left = left.subspan(piece.size());
    }
    auto status = co_await exchange.status();
    if (!status) co_return written + ", error: " + status.error().message;
    co_return written + ", " + std::to_string(*status);
  }

  HandLoop loop_;
  HttpClient client_{*loop_};
};

TEST_F(HttpClientTest, AsksAndReads) {
  std::string asked;
  Server server([&](int socket) {
    asked = hear(socket);
    say(socket, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Said:  this \r\nContent-Length: 5\r\n\r\nhello");
  });
  EXPECT_EQ(run(text_of(client_, get(server))), "200 this  hello");
  EXPECT_TRUE(asked.starts_with("GET /a%20path?b=c HTTP/1.1\r\n")) << asked;
  EXPECT_NE(asked.find("X-Mine: yes\r\n"), std::string::npos) << asked;
}

TEST_F(HttpClientTest, ABodyIsSentWhole) {
  std::string asked;
  Server server([&](int socket) {
    asked = hear(socket, 9);
    say(socket, answer("204 No Content", 0));
  });
  HttpOut out = get(server);
  out.method = "POST";
  out.body = "the body.";
  EXPECT_EQ(run(text_of(client_, std::move(out))), "204  ");
  EXPECT_TRUE(asked.starts_with("POST ")) << asked;
  EXPECT_TRUE(asked.ends_with("\r\n\r\nthe body.")) << asked;
  EXPECT_EQ(asked.find("Expect"), std::string::npos) << asked;
}

TEST_F(HttpClientTest, WhatNobodyReadsIsNotFetched) {
  constexpr std::size_t kBytes = 32 * 1024 * 1024;
  const std::string body(kBytes, 'x');
  std::atomic<bool> all_said{false};
  Server server([&](int socket) {
    hear(socket);
    say(socket, answer("200 OK", kBytes));
    say(socket, body);
    all_said = true;
  });
  HttpExchange exchange(client_, get(server));
  EXPECT_EQ(run(exchange.status()).value_or(0), 200);
  for (int turns = 0; turns < 200; ++turns) {
    loop_->turn(false);
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_FALSE(all_said) << "it waits until somebody reads";
  EXPECT_EQ(run(exchange.read_all(kBytes)).value_or("error").size(), kBytes);
}

TEST_F(HttpClientTest, StreamsAsItIsTaken) {
  constexpr std::size_t kBytes = 3'000'001;
  std::string heard;
  Server server([&](int socket) {
    heard = hear(socket, kBytes);
    say(socket, answer("200 OK", 0));
  });
  EXPECT_EQ(run(sent(client_, put(server, kBytes), std::string(kBytes, 'u'))), "all, 200");
  EXPECT_NE(heard.find("Content-Length: 3000001\r\n"), std::string::npos);
  EXPECT_TRUE(heard.ends_with(std::string(kBytes, 'u')));
}

TEST_F(HttpClientTest, AnAnswerThatComesBeforeTheBodyWasTaken) {
  Server server([&](int socket) {
    hear(socket);
    say(socket, answer("403 Forbidden", 0));
    ::shutdown(socket, SHUT_WR);
    while (!hear(socket).empty()) {
    }
  });
  constexpr std::size_t kBytes = 64 * 1024 * 1024;
  const std::string said = run(sent(client_, put(server, kBytes), std::string(kBytes, 'u')));
  EXPECT_TRUE(said.ends_with(", 403")) << said;
}

TEST_F(HttpClientTest, AServerThatSaysNothing) {
  Server server([](int socket) { hear(socket, 1); });
  HttpOut out = get(server);
  out.timeout = 50ms;
  EXPECT_EQ(run(text_of(client_, std::move(out))), "error: no answer in time");
  HttpOut streamed = put(server, 100);
  streamed.timeout = 50ms;
  EXPECT_EQ(run(sent(client_, std::move(streamed), "fifty of them")), "all, error: no answer in time");
}

TEST_F(HttpClientTest, AServerThatIsNotThere) {
  std::string url;
  {
    Server server([](int) {});
    url = server.url();
  }
  HttpOut out{.method = "GET", .url = url, .headers = {}, .body = {}, .timeout = 5000ms};
  EXPECT_TRUE(run(text_of(client_, std::move(out))).starts_with("error: Failed to connect"));
}

TEST_F(HttpClientTest, AnAnswerThatEndsTooEarly) {
  Server server([](int socket) {
    hear(socket);
    say(socket, answer("200 OK", 100) + "ten bytes.");
  });
  EXPECT_TRUE(run(text_of(client_, get(server))).starts_with("broken: "));
}

TEST_F(HttpClientTest, AnAnswerThatIsTooLong) {
  Server server([](int socket) {
    hear(socket);
    say(socket, answer("200 OK", 100'000) + std::string(100'000, 'x'));
  });
  EXPECT_EQ(run(text_of(client_, get(server), 50'000)), "broken: the answer is too long");
}

TEST_F(HttpClientTest, ManyAtOnceAndOneAfterTheOther) {
  Server server([](int socket) {
    while (!hear(socket).empty()) say(socket, answer("200 OK", 2) + "ok");
  });
  std::vector<std::string> said;
  auto ask = [](HttpClient& client, HttpOut out, std::vector<std::string>& answers) -> Task<void> {
    std::string text = co_await text_of(client, std::move(out));
    answers.push_back(std::move(text));
  };
  base::Scope scope;
  scope.spawn(ask(client_, get(server), said));
  loop_.settle(scope);
  for (int i = 0; i < 20; ++i) {
    scope.spawn(ask(client_, get(server), said));
    loop_.settle(scope);
  }
  EXPECT_EQ(said, std::vector<std::string>(21, "200  ok"));
}

TEST_F(HttpClientTest, WhatIsCutEnds) {
  Server server([](int socket) { hear(socket, 1); });
  std::string said;
  auto ask = [](HttpClient& client, HttpOut out, std::string& to) -> Task<void> {
    std::string text = co_await text_of(client, std::move(out));
    to = std::move(text);
  };
  base::Scope scope;
  scope.spawn(ask(client_, get(server), said));
  for (int turns = 0; turns < 20; ++turns) loop_->turn(false);
  client_.cut();
  loop_.settle(scope);
  EXPECT_TRUE(said.starts_with("error: ")) << said;
  EXPECT_TRUE(run(text_of(client_, get(server))).starts_with("error: ")) << "and what comes later";
}

}  // namespace
}  // namespace ringline::backend::test
