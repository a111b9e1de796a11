// Sockets that come to a thread from others: the receiving half of the hand-over (hand_over.hpp, ringline/net/hand_over.hpp).
//
// A descriptor comes through the thread's port as a message (SCM_RIGHTS), what was read from it as mail. Both carry the same ticket, and what comes first
// waits for the other.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "ringline/loop/ring.hpp"
#include "ringline/net/transfers.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::net {

// A connection on its way.
struct Gift {
  unsigned core = 0;                     // to; or
  std::unique_ptr<TransferOrder> order;  // to the thread of transfers
  loop::Fd socket;
  protocol::Request request;  // that is to be answered there; not with an order
  std::string input;          // what was read behind it
};

// One descriptor and its ticket, as the kernel wants them.
struct TicketMessage {
  TicketMessage();
  void prepare() noexcept;  // the kernel writes lengths into a message that it received
  void set(std::uint64_t number, loop::Fd socket) noexcept;
  loop::Fd socket() noexcept;  // none: the kernel could not give this thread one more descriptor

  std::uint64_t ticket = 0;
  iovec part{};
  msghdr head{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
};

class Arrivals {
 public:
  using Taken = std::move_only_function<void(loop::Fd socket, Gift gift)>;
  Arrivals(loop::Ring& ring, loop::Fd port, Taken taken);
  ~Arrivals() { ASSERT(idle()); }
  Arrivals(const Arrivals&) = delete;
  Arrivals& operator=(const Arrivals&) = delete;

  void on_mail(std::uint64_t ticket, Gift gift);
  void stop();  // closes what is under way; nothing is taken from now on
  bool idle() const noexcept { return stopped_ && !receiving_.in_kernel(); }

 private:
  struct Arriving {
    std::optional<loop::Fd> socket;  // an empty one: it was lost on the way
    std::optional<Gift> gift;
  };
  void receive();
  void on_received(loop::Completion completion);
  void arrive(std::uint64_t ticket);

  loop::Ring& ring_;
  loop::Fd port_;
  Taken taken_;
  std::unordered_map<std::uint64_t, Arriving> arriving_;
  std::unique_ptr<TicketMessage> in_;
  bool stopped_ = false;
  loop::OpOf<Arrivals, &Arrivals::on_received> receiving_{*this};
};

}  // namespace ringline::net
