// Engine.IO over polling, and the change to WebSocket, on real sockets: with connections that die at every stage.
#include "support.hpp"

namespace ringline::net::test {
namespace {

using protocol::Opcode;

constexpr std::string_view kPath = "/socket.io/?EIO=4&transport=";

std::string body_of(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }
bool is(const std::string& response, std::string_view status) {
  return response.starts_with("HTTP/1.1 " + std::string(status));
}

// A session that polls over one connection and posts over another.
struct Poller {
  explicit Poller(const TestServer& server, unsigned core = 0) : polls(server.port(core)), posts(server.port(core)) {
    std::string open = body_of(polls.get(std::string(kPath) + "polling"));
    EXPECT_TRUE(open.starts_with(R"(0{"sid":")")) << open;
    EXPECT_NE(open.find(R"("upgrades":["websocket"])"), std::string::npos) << open;
    sid = open.substr(9, open.find('"', 9) - 9);
  }
  std::string target(std::string_view transport = "polling") const {
    return std::string(kPath) + std::string(transport) + "&sid=" + sid;
  }
  void ask() const { polls.send("GET " + target() + " HTTP/1.1\r\nHost: localhost\r\n\r\n"); }
  std::string poll() { return ask(), polls.response(); }
  std::string post(std::string_view payload) {
    posts.send("POST " + target() + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
               std::to_string(payload.size()) + "\r\n\r\n" + std::string(payload));
    return posts.response();
  }
  // Until a payload has the text.
  std::string poll_for(std::string_view part) {
    for (int i = 0; i < 50; ++i)
      if (std::string payload = body_of(poll()); payload.find(part) != std::string::npos) return payload;
    ADD_FAILURE() << "no payload with " << part;
    return {};
  }
  void sign_in() {
    EXPECT_TRUE(is(post("40"), "200"));
    poll_for("ready");
  }
  Client polls;
  Client posts;
  std::string sid;
};

TEST(EngineIo, PollsAndPosts) {
  TestServer server;
  Poller poller(server);
  poller.sign_in();
  EXPECT_TRUE(body_of(poller.post("420[\"ping\",{}]\x1e"
                                  "421[\"ping\"]")) == "ok");
  std::string answers = poller.poll_for("431[");
  EXPECT_LT(answers.find("430["), answers.find("\x1e"
                                               "431["))
      << "in one payload, in order";
}

TEST(EngineIo, APollWaitsForWhatComes) {
  TestServer server;
  Poller poller(server);
  poller.sign_in();
  poller.ask();
  std::this_thread::sleep_for(50ms);
  poller.post("420[\"ping\"]");
  EXPECT_TRUE(body_of(poller.polls.response()).starts_with("430["));
}

TEST(EngineIo, ASecondPollEndsTheSession) {
  TestServer server;
  Poller poller(server);
  poller.ask();
  std::this_thread::sleep_for(50ms);
  EXPECT_TRUE(is(poller.posts.get(poller.target()), "400"));
  EXPECT_EQ(body_of(poller.polls.response()), "1");
  EXPECT_NE(poller.poll().find(R"({"code":1,"message":"Session ID unknown"})"), std::string::npos);
}

TEST(EngineIo, AnAbortedPollEndsTheSession) {
  TestServer server;
  for (bool reset : {true, false}) {
    Poller poller(server);
    poller.ask();
    std::this_thread::sleep_for(50ms);
    reset ? poller.polls.reset() : poller.polls.close();
    EXPECT_TRUE(server.wait_for([](const base::Metrics& m) { return m.connections == 1; }));
    EXPECT_TRUE(is(poller.posts.get(poller.target()), "400"));
  }
}

TEST(EngineIo, RubbishEndsTheSession) {
  TestServer server;
  for (std::string_view bad : {"abc", "4abc", "", "40\x1e", "2", "b!!!!", "b0", "\x1e", "5", "0", "442[\"x\"]"}) {
    Poller poller(server);
    poller.ask();
    poller.post(bad);
    poller.polls.response();
    std::string next = poller.poll();
    EXPECT_TRUE(is(next, "400") || body_of(next) == "1") << bad << next;
  }
}

TEST(EngineIo, TheClientCloses) {
  TestServer server;
  Poller poller(server);
  poller.ask();
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(body_of(poller.post("1")), "ok");
  EXPECT_EQ(body_of(poller.polls.response()), "6");
  EXPECT_TRUE(is(poller.poll(), "400"));
}

TEST(EngineIo, PingsOverPolling) {
  TestServer server({.adjust = [](base::Settings& settings) {
    settings.ping_interval = 50ms;
    settings.ping_timeout = 100ms;
  }});
  Poller poller(server);
  EXPECT_EQ(body_of(poller.poll()), "2");
  poller.post("3");
  EXPECT_EQ(body_of(poller.poll()), "2");
  std::this_thread::sleep_for(150ms);
  EXPECT_TRUE(is(poller.poll(), "400"));
}

TEST(EngineIo, PayloadLargerThanAllowed) {
  TestServer server;
  Poller poller(server);
  std::string large = "4" + std::string(1'000'001, 'x');
  EXPECT_TRUE(is(poller.post(large), "413"));
}

TEST(EngineIo, ASessionMoreThanAllowed) {
  TestServer server({.connections_max = 3});
  Poller poller(server);  // two connections and their session
  EXPECT_TRUE(is(poller.posts.get(std::string(kPath) + "polling"), "503"));
  poller.ask();
  EXPECT_TRUE(server.wait_for([](const base::Metrics& m) { return m.connections_refused == 1; }));
}

// probe -> `3probe`, the poll sent home -> `5` -> the session is the WebSocket's.
void upgrade(Poller& poller, Client& socket) {
  EXPECT_TRUE(is(socket.upgrade(poller.target("websocket")), "101"));
  poller.ask();
  socket.text("2probe");
  EXPECT_EQ(socket.frame().payload, "3probe");
  EXPECT_EQ(body_of(poller.polls.response()), "6");
  socket.text("5");
}

TEST(EngineIo, UpgradesAndKeepsItsSession) {
  TestServer server;
  Poller poller(server);
  poller.sign_in();
  Client socket(server.port());
  upgrade(poller, socket);
  socket.text("420[\"ping\"]");
  EXPECT_TRUE(socket.wait_text("430[").starts_with(R"(430[{"ok":true)"));
  EXPECT_TRUE(is(poller.poll(), "400"));
  Client late(server.port());
  EXPECT_TRUE(is(late.upgrade(poller.target("websocket")), "101"));
  EXPECT_EQ(late.frame().opcode, Opcode::close);
  socket.text("421[\"ping\"]");
  socket.wait_text("431[");
}

TEST(EngineIo, UpgradesWithoutWaiting) {
  TestServer server;
  Poller poller(server);
  poller.sign_in();
  Client socket(server.port());
  std::string frames;
  for (std::string_view packet : {"2probe", "5", "420[\"ping\"]"})
    protocol::append_client_frame(frames, Opcode::text, packet, {1, 2, 3, 4});
  EXPECT_TRUE(is(socket.upgrade(poller.target("websocket")), "101"));
  socket.send(frames);
  socket.wait_text("430[");
}

TEST(EngineIo, AProbeThatFailsLeavesThePolling) {
  TestServer server;
  Poller poller(server);
  poller.sign_in();
  for (std::string_view packet : {"", "5", "2other", "4x"}) {
    Client socket(server.port());
    socket.upgrade(poller.target("websocket"));
    if (!packet.empty()) {
      socket.text(packet);
      EXPECT_EQ(socket.frame().opcode, Opcode::close) << packet;
    }
    socket.reset();
    EXPECT_TRUE(server.wait_for([](const base::Metrics& m) { return m.connections == 3; }));
  }
  poller.post("420[\"ping\"]");
  poller.poll_for("430[");
}

// Each connection of an upgrade dies at each stage; stop() checks that nothing is left in the kernel.
TEST(EngineIo, DiesAtEveryStage) {
  TestServer server({.cores = 2});
  for (unsigned core : {0U, 1U}) {
    for (int stage = 0; stage < 8; ++stage) {
      Poller poller(server);
      Client socket(server.port(core));
      if (stage >= 1) poller.post("40");
      if (stage >= 2) poller.ask();
      if (stage >= 3) socket.upgrade(poller.target("websocket"));
      if (stage >= 4) socket.text("2probe");
      if (stage >= 5) socket.frame();
      if (stage >= 6) socket.text("5");
      if (stage >= 7) socket.text("420[\"ping\"]");
      socket.reset();
    }
  }
  server.stop();
}

TEST(EngineIo, AnyConnectionOfAnyCoreReachesTheSession) {
  TestServer server({.cores = 2});
  Poller poller(server, 0);
  poller.sign_in();
  for (int i = 0; i < 6; ++i) {
    Client posts(server.port(i % 2));
    std::string packet = "42" + std::to_string(i) + "[\"ping\"]";
    posts.send("POST " + poller.target() + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
               std::to_string(packet.size()) + "\r\n\r\n" + packet);
    EXPECT_EQ(body_of(posts.response()), "ok");
    Client polls(server.port((i + 1) % 2));
    EXPECT_NE(polls.get(poller.target()).find("43" + std::to_string(i) + "["), std::string::npos);
  }
  Client socket(server.port(1));
  upgrade(poller, socket);
  // Whoever asks after `5` finds it upgraded, on another core too.
  Client after(server.port(1));
  EXPECT_TRUE(is(after.get(poller.target()), "400"));
  socket.text("429[\"ping\"]");
  socket.wait_text("439[");
}

TEST(EngineIo, DrainingTellsThePoll) {
  TestServer server;
  Poller poller(server);
  poller.sign_in();
  poller.ask();
  std::this_thread::sleep_for(50ms);
  server.on_core(0, [](Server& net, chat::Shard&) { net.close_all(chat::CloseCode::stopping, "stopping"); });
  EXPECT_EQ(body_of(poller.polls.response()), "1");
}

}  // namespace
}  // namespace ringline::net::test
