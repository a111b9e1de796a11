// What an idle connection costs in user space.
#include <malloc.h>
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
  EXPECT_LE(sizeof(Connection), 448U);
}

#ifndef RINGLINE_SANITIZED
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
  EXPECT_LT(each, 1024U);
  for (int socket : sockets) ::close(socket);
}
#endif

}  // namespace
}  // namespace ringline::net::test
