#include "crowd.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ringline/base/clock.hpp"

namespace ringline::bench {
namespace {

constexpr std::uint64_t kSampleEvery =
    1009;  // deliveries; each such one is parsed. A prime, so that it is not always the same member's
constexpr std::uint32_t kLoopback = 0x7f000001;
constexpr std::uint32_t kPerSource =
    4000;  // connections from one loopback address: ports do not run out, also while old ones linger

bool on_loopback(const loop::Address& address) {
  if (address.storage.ss_family != AF_INET) return false;
  return ntohl(reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr.s_addr) == kLoopback;
}

int bind_source(loop::Fd socket, std::uint32_t index) {
  const int on = 1;
  if (::setsockopt(socket.value, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) return errno;
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(kLoopback + index / kPerSource);
  return ::bind(socket.value, reinterpret_cast<const sockaddr*>(&source), sizeof source) == 0 ? 0 : errno;
}

}  // namespace

Crowd::Crowd(const Options& options, loop::Loop& loop, const loop::Address& address, std::uint32_t run)
    : options_(options),
      loop_(loop),
      address_(address),
      dialect_(options, run),
      ledger_(run, options.connections, options.room_size),
      room_ids_(options.rooms()) {
  for (std::uint32_t i = 0; i < options.connections; ++i) clients_.emplace_back(*this, i);
  loop_.add_hook(*this);
}

// Setting up.

void Crowd::open_some() {
  while (opened_ < options_.connections && setting_up_ < options_.concurrency && failed_ == 0) {
    if (!open_one(clients_[opened_])) return;
    ++opened_;
    ++setting_up_;
    ++open_;
  }
}

bool Crowd::open_one(Client& client) {
  auto socket = loop::socket_tcp(address_);
  if (!socket) {
    on_failed(client, socket.error().message);
    return false;
  }
  const int error = on_loopback(address_) ? bind_source(*socket, client.index()) : 0;
  if (error != 0) {
    ::close(socket->value);
    on_failed(client, fmt::format("bind: {}", std::strerror(error)));
    return false;
  }
  client.open(*socket, address_);
  return true;
}

void Crowd::on_joined(Client& client, const Said& answer) {
  std::string& id = room_ids_[client.index() / options_.room_size];
  if (id.empty()) id = dialect_.room_id(answer, client.index() / options_.room_size);
  if (id.empty()) return on_failed(client, "the answer to join has no room.id");
  ++joined_;
  --setting_up_;
}

void Crowd::on_failed(Client& client, std::string why) {
  if (closing_) return;
  if (failed_++ == 0) first_failure_ = std::move(why);
  if (client.state() != Client::State::joined) return;
  --joined_;
  ledger_.on_left(client.index());
}

// Sending.

unsigned Crowd::senders() const noexcept {
  unsigned count = 0;
  for (unsigned room = 0; room < options_.rooms(); ++room) {
    const unsigned members = std::min(options_.room_size, options_.connections - room * options_.room_size);
    count += options_.senders == 0 ? members : std::min(options_.senders, members);
  }
  return count;
}

std::uint32_t Crowd::sender(unsigned number) const noexcept {
  const unsigned rooms = options_.rooms();
  const unsigned room = number % rooms;
  const unsigned members = std::min(options_.room_size, options_.connections - room * options_.room_size);
  const unsigned senders = options_.senders == 0 ? members : std::min(options_.senders, members);
  return room * options_.room_size + number / rooms % senders;
}

void Crowd::send_next(std::int64_t intended_ns) { send_from(sender(static_cast<unsigned>(round_++)), intended_ns); }

void Crowd::send_from(std::uint32_t sender, std::int64_t intended_ns) {
  Client& client = clients_[sender];
  if (client.state() != Client::State::joined) return;
  const Marker marker = ledger_.next_message(sender, intended_ns);
  const std::uint32_t id = options_.acks ? client.next_id() : 0;
  text_.clear();
  append_text(text_, marker, options_.size);
  payload_.clear();
  dialect_.send(payload_, room_ids_[marker.room], text_, id, sender, marker.counter);
  client.say_message(payload_, id, intended_ns);
}

void Crowd::on_turn_end() {
  for (std::size_t i = 0; i < dirty_.size(); ++i) dirty_[i]->flush();
  dirty_.clear();
}

// Receiving.

void Crowd::on_event(Client& client, std::string_view payload, std::int64_t now_ns) {
  Marker marker;
  const Found found = client.state() == Client::State::joined ? find_marker(payload, marker) : Found::nothing;
  if (found == Found::marker) {
    ledger_.on_delivery(client.index(), marker, dialect_.seq(payload), payload.size(), now_ns);
    if (--until_sample_ == 0) sample(payload);
    return;
  }
  if (found == Found::damaged) return ledger_.on_damaged();
  if (client.state() == Client::State::joined) ledger_.on_event_seq(client.index(), dialect_.seq(payload));
}

void Crowd::sample(std::string_view payload) {
  until_sample_ = kSampleEvery;
  Marker marker;
  static_cast<void>(find_marker(payload, marker));
  text_.clear();
  append_text(text_, marker, options_.size);
  ledger_.on_sampled(dialect_.well_formed(payload, text_));
}

void Crowd::on_send_answer(Client& client, bool ok, std::string_view payload, std::int64_t intended_ns,
                           std::int64_t now_ns) {
  ledger_.on_answer(ok, intended_ns, now_ns);
  if (!ok && first_failure_.empty()) first_failure_ = fmt::format("a send was answered: {}", payload.substr(0, 300));
  if (closed_loop_) send_from(client.index(), now_ns);
}

void Crowd::close_all() {
  closing_ = true;
  for (Client& client : clients_) client.close();
}

}  // namespace ringline::bench
