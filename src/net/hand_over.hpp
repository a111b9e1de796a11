// One core's side of the hand-over of connections to other cores and to the thread of transfers.
//
// The giver sends the descriptor through the receiver's port and, when the kernel has taken it, mails what was read (arrivals.hpp takes both). From `give` on
// the connection is the hand-over's: if anything fails its socket is closed.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>

#include "net/arrivals.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/net/hand_over.hpp"
#include "ringline/net/server.hpp"

namespace ringline::net {

class HandOver {
 public:
  HandOver(Server::Impl& server, HandOverPorts& ports);
  ~HandOver();  // only when `idle`
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;

  // The core that a session id names, if it is another one of this host.
  std::optional<unsigned> core_of(std::string_view sid) const noexcept;
  void give(Gift gift);
  void stop();  // closes what is under way; nothing is taken from now on
  bool idle() const noexcept { return stopped_ && !sending_.in_kernel() && arrivals_.idle(); }

 private:
  void send_next();
  void on_sent(loop::Completion completion);
  void mail(std::uint64_t ticket, Gift gift);

  Server::Impl& server_;
  HandOverPorts& ports_;
  std::deque<Gift> giving_;  // the first one's descriptor is being sent
  std::unique_ptr<TicketMessage> out_;
  std::uint64_t next_ticket_;
  bool stopped_ = false;
  Arrivals arrivals_;
  loop::OpOf<HandOver, &HandOver::on_sent> sending_{*this};
};

}  // namespace ringline::net
