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

}  // namespace

base::Result<std::unique_ptr<HandOverPorts>> HandOverPorts::open(unsigned cores) {
  std::unique_ptr<HandOverPorts> ports(new HandOverPorts());
  ports->ports_.resize(cores);
  for (Port& port : ports->ports_) {
    std::array<int, 2> both{};
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, both.data()) != 0)
      return base::fail_sys(errno, std::string("cannot make the sockets between cores: ") + std::strerror(errno));
    port.to = loop::Fd{both[0]};
    port.at = loop::Fd{both[1]};
  }
  return ports;
}

std::vector<loop::Fd> HandOverPorts::descriptors() const {
  std::vector<loop::Fd> all;
  for (const Port& port : ports_) {
    all.push_back(port.to);
    all.push_back(port.at);
  }
  return all;
}

HandOverPorts::~HandOverPorts() {
  for (Port& port : ports_) {
    ASSERT(port.receiver == nullptr);
    if (port.to) ::close(port.to.value);
    if (port.at) ::close(port.at.value);
  }
}

struct HandOver::Message {
  Message() {
    part = {&ticket, sizeof(ticket)};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    prepare();
  }
  // The kernel writes lengths into a message that it received.
  void prepare() noexcept {
    head.msg_control = control.data();
    head.msg_controllen = control.size();
  }
  void set(std::uint64_t number, loop::Fd socket) noexcept {
    ticket = number;
    prepare();
    cmsghdr* entry = CMSG_FIRSTHDR(&head);
    entry->cmsg_level = SOL_SOCKET;
    entry->cmsg_type = SCM_RIGHTS;
    entry->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(entry), &socket.value, sizeof(int));
  }
  // None: the kernel could not give this process one more descriptor.
  loop::Fd socket() noexcept {
    cmsghdr* entry = CMSG_FIRSTHDR(&head);
    loop::Fd received;
    if (entry && entry->cmsg_level == SOL_SOCKET && entry->cmsg_type == SCM_RIGHTS &&
        entry->cmsg_len == CMSG_LEN(sizeof(int)))
      std::memcpy(&received.value, CMSG_DATA(entry), sizeof(int));
    return received;
  }

  std::uint64_t ticket = 0;
  iovec part{};
  msghdr head{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
};

HandOver::HandOver(Server::Impl& server, HandOverPorts& ports)
    : server_(server),
      ports_(ports),
      out_(std::make_unique<Message>()),
      in_(std::make_unique<Message>()),
      next_ticket_(static_cast<std::uint64_t>(server.loop.core()) << kTicketCoreShift) {
  ports_.ports_[server_.loop.core()].receiver = this;
  receive();
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
  out_->set(++next_ticket_, giving_.front().socket);
  server_.loop.ring().send_message(sending_, ports_.ports_[giving_.front().core].to, &out_->head);
}

void HandOver::on_sent(loop::Completion completion) {
  Gift gift = std::move(giving_.front());
  giving_.pop_front();
  server_.loop.ring().close(std::exchange(gift.socket, loop::Fd{}));  // the message holds a reference of its own
  if (completion.result < 0) {
    if (!stopped_) base::log::warn("hand_over_failed", {{"to", gift.core}, {"why", std::strerror(-completion.result)}});
  } else {
    ++server_.metrics.connections_handed_over;
    unsigned to = gift.core;
    server_.loop.send(to,
                      loop::make_mail([&ports = ports_, to, ticket = out_->ticket, mailed = std::move(gift)]() mutable {
                        if (HandOver* there = ports.ports_[to].receiver) there->on_mail(ticket, std::move(mailed));
                      }));
  }
  if (!stopped_) send_next();
}

void HandOver::receive() {
  in_->prepare();
  server_.loop.ring().receive_message(receiving_, ports_.ports_[server_.loop.core()].at, &in_->head);
}

void HandOver::on_received(loop::Completion completion) {
  loop::Fd socket = completion.result > 0 ? in_->socket() : loop::Fd{};
  if (stopped_) {
    if (socket) server_.loop.ring().close(socket);
    return;
  }
  if (completion.result == sizeof(in_->ticket)) {
    arriving_[in_->ticket].socket = socket;
    arrive(in_->ticket);
  } else {
    base::log::error("hand_over_broken", {{"why", completion.result < 0 ? std::strerror(-completion.result)
                                                                        : "a message of another size"}});
  }
  receive();
}

void HandOver::on_mail(std::uint64_t ticket, Gift gift) {
  if (stopped_) return;
  arriving_[ticket].gift = std::move(gift);
  arrive(ticket);
}

void HandOver::arrive(std::uint64_t ticket) {
  auto found = arriving_.find(ticket);
  if (!found->second.socket || !found->second.gift) return;
  Arriving both = std::move(found->second);
  arriving_.erase(found);
  if (*both.socket) {
    server_.take_over(*both.socket, std::move(both.gift->request), std::move(both.gift->input));
  } else {
    base::log::warn("hand_over_failed", {{"why", "no descriptor is left"}});
  }
}

void HandOver::stop() {
  if (std::exchange(stopped_, true)) return;
  server_.loop.ring().cancel(receiving_);
  server_.loop.ring().cancel(sending_);
  for (std::size_t i = sending_.in_kernel() ? 1 : 0; i < giving_.size(); ++i)
    server_.loop.ring().close(giving_[i].socket);
  if (giving_.size() > 1) giving_.erase(giving_.begin() + 1, giving_.end());
  for (auto& [ticket, both] : arriving_)
    if (both.socket && *both.socket) server_.loop.ring().close(*both.socket);
  arriving_.clear();
}

}  // namespace ringline::net
