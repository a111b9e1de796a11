// The product's doors: /ws, one JSON text frame a message, and /socket.io/. Behind both is chat.
#pragma once

#include <array>
#include <string>

#include "ringline/base/json.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/chat/shard.hpp"
#include "ringline/net/speaker.hpp"
#include "ringline/protocol/deflate.hpp"

namespace ringline::net {

// What the speakers of a core share. Of the last three each use is within one call.
struct ChatCore {
  const base::Settings& settings;
  chat::Shard* shard = nullptr;
  base::json::Reader reader = {};
  protocol::Deflater deflater = {};
  std::string scratch = {};
  std::string opening_token =
      {};  // of the upgrade by which a speaker is being made, until its `on_open`, which follows at once
};

// Of one core.
class ChatDoors final : public Doors, public chat::Framer {
 public:
  explicit ChatDoors(const base::Settings& settings);

  // Made after the server, which it needs to find sessions; before the first connection.
  void set_shard(chat::Shard& shard) noexcept { core_.shard = &shard; }

  protocol::HttpLimits http_limits() const noexcept;  // of a server with these doors
  void rest() noexcept { core_.deflater.forget(); }   // it is quiet: see Server::rest

  std::span<const Door> all() const noexcept override { return doors_; }
  std::optional<Refusal> check(const Door& door, const protocol::Request& request) override;
  std::unique_ptr<Speaker> open(const Door& door, const protocol::Request& request, Transport& transport) override;
  void append_event(std::string& out, chat::Wire wire, std::string_view name, std::string_view body,
                    std::string_view offset) override;

 private:
  ChatCore core_;
  std::array<Door, 2> doors_;
};

}  // namespace ringline::net
