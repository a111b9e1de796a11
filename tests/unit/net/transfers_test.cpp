// Uploads and downloads on their own thread: whole ones, those that fail on either side, and what waits when one side does not take anything.
#include <array>
#include <cerrno>
#include <mutex>
#include <optional>

#include "support.hpp"

namespace ringline::net::test {
namespace {

using base::Errc;
using base::Result;
using base::Task;

// What the test and the thread of transfers share.
struct Shelf {
  std::atomic<bool> stuck{false};       // nothing is taken or given
  std::atomic<std::uint64_t> moved{0};  // bytes taken or given
  std::atomic<unsigned> abandoned{0};
  std::optional<base::Error> begins;   // why nothing can be written or read; set before the server starts
  std::optional<base::Error> goes_on;  // likewise, behind the first piece
  std::mutex lock;
  std::string content;
  std::string taken() {
    const std::lock_guard guard(lock);
    return content;
  }
};

Task<void> wait_for(loop::Loop& loop, const Shelf& shelf) {
  while (shelf.stuck) co_await loop.sleep(1ms);
}

class ShelfWriter final : public chat::BlobWriter {
 public:
  ShelfWriter(loop::Loop& loop, Shelf& shelf) : loop_(loop), shelf_(shelf) {}
  Task<Result<void>> write(std::span<const std::byte> bytes) override {
    co_await wait_for(loop_, shelf_);
    if (shelf_.moved > 0 && shelf_.goes_on) co_return std::unexpected(*shelf_.goes_on);
    const std::lock_guard guard(shelf_.lock);
    shelf_.content.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    shelf_.moved += bytes.size();
    co_return Result<void>();
  }
  Task<Result<void>> finish() override { co_return Result<void>(); }
  Task<void> abandon() override {
    ++shelf_.abandoned;
    co_return;
  }

 private:
  loop::Loop& loop_;
  Shelf& shelf_;
};

class ShelfReader final : public chat::BlobReader {
 public:
  ShelfReader(loop::Loop& loop, Shelf& shelf, std::uint64_t count) : loop_(loop), shelf_(shelf), left_(count) {}
  Task<Result<std::size_t>> read(std::span<std::byte> into) override {
    co_await wait_for(loop_, shelf_);
    if (shelf_.moved > 0 && shelf_.goes_on) co_return std::unexpected(*shelf_.goes_on);
    const std::size_t given = std::min<std::uint64_t>(into.size(), left_);
    std::fill_n(into.begin(), given, std::byte{'d'});
    left_ -= given;
    shelf_.moved += given;
    co_return given;
  }

 private:
  loop::Loop& loop_;
  Shelf& shelf_;
  std::uint64_t left_;
};

class ShelfStore final : public chat::BlobStore {
 public:
  ShelfStore(loop::Loop& loop, Shelf& shelf) : loop_(loop), shelf_(shelf) {}
  Task<Result<chat::BlobHead>> look(std::string) override { co_return base::fail(Errc::internal, "not asked for"); }
  Task<Result<void>> accept(std::string, std::string, std::string) override {
    co_return base::fail(Errc::internal, "not asked for");
  }
  Task<Result<void>> remove(std::string) override { co_return base::fail(Errc::internal, "not asked for"); }
  Task<Result<std::unique_ptr<chat::BlobReader>>> read(std::string, std::uint64_t, std::uint64_t count) override {
    if (shelf_.begins) co_return std::unexpected(*shelf_.begins);
    co_return std::make_unique<ShelfReader>(loop_, shelf_, count);
  }
  Task<Result<std::unique_ptr<chat::BlobWriter>>> write(std::string, std::uint64_t, std::string) override {
    if (shelf_.begins) co_return std::unexpected(*shelf_.begins);
    co_return std::make_unique<ShelfWriter>(loop_, shelf_);
  }

 private:
  loop::Loop& loop_;
  Shelf& shelf_;
};

Setup with(Shelf& shelf, TransferLimits limits = {}) {
  return {.files = [&shelf](loop::Loop& loop) { return std::make_unique<ShelfStore>(loop, shelf); },
          .transfers = limits};
}
std::string put(std::uint64_t bytes, std::string_view more = "", std::string_view query = "") {
  return "PUT /up" + std::string(query) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(bytes) + "\r\n" +
         std::string(more) + "\r\n";
}
// Until it holds, at most ten seconds.
bool soon(std::function<bool()> holds) {
  for (int tries = 0; tries < 2000 && !holds(); ++tries) std::this_thread::sleep_for(5ms);
  return holds();
}
base::Error away() { return base::fail_later(Errc::unavailable, 7000, "away").error(); }
base::Error full() {
  base::Error error = base::fail_later(Errc::unavailable, 7000, "no room").error();
  error.sys = ENOSPC;
  return error;
}

TEST(Transfers, AnUploadInWhateverPieces) {
  Shelf shelf;
  TestServer server(with(shelf));
  const std::string body(300'000, 'u');
  Client client(server.port());
  client.send(put(body.size()) + body.substr(0, 10));
  client.send(body.substr(10, 1));
  client.send(body.substr(11) + "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = client.response();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 204 ")) << answer;
  EXPECT_NE(answer.find("X-Door: test\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(shelf.taken(), body);
  EXPECT_EQ(server.metrics().connections, 0U) << "it is not the core's any more";
  EXPECT_EQ(server.metrics().http_requests, 1U);
  EXPECT_EQ(server.transfer_metrics().file_uploads, 1U);
  EXPECT_EQ(server.transfer_metrics().file_upload_bytes, body.size());
}

TEST(Transfers, AClientThatAsksIsToldToGoOn) {
  Shelf shelf;
  TestServer server(with(shelf));
  Client client(server.port());
  client.send(put(5, "Expect: 100-continue\r\n"));
  EXPECT_EQ(client.response(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hello");
  EXPECT_TRUE(client.response().starts_with("HTTP/1.1 204 "));
  EXPECT_EQ(shelf.taken(), "hello");
}

TEST(Transfers, NothingIsReadWhileNothingIsTaken) {
  Shelf shelf;
  shelf.stuck = true;
  TestServer server(with(shelf));
  Client client(server.port());
  constexpr std::size_t kBytes = 64 * 1024 * 1024;  // more than two sockets hold
  client.send(put(kBytes));
  std::thread sending([&] { client.send(std::string(kBytes, 'u')); });
  ASSERT_TRUE(soon([&] { return server.transfer_metrics().transfers == 1; }));
  std::this_thread::sleep_for(50ms);
  EXPECT_LE(server.transfer_metrics().file_upload_bytes, kBytes / 16) << "one piece is on its way";
  EXPECT_LE(server.metrics().received_bytes, kBytes / 16) << "and the core has read little";
  shelf.stuck = false;
  sending.join();
  EXPECT_TRUE(client.response().starts_with("HTTP/1.1 204 "));
  EXPECT_EQ(shelf.moved, kBytes);
}

TEST(Transfers, NothingIsFetchedForAReaderWhoTakesNothing) {
  Shelf shelf;
  TestServer server(with(shelf));
  constexpr std::size_t kBytes = 64 * 1024 * 1024;
  Client client(server.port(), 4096);
  client.send("GET /down/" + std::to_string(kBytes) + " HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(soon([&] { return shelf.moved > 0; }));
  std::uint64_t before = 1;
  while (std::exchange(before, shelf.moved.load()) != shelf.moved) std::this_thread::sleep_for(20ms);
  EXPECT_LT(shelf.moved, kBytes / 2);
  const std::string answer = client.response();
  EXPECT_EQ(std::string_view(answer).substr(answer.size() - kBytes), std::string(kBytes, 'd'));
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(soon([&] { return server.transfer_metrics().file_downloads == 1; }));
}

TEST(Transfers, AClientThatStopsIsCut) {
  Shelf shelf;
  TestServer server(with(shelf, {.stall = 100ms}));
  Client client(server.port());
  client.send(put(1000) + "half of it");
  const std::string answer = client.response();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  EXPECT_TRUE(soon([&] { return server.transfer_metrics().transfers == 0; }));
  EXPECT_EQ(shelf.abandoned, 1U);
}

TEST(Transfers, AClientThatIsTooSlowIsCut) {
  Shelf shelf;
  TestServer server(with(shelf, {.stall = 200ms, .pace = 1'000'000}));
  Client client(server.port());
  client.send(put(1000));
  for (int i = 0; i < 200 && shelf.abandoned == 0; ++i) {
    if (!client.try_send("x")) break;
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(client.response().starts_with("HTTP/1.1 408 "));
}

TEST(Transfers, AClientThatGoesLeavesNothing) {
  Shelf shelf;
  TestServer server(with(shelf));
  Client client(server.port());
  client.send(put(1000) + "half of it");
  ASSERT_TRUE(soon([&] { return shelf.moved > 0; }));
  client.reset();
  EXPECT_TRUE(soon([&] { return shelf.abandoned == 1 && server.transfer_metrics().transfers == 0; }));
}

TEST(Transfers, WhatThePlaceSaysIsAnsweredWhileTheClientStillSends) {
  for (const bool at_once : {true, false}) {
    for (const auto& [error, status] : {std::pair{away(), "503"}, std::pair{full(), "507"}}) {
      Shelf shelf;
      (at_once ? shelf.begins : shelf.goes_on) = error;
      TestServer server(with(shelf));
      Client client(server.port());
      constexpr std::size_t kBytes = 16 * 1024 * 1024;
      std::thread sending([&] { client.try_send(put(kBytes) + std::string(kBytes, 'u')); });
      const std::string answer = client.response();
      sending.join();
      EXPECT_TRUE(answer.starts_with(std::string("HTTP/1.1 ") + status)) << answer;
      EXPECT_NE(answer.find("\r\nRetry-After: 7\r\n"), std::string::npos) << answer;
      EXPECT_NE(answer.find("\"retryAfterMs\":7000"), std::string::npos) << answer;
      EXPECT_NE(answer.find("X-Door: test\r\n"), std::string::npos) << answer;
      EXPECT_EQ(shelf.abandoned, at_once ? 0U : 1U);
    }
  }
}

TEST(Transfers, ADownloadThatFailsAtOnceIsAnError) {
  Shelf shelf;
  shelf.begins = base::fail(Errc::not_found, "gone").error();
  TestServer server(with(shelf));
  Client client(server.port());
  EXPECT_TRUE(client.get("/down/5").starts_with("HTTP/1.1 404 "));
}

TEST(Transfers, ADownloadThatFailsLaterEndsTooEarly) {
  Shelf shelf;
  shelf.goes_on = away();
  TestServer server(with(shelf));
  Client client(server.port());
  client.send("GET /down/1000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.read(12).starts_with("HTTP/1.1 200"));
  std::size_t got = 0;
  std::array<char, 65536> buffer;
  for (ssize_t more = 0; (more = ::recv(client.socket(), buffer.data(), buffer.size(), 0)) > 0;)
    got += static_cast<std::size_t>(more);
  EXPECT_LT(got, 1'000'000U);
}

TEST(Transfers, SoManyAtOnceOfAllAndOfAUser) {
  Shelf shelf;
  TestServer server(with(shelf, {.at_once = 3, .of_user = 2}));
  std::vector<std::unique_ptr<Client>> clients;
  auto begin = [&](std::string_view query) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->send(put(10, "", query) + "half");
  };
  begin("?user=1");
  begin("?user=1");
  ASSERT_TRUE(soon([&] { return shelf.moved == 8; }));
  begin("?user=1");
  EXPECT_TRUE(clients.back()->response().starts_with("HTTP/1.1 429 "));
  clients.pop_back();
  ASSERT_TRUE(soon([&] { return server.transfer_metrics().transfers == 2; }));
  begin("?user=2");
  ASSERT_TRUE(soon([&] { return shelf.moved == 12; }));
  begin("?user=3");
  EXPECT_TRUE(clients.back()->response().starts_with("HTTP/1.1 503 "));
  clients[0]->send("enough");
  EXPECT_TRUE(clients[0]->response().starts_with("HTTP/1.1 204 "));
}

TEST(Transfers, AStopEndsThem) {
  Shelf shelf;
  TestServer server(with(shelf));
  Client up(server.port()), down(server.port(), 4096);
  up.send(put(1000) + "half of it");
  down.send("GET /down/99000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(soon([&] { return server.transfer_metrics().transfers == 2; }));
  server.stop();
  EXPECT_EQ(shelf.abandoned, 1U);
}

}  // namespace
}  // namespace ringline::net::test
