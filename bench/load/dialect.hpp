// Dialect: what one protocol says for upgrade, sign-in, join and send, and what its frames mean. A new protocol is a new case in each function.
//
// The hot half (`read` of an event) looks at the first bytes only; what an event carries is found by its marker, not by a parser.
#pragma once

#include <cstdint>
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

inline constexpr std::uint32_t kConnectId = 1;
inline constexpr std::uint32_t kJoinId = 2;
inline constexpr std::uint32_t kFirstSendId = 3;

class Dialect {
 public:
  Dialect(const Options& options, std::uint32_t run);

  // The HTTP request that opens the socket.
  std::string upgrade() const;
  // Appends payloads. `connect` of a protocol that greets first is said after its greeting.
  bool greets() const noexcept { return protocol_ != Protocol::ringline; }
  void connect(std::string& out, std::uint32_t connection) const;
  void join(std::string& out, std::uint32_t room) const;
  // `id` 0: no answer is wanted. `text` needs no escaping.
  void send(std::string& out, std::string_view room_id, std::string_view text, std::uint32_t id, std::uint32_t sender,
            std::uint32_t counter) const;
  static constexpr std::string_view kPong = "3";

  Said read(std::string_view payload) const noexcept;
  // What the server calls the room, from the answer to `join`; empty: it did not say.
  std::string room_id(const Said& answer, std::uint32_t room) const;
  // Whether a delivery's frame is well-formed JSON with this text where it belongs. For a sample: it parses.
  bool well_formed(std::string_view payload, std::string_view text) const;
  // A room event's seq; -1: it has none.
  std::int64_t seq(std::string_view payload) const noexcept;

 private:
  std::string room_name(std::uint32_t room) const;
  bool is_peer() const noexcept { return protocol_ == Protocol::socketio_peer; }

  const Options& options_;
  Protocol protocol_;
  std::uint32_t run_;
  mutable std::size_t seq_hint_ = 0;  // where "seq" stood last time: nearly always where it stands now
};

}  // namespace ringline::bench
