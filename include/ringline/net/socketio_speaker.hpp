// A Speaker of Socket.IO 5 (github.com/socketio/socket.io-protocol): packets put together from text and attachments, acks in both directions. What
// namespaces there are and what events mean is the derived class's.
//
// A client that breaks the protocol loses its transport, as with the reference.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/json.hpp"
#include "ringline/loop/timers.hpp"
#include "ringline/net/speaker.hpp"
#include "ringline/protocol/socketio.hpp"

namespace ringline::net {

class SocketIoSpeaker : public Speaker {
 public:
  static constexpr std::chrono::seconds kAttachmentsTime{10};  // for the attachments of a packet to come
  static constexpr std::size_t kAsksMax = 1024;                // acks that are waited for

  void on_message(std::string_view payload, bool binary) final;
  void on_late() final;

 protected:
  // All views live until the handler returns.
  struct Event {
    std::string_view name_space;
    std::string_view ack;  // empty: none is wanted
    protocol::socketio::Event event;
    std::span<const std::string> attachments;
  };
  // Arguments of an ack: a JSON array, and what its placeholders stand for. Null: it did not come in time.
  struct Acked {
    const base::json::Value* arguments;
    std::span<const std::string> attachments;
  };
  using OnAck = std::move_only_function<void(const Acked*)>;

  // `reader` is the core's, and used within one call only.
  SocketIoSpeaker(Transport& transport, base::json::Reader& reader, std::chrono::milliseconds connect_time,
                  std::size_t payload_bytes_max);
  ~SocketIoSpeaker() override;

  virtual void on_connect(std::string_view name_space, const base::json::Value* auth) = 0;
  virtual void on_disconnect(std::string_view name_space) = 0;
  virtual void on_event(const Event& event) = 0;
  virtual bool is_connected(std::string_view name_space) const noexcept = 0;
  virtual void on_connect_late() = 0;

  // A packet and its attachments.
  void send(protocol::socketio::PacketType type, std::string_view name_space, std::string_view ack,
            std::string_view payload, std::span<const std::string> attachments);
  // Sends an event and waits for its ack. `payload`: the array, its name first. False: too many are waited for.
  bool ask(std::string_view name_space, std::string_view payload, std::span<const std::string> attachments,
           std::chrono::milliseconds time, OnAck on_ack);
  // The client breaks the protocol.
  void break_off(std::uint16_t code, std::string_view why);

  Transport& transport_;

 private:
  struct Assembling;
  struct Ask;
  void take_packet(const protocol::socketio::Packet& packet, std::span<const std::string> attachments);
  void take_event(const protocol::socketio::Packet& packet, const base::json::Value& payload,
                  std::span<const std::string> attachments);
  void take_ack(const protocol::socketio::Packet& packet, const base::json::Value& payload,
                std::span<const std::string> attachments);
  void take_attachment(std::string_view bytes);

  base::json::Reader& reader_;
  std::size_t payload_bytes_max_;
  std::unique_ptr<Assembling> assembling_;  // a packet whose attachments are still to come
  std::map<std::uint64_t, std::unique_ptr<Ask>> asks_;
  std::uint64_t last_ask_ = 0;
};

}  // namespace ringline::net
