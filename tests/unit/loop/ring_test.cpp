// The ring on a real kernel: sockets, receive buffers, cancelling, doorbells. Files are in ring_file_test.cpp, dying connections in lifetime_test.cpp.
#include "ringline/loop/ring.hpp"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "asan.hpp"
#include "ringline/loop/tcp.hpp"
#include "support.hpp"

namespace ringline::loop::test {
namespace {

TEST(Ring, OpensAndClosesWithNothingStarted) {
  for (int i = 0; i < 20; ++i) {
    auto ring = open_ring();
    EXPECT_EQ(ring->in_kernel(), 0U);
  }
}

TEST(Ring, ReceivesThroughProvidedBuffersUntilTheEnd) {
  auto ring = open_ring();
  SocketPair pair;
  Recorder receive;
  ring->receive_multishot(receive.op, pair.ours);
  EXPECT_TRUE(ring->has_unsubmitted());
  EXPECT_EQ(ring->in_kernel(), 1U);
  pair.write("hello ");
  ASSERT_TRUE(run_until(*ring, [&] { return receive.received == "hello "; }));
  EXPECT_TRUE(receive.more);
  pair.write("again");
  ASSERT_TRUE(run_until(*ring, [&] { return receive.received == "hello again"; }));
  pair.close_theirs();
  ASSERT_TRUE(run_until(*ring, [&] { return receive.done(); }));
  EXPECT_EQ(receive.last(), 0);
  EXPECT_EQ(ring->in_kernel(), 0U);
}

TEST(Ring, MoreThanAllBuffersEndsTheReceiveAndNothingIsLost) {
  auto ring = open_ring(4, 64);
  SocketPair pair;
  std::string sent;
  for (int i = 0; i < 2000; ++i) sent += static_cast<char>('a' + i % 26);
  pair.write(sent);
  pair.close_theirs();
  Recorder receive;
  unsigned starved = 0;
  ring->receive_multishot(receive.op, pair.ours);
  ASSERT_TRUE(run_until(*ring, [&] {
    if (receive.op.in_kernel() || receive.last() == 0) return receive.done();
    starved += receive.last() == -ENOBUFS;
    ring->receive_multishot(receive.op, pair.ours);
    return false;
  }));
  EXPECT_EQ(receive.received, sent);
  EXPECT_GT(starved, 0U);
}

TEST(Ring, AReceiveMayBeStartedAgainByItsHandler) {
  auto ring = open_ring(2, 16);
  SocketPair pair;
  Recorder receive;
  receive.then = [&] {
    if (!receive.more && receive.last() != 0) ring->receive_multishot(receive.op, pair.ours);
  };
  pair.write(std::string(500, 'x'));
  pair.close_theirs();
  ring->receive_multishot(receive.op, pair.ours);
  ASSERT_TRUE(run_until(*ring, [&] { return receive.last() == 0; }));
  EXPECT_EQ(receive.received, std::string(500, 'x'));
}

TEST(Ring, AcceptsManyAndConnects) {
  auto ring = open_ring();
  const auto listener = listen_tcp("127.0.0.1", 0, {});
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  const auto address = resolve_tcp("127.0.0.1", local_port(*listener));
  Recorder accept;
  ring->accept_multishot(accept.op, *listener);
  constexpr int kClients = 50;
  std::vector<std::unique_ptr<Recorder>> connects;
  std::vector<Fd> clients;
  for (int i = 0; i < kClients; ++i) {
    connects.push_back(std::make_unique<Recorder>());
    clients.push_back(*socket_tcp(*address));
    ring->connect(connects.back()->op, clients.back(), address->get(), address->length);
  }
  ASSERT_TRUE(run_until(*ring, [&] {
    return accept.results.size() == kClients &&
           std::ranges::all_of(connects, [](const auto& one) { return one->done(); });
  }));
  for (const auto& connect : connects) EXPECT_EQ(connect->last(), 0);
  EXPECT_TRUE(accept.more);
  EXPECT_EQ(peer_address({accept.results.front()}), "127.0.0.1");
  ring->shutdown(*listener);
  ASSERT_TRUE(run_until(*ring, [&] { return accept.done(); }));
  EXPECT_LT(accept.last(), 0);
  accept.results.pop_back();
  for (const int fd : accept.results) ring->close({fd});
  for (const Fd fd : clients) ring->close(fd);
  ring->close(*listener);
  ring->enter(false, 0);
  EXPECT_EQ(::fcntl(listener->value, F_GETFD), -1);
}

TEST(Ring, ARefusedConnectSaysSo) {
  auto ring = open_ring();
  const auto listener = listen_tcp("127.0.0.1", 0, {});
  const auto address = resolve_tcp("127.0.0.1", local_port(*listener));
  ::close(listener->value);
  const Fd client = *socket_tcp(*address);
  Recorder connect;
  ring->connect(connect.op, client, address->get(), address->length);
  ASSERT_TRUE(run_until(*ring, [&] { return connect.done(); }));
  EXPECT_EQ(connect.last(), -ECONNREFUSED);
  ring->close(client);
}

TEST(Ring, ASendToAFullSocketWaitsAndGoesOnWhenThereIsRoom) {
  auto ring = open_ring();
  SocketPair pair;
  const std::string much(4'000'000, 'm');
  Recorder send;
  std::size_t sent = 0;
  ring->send(send.op, pair.ours, bytes_of(much));
  ring->enter(false, 0);
  ring->reap();
  std::string got;
  std::array<char, 65536> piece{};
  while (got.size() < much.size()) {
    if (send.done()) {
      ASSERT_GT(send.last(), 0);
      sent += static_cast<std::size_t>(send.last());
      send.results.clear();
      if (sent < much.size()) ring->send(send.op, pair.ours, bytes_of(much).subspan(sent));
    }
    ring->enter(false, 0);
    ring->reap();
    const ssize_t count = ::recv(pair.theirs.value, piece.data(), piece.size(), MSG_DONTWAIT);
    if (count > 0) got.append(piece.data(), static_cast<std::size_t>(count));
  }
  EXPECT_EQ(got, much);
  ASSERT_TRUE(run_until(*ring, [&] { return !send.op.in_kernel(); }));
}

TEST(Ring, ASendToAPeerThatWentFailsWithoutASignal) {
  auto ring = open_ring();
  SocketPair pair;
  pair.close_theirs();
  Recorder send;
  ring->send(send.op, pair.ours, bytes_of("x"));
  ASSERT_TRUE(run_until(*ring, [&] { return send.done(); }));
  EXPECT_EQ(send.last(), -EPIPE);
}

TEST(Ring, ShutdownEndsAWaitingReceiveAndSend) {
  auto ring = open_ring();
  SocketPair pair;
  const std::string much(4'000'000, 'm');
  Recorder receive;
  Recorder send;
  ring->receive_multishot(receive.op, pair.ours);
  ring->send(send.op, pair.ours, bytes_of(much));
  ASSERT_TRUE(run_until(*ring, [&] { return send.done(); }));  // what fits
  send.results.clear();
  ring->send(send.op, pair.ours, bytes_of(much));
  ring->enter(false, 0);
  EXPECT_EQ(ring->in_kernel(), 2U);
  ring->shutdown(pair.ours);
  ASSERT_TRUE(run_until(*ring, [&] { return receive.done() && send.done(); }));
  EXPECT_EQ(receive.last(), 0);
  EXPECT_EQ(send.last(), -EPIPE);
}

TEST(Ring, CancelEndsAnOpAndOfOneThatIsNotThereDoesNothing) {
  auto ring = open_ring();
  SocketPair pair;
  Recorder receive;
  ring->cancel(receive.op);
  ring->receive_multishot(receive.op, pair.ours);
  ring->cancel(receive.op);
  ring->cancel(receive.op);
  ASSERT_TRUE(run_until(*ring, [&] { return receive.done(); }));
  EXPECT_EQ(receive.results, std::vector{-ECANCELED});
  // The address of an ended op may be used again at once: the second cancel, too late by then, must not hit it.
  ring->receive_multishot(receive.op, pair.ours);
  pair.write("alive");
  ASSERT_TRUE(run_until(*ring, [&] { return receive.received == "alive"; }));
  ring->shutdown(pair.ours);
  ASSERT_TRUE(run_until(*ring, [&] { return receive.done(); }));
}

TEST(Ring, SendsADescriptorWithItsBytes) {
  auto ring = open_ring();
  SocketPair pair(SOCK_SEQPACKET);
  SocketPair cargo;
  std::string text = "bytes already read";
  iovec piece{text.data(), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &cargo.theirs.value, sizeof(int));
  Recorder send;
  ring->send_message(send.op, pair.ours, &message);

  std::array<char, 64> into{};
  iovec into_piece{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> into_control{};
  msghdr got{};
  got.msg_iov = &into_piece;
  got.msg_iovlen = 1;
  got.msg_control = into_control.data();
  got.msg_controllen = into_control.size();
  Recorder receive;
  ring->receive_message(receive.op, pair.theirs, &got);
  ASSERT_TRUE(run_until(*ring, [&] { return send.done() && receive.done(); }));
  EXPECT_EQ(std::string_view(into.data(), static_cast<std::size_t>(receive.last())), text);
  int fd = -1;
  ASSERT_NE(CMSG_FIRSTHDR(&got), nullptr);
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&got)), sizeof fd);
  EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::write(fd, "through", 7), 7);
  EXPECT_EQ(::read(cargo.ours.value, into.data(), into.size()), 7);
  ring->close({fd});
}

TEST(Ring, MoreOpsThanTheQueueHasRoomFor) {
  auto ring = open_ring(16, 256, 8);
  std::vector<std::unique_ptr<SocketPair>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  for (int i = 0; i < 300; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    receives.push_back(std::make_unique<Recorder>());
    ring->receive_multishot(receives.back()->op, pairs.back()->ours);
  }
  // All at once: more completions than the completion queue of 32 holds, too.
  for (const auto& pair : pairs) pair->close_theirs();
  ASSERT_TRUE(
      run_until(*ring, [&] { return std::ranges::all_of(receives, [](const auto& one) { return one->done(); }); }));
  EXPECT_EQ(ring->in_kernel(), 0U);
}

// A full completion queue may end multishot operations, the doorbell's own too.
TEST(Ring, TheDoorbellSurvivesAFullCompletionQueue) {
  auto ring = open_ring(16, 256, 8);
  std::vector<std::unique_ptr<SocketPair>> pairs;
  std::vector<std::unique_ptr<Recorder>> receives;
  for (int i = 0; i < 100; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    receives.push_back(std::make_unique<Recorder>());
    ring->receive_multishot(receives.back()->op, pairs.back()->ours);
  }
  ring->enter(false, 0);
  for (const auto& pair : pairs) pair->close_theirs();
  ring->enter(false, 0);  // 100 completions into a queue of 32
  ring->wake_from_thread();
  ring->enter(false, 0);
  ASSERT_TRUE(run_until(*ring, [&] { return ring->in_kernel() == 0; }));
  while (ring->reap() > 0) ring->enter(false, 0);
  for (int i = 0; i < 3; ++i) {
    ring->wake_from_thread();
    ring->enter(true, base::monotonic_ns() + 2'000'000'000);
    EXPECT_GE(ring->reap(), 1U);
  }
}

TEST(Ring, PollTellsOnceAndAgainWhenAskedAgain) {
  auto ring = open_ring();
  SocketPair pair;
  pair.write("x");
  Recorder poll;
  ring->poll(poll.op, pair.ours, POLLIN);
  ASSERT_TRUE(run_until(*ring, [&] { return poll.done(); }));
  EXPECT_NE(poll.last() & POLLIN, 0);
  ring->poll(poll.op, pair.ours, POLLIN);
  ASSERT_TRUE(run_until(*ring, [&] { return poll.results.size() == 2; }));
  Recorder multishot;
  ring->poll_multishot(multishot.op, pair.ours, POLLIN);
  ASSERT_TRUE(run_until(*ring, [&] { return multishot.results.size() == 1; }));
  pair.write("y");
  ASSERT_TRUE(run_until(*ring, [&] { return multishot.results.size() == 2; }));
  EXPECT_TRUE(multishot.more);
  ring->cancel(multishot.op);
  ASSERT_TRUE(run_until(*ring, [&] { return multishot.done(); }));
}

TEST(Ring, WaitsNoLongerThanItsDeadline) {
  auto ring = open_ring();
  const std::int64_t before = base::monotonic_ns();
  ring->enter(true, before + 30'000'000);
  EXPECT_GE(base::monotonic_ns(), before + 30'000'000);
  EXPECT_EQ(ring->reap(), 0U);
}

TEST(Ring, AThreadWakesASleepingRingEachTime) {
  auto ring = open_ring();
  for (int i = 0; i < 200; ++i) {
    std::thread thread([&] { ring->wake_from_thread(); });
    ring->enter(true, INT64_MAX);
    EXPECT_GE(ring->reap(), 1U) << i;
    thread.join();
    ring->enter(false, 0);
    ring->reap();
  }
}

TEST(Ring, ARingWakesAnother) {
  auto ring = open_ring();
  std::atomic<const Ring*> other{nullptr};
  std::atomic<int> woken{0};
  std::thread thread([&] {
    auto sleeper = open_ring();
    other = sleeper.get();
    for (int i = 0; i < 200; ++i) {
      do {
        sleeper->enter(true, INT64_MAX);
      } while (sleeper->reap() == 0);
      woken = i + 1;
      woken.notify_one();
    }
    while (other.load() != nullptr) std::this_thread::yield();
  });
  while (other.load() == nullptr) std::this_thread::yield();
  for (int i = 0; i < 200; ++i) {
    ring->wake(*other.load());
    ring->enter(false, 0);
    woken.wait(i);
    EXPECT_EQ(ring->reap(), 0U);  // no completion on this side
  }
  other = nullptr;
  thread.join();
}

TEST(RingDeath, AnOpInTheKernelMustNotBeDestroyed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        SocketPair pair;
        auto ring = open_ring();
        auto receive = std::make_unique<Recorder>();
        ring->receive_multishot(receive->op, pair.ours);
        receive.reset();
      },
      "in_kernel_");
}

TEST(RingDeath, CloseOfADescriptorThatIsNotOpenIsOurMistake) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto ring = open_ring();
        ring->close({19'000});
        ring->enter(false, 0);
        ring->reap();
      },
      "EBADF");
}

#ifdef RINGLINE_ASAN
// AddressSanitizer does not see the kernel's accesses; these are our own checks.
TEST(RingDeath, MemoryIsCheckedWhenItIsHandedOver) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto ring = open_ring();
        Recorder write;
        const std::string small(16, 'x');
        ring->write(write.op, {1}, std::span(bytes_of(small).data(), 40), 0);
      },
      "addressable");
}

TEST(RingDeath, AReceivedBufferIsNotLookedAtAfterItsHandler) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  struct Keeper {
    std::span<const std::byte> kept;
    void on_complete(Completion completion) { kept = completion.bytes; }
    OpOf<Keeper, &Keeper::on_complete> op{*this};
  };
  EXPECT_DEATH(
      {
        auto ring = open_ring();
        SocketPair pair;
        Keeper keeper;
        ring->receive_multishot(keeper.op, pair.ours);
        pair.write("x");
        run_until(*ring, [&] { return !keeper.kept.empty(); });
        std::string copy(text_of(keeper.kept));
      },
      "use-after-poison");
}
#endif

}  // namespace
}  // namespace ringline::loop::test
