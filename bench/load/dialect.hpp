// Dialect: what one protocol says for upgrade, sign-in, join and send, and what its frames mean. A new protocol is a new case in each function.
//
// The hot half (`read` of an event) looks at the first bytes only; what an event carries is found by its marker, not by a parser.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "options.hpp"

namespace ringline::bench {

enum class Kind : std::uint8_t {
  event,      // of a room or to the user
  answer,     // to the command `id`
  greeting,   // Engine.IO's open packet
  connected,  // Socket.IO's CONNECT
  ping,       // Engine.IO's, to be answered
  refused,    // the server does not want us
  unknown,
};

struct Said {
  Kind kind = Kind::unknown;
  std::uint32_t id = 0;
  bool ok = false;
  std::string_view body;  // JSON: an answer's whole text
};

// Where a member stands in his room.
struct Place {
  std::int64_t seq = -1;
  std::int64_t epoch = 0;
};

inline constexpr std::uint32_t kConnectId = 1;
inline constexpr std::uint32_t kJoinId = 2;
inline constexpr std::uint32_t kFirstSendId = 3;

class Dialect {
 public:
  Dialect(const Options& options, std::uint32_t run);

  // The HTTP request that opens the socket; `room` for who joins by it.
  std::string upgrade(std::uint32_t room) const;
  // Appends payloads. `connect` of a protocol that greets first is said after its greeting.
  bool greets() const noexcept;
  // Signing in is a step of its own, or else joining is all there is.
  bool signs_in() const noexcept { return protocol_ != Protocol::profile; }
  // Joining is a frame and its answer, or else the upgrade's path was it.
  bool joins() const noexcept { return protocol_ != Protocol::profile || !options_.profile.joined.empty(); }
  bool binary() const noexcept { return protocol_ == Protocol::profile && options_.profile.binary; }
  // Who comes back says his token, and where he left each room (`resume`: JSON, or empty).
  void connect(std::string& out, std::uint32_t connection, std::string_view token, std::string_view resume) const;
  void join(std::string& out, std::uint32_t room) const;
  // `id` 0: no answer is wanted. `text` needs no escaping.
  void send(std::string& out, std::string_view room_id, std::string_view text, std::uint32_t id, std::uint32_t sender,
            std::uint32_t counter) const;
  // Ringline: a page of the room's history.
  void ask_history(std::string& out, std::string_view room_id, std::uint32_t id) const;
  std::string_view pong() const noexcept;

  Said read(std::string_view payload) const noexcept;
  // What the server calls the room, from the answer to `join`; empty: it did not say.
  std::string room_id(const Said& answer, std::uint32_t room) const;
  // Ringline: the room's last seq and epoch when it was joined.
  static Place place_in(const Said& answer);
  // Ringline: the access token in `ready`, and whether `resumed` left nothing out. Empty, none: it is another event.
  static bool is_ready(std::string_view payload) noexcept;
  static std::string_view token_in(std::string_view payload) noexcept;
  static std::optional<bool> resumed_in(std::string_view payload) noexcept;
  // Whether a delivery's frame is well-formed JSON with this text where it belongs. For a sample: it parses.
  bool well_formed(std::string_view payload, std::string_view text) const;
  // A room event's seq; -1: it has none.
  std::int64_t seq(std::string_view payload) const noexcept;

 private:
  std::string room_name(std::uint32_t room) const;
  bool is_peer() const noexcept { return protocol_ == Protocol::socketio_peer || protocol_ == Protocol::profile; }
  Said read_profile(std::string_view payload) const noexcept;

  const Options& options_;
  Protocol protocol_;
  std::uint32_t run_;
  mutable std::size_t seq_hint_ = 0;  // where "seq" stood last time: nearly always where it stands now
};

}  // namespace ringline::bench
