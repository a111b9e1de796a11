// See hand_over.hpp.
#include "net/hand_over.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/server_impl.hpp"
#include "ringline/base/log.hpp"

namespace ringline::net {

namespace {

constexpr unsigned kTicketCoreShift = 56;  // the giver's number is the top byte of a ticket

base::Result<void> open_pair(loop::Fd& to, loop::Fd& at) {
  std::array<int, 2> both{};
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, both.data()) != 0)
    return base::fail_sys(errno, std::string("cannot make the sockets between cores: ") + std::strerror(errno));
  to = loop::Fd{both[0]};
  at = loop::Fd{both[1]};
  return {};
}

}  // namespace

base::Result<std::unique_ptr<HandOverPorts>> HandOverPorts::open(unsigned cores) {
  std::unique_ptr<HandOverPorts> ports(new HandOverPorts());
  ports->ports_.resize(cores);
  for (Port& port : ports->ports_)
    if (auto opened = open_pair(port.to, port.at); !opened) return std::unexpected(opened.error());
  if (auto opened = open_pair(ports->transfers_.to, ports->transfers_.at); !opened)
    return std::unexpected(opened.error());
  return ports;
}

std::vector<loop::Fd> HandOverPorts::descriptors() const {
  std::vector<loop::Fd> all{transfers_.to, transfers_.at};
  for (const Port& port : ports_) {
    all.push_back(port.to);
    all.push_back(port.at);
  }
  return all;
}

HandOverPorts::~HandOverPorts() {
  auto close = [](Port& port) {
    ASSERT(port.receiver == nullptr);
    if (port.to) ::close(port.to.value);
    if (port.at) ::close(port.at.value);
  };
  for (Port& port : ports_) close(port);
  close(transfers_);
}

HandOver::HandOver(Server::Impl& server, HandOverPorts& ports)
    : server_(server),
      ports_(ports),
      out_(std::make_unique<TicketMessage>()),
      next_ticket_(static_cast<std::uint64_t>(server.loop.core()) << kTicketCoreShift),
      arrivals_(server.loop.ring(), ports.ports_[server.loop.core()].at, [&server](loop::Fd socket, Gift gift) {
        server.take_over(socket, std::move(gift.request), std::move(gift.input));
      }) {
  ports_.ports_[server_.loop.core()].receiver = &arrivals_;
}

HandOver::~HandOver() {
  ASSERT(idle());
  ports_.ports_[server_.loop.core()].receiver = nullptr;
}

std::optional<unsigned> HandOver::core_of(std::string_view sid) const noexcept {
  auto id = base::ConnectionId::parse(sid.substr(0, sid.find('-')));
  if (!id || id->host() != server_.options.host) return std::nullopt;
  if (id->core() == server_.loop.core() || id->core() >= ports_.cores()) return std::nullopt;
  return id->core();
}

void HandOver::give(Gift gift) {
  if (stopped_) return server_.loop.ring().close(gift.socket);
  giving_.push_back(std::move(gift));
  if (giving_.size() == 1) send_next();
}

void HandOver::send_next() {
  if (giving_.empty()) return;
  const Gift& gift = giving_.front();
  out_->set(++next_ticket_, gift.socket);
  const HandOverPorts::Port& port = gift.order ? ports_.transfers_ : ports_.ports_[gift.core];
  server_.loop.ring().send_message(sending_, port.to, &out_->head);
}

void HandOver::on_sent(loop::Completion completion) {
  Gift gift = std::move(giving_.front());
  giving_.pop_front();
  server_.loop.ring().close(std::exchange(gift.socket, loop::Fd{}));  // the message holds a reference of its own
  if (completion.result < 0) {
    if (!stopped_) base::log::warn("hand_over_failed", {{"to", gift.core}, {"why", std::strerror(-completion.result)}});
  } else {
    ++server_.metrics.connections_handed_over;
    mail(out_->ticket, std::move(gift));
  }
  if (!stopped_) send_next();
}

// What follows a descriptor. A receiver that is gone has closed it.
void HandOver::mail(std::uint64_t ticket, Gift gift) {
  if (gift.order) {
    HandOverPorts::Port& port = ports_.transfers_;
    port.loop->post(loop::make_mail([&port, ticket, mailed = std::move(gift)]() mutable {
      if (port.receiver) port.receiver->on_mail(ticket, std::move(mailed));
    }));
    return;
  }
  const unsigned to = gift.core;
  server_.loop.send(to, loop::make_mail([&ports = ports_, to, ticket, mailed = std::move(gift)]() mutable {
                      if (Arrivals* there = ports.ports_[to].receiver) there->on_mail(ticket, std::move(mailed));
                    }));
}

void HandOver::stop() {
  if (std::exchange(stopped_, true)) return;
  arrivals_.stop();
  server_.loop.ring().cancel(sending_);
  for (std::size_t i = sending_.in_kernel() ? 1 : 0; i < giving_.size(); ++i)
    server_.loop.ring().close(giving_[i].socket);
  if (giving_.size() > 1) giving_.erase(giving_.begin() + 1, giving_.end());
}

}  // namespace ringline::net
