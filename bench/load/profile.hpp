// Profile: what any WebSocket server says and is told, as templates read from a file, so that a server nobody here knew can be driven and judged.
//
// In the templates {room} is the room's name, {id} a send's number, {text} what is sent and {size} its bytes. A delivery is known by the marker its
// text begins with, wherever it stands; the rest is told by how a frame begins.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ringline/base/result.hpp"

namespace ringline::bench {

struct Profile {
  std::string path = "/";   // template: {room}
  std::string subprotocol;  // empty: none is asked for
  std::string greeting;     // how the server's first frame begins; empty: the client speaks first
  std::string join;         // template: {room}; empty: the upgrade's path is the joining
  std::string joined;       // how its answer begins; empty: there is none
  std::string send;         // template: {room} {id} {text} {size}
  std::string answer;       // what stands before a send's id in its answer; empty: sends are not answered
  std::string ping;         // how a frame of the protocol's own begins that has to be answered; empty: none
  std::string pong;         // the answer
  bool binary = false;      // frames to the server are binary
  bool echo = false;        // the answer is all that comes: no deliveries are expected
};

// Of a file with an object `dialect`, or of that object alone. The error says which field is wrong.
base::Result<Profile> load_profile(const std::string& file);

struct Blanks {
  std::string_view room;
  std::uint32_t id = 0;
  std::string_view text;
};
// Appends the template with its blanks filled; braces that are no blank stay as they are (JSON has them too).
void fill(std::string& out, std::string_view pattern, const Blanks& blanks);

}  // namespace ringline::bench
