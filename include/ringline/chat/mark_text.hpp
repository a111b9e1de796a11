// A read mark on its way between hosts, beside its room and user: "EPOCH SEQ COUNT".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ringline/chat/objects.hpp"

namespace ringline::chat {

std::string mark_text(const ReadMark& mark);
std::optional<ReadMark> read_mark_text(RoomId room, UserId user, std::string_view text);

}  // namespace ringline::chat
