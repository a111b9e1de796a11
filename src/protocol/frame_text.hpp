// A text frame made of known pieces: the length goes first, so it is added up before anything is appended.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {

inline void append_text_frame(std::string& out, std::initializer_list<std::string_view> pieces) {
  std::size_t size = 0;
  for (std::string_view piece : pieces) size += piece.size();
  append_frame_header(out, Opcode::text, size);
  for (std::string_view piece : pieces) out.append(piece);
}

}  // namespace ringline::protocol
