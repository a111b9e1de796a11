// The inside of a Server, shared with its connections.
#pragma once

#include <memory>
#include <vector>

#include "net/connection.hpp"
#include "net/hand_over.hpp"
#include "ringline/base/id_map.hpp"
#include "ringline/net/server.hpp"
#include "ringline/protocol/deflate.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::net {

struct Server::Impl {
  Impl(loop::Loop& of_core, ServerOptions given);

  void on_accepted(loop::Completion completion);
  Connection* add(loop::Fd socket);  // null: too many, the socket is closed
  void take_over(loop::Fd socket, protocol::Request request, std::string input);
  void on_accept_again() { accept(); }
  void accept();
  void flush();
  void free_dead();
  Connection* find(base::ConnectionId id) noexcept;
  const Door* door_at(std::string_view path) const noexcept;  // null: there is none
  Connection* find_session(std::string_view sid) noexcept;    // an Engine.IO session that lives
  std::unique_ptr<Outbox> take_outbox();
  void give_back(std::unique_ptr<Outbox> outbox);

  loop::Loop& loop;
  ServerOptions options;
  base::Metrics& metrics;
  protocol::HttpLimits http_limits;
  base::IdMaker ids;
  base::ChunkPool chunks;
  protocol::Inflater inflater;
  protocol::FrameContexts frames{protocol::Role::server};
  loop::Fd listener;
  bool listening = false;
  std::unique_ptr<HandOver> hand_over;  // null: there is one core
  base::IdMap<base::ConnectionId, Connection> connections;
  std::vector<Connection*> dirty;
  std::vector<base::ConnectionId> dead;
  std::vector<std::unique_ptr<Outbox>> outboxes;  // kept for the next use
  loop::OpOf<Impl, &Impl::on_accepted> accept_op{*this};
  loop::TimerOf<Impl, &Impl::on_accept_again> accept_again{*this};
};

}  // namespace ringline::net
