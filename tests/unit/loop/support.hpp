// What the loop's tests share: a ring or the reason why not, ops that remember, pairs of sockets.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/clock.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::loop::test {

using namespace std::chrono_literals;

inline std::unique_ptr<Ring> must(base::Result<std::unique_ptr<Ring>> ring) {
  if (!ring) {
    ADD_FAILURE() << ring.error().message;
    std::abort();
  }
  return std::move(*ring);
}
inline std::unique_ptr<Ring> open_ring(unsigned receive_buffers = 16, std::size_t buffer_bytes = 256,
                                       unsigned entries = 64) {
  return must(
      Ring::open({.entries = entries, .receive_buffers = receive_buffers, .receive_buffer_bytes = buffer_bytes}));
}
inline std::unique_ptr<Ring> prepare_ring() {
  return must(Ring::prepare({.entries = 64, .receive_buffers = 16, .receive_buffer_bytes = 256}));
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Turns the ring until `done`, at most ten seconds.
template <class Done>
bool run_until(Ring& ring, Done done, std::chrono::milliseconds time = 10s) {
  const std::int64_t deadline = base::monotonic_ns() + std::chrono::nanoseconds(time).count();
  while (!done()) {
    if (base::monotonic_ns() > deadline) return false;
    ring.enter(true, base::monotonic_ns() + 50'000'000);
    ring.reap();
  }
  return true;
}

// An op that remembers what became of it.
struct Recorder {
  std::vector<int> results;
  std::string received;
  bool more = false;
  std::function<void()> then;

  void on_complete(Completion completion) {
    results.push_back(completion.result);
    received += text_of(completion.bytes);
    more = completion.more;
    if (then) then();
  }
  bool done() const { return !results.empty() && !more; }
  int last() const { return results.empty() ? 1'000'000 : results.back(); }

  OpOf<Recorder, &Recorder::on_complete> op{*this};
};

struct SocketPair {
  Fd ours;
  Fd theirs;
  explicit SocketPair(int type = SOCK_STREAM) {
    std::array<int, 2> both{};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, both.data()) != 0) std::abort();
    ours = {both[0]};
    theirs = {both[1]};
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  ~SocketPair() {
    close_ours();
    close_theirs();
  }
  void close_ours() {
    if (ours) ::close(std::exchange(ours, Fd{}).value);
  }
  void close_theirs() {
    if (theirs) ::close(std::exchange(theirs, Fd{}).value);
  }
  void write(std::string_view text) const {
    EXPECT_EQ(::write(theirs.value, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
};

}  // namespace ringline::loop::test
