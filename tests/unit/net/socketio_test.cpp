// Socket.IO over WebSocket on real sockets.
#include "support.hpp"

namespace ringline::net::test {
namespace {

using protocol::Opcode;
constexpr std::string_view kTarget = "/socket.io/?EIO=4&transport=websocket";

std::string open(Client& client) {
  EXPECT_TRUE(client.upgrade(kTarget).starts_with("HTTP/1.1 101"));
  return client.frame().payload;
}

TEST(SocketIo, OpenPacket) {
  TestServer server;
  Client client(server.port());
  std::string packet = open(client);
  EXPECT_TRUE(packet.starts_with(R"(0{"sid":")")) << packet;
  EXPECT_TRUE(packet.ends_with(R"(","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000})"))
      << packet;
}

TEST(SocketIo, ConnectEmitAck) {
  TestServer server;
  Client client(server.port());
  open(client);
  client.text(R"(40{"name":"bob"})");
  EXPECT_TRUE(client.frame().payload.starts_with(R"(40{"sid":")"));
  client.wait_text(R"(42["ready",{)");
  client.text(R"(420["ping",{}])");
  EXPECT_NE(client.wait_text("430[").find(R"(430[{"ok":true,"data":{"serverTime":)"), std::string::npos);
  client.text(R"(421["ping"])");
  client.wait_text(R"(431[{"ok":true)");
  client.text(R"(422["ping",{},{}])");
  EXPECT_NE(client.wait_text("432[").find(R"("code":"invalid")"), std::string::npos);
  client.text(R"(42["no_such_command",{}])");
  EXPECT_NE(client.wait_text("command_failed").find(R"("cmd":"no_such_command")"), std::string::npos);
}

TEST(SocketIo, RefusedSignInAndOtherNamespaces) {
  TestServer server;
  Client client(server.port());
  open(client);
  client.text(R"(40{"token":"nonsense"})");
  std::string refused = client.frame().payload;
  EXPECT_TRUE(refused.starts_with(R"(44{"message":"unauthenticated","data":{"code":"unauthenticated")")) << refused;
  client.text("40/other,");
  EXPECT_EQ(client.frame().payload, R"(44/other,{"message":"Invalid namespace"})");
  client.text("40");
  EXPECT_TRUE(client.frame().payload.starts_with("40{")) << "the connection stayed";
}

TEST(SocketIo, RubbishClosesTheTransport) {
  TestServer server;
  for (std::string_view bad : {"4abc", "42{}", "40", "2", "2probe", R"(42abc["x"])", "7", "", "0", "5",
                               R"(451-["x",{"_placeholder":true,"num":0}])", "42[", "490"}) {
    Client client(server.port());
    open(client);
    client.text("40");
    client.wait_text("ready");
    client.text(bad);
    Frame last = client.frame();
    while (last.opcode == Opcode::text) last = client.frame();
    EXPECT_EQ(last.opcode, Opcode::close) << bad;
  }
}

TEST(SocketIo, PingsAreEngineIos) {
  TestServer server({.adjust = [](base::Settings& settings) {
    settings.ping_interval = 50ms;
    settings.ping_timeout = 100ms;
  }});
  Client client(server.port());
  open(client);
  client.text("40");
  client.wait_text("ready");
  EXPECT_EQ(client.wait_text("2"), "2");
  client.text("3");
  EXPECT_EQ(client.wait_text("2"), "2");
  Frame last = client.frame();
  while (last.opcode == Opcode::text) last = client.frame();
  EXPECT_EQ(last.code(), 4003);
}

TEST(SocketIo, StayAwayIsToldByAnEventAndADisconnect) {
  TestServer server;
  Client client(server.port());
  open(client);
  client.text("40");
  client.wait_text("ready");
  server.on_core(0, [](Server& net, chat::Shard&) { net.close_all(chat::CloseCode::session_ended, "signed out"); });
  EXPECT_EQ(client.wait_text("session_ended"), R"(42["session_ended",{"code":4501,"reason":"signed out"}])");
  EXPECT_EQ(client.frame().payload, "41");
  EXPECT_EQ(client.frame().code(), 4501);
}

TEST(SocketIo, RefusesAsTheReferenceDoes) {
  TestServer server;
  Client client(server.port());
  EXPECT_TRUE(
      client.get("/socket.io/?EIO=4&transport=carrier").ends_with(R"({"code":0,"message":"Transport unknown"})"));
  EXPECT_TRUE(client.get("/socket.io/?EIO=3&transport=polling")
                  .ends_with(R"({"code":5,"message":"Unsupported protocol version"})"));
  EXPECT_TRUE(client.get("/socket.io/?EIO=4&transport=websocket").ends_with(R"({"code":3,"message":"Bad request"})"));
  EXPECT_TRUE(client.get("/socket.io/?EIO=4&transport=polling&sid=x")
                  .ends_with(R"({"code":1,"message":"Session ID unknown"})"));
}

}  // namespace
}  // namespace ringline::net::test
