// What ringline-load is asked to do: its flags, checked.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "profile.hpp"

namespace ringline::bench {

enum class Protocol : std::uint8_t {
  ringline,       // Ringline's plain JSON at /ws
  socketio,       // Ringline through Socket.IO over WebSocket
  socketio_peer,  // any Socket.IO server that knows `join room` and `send text`, and broadcasts `message text`
  profile,        // any WebSocket server, described by a file: see profile.hpp
};

enum class Mode : std::uint8_t {
  fanout,   // a rate for a time
  search,   // the highest rate that is held
  idle,     // connections only
  ack,      // each sender sends its next message when it has the answer to the last
  history,  // the same with pages of history instead of messages
  burst,    // one message at a time, everybody's deliveries taken only after the server is done with it
  storm,    // all connections once more, with the tokens of the first time
  resume,   // all clients of a server that was stopped come back at once, and each shows that it got what it missed
  hosts,  // several hosts of one service: people go from one to the other, and what they are told is held against each other
};

inline constexpr unsigned kConnectionsMax = 19'900;  // a process may have 20,000 descriptors where nothing was set up
inline constexpr unsigned kSourcesMax = 1U << 16;    // loopback addresses, from the first on
inline constexpr std::size_t kTextBytesMax = 4000;   // as Ringline allows
inline constexpr unsigned kRoomsOfAllMax = 100;
inline constexpr double kHostsSecondsMax = 780;  // and the draining: a guest's token is good for 15 minutes

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 3080;
  Protocol protocol = Protocol::ringline;
  Profile profile;   // of Protocol::profile
  std::string path;  // empty: the protocol's
  Mode mode = Mode::fanout;

  unsigned connections = 1000;
  unsigned room_size = 100;
  unsigned senders = 0;  // of each room; 0: all
  unsigned concurrency = 64;
  unsigned first_source = 0;  // loopback: the first connections come from 127.0.0.1 + this
  std::size_t size = 200;
  bool acks = true;
  bool client_ids = false;

  double rate = 500;
  double seconds = 10;
  double warmup = 2;
  double p99_ms = 100;  // search: the bound
  double precision = 0.05;
  double rate_max = 100'000;
  double drain_seconds = 30;
  double churn = 0;        // connections a second that go and come back while the run goes on
  unsigned missed = 200;   // resume: events of each room; history: messages of each room
  unsigned bursts = 20;    // burst: messages
  double burst_every = 2;  // burst: seconds from one to the next

  std::vector<std::string> addresses;  // hosts: HOST:PORT of each
  unsigned rooms_of_all = 4;           // hosts: rooms, everybody in each
  double move_every = 3;               // hosts: seconds until somebody goes to another without need; 0: nobody does
  std::uint64_t seed = 1;              // hosts: of who goes where and sends to which room
  std::string record;                  // hosts: path of what was acked and seen; empty: none

  std::string join_event = "join";
  std::string send_event = "send";
  std::string message_event = "message";

  bool busy_poll = false;
  std::vector<pid_t> server_pids;
  std::string json;  // path; empty: none

  // Connections come back with their token, from where they were.
  bool returning() const noexcept { return mode == Mode::storm || mode == Mode::resume || churn > 0; }
  unsigned rooms() const noexcept { return (connections + room_size - 1) / room_size; }
};

const char* name_of(Protocol protocol) noexcept;
const char* name_of(Mode mode) noexcept;

// The error is the exit code: 0 when --help was answered, else 2 with the reason on standard error.
std::expected<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace ringline::bench
