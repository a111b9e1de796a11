// A room event as it is written in Redis: see redis_functions.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/chat/bus.hpp"

namespace ringline::backend {

// The entry in parts, between which the seq belongs.
std::vector<std::string> entry_parts(const chat::Proposal& proposal);
std::string entry_of(const chat::RoomEvent& event, base::UserId subject, std::string_view key);
// None: it is not one.
std::optional<chat::RoomEvent> read_entry(base::RoomId room, std::uint64_t seq, std::string_view entry);

}  // namespace ringline::backend
