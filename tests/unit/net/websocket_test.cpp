// The plain WebSocket at /ws on real sockets.
#include "support.hpp"

namespace ringline::net::test {
namespace {

using protocol::Opcode;

TEST(WebSocket, Upgrade) {
  TestServer server;
  Client client(server.port());
  std::string answer = client.upgrade("/ws", "Sec-WebSocket-Protocol: other, ringline.v1\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_NE(answer.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), std::string::npos);
  EXPECT_NE(answer.find("Sec-WebSocket-Protocol: ringline.v1"), std::string::npos);
}

TEST(WebSocket, UpgradeOnAKeptConnectionWithFramesRightBehind) {
  TestServer server;
  Client client(server.port());
  std::string frame;
  protocol::append_client_frame(frame, Opcode::ping, "early", {1, 2, 3, 4});
  client.get("/first");
  client.send(
      "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
      frame);
  EXPECT_TRUE(client.response().starts_with("HTTP/1.1 101"));
  Frame pong = client.frame();
  EXPECT_EQ(pong.opcode, Opcode::pong);
  EXPECT_EQ(pong.payload, "early");
}

TEST(WebSocket, RefusedUpgrades) {
  TestServer server({.adjust = [](base::Settings& settings) { settings.client_origin = {"https://ours.example"}; }});
  auto status = [&](std::string_view target, std::string_view more) {
    return Client(server.port()).upgrade(target, more).substr(9, 3);
  };
  EXPECT_EQ(status("/ws", "Origin: https://ours.example\r\n"), "101");
  EXPECT_EQ(status("/ws", "Origin: https://evil.example\r\n"), "403");
  EXPECT_EQ(status("/ws", "Authorization: Bearer nonsense\r\n"), "401");
  EXPECT_EQ(status("/ws", "Authorization: Basic eDp5\r\n"), "401");
  EXPECT_EQ(status("/elsewhere", ""), "404");
  Client old(server.port());
  old.send(
      "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  std::string answer = old.response();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 426"));
  EXPECT_NE(answer.find("Sec-WebSocket-Version: 13"), std::string::npos);
}

TEST(WebSocket, CommandsAndWhatIsWrongWithThem) {
  TestServer server;
  Client client(server.port());
  client.upgrade("/ws");
  client.text(R"({"id":1,"cmd":"ping"})");
  EXPECT_NE(client.frame().payload.find(R"({"id":1,"ok":false,"error":{"code":"unauthenticated")"), std::string::npos);
  client.text("no JSON");
  std::string answer = client.frame().payload;
  EXPECT_TRUE(answer.starts_with(R"({"id":null,"ok":false,"error":{"code":"invalid")")) << answer;
  client.text(R"({"id":"a","cmd":"connect","data":{"name":"ann"}})");
  EXPECT_NE(client.wait_text(R"("id":"a")").find(R"("ok":true,"data":{"connectionId":")"), std::string::npos);
  client.wait_text(R"("event":"ready")");
  client.text(R"({"id":2,"cmd":"ping","data":{}})");
  EXPECT_NE(client.wait_text(R"("id":2)").find("serverTime"), std::string::npos);
  client.text(R"({"id":3,"cmd":"connect","data":{}})");
  EXPECT_NE(client.wait_text(R"("id":3)").find("conflict"), std::string::npos);
}

TEST(WebSocket, ClosingHandshake) {
  TestServer server;
  Client client(server.port());
  client.upgrade("/ws");
  client.frame(Opcode::close,
               "\x03\xe8"
               "bye");
  Frame answer = client.frame();
  EXPECT_EQ(answer.opcode, Opcode::close);
  EXPECT_EQ(answer.code(), 1000);
  EXPECT_TRUE(client.ended());
}

TEST(WebSocket, BrokenProtocolIsToldByItsCode) {
  TestServer server({.adjust = [](base::Settings& settings) { settings.frame_bytes = 1000; }});
  auto code = [&](Opcode opcode, std::string_view payload) {
    Client client(server.port());
    client.upgrade("/ws");
    client.frame(opcode, payload);
    Frame answer = client.frame();
    EXPECT_EQ(answer.opcode, Opcode::close);
    return answer.code();
  };
  EXPECT_EQ(code(Opcode::continuation, "x"), 1002);
  EXPECT_EQ(code(Opcode::binary, "x"), 1003);
  EXPECT_EQ(code(Opcode::text, "\xff"), 1007);
  EXPECT_EQ(code(Opcode::text, std::string(1001, 'x')), 1009);
}

TEST(WebSocket, NoConnectInTime) {
  TestServer server({.adjust = [](base::Settings& settings) { settings.connect_timeout = 100ms; }});
  Client client(server.port());
  client.upgrade("/ws");
  EXPECT_EQ(client.frame().code(), 4000);
}

TEST(WebSocket, PingsAndWhoDoesNotAnswer) {
  TestServer server({.adjust = [](base::Settings& settings) {
    settings.ping_interval = 50ms;
    settings.ping_timeout = 100ms;
  }});
  Client client(server.port());
  client.sign_in();
  for (int i = 0; i < 3; ++i) {
    Frame ping = client.frame();
    while (ping.opcode == Opcode::text) ping = client.frame();
    ASSERT_EQ(ping.opcode, Opcode::ping);
    client.frame(Opcode::pong, ping.payload);
  }
  Frame last = client.frame();
  while (last.opcode != Opcode::close) last = client.frame();
  EXPECT_EQ(last.code(), 4003);
}

TEST(WebSocket, ManyCommandsAtOnceAreAllAnswered) {
  TestServer server({.cores = 2});
  Client client(server.port());
  client.sign_in();
  constexpr int kCommands = 20'000;
  std::thread sender([&] {
    std::string all;
    for (int i = 10; i < 10 + kCommands; ++i)
      protocol::append_client_frame(all, Opcode::text,
                                    R"({"id":)" + std::to_string(i) + R"(,"cmd":"get_history","data":{"roomId":"1"}})",
                                    {1, 2, 3, 4});
    client.send(all);
  });
  std::vector<bool> answered(kCommands + 10);
  for (int left = kCommands; left > 0;) {
    Frame next = client.frame();
    ASSERT_EQ(next.opcode, Opcode::text);
    if (!next.payload.starts_with(R"({"id":)")) continue;
    int id = std::atoi(next.payload.c_str() + 6);
    ASSERT_FALSE(answered[static_cast<std::size_t>(id)]) << "answered twice";
    answered[static_cast<std::size_t>(id)] = true;
    --left;
  }
  sender.join();
}

TEST(WebSocket, ServerClosesWithItsCode) {
  TestServer server;
  Client client(server.port());
  client.sign_in();
  server.on_core(0, [](Server& net, chat::Shard&) { net.close_all(chat::CloseCode::stopping, "bye"); });
  Frame last = client.frame();
  while (last.opcode != Opcode::close) last = client.frame();
  EXPECT_EQ(last.code(), 1001);
  client.frame(Opcode::close, "\x03\xe9");
  EXPECT_TRUE(client.ended());
}

TEST(WebSocket, APeerThatDoesNotAnswerTheCloseIsNotWaitedForLong) {
  TestServer server;
  Client client(server.port());
  client.sign_in();
  server.on_core(0, [](Server& net, chat::Shard&) { net.close_all(chat::CloseCode::token_expired, "refresh"); });
  Frame last = client.frame();
  while (last.opcode != Opcode::close) last = client.frame();
  EXPECT_EQ(last.code(), 4001);
  EXPECT_TRUE(client.ended());
}

}  // namespace
}  // namespace ringline::net::test
