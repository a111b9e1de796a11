#include "crowd.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

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

int bind_source(loop::Fd socket, std::uint32_t first, std::uint32_t index) {
  const int on = 1;
  if (::setsockopt(socket.value, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) return errno;
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(kLoopback + first + index / kPerSource);
  return ::bind(socket.value, reinterpret_cast<const sockaddr*>(&source), sizeof source) == 0 ? 0 : errno;
}

}  // namespace

Crowd::Crowd(const Options& options, loop::Loop& loop, const loop::Address& address, std::uint32_t run)
    : options_(options),
      address_(address),
      wires_(loop),
      dialect_(options, run),
      ledger_(run, options.connections, options.room_size),
      room_ids_(options.rooms()) {
  for (std::uint32_t i = 0; i < options.connections; ++i) {
    clients_.emplace_back(*this, wires_, i);
    to_open_.push_back(i);
  }
  if (options.returning()) joined_at_.resize(options.connections);
}

// Setting up.

void Crowd::open_some() {
  while (!to_open_.empty() && setting_up_ < options_.concurrency && failed_ == 0) {
    if (!open_one(clients_[to_open_.front()])) return;
    to_open_.pop_front();
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
  const int error = on_loopback(address_) ? bind_source(*socket, options_.first_source, client.index()) : 0;
  if (error != 0) {
    ::close(socket->value);
    on_failed(client, fmt::format("bind: {}", std::strerror(error)));
    return false;
  }
  client.open(*socket, address_, resuming_ ? claim(client.index()) : std::string());
  return true;
}

void Crowd::on_joined(Client& client, const Said& answer) {
  std::string& id = room_ids_[client.index() / options_.room_size];
  if (id.empty()) id = dialect_.room_id(answer, client.index() / options_.room_size);
  if (id.empty()) return on_failed(client, "the answer to join has no room.id");
  if (!joined_at_.empty() && joined_at_[client.index()].seq < 0) joined_at_[client.index()] = Dialect::place_in(answer);
  ++joined_;
  --setting_up_;
}

// Coming back.

std::string Crowd::claim(std::uint32_t index) {
  const Place& place = joined_at_[index];
  const std::string& room = room_ids_[index / options_.room_size];
  if (place.seq < 0 || room.empty()) return {};
  return fmt::format(R"({{"{}":{{"seq":{},"epoch":{}}}}})", room, ledger_.go_on_from(index, place.seq), place.epoch);
}

void Crowd::on_resumed(bool complete) {
  ++resumed_;
  if (!complete) ++incomplete_;
  ++joined_;
  --setting_up_;
}

void Crowd::send_away(std::uint32_t index) {
  ASSERT(letting_go_);
  Client& client = clients_[index];
  if (client.state() != Client::State::joined) return;
  --joined_;
  ++sent_away_;
  client.close();
}

void Crowd::send_next_away() {
  for (unsigned i = 0; i < options_.connections; ++i) {
    const std::uint32_t index = next_away_++ % options_.connections;
    const bool sends = index % options_.room_size < options_.senders;
    if (sends || clients_[index].state() != Client::State::joined) continue;
    return send_away(index);
  }
}

void Crowd::on_closed(Client& client) {
  --open_;
  if (letting_go_ && !closing_) to_open_.push_back(client.index());
}

void Crowd::on_failed(Client& client, std::string why) {
  if (closing_) return;
  if (letting_go_) {
    const bool joined = client.state() == Client::State::joined;
    ++(joined ? cut_ : tried_again_);
    --(joined ? joined_ : setting_up_);
    return;
  }
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
  const std::uint32_t id = options_.acks ? client.next_id() : 0;
  if (asking_history_) {
    ledger_.on_asked();
    payload_.clear();
    dialect_.ask_history(payload_, room_ids_[sender / options_.room_size], id);
    return client.say_message(payload_, id, intended_ns);
  }
  const bool delivered = options_.protocol != Protocol::profile || !options_.profile.echo;
  const Marker marker = ledger_.next_message(sender, intended_ns, delivered);
  text_.clear();
  append_text(text_, marker, options_.size);
  payload_.clear();
  dialect_.send(payload_, room_ids_[marker.room], text_, id, sender, marker.counter);
  client.say_message(payload_, id, intended_ns);
}

// Receiving.

// A server may put several deliveries into one frame: each has a marker of its own.
void Crowd::on_event(Client& client, std::string_view payload, std::int64_t now_ns) {
  if (!client.listens()) return;
  Marker marker;
  Found found = find_marker(payload, marker);
  const std::int64_t seq = dialect_.seq(payload);
  if (found == Found::nothing) return ledger_.on_event_seq(client.index(), seq);
  const bool timed = client.state() == Client::State::joined;
  std::size_t bytes = payload.size();
  if (--until_sample_ == 0) sample(payload);
  while (found == Found::marker) {
    ledger_.on_delivery(client.index(), marker, seq, std::exchange(bytes, 0), now_ns, timed);
    if (options_.protocol != Protocol::profile) return;
    payload.remove_prefix(payload.find(kMarkerByte) + kMarkerBytes);
    found = find_marker(payload, marker);
  }
  if (found == Found::damaged) ledger_.on_damaged();
}

void Crowd::sample(std::string_view payload) {
  until_sample_ = kSampleEvery;
  Marker marker;
  if (find_marker(payload, marker) != Found::marker) return;
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
