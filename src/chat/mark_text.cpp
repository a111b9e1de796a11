// See mark_text.hpp.
#include "ringline/chat/mark_text.hpp"

#include <charconv>

namespace ringline::chat {

std::string mark_text(const ReadMark& mark) {
  return std::to_string(mark.epoch) + " " + std::to_string(mark.seq) + " " + std::to_string(mark.count);
}

std::optional<ReadMark> read_mark_text(RoomId room, UserId user, std::string_view text) {
  ReadMark mark{.room = room, .user = user};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::uint64_t* number : {&mark.epoch, &mark.seq, &mark.count}) {
    if (number != &mark.epoch && (at == end || *at++ != ' ')) return std::nullopt;
    auto [next, error] = std::from_chars(at, end, *number);
    if (error != std::errc{}) return std::nullopt;
    at = next;
  }
  if (at != end) return std::nullopt;
  return mark;
}

}  // namespace ringline::chat
