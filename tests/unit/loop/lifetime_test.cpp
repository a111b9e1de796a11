// Connections that die at every stage: the owner closes, the peer closes, resets or half-closes, while a receive and a send are in the kernel or not
// yet submitted, thousands of times and many at once, so that descriptor numbers and memory are used again at once. Meant for AddressSanitizer.
// Checked by itself: no byte reaches another connection, every op comes back, every buffer too (the ring's destructor).
#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "ringline/loop/tcp.hpp"
#include "support.hpp"

namespace ringline::loop::test {
namespace {

// As the house rule says: shut down, wait for every completion, close, and be freed at the end of the turn.
class Connection {
 public:
  Connection(Ring& ring, Fd fd, char mark, std::vector<Connection*>& retired)
      : ring_(ring), fd_(fd), mark_(mark), out_(200'000, mark), retired_(retired) {
    ring_.receive_multishot(receive_, fd_);
  }

  void send(std::size_t bytes) {
    if (closing_ || send_.in_kernel()) return;
    ring_.send(send_, fd_, bytes_of(out_).first(bytes));
  }
  void close() {
    if (closing_) return;
    closing_ = true;
    ring_.shutdown(fd_);
    join();
  }
  void cancel_receive() { ring_.cancel(receive_); }

 private:
  void on_receive(Completion completion) {
    for (const char byte : text_of(completion.bytes)) ASSERT_EQ(byte, mark_);
    if (closing_) return join();
    if (completion.more) return;
    if (completion.result > 0 || completion.result == -ENOBUFS || completion.result == -ECANCELED) {
      ring_.receive_multishot(receive_, fd_);
    } else {
      close();
    }
  }
  void on_send(Completion completion) {
    if (closing_) return join();
    if (completion.result < 0) close();
  }
  void join() {
    if (receive_.in_kernel() || send_.in_kernel()) return;
    ring_.close(std::exchange(fd_, {}));
    retired_.push_back(this);
  }

  Ring& ring_;
  Fd fd_;
  char mark_;
  std::string out_;
  bool closing_ = false;
  std::vector<Connection*>& retired_;
  OpOf<Connection, &Connection::on_receive> receive_{*this};
  OpOf<Connection, &Connection::on_send> send_{*this};
};

class Lifetimes {
 public:
  explicit Lifetimes(unsigned seed) : random_(seed) {
    listener_ = *listen_tcp("127.0.0.1", 0, {});
    address_ = *resolve_tcp("127.0.0.1", local_port(listener_));
  }
  ~Lifetimes() { ::close(listener_.value); }

  void live(unsigned connections) {
    while (connections > 0 || !pairs_.empty()) {
      if (connections > 0 && pairs_.size() < 40) {
        connect();
        --connections;
      }
      for (unsigned i = 0; i < 8 && !pairs_.empty(); ++i) act(pairs_[random_() % pairs_.size()]);
      if (connections == 0) {
        for (Pair& pair : pairs_) {
          if (pair.connection) pair.connection->close();
        }
      }
      turn();
    }
    ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
  }

 private:
  struct Pair {
    std::unique_ptr<Connection> connection;
    Fd peer;
    char mark;
  };

  void connect() {
    const Fd peer = *socket_tcp(address_);
    ASSERT_EQ(::connect(peer.value, address_.get(), address_.length), 0);
    const Fd ours{::accept4(listener_.value, nullptr, nullptr, SOCK_CLOEXEC)};
    ASSERT_TRUE(ours);
    const char mark = static_cast<char>('!' + random_() % 90);
    pairs_.push_back({std::make_unique<Connection>(*ring_, ours, mark, retired_), peer, mark});
  }

  void close_peer(Pair& pair, bool reset) {
    if (!pair.peer) return;
    const linger now{.l_onoff = 1, .l_linger = 0};
    if (reset) ::setsockopt(pair.peer.value, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(std::exchange(pair.peer, Fd{}).value);
  }

  void act(Pair& pair) {
    static const std::string_view kPiece =
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    std::string piece(kPiece.size() * (1 + random_() % 60), pair.mark);
    std::array<char, 65536> into{};
    switch (random_() % 10) {
      case 0:
      case 1:
        if (pair.peer)
          static_cast<void>(::send(pair.peer.value, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
        return;
      case 2:
        if (pair.peer) static_cast<void>(::recv(pair.peer.value, into.data(), into.size(), MSG_DONTWAIT));
        return;
      case 3:
        return close_peer(pair, false);
      case 4:
        return close_peer(pair, true);
      case 5:
        if (pair.peer) ::shutdown(pair.peer.value, SHUT_WR);
        return;
      case 6:
        return pair.connection->cancel_receive();
      case 7:
        return pair.connection->close();
      default:
        return pair.connection->send(random_() % 3 == 0 ? 200'000 : 100);
    }
  }

  void turn() {
    ring_->enter(false, 0);
    ring_->reap();
    std::erase_if(pairs_, [&](Pair& pair) {
      if (std::ranges::find(retired_, pair.connection.get()) == retired_.end()) return false;
      close_peer(pair, false);
      return true;
    });
    retired_.clear();
  }

  std::mt19937 random_;
  std::unique_ptr<Ring> ring_ = open_ring(32, 512, 32);  // few of everything: queues fill, buffers run out
  Fd listener_;
  Address address_;
  std::vector<Pair> pairs_;
  std::vector<Connection*> retired_;
};

TEST(Lifetimes, ConnectionsDieAtEveryStage) {
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Lifetimes(seed).live(500);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ringline::loop::test
