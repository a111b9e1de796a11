// HTTP on real sockets: keep-alive, pipelining, limits, time-outs, what a client may do half way.
#include "support.hpp"

namespace ringline::net::test {
namespace {

std::string post(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + std::string(body);
}

TEST(Http, KeepAlive) {
  TestServer server;
  Client client(server.port());
  for (int i = 0; i < 3; ++i) {
    std::string answer = client.get("/x");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\nDate: "));
    EXPECT_TRUE(answer.ends_with("GET /x "));
    EXPECT_NE(answer.find("Connection: keep-alive"), std::string::npos);
  }
  client.send("GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(client.response().find("Connection: close"), std::string::npos);
  EXPECT_TRUE(client.ended());
}

TEST(Http, PipelinedRequestsAreAnsweredInOrder) {
  TestServer server;
  Client client(server.port());
  client.send(post("/a", "1") + "GET /later/30 HTTP/1.1\r\nHost: a\r\n\r\n" + post("/b", "2") + post("/c", "3"));
  EXPECT_TRUE(client.response().ends_with("POST /a 1"));
  EXPECT_TRUE(client.response().ends_with("later 30"));
  EXPECT_TRUE(client.response().ends_with("POST /b 2"));
  EXPECT_TRUE(client.response().ends_with("POST /c 3"));
}

TEST(Http, ThousandsOfPipelinedRequests) {
  TestServer server;
  Client client(server.port());
  constexpr int kRequests = 5000;
  std::thread sender([&] {
    std::string all;
    for (int i = 0; i < kRequests; ++i) all += "GET /n HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(all);
  });
  for (int i = 0; i < kRequests; ++i) ASSERT_TRUE(client.response().ends_with("GET /n ")) << i;
  sender.join();
}

TEST(Http, AnswersThatAreNotReadStopTheReading) {
  TestServer server;
  Client client(server.port(), 4096);
  std::string all;
  for (int i = 0; i < 1000; ++i) all += "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";  // a gigabyte of answers
  client.send(all);
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(server.metrics().http_requests, 10U);
  for (int i = 0; i < 5; ++i) EXPECT_GT(client.response().size(), 1024U * 1024U);
}

TEST(Http, RefusalsAreReadBeforeTheEnd) {
  TestServer server;
  struct Case {
    std::string request;
    std::string_view status;
  };
  std::vector<std::unique_ptr<Client>> clients;
  for (const auto& [request, status] : std::vector<Case>{
           {"rubbish\r\n\r\n", "400"},
           {"\x16\x03\x01", "400"},
           {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", "431"},
           {"GET /" + std::string(10'000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", "414"},
           {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + std::string(200'000, 'x'), "413"},
           {"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "404"},
       }) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->send(request);
    std::string answer = clients.back()->response();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::string(status))) << answer.substr(0, 100);
    EXPECT_NE(answer.find("application/problem+json"), std::string::npos);
  }
  for (auto& client : clients) EXPECT_TRUE(client->ended());
}

TEST(Http, ContinueIsSaidBeforeTheBody) {
  TestServer server;
  Client client(server.port());
  client.send("POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read(25), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ok");
  EXPECT_TRUE(client.response().ends_with("POST /p ok"));
}

TEST(Http, HeadHasNoBody) {
  TestServer server;
  Client client(server.port());
  client.send("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\nGET /g HTTP/1.1\r\nHost: a\r\n\r\n");
  std::string head = client.read(std::string_view("HTTP/1.1 200 OK\r\n").size());
  EXPECT_EQ(head, "HTTP/1.1 200 OK\r\n");
  std::string rest;
  while (!rest.ends_with("\r\n\r\n")) rest += client.read(1);
  EXPECT_NE(rest.find("Content-Length: 8"), std::string::npos);
  EXPECT_TRUE(client.response().ends_with("GET /g "));
}

TEST(Http, AClientThatClosesItsSideStillGetsItsAnswers) {
  TestServer server;
  Client client(server.port());
  client.send("GET /later/50 HTTP/1.1\r\nHost: a\r\n\r\nGET /z HTTP/1.1\r\nHost: a\r\n\r\n");
  client.half_close();
  EXPECT_TRUE(client.response().ends_with("later 50"));
  EXPECT_TRUE(client.response().ends_with("GET /z "));
  EXPECT_TRUE(client.ended());
}

TEST(Http, SlowSendersAreToldAndClosed) {
  TestServer server({.times = {.head = 100ms, .body = 150ms, .idle = 200ms}});
  Client silent(server.port());
  Client half_head(server.port());
  half_head.send("GET / HT");
  Client half_body(server.port());
  half_body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab");
  Client idle(server.port());
  idle.get("/");
  EXPECT_TRUE(silent.ended()) << "without a word";
  EXPECT_TRUE(half_head.response().starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(half_body.response().starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(idle.ended());
  EXPECT_GE(server.metrics().closed_timeout, 2U);
}

TEST(Http, DrippingAHeadDoesNotBuyTime) {
  TestServer server({.times = {.head = 200ms}});
  Client client(server.port());
  std::string_view request = "GET / HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
  for (char c : request) {
    client.send({&c, 1});
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(client.response().starts_with("HTTP/1.1 408"));
}

TEST(Http, OneConnectionTooMany) {
  TestServer server({.connections_max = 2});
  Client one(server.port());
  Client two(server.port());
  one.get("/");
  two.get("/");
  Client three(server.port());
  EXPECT_TRUE(three.ended());
  EXPECT_EQ(server.metrics().connections_refused, 1U);
  two.close();
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 1; }));
  Client four(server.port());
  EXPECT_TRUE(four.get("/").starts_with("HTTP/1.1 200"));
}

TEST(Http, OutOfDescriptorsIsWaitedOut) {
  TestServer server;
  Client client(server.port());
  client.get("/");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server.port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int late = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::vector<int> all;  // that are left in the core's table
  server.on_core(0, [&](Server&, chat::Shard&) {
    for (int copy = ::dup(STDERR_FILENO); copy >= 0; copy = ::dup(STDERR_FILENO)) all.push_back(copy);
  });
  EXPECT_EQ(::connect(late, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  std::this_thread::sleep_for(250ms);
  EXPECT_EQ(server.metrics().connections, 1U);
  EXPECT_TRUE(client.get("/").starts_with("HTTP/1.1 200")) << "who is connected notices nothing";
  server.on_core(0, [&](Server&, chat::Shard&) {
    for (int copy : all) ::close(copy);
  });
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 2; }));
  ::close(late);
}

TEST(Http, AnAnswerForAConnectionThatIsGone) {
  TestServer server;
  {
    Client client(server.port());
    client.send("GET /later/100 HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.http_requests == 1; }));
    client.reset();
  }
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; }));
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(Client(server.port()).get("/").starts_with("HTTP/1.1 200"));
}

}  // namespace
}  // namespace ringline::net::test
