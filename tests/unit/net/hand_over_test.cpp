// A socket and what was read from it go to another core.
#include "support.hpp"

#include "ringline/base/ids.hpp"

namespace ringline::net::test {
namespace {

std::string sid_of(unsigned core) {
  base::IdMaker maker(0, core);
  return std::to_string(maker.next(1'700'000'000'000)) + "-random";
}
std::string request(unsigned core) {
  return "GET /socket.io/?EIO=4&transport=polling&sid=" + sid_of(core) + " HTTP/1.1\r\nHost: a\r\n\r\n";
}
constexpr std::string_view kUnknown = R"({"code":1,"message":"Session ID unknown"})";

TEST(HandOver, ARequestIsAnsweredByTheCoreThatItNames) {
  TestServer server({.cores = 2});
  Client client(server.port(0));
  client.send(request(1));
  EXPECT_TRUE(client.response().ends_with(kUnknown));
  EXPECT_EQ(server.metrics(0).connections_handed_over, 1U);
  EXPECT_EQ(server.metrics(0).connections, 0U);
  EXPECT_EQ(server.metrics(1).connections, 1U);
  EXPECT_EQ(server.metrics(1).http_requests, 1U);
  EXPECT_TRUE(client.get("/on").ends_with("GET /on ")) << "the connection goes on there";
}

TEST(HandOver, BytesBehindTheRequestGoAlong) {
  TestServer server({.cores = 2});
  Client client(server.port(0));
  client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + request(1) + "GET /second HTTP/1.1\r\nHost: a\r\n\r\nGET /th");
  EXPECT_TRUE(client.response().ends_with("GET /first "));
  EXPECT_TRUE(client.response().ends_with(kUnknown));
  EXPECT_TRUE(client.response().ends_with("GET /second "));
  client.send("ird HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.response().ends_with("GET /third "));
}

TEST(HandOver, AnswersThatAreNotSentYetAreWaitedFor) {
  TestServer server({.cores = 2});
  Client client(server.port(0), 4096);
  client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  client.send(request(1));
  EXPECT_GT(client.response().size(), 1024U * 1024U);
  EXPECT_TRUE(client.response().ends_with(kUnknown));
}

TEST(HandOver, ThereAndBackAndByManyAtOnce) {
  TestServer server({.cores = 2});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(std::make_unique<Client>(server.port(0)));
  for (int round = 0; round < 6; ++round) {
    for (auto& client : clients) client->send(request(round % 2 == 0 ? 1 : 0));
    for (auto& client : clients) ASSERT_TRUE(client->response().ends_with(kUnknown)) << round;
  }
  EXPECT_EQ(server.metrics(0).connections_handed_over, 150U);
  EXPECT_EQ(server.metrics(1).connections_handed_over, 150U);
  EXPECT_EQ(server.metrics(0).connections, 50U);
}

TEST(HandOver, ClientsThatDieOnTheWay) {
  TestServer server({.cores = 2});
  for (int i = 0; i < 100; ++i) {
    Client client(server.port(0));
    client.send(request(1) + "GET /x HT");
    if (i % 3 == 0) client.half_close();
    if (i % 2 == 0) client.reset();
  }
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; }, 0));
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; }, 1));
}

TEST(HandOver, ServersThatStopMeanwhile) {
  for (int i = 0; i < 10; ++i) {
    TestServer server({.cores = 2});
    std::vector<std::unique_ptr<Client>> clients;
    for (int j = 0; j < 20; ++j) {
      clients.push_back(std::make_unique<Client>(server.port(static_cast<unsigned>(j) % 2)));
      clients.back()->send(request(static_cast<unsigned>(j + 1) % 2));
    }
    server.stop();
  }
}

TEST(HandOver, OtherSidsStay) {
  TestServer server({.cores = 2});
  Client client(server.port(0));
  for (std::string sid :
       {std::string("rubbish"), std::string("-"), sid_of(0), sid_of(7), std::string("99999999999999999999")}) {
    client.send("GET /socket.io/?EIO=4&transport=polling&sid=" + sid + " HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(client.response().ends_with(kUnknown)) << sid;
  }
  EXPECT_EQ(server.metrics(0).connections_handed_over, 0U);
}

TEST(HandOver, AnUpgradeToo) {
  TestServer server({.cores = 2});
  Client client(server.port(0));
  EXPECT_TRUE(client.upgrade("/socket.io/?EIO=4&transport=websocket&sid=" + sid_of(1)).starts_with("HTTP/1.1 400"));
  EXPECT_EQ(server.metrics(1).http_requests, 1U);
}

}  // namespace
}  // namespace ringline::net::test
