// What speaks at the doors of the conformance server: echoes, and the Socket.IO fixture that the public suites expect.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "hub.hpp"
#include "ringline/base/json.hpp"
#include "ringline/net/socketio_speaker.hpp"
#include "ringline/net/speaker.hpp"

namespace ringline::conformance {

struct Limits {
  std::chrono::milliseconds connect_timeout;
  std::chrono::milliseconds connect_delay;  // of the answer to CONNECT
  std::size_t payload_bytes;
  bool deflate;
};

// /ws echoes messages, /engine.io/ packets, /socket.io/ is the fixture. Of one core.
class FixtureDoors final : public net::Doors {
 public:
  FixtureDoors(Hub& hub, const Limits& limits);
  std::span<const net::Door> all() const noexcept override { return doors_; }
  std::optional<Refusal> check(const net::Door&, const protocol::Request&) override { return {}; }
  std::unique_ptr<net::Speaker> open(const net::Door& door, const protocol::Request& request,
                                     net::Transport& transport) override;

 private:
  Hub& hub_;
  Limits limits_;
  base::json::Reader reader_;
  std::array<net::Door, 3> doors_;
};

}  // namespace ringline::conformance
