// What Ringline says at /ws, as the witness takes it: answers, room events, `ready`, `resumed`, `room_reset`.
//
// Room events are read by their first fields, where the server puts them; all else is parsed, and an event whose fields stand elsewhere too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/json.hpp"
#include "witness.hpp"

namespace ringline::bench {

struct Heard {
  enum class Kind : std::uint8_t { answer, event, ready, resumed, reset, other, nonsense };
  Kind kind = Kind::nonsense;
  std::uint64_t room = 0;

  // An answer.
  std::uint32_t id = 0;
  bool ok = false;
  std::string_view code;  // of an error
  std::int64_t retry_after_ms = 0;
  Taken taken;
  std::string_view text;  // of the message

  Event event;             // `message` is left out
  std::string_view token;  // of `ready`
  Point point;             // of `room_reset`
  struct Room {
    std::uint64_t room;
    Point to;
    bool complete;
  };
  std::vector<Room> rooms;  // of `resumed`
};

class Ear {
 public:
  // Views are good until the next call.
  Heard hear(std::string_view payload);

 private:
  base::json::Reader reader_;
};

}  // namespace ringline::bench
