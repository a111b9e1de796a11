// What an idle connection costs in user space.
#include <malloc.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "net/connection.hpp"
#include "support.hpp"

namespace ringline::net::test {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RINGLINE_SANITIZED 1
#endif
#endif

TEST(Memory, SizesOfWhatAConnectionIs) {
  RecordProperty("connection", static_cast<int>(sizeof(Connection)));
  std::printf("Connection %zu bytes, of which Session %zu\n", sizeof(Connection), sizeof(chat::Session));
  EXPECT_LE(sizeof(Connection), 160U);
  EXPECT_LE(sizeof(chat::Session), 80U);
}

#ifndef RINGLINE_SANITIZED
constexpr std::size_t kTailEntryBytes = 112;  // of an event beside its body: entry, head of the body, the allocator's

// All are devices of one user, so that what is measured is a connection and its session, and not a user or the store's caches.
TEST(Memory, AnIdleSignedInConnectionStaysUnderAKibibyte) {
  TestServer server({.adjust = [](base::Settings& settings) { settings.connections_per_user = 100'000; }});
  constexpr std::size_t kWarm = 500;
  constexpr std::size_t kMeasured = 4000;
  Client first(server.port());
  first.upgrade("/ws");
  first.text(R"({"id":1,"cmd":"connect","data":{}})");
  std::string ready = first.wait_text("\"ready\"");
  auto start = ready.find(R"("accessToken":")") + 15;
  std::string connect =
      R"({"id":1,"cmd":"connect","data":{"token":")" + ready.substr(start, ready.find('"', start) - start) + "\"}}";
  std::vector<int> sockets;
  sockets.reserve(kWarm + kMeasured);
  auto add = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      Client client(server.port());
      client.upgrade("/ws");
      client.text(connect);
      client.wait_text("\"ready\"");
      sockets.push_back(client.take_socket());
    }
  };
  auto heap = [] {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  add(kWarm);
  std::size_t before = heap();
  add(kMeasured);
  std::this_thread::sleep_for(100ms);
  std::size_t each = (heap() - before) / kMeasured;
  std::printf("%zu bytes a connection\n", each);
  EXPECT_EQ(server.metrics().sessions, kWarm + kMeasured + 1);
  EXPECT_LT(each, 512U);
  for (int socket : sockets) ::close(socket);
}

// All that a user costs who is there: account, membership, seat, session, connection. Beside it, as of the whole process: what SQLite caches, and the
// events by which the members came, which leave the tails when the rooms are quiet.
// Counted with it is what the server and the allocator keep for the next use, 200 to 600 bytes where there are so few.
TEST(Memory, AUserInARoomStaysUnderFifteenHundredBytes) {
  TestServer server({.adjust = [](base::Settings& settings) { settings.rate_limit_guests = 0; }});
  constexpr std::size_t kRoom = 100;
  constexpr std::size_t kWarm = 200;
  constexpr std::size_t kMeasured = 800;
  std::vector<int> sockets;
  auto add = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      Client client(server.port());
      client.upgrade("/ws");
      client.text(R"({"id":1,"cmd":"connect","data":{}})");
      client.wait_text("\"ready\"");
      client.text(R"({"id":2,"cmd":"join","data":{"room":"room )" + std::to_string(sockets.size() / kRoom) + "\"}}");
      client.wait_text(R"("id":2)");
      sockets.push_back(client.take_socket());
    }
    std::this_thread::sleep_for(2500ms);  // all is in the store, and the lists of members that a join shows are gone
  };
  auto heap = [&] {
    struct mallinfo2 info = mallinfo2();
    const base::Metrics metrics = server.metrics();
    const std::size_t tails = metrics.tail_bytes + metrics.tail_events * kTailEntryBytes;
    return info.uordblks + info.hblkhd - tails - static_cast<std::size_t>(sqlite3_memory_used());
  };
  add(kWarm);
  std::size_t before = heap();
  add(kMeasured);
  std::size_t each = (heap() - before) / kMeasured;
  std::printf("%zu bytes a user\n", each);
  EXPECT_EQ(server.metrics().sessions, kWarm + kMeasured);
  EXPECT_LT(each, 1500U);
  for (int socket : sockets) ::close(socket);
}
#endif

}  // namespace
}  // namespace ringline::net::test
