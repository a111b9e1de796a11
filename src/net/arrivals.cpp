// See arrivals.hpp.
#include "net/arrivals.hpp"

#include <cstring>

#include "ringline/base/log.hpp"

namespace ringline::net {

TicketMessage::TicketMessage() {
  part = {&ticket, sizeof(ticket)};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  prepare();
}

void TicketMessage::prepare() noexcept {
  head.msg_control = control.data();
  head.msg_controllen = control.size();
}

void TicketMessage::set(std::uint64_t number, loop::Fd socket) noexcept {
  ticket = number;
  prepare();
  cmsghdr* entry = CMSG_FIRSTHDR(&head);
  entry->cmsg_level = SOL_SOCKET;
  entry->cmsg_type = SCM_RIGHTS;
  entry->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(entry), &socket.value, sizeof(int));
}

loop::Fd TicketMessage::socket() noexcept {
  cmsghdr* entry = CMSG_FIRSTHDR(&head);
  loop::Fd received;
  if (entry && entry->cmsg_level == SOL_SOCKET && entry->cmsg_type == SCM_RIGHTS &&
      entry->cmsg_len == CMSG_LEN(sizeof(int)))
    std::memcpy(&received.value, CMSG_DATA(entry), sizeof(int));
  return received;
}

Arrivals::Arrivals(loop::Ring& ring, loop::Fd port, Taken taken)
    : ring_(ring), port_(port), taken_(std::move(taken)), in_(std::make_unique<TicketMessage>()) {
  receive();
}

void Arrivals::receive() {
  in_->prepare();
  ring_.receive_message(receiving_, port_, &in_->head);
}

void Arrivals::on_received(loop::Completion completion) {
  loop::Fd socket = completion.result > 0 ? in_->socket() : loop::Fd{};
  if (stopped_) {
    if (socket) ring_.close(socket);
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

void Arrivals::on_mail(std::uint64_t ticket, Gift gift) {
  if (stopped_) return;
  arriving_[ticket].gift = std::move(gift);
  arrive(ticket);
}

void Arrivals::arrive(std::uint64_t ticket) {
  auto found = arriving_.find(ticket);
  if (!found->second.socket || !found->second.gift) return;
  Arriving both = std::move(found->second);
  arriving_.erase(found);
  if (*both.socket) {
    taken_(*both.socket, std::move(*both.gift));
  } else {
    base::log::warn("hand_over_failed", {{"why", "no descriptor is left"}});
  }
}

void Arrivals::stop() {
  if (std::exchange(stopped_, true)) return;
  ring_.cancel(receiving_);
  for (auto& [ticket, both] : arriving_)
    if (both.socket && *both.socket) ring_.close(*both.socket);
  arriving_.clear();
}

}  // namespace ringline::net
