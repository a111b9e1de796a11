// The call of a command and the command table's row. A command is one row in commands.cpp and one handler; sockets and REST go through `dispatch`.
#pragma once

#include <coroutine>
#include <optional>
#include <string>
#include <string_view>

#include "ringline/base/json.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

struct HomeRoom;
struct AwaitedCall;
struct Command;

// Where the one answer to a call goes: a connection's request, or a coroutine that waits (REST).
struct ReplyTo {
  unsigned core = 0;
  ConnectionId connection;
  ReplyTag tag;
  AwaitedCall* waiter = nullptr;  // in a frame that cannot go before it is answered
  const Command* command = nullptr;
};

struct Call {
  const Command* command = nullptr;
  UserCard actor;
  ReplyTo to;
  const base::json::Value* data = nullptr;  // an object; lives while the handler runs
  RoomId room_id;                           // commands whose place is the room's home
  HomeRoom* room = nullptr;                 // likewise, once it is loaded
  std::int64_t arrived_ns = 0;
};

enum class Place : std::uint8_t {
  here,       // the caller's core
  user_home,  // the caller's home core
  room_home,  // the home core of `roomId`, the room being loaded
};
enum class Access : std::uint8_t {
  anybody,  // signed in
  member,   // member of `roomId`
};
enum class Rate : std::uint8_t { none, message };

struct Command {
  std::string_view name;
  void (*handler)(Shard::Parts&, Call&);
  Place place;
  Access access;
  Rate rate;
  bool socket_only;
  std::string_view fields;  // for people and the published documents: "roomId, clientId?, text?"
};

const Command* find_command(std::string_view name) noexcept;

// Checks and runs a call, hopping to the cores where it belongs. `data` of the call lives until this returns.
void dispatch(Shard::Parts& here, Call& call);

// The one answer. `body`: JSON of the data.
void answer(Shard::Parts& here, const ReplyTo& to, std::string_view body);
void answer(Shard::Parts& here, const ReplyTo& to, const base::Error& error);

struct AwaitedCall {
  std::optional<Reply> reply;
  std::coroutine_handle<> waiting;
  void complete(Reply value) {
    reply.emplace(std::move(value));
    if (waiting) waiting.resume();
  }
};

}  // namespace ringline::chat
