// The /ws protocol: one JSON text frame a message. Encoders append complete WebSocket frames; `body` is JSON text, made once for all receivers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "ringline/base/json.hpp"

namespace ringline::protocol::plain {

// A request's id as JSON text, a number or a string, given back as it is.
class IdText {
 public:
  static constexpr std::size_t kBytesMax =
      72;                                    // a string of limits::kRequestIdBytes with its quotes and an escape or two
  bool set(std::string_view json) noexcept;  // false: too long
  std::string_view view() const noexcept { return {text_.data(), size_}; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  std::uint8_t size_ = 0;
  std::array<char, kBytesMax> text_{};
};

struct Command {
  IdText id;  // empty: no answer is asked for
  std::string_view cmd;
  const base::json::Value* data = nullptr;  // an object, or null: none
  std::string_view
      bad_field;  // not empty: what is wrong with the frame, to be answered `invalid`; "frame": it is no JSON object,
  std::string_view problem;  // which is answered with id null
};
// {"id":7,"cmd":"send_message","data":{…}}. Views and values live until the reader's next parse.
Command decode(base::json::Reader& reader, std::string_view text);

// {"event":"NAME","data":BODY}
void append_event_frame(std::string& out, std::string_view name, std::string_view body);
// {"id":ID,"ok":true,"data":BODY} or {"id":ID,"ok":false,"error":BODY}; an empty id is null
void append_reply_frame(std::string& out, std::string_view id, bool ok, std::string_view body);

}  // namespace ringline::protocol::plain
