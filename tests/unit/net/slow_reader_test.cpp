// A reader that does not read costs only itself (promise 5).
#include "support.hpp"

namespace ringline::net::test {
namespace {

using protocol::Opcode;

void join_lobby(Client& client) {
  client.sign_in();
  client.text(R"({"id":2,"cmd":"join","data":{"room":"lobby"}})");
  client.wait_text(R"("id":2)");
}
// A message of 15 KB: characters of four bytes.
void send(Client& client, int number) {
  std::string text = "n" + std::to_string(number) + " ";
  for (int i = 0; i < 3900; ++i) text += "\xf0\x9f\x98\x80";
  client.text(R"({"id":)" + std::to_string(1000 + number) + R"(,"cmd":"send_message","data":{"roomId":"1","text":")" +
              text + R"("}})");
}
// Until it is acked; pings are answered.
void send_acked(Client& client, int number) {
  send(client, number);
  for (;;) {
    Frame next = client.frame();
    ASSERT_NE(next.opcode, Opcode::close);
    ASSERT_NE(next.opcode, Opcode::continuation);
    if (next.opcode == Opcode::ping) client.frame(Opcode::pong, next.payload);
    if (next.payload.starts_with(R"({"id":)" + std::to_string(1000 + number) + ",")) return;
  }
}

TEST(SlowReader, IsFedFromTheLogAndMissesNothing) {
  TestServer server({.adjust = [](base::Settings& settings) { settings.send_queue_bytes = 64 * 1024; }});
  Client slow(server.port(), 4096);
  join_lobby(slow);
  Client sender(server.port());
  join_lobby(sender);
  constexpr int kMessages = 700;  // 10 MB: more than the kernel and the queue hold
  for (int i = 0; i < kMessages; ++i) send_acked(sender, i);
  EXPECT_GT(server.metrics().slow_readers, 0U);
  int next = 0;
  std::uint64_t last_seq = 0;
  while (next < kMessages) {
    std::string event = slow.wait_text("message_created");
    ASSERT_FALSE(event.empty());
    auto at = event.find(R"("seq":)");
    std::uint64_t seq = std::strtoull(event.c_str() + at + 6, nullptr, 10);
    ASSERT_GT(seq, last_seq);
    if (last_seq != 0) ASSERT_EQ(seq, last_seq + 1) << "a hole";
    last_seq = seq;
    ASSERT_NE(event.find("n" + std::to_string(next) + " "), std::string::npos) << "in order";
    ++next;
  }
}

TEST(SlowReader, TakesNothingAndIsClosed) {
  TestServer server({.times = {.stalled_send = 300ms}, .adjust = [](base::Settings& settings) {
                       settings.ping_interval = 2500ms;
                       settings.ping_timeout = 100ms;
                     }});
  Client slow(server.port(), 4096);
  join_lobby(slow);
  Client sender(server.port());
  join_lobby(sender);
  auto closed = [](const base::Metrics& metrics) { return metrics.closed_slow > 0; };
  for (int i = 0; i < 700; ++i) send_acked(sender, i);
  EXPECT_TRUE(server.wait_for(closed)) << "though it never answered a ping, that is not what it is closed for";
  EXPECT_EQ(server.metrics().closed_timeout, 0U);
}

TEST(SlowReader, RepliesThatAreNotReadStopTheReading) {
  TestServer server;
  Client slow(server.port(), 4096);
  slow.sign_in();
  std::string many;
  std::string payload(100, 'p');
  for (int i = 0; i < 2000; ++i) protocol::append_client_frame(many, Opcode::ping, payload, {1, 2, 3, 4});
  // Pings are answered until their pongs pile up; then the server reads no more, and our sends block.
  timeval short_time{.tv_sec = 0, .tv_usec = 500'000};
  ::setsockopt(slow.socket(), SOL_SOCKET, SO_SNDTIMEO, &short_time, sizeof(short_time));
  int rounds = 0;
  while (rounds < 1000 && slow.try_send(many)) ++rounds;
  EXPECT_LT(rounds, 200) << "it swallowed it all";
  std::uint64_t received = server.metrics().received_bytes;
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(server.metrics().received_bytes, received);
  // A neighbour notices nothing, and when the pongs are read the reading goes on.
  Client other(server.port());
  other.sign_in();
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(slow.frame().opcode, Opcode::pong);
  EXPECT_TRUE(server.wait_for([&](const base::Metrics& metrics) { return metrics.received_bytes > received; }));
}

}  // namespace
}  // namespace ringline::net::test
