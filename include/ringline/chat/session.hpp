// A connection as chat sees it, and what it offers to chat. `Session` is a member of net's connection; `Outlet` is implemented by it. All calls
// are made on the connection's core; nobody else holds a Session: others hold a ConnectionId and look it up (null: it is gone).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/chunk.hpp"
#include "ringline/base/few.hpp"
#include "ringline/chat/objects.hpp"
#include "ringline/chat/user_card.hpp"

namespace ringline::chat {

// The protocols that events are encoded for. `plain`: /ws; `socketio`: Socket.IO over WebSocket or polling; both also compressed.
enum class Wire : std::uint8_t { plain, socketio, plain_deflate, socketio_deflate };
inline constexpr std::size_t kWires = 4;

// What the client wrote as the id of its request, given back as it is: JSON text (/ws) or digits (a Socket.IO ack id). Empty: it asked for no answer.
class ReplyTag {
 public:
  static constexpr std::size_t kBytesMax = 72;
  ReplyTag() noexcept = default;
  explicit ReplyTag(std::string_view text) noexcept : size_(static_cast<std::uint8_t>(text.size())) {
    ASSERT(text.size() <= kBytesMax);
    text.copy(text_.data(), text.size());
  }
  std::string_view view() const noexcept { return {text_.data(), size_}; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::uint8_t size_ = 0;
  std::array<char, kBytesMax> text_;
};

// Close codes of the wire contract ("Close codes").
enum class CloseCode : std::uint16_t {
  stopping = 1001,
  policy = 1008,
  internal = 1011,
  overloaded = 1013,
  connect_timed_out = 4000,
  token_expired = 4001,
  too_slow = 4002,
  ping_timed_out = 4003,
  token_invalid = 4500,
  session_ended = 4501,
  banned = 4502,
  too_many_connections = 4503,
};

class Outlet {
 public:
  // The one answer to a command. `body` is JSON: the data, or the error object. `cmd` is its name (Socket.IO's command_failed without an ack).
  virtual void reply(const ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) = 0;
  // Sign-in ended: plain answers {"connectionId"} under the tag, Socket.IO sends its CONNECT packet. Refused: an error reply, then `close` if it is not to
  // try again on this connection; Socket.IO: CONNECT_ERROR, and its client goes.
  virtual void signed_in(const ReplyTag& tag) = 0;
  virtual void refused(const ReplyTag& tag, const base::Error& error, std::optional<CloseCode> close) = 0;
  // An event to this connection alone; goes before queued room events.
  virtual void send_event(std::string_view name, std::string_view body) = 0;
  // Frames of room events, bytes [from, to) of a shared chunk. False: the budget (send_queue_bytes) is spent, nothing was taken; chat keeps its place in
  // the room log and goes on when Shard::drained is called.
  virtual bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) = 0;
  // Whether room events are welcome: false after send_shared refused, until drained.
  virtual bool has_room() const noexcept = 0;
  // Tells (Socket.IO: session_ended where the code is 4500 or above), sends what is queued, closes.
  virtual void close(CloseCode code, std::string_view reason) = 0;
  virtual Wire wire() const noexcept = 0;
  // The peer's address as text (behind a trusted proxy: the client's).
  virtual std::string address() const = 0;

 protected:
  ~Outlet() = default;
};

struct LocalRoom;

// What Socket.IO's connection state recovery calls a connection.
struct RecoveryIds {
  std::string pid;  // secret: who has it may come back
  std::string sid;
};

// Chat's part of a connection. Small: there may be a million.
struct Session {
  // Where the session sits in a room of this core.
  struct Seat {
    LocalRoom* room;
    std::uint32_t index;  // into LocalRoom::seats
  };
  enum class State : std::uint8_t {
    fresh,       // nothing but `connect` is taken
    signing_in,  // `connect` is under way
    ready,       // signed in
    gone,        // disconnected() was called
  };

  explicit Session(ConnectionId connection, Outlet& outlet) noexcept : id(connection), out(outlet) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  ConnectionId id;
  Outlet& out;
  UserCard user;  // null before `ready`
  SessionId session;
  base::Few<Seat> seats;
  std::unique_ptr<RecoveryIds> recovery;  // null: it is not to come back by it
  std::int64_t token_expires_ms = 0;      // of the access token
  State state = State::fresh;
  bool feeding = false;  // a read of the room log for this session is under way
  bool watches_stats = false;
};

// `connect` of /ws, or Socket.IO's auth.
struct ResumePoint {
  RoomId room;
  std::uint64_t seq = 0;
  std::uint64_t epoch = 0;
};
struct ConnectData {
  std::string token;  // empty: none, a guest is made
  bool has_token = false;
  std::string name;
  std::string pid;  // with `offset`: see RecoveryIds
  std::string offset;
  std::vector<ResumePoint> resume;
  bool has_resume = false;
};
// From {token?, name?, resume?}; `invalid` names the field.
base::Result<ConnectData> read_connect(const base::json::Value& data);
// From {ROOMID: {seq, epoch}}.
base::Result<std::vector<ResumePoint>> read_resume(const base::json::Value& rooms);

}  // namespace ringline::chat
