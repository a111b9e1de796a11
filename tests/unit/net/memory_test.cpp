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
TEST(Memory, AnIdleSignedInConnectionStaysUnderAKibibyte) {
  TestServer server;
  constexpr int kWarm = 200;
  constexpr int kMeasured = 3000;
  auto heap = [] {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  std::vector<std::unique_ptr<Client>> clients;
  auto add = [&](int count) {
    for (int i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<Client>(server.port()));
      clients.back()->sign_in();
    }
  };
  clients.reserve(kWarm + kMeasured);
  add(kWarm);
  std::size_t before = heap();
  add(kMeasured);
  std::this_thread::sleep_for(300ms);
  std::size_t ours = (heap() - before) / kMeasured;
  std::size_t theirs = sizeof(Client) + 32 + 128;  // the test's own objects, with what their strings keep
  std::printf("%zu bytes a connection, the test's client of about %zu in it\n", ours, theirs);
  EXPECT_LT(ours, 1024U + theirs);
}
#endif

}  // namespace
}  // namespace ringline::net::test
