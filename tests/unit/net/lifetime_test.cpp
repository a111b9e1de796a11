// Connections that die at every stage. Under ASan this shows that nothing is used after it is gone; `stop` checks that no operation is left.
#include "support.hpp"

namespace ringline::net::test {
namespace {

using protocol::Opcode;

// A life in steps, each a reason to stop there.
const std::vector<std::function<void(Client&)>>& life() {
  static const std::vector<std::function<void(Client&)>> steps = {
      [](Client&) {},
      [](Client& client) { client.send("GET /ws HT"); },
      [](Client& client) {
        client.send(
            "TP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
      },
      [](Client& client) { client.response(); },
      [](Client& client) { client.send("\x81"); },  // the first byte of a frame
      [](Client& client) {
        std::string frame;
        protocol::append_client_frame(frame, Opcode::text, R"({"id":1,"cmd":"connect","data":{}})", {1, 2, 3, 4});
        client.send(frame.substr(1));
      },
      [](Client& client) { client.wait_text("ready"); },
      [](Client& client) { client.text(R"({"id":2,"cmd":"join","data":{"room":"lobby"}})"); },
      [](Client& client) { client.wait_text(R"("id":2)"); },
      [](Client& client) {
        for (int i = 0; i < 20; ++i)
          client.text(R"({"id":3,"cmd":"send_message","data":{"roomId":"1","text":"hello"}})");
      },
      [](Client& client) { client.send("\x01\x81\x01"); },  // in the middle of a fragment's header
      [](Client& client) { client.close(); },
  };
  return steps;
}

void live_until(Client& client, std::size_t stage) {
  for (std::size_t i = 0; i <= stage && i < life().size(); ++i) life()[i](client);
}

TEST(Lifetime, ResetAtEveryStage) {
  TestServer server;
  for (int round = 0; round < 5; ++round) {
    for (std::size_t stage = 0; stage + 1 < life().size(); ++stage) {
      Client client(server.port());
      live_until(client, stage);
      if (round % 2 == 0) client.reset();
    }
  }
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; }));
}

TEST(Lifetime, HalfClosedAtEveryStage) {
  TestServer server;
  for (std::size_t stage = 0; stage + 1 < life().size(); ++stage) {
    Client client(server.port());
    live_until(client, stage);
    client.half_close();
    EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; })) << stage;
  }
}

TEST(Lifetime, TheServerStopsAtEveryStage) {
  for (std::size_t stage = 0; stage + 1 < life().size(); ++stage) {
    TestServer server({.cores = 2});
    Client one(server.port(0));
    Client two(server.port(1));
    live_until(one, stage);
    live_until(two, stage);
    server.stop();
  }
}

TEST(Lifetime, ManyAtOnceAreReset) {
  TestServer server;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->sign_in();
  }
  for (auto& client : clients) client->text(R"({"id":2,"cmd":"join","data":{"room":"lobby"}})");
  for (auto& client : clients) client->reset();
  EXPECT_TRUE(
      server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0 && metrics.sessions == 0; }));
  Client after(server.port());
  after.sign_in();
}

TEST(Lifetime, OperationsEndWithTheirConnections) {
  TestServer server;
  {
    Client warm(server.port());
    warm.sign_in();
  }
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; }));
  std::this_thread::sleep_for(50ms);
  std::size_t before = server.in_kernel();
  {
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 50; ++i) {
      clients.push_back(std::make_unique<Client>(server.port()));
      clients.back()->sign_in();
    }
    EXPECT_GE(server.in_kernel(), before + 50);
  }
  EXPECT_TRUE(server.wait_for([](const base::Metrics& metrics) { return metrics.connections == 0; }));
  for (int i = 0; i < 100 && server.in_kernel() > before; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(server.in_kernel(), before);
}

}  // namespace
}  // namespace ringline::net::test
