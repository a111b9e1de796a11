// The seam between a connection and what is said on it.
//
// A Transport carries messages: a WebSocket, or an Engine.IO session over polling, WebSocket, or first one and then the other. A Speaker is what talks
// there: chat in the product (chat_doors.hpp), echoes and fixtures in the conformance server. Doors say which paths there are and who speaks at each.
// All calls are made on the connection's core.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ringline/base/chunk.hpp"
#include "ringline/base/ids.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::net {

class Transport {
 public:
  virtual base::ConnectionId id() const noexcept = 0;
  virtual loop::Loop& loop() noexcept = 0;
  // To append complete WebSocket frames to (for polling they are taken apart again); sent before room events. It must not be kept.
  virtual std::string& output() = 0;
  virtual std::size_t output_bytes() const noexcept = 0;  // appended and not taken by the kernel yet
  // Whole frames of room events, bytes [from, to) of a chunk that others share. False: the budget is spent, nothing was taken; Speaker::on_room follows.
  virtual bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) = 0;
  virtual bool has_room() const noexcept = 0;
  // Neither closed nor closing: what is sent may still arrive.
  virtual bool is_open() const noexcept = 0;
  // Sends what is queued, then closes; Speaker::on_closed follows when it has. `code` is a WebSocket's; polling has no codes.
  virtual void close(std::uint16_t code, std::string_view reason) = 0;
  virtual void close_slow() = 0;  // it does not take what is sent
  // Whether frames of a protocol::Deflater may be sent.
  virtual bool deflates() const noexcept = 0;
  // The client's address; behind a trusted proxy not the peer's. Known until `forget_address`.
  virtual std::string address() const = 0;
  virtual void forget_address() noexcept = 0;
  // Something is to come within a time, or Speaker::on_late is called. One such wait at a time; `expect_nothing` ends it.
  virtual void expect_within(std::chrono::milliseconds time) = 0;
  virtual void expect_nothing() noexcept = 0;
  // A command was taken that is not answered yet: above limits::kCommandsInFlight of them nothing is read.
  virtual void command_taken() = 0;
  virtual void command_answered() = 0;

 protected:
  ~Transport() = default;
};

class Speaker {
 public:
  virtual ~Speaker() = default;
  virtual void on_open() {}  // the transport has its speaker now
  // A WebSocket message (text is valid UTF-8), or what an Engine.IO message packet holds. `payload` lives until this returns.
  virtual void on_message(std::string_view payload, bool binary) = 0;
  virtual void on_room() {}
  virtual void on_late() {}
  // The last call: nothing can be sent any more. The speaker is destroyed at the end of the turn.
  virtual void on_closed() {}
  virtual chat::Session* session() noexcept { return nullptr; }  // of chat's speakers
};

struct Door {
  enum class Kind : std::uint8_t { websocket, engineio };
  std::string_view path;
  Kind kind = Kind::websocket;
  std::size_t message_bytes = 0;      // of a message, and of a payload of polling; above: 1009, 413
  std::string_view subprotocol = {};  // empty: none
  bool pings = true;                  // heartbeats; Engine.IO always has them
  bool deflate = true;                // permessage-deflate is negotiated
};

class Doors {
 public:
  static constexpr std::size_t kDoorsMax = 256;
  // They live as long as the server.
  virtual std::span<const Door> all() const noexcept = 0;
  // Before an upgrade or a handshake of Engine.IO. None: come in.
  struct Refusal {
    int status;
    std::string_view why;
  };
  virtual std::optional<Refusal> check(const Door& door, const protocol::Request& request) = 0;
  // The handshake is over.
  virtual std::unique_ptr<Speaker> open(const Door& door, const protocol::Request& request, Transport& transport) = 0;

 protected:
  ~Doors() = default;
};

}  // namespace ringline::net
