// One core's side of the hand-over of connections to other cores.
//
// The giver sends the descriptor through the receiver's port and, when the kernel has taken it, mails what was read. Both carry the same ticket, and
// what comes first waits for the other. From `give` on the connection is the hand-over's: if anything fails its socket is closed.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/net/hand_over.hpp"
#include "ringline/net/server.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::net {

class HandOver {
 public:
  struct Gift {
    unsigned core = 0;  // to
    loop::Fd socket;
    protocol::Request request;  // that is to be answered there
    std::string input;          // what was read behind it
  };

  HandOver(Server::Impl& server, HandOverPorts& ports);
  ~HandOver();  // only when `idle`
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;

  // The core that a session id names, if it is another one of this host.
  std::optional<unsigned> core_of(std::string_view sid) const noexcept;
  void give(Gift gift);
  void stop();  // closes what is under way; nothing is taken from now on
  bool idle() const noexcept { return stopped_ && !sending_.in_kernel() && !receiving_.in_kernel(); }

 private:
  struct Message;  // one descriptor and its ticket, as the kernel wants them
  struct Arriving {
    std::optional<loop::Fd> socket;  // an empty one: it was lost on the way
    std::optional<Gift> gift;
  };

  void send_next();
  void on_sent(loop::Completion completion);
  void receive();
  void on_received(loop::Completion completion);
  void on_mail(std::uint64_t ticket, Gift gift);
  void arrive(std::uint64_t ticket);

  Server::Impl& server_;
  HandOverPorts& ports_;
  std::deque<Gift> giving_;  // the first one's descriptor is being sent
  std::unordered_map<std::uint64_t, Arriving> arriving_;
  std::unique_ptr<Message> out_;
  std::unique_ptr<Message> in_;
  std::uint64_t next_ticket_;
  bool stopped_ = false;
  loop::OpOf<HandOver, &HandOver::on_sent> sending_{*this};
  loop::OpOf<HandOver, &HandOver::on_received> receiving_{*this};
};

}  // namespace ringline::net
