// See server.hpp.
#include "ringline/net/server.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "net/server_impl.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::net {

namespace {

constexpr std::size_t kOutboxesKept = 1024;
constexpr std::int64_t kAcceptBackoffMs = 100;  // out of descriptors or memory
constexpr int kBacklog = 4096;

}  // namespace

Server::Impl::Impl(loop::Loop& of_core, ServerOptions given)
    : loop(of_core),
      options(given),
      metrics(of_core.metrics()),
      http_limits(given.http_limits),
      ids(given.host, given.core) {
  ASSERT(!given.doors || given.doors->all().size() <= Doors::kDoorsMax);
  if (given.hand_over) hand_over = std::make_unique<HandOver>(*this, *given.hand_over);
}

Server::Server(loop::Loop& loop, ServerOptions options) : impl_(std::make_unique<Impl>(loop, options)) {}

Server::~Server() { ASSERT(empty()); }

base::Result<std::uint16_t> Server::listen(std::uint16_t port) {
  loop::ListenOptions options{
      .backlog = kBacklog, .share_port = true, .unsent_bytes_max = base::limits::kKernelUnsentBytes};
  auto listener = loop::listen_tcp(impl_->options.settings.host, port, options);
  if (!listener) return std::unexpected(listener.error());
  impl_->listener = *listener;
  impl_->listening = true;
  impl_->accept();
  return loop::local_port(*listener);
}

void Server::Impl::accept() {
  if (listening && !accept_op.in_kernel()) loop.ring().accept_multishot(accept_op, listener);
}

void Server::Impl::on_accepted(loop::Completion completion) {
  if (!listening) {
    if (completion.result >= 0) loop.ring().close(loop::Fd{completion.result});
    if (!completion.more && listener) loop.ring().close(std::exchange(listener, loop::Fd{}));
    return;
  }
  if (completion.result < 0) {
    base::log::warn("accept_failed", {{"why", std::strerror(-completion.result)}});
    loop.timers().arm(accept_again, loop.now_ms() + kAcceptBackoffMs);
    return;
  }
  if (Connection* made = add(loop::Fd{completion.result})) {
    ++metrics.connections_accepted;
    made->start();
  }
  if (!completion.more) accept();
}

Connection* Server::Impl::add(loop::Fd socket) {
  if (options.connections_max != 0 && connections.size() >= options.connections_max) {
    ++metrics.connections_refused;
    if (socket) loop.ring().close(socket);
    return nullptr;
  }
  base::ConnectionId id{ids.next(base::wall_ms())};
  Connection& made = connections.emplace(id, *this, socket, id).first;
  metrics.connections = connections.size();
  return &made;
}

void Server::Impl::take_over(loop::Fd socket, protocol::Request request, std::string input) {
  if (Connection* made = add(socket)) made->start_with(std::move(request), std::move(input));
}

void Server::stop_listening() {
  impl_->listening = false;
  impl_->accept_again.disarm();
  if (impl_->hand_over) impl_->hand_over->stop();
  if (impl_->accept_op.in_kernel()) {
    impl_->loop.ring().cancel(impl_->accept_op);
  } else if (impl_->listener) {
    impl_->loop.ring().close(std::exchange(impl_->listener, loop::Fd{}));
  }
}

Connection* Server::Impl::find(base::ConnectionId id) noexcept { return connections.find(id); }

const Door* Server::Impl::door_at(std::string_view path) const noexcept {
  if (!options.doors) return nullptr;
  std::span<const Door> doors = options.doors->all();
  auto found = std::ranges::find(doors, path, &Door::path);
  return found == doors.end() ? nullptr : &*found;
}

// ID-SECRET: see Connection::sid.
Connection* Server::Impl::find_session(std::string_view sid) noexcept {
  auto dash = std::min(sid.find('-'), sid.size());
  auto id = base::ConnectionId::parse(sid.substr(0, dash));
  std::string_view digits = sid.substr(std::min(dash + 1, sid.size()));
  std::uint64_t secret = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), secret);
  if (!id || error != std::errc{} || end != digits.data() + digits.size()) return nullptr;
  Connection* found = find(*id);
  return found && found->is_session(secret) ? found : nullptr;
}

Speaker* Server::find(base::ConnectionId id) noexcept {
  Connection* found = impl_->find(id);
  return found ? found->speaker() : nullptr;
}

chat::Session* Server::find_session(base::ConnectionId id) noexcept {
  Speaker* speaker = find(id);
  return speaker ? speaker->session() : nullptr;
}

void Server::respond(base::ConnectionId connection, HttpResponse response) {
  if (Connection* found = impl_->find(connection)) found->respond(std::move(response));
}

void Server::on_turn_end() {
  impl_->flush();
  impl_->free_dead();
}

void Server::Impl::flush() {
  // A flush may make connections dirty again (what waited for room goes on). The dead are freed after this, so no pointer is stale.
  for (std::size_t i = 0; i < dirty.size(); ++i) dirty[i]->flush();
  dirty.clear();
}

void Server::Impl::free_dead() {
  for (base::ConnectionId id : dead) connections.erase(id);
  dead.clear();
  metrics.connections = connections.size();
}

std::unique_ptr<Outbox> Server::Impl::take_outbox() {
  if (outboxes.empty()) return std::make_unique<Outbox>();
  std::unique_ptr<Outbox> outbox = std::move(outboxes.back());
  outboxes.pop_back();
  return outbox;
}

void Server::Impl::give_back(std::unique_ptr<Outbox> outbox) {
  outbox->clear();
  if (outboxes.size() < kOutboxesKept) outboxes.push_back(std::move(outbox));
}

void Server::rest() noexcept {
  std::vector<std::unique_ptr<Outbox>>().swap(impl_->outboxes);
  impl_->dirty.shrink_to_fit();
  impl_->dead.shrink_to_fit();
  impl_->chunks.forget_kept();
  impl_->inflater.forget();
}

void Server::announce(std::string_view event, std::string_view body) {
  for (Connection& connection : impl_->connections) {
    chat::Session* session = connection.speaker() ? connection.speaker()->session() : nullptr;
    if (session && session->state == chat::Session::State::ready) session->out.send_event(event, body);
  }
}

void Server::close_all(chat::CloseCode code, std::string_view reason) {
  for (Connection& connection : impl_->connections) {
    chat::Session* session = connection.speaker() ? connection.speaker()->session() : nullptr;
    session ? session->out.close(code, reason) : connection.close(static_cast<std::uint16_t>(code), reason);
  }
}

void Server::kill_all() {
  for (Connection& connection : impl_->connections) connection.close_now();
}

bool Server::empty() const noexcept {
  return impl_->connections.empty() && !impl_->accept_op.in_kernel() &&
         !(impl_->hand_over && !impl_->hand_over->idle());
}

}  // namespace ringline::net
