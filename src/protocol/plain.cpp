#include "ringline/protocol/plain.hpp"

#include <array>
#include <charconv>
#include <system_error>

#include "protocol/frame_text.hpp"
#include "ringline/base/limits.hpp"

namespace ringline::protocol::plain {

namespace {

using base::json::ParseError;
using base::json::Value;

std::string_view problem_of(ParseError error) noexcept {
  switch (error) {
    case ParseError::depth:
      return "JSON nested too deep";
    case ParseError::encoding:
      return "not UTF-8";
    case ParseError::none:
    case ParseError::syntax:
      break;
  }
  return "not JSON";
}

// A number or a string as JSON text. A number that is no integer is written again, which keeps its value but maybe not its spelling.
bool read_id(const Value& value, IdText& id) {
  if (value.IsString() && value.GetStringLength() > base::limits::kRequestIdBytes) return false;
  if (!value.IsString() && !value.IsNumber()) return false;
  if (value.IsInt64()) {  // what clients send: no allocation
    std::array<char, 24> digits;
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value.GetInt64());
    return error == std::errc{} && id.set({digits.data(), end});
  }
  base::json::Writer text;
  text.value(value);
  return id.set(text.view());
}

Command bad(Command command, std::string_view field, std::string_view problem) {
  command.bad_field = field;
  command.problem = problem;
  return command;
}

}  // namespace

bool IdText::set(std::string_view json) noexcept {
  if (json.size() > kBytesMax) return false;
  json.copy(text_.data(), json.size());
  size_ = static_cast<std::uint8_t>(json.size());
  return true;
}

Command decode(base::json::Reader& reader, std::string_view text) {
  Command command{.id = {}, .cmd = {}, .bad_field = {}, .problem = {}};
  const Value* frame = reader.parse(text);
  if (!frame) return bad(command, "frame", problem_of(reader.error()));
  if (!frame->IsObject()) return bad(command, "frame", "not a JSON object");
  const Value* id = base::json::find(*frame, "id");
  if (id && !read_id(*id, command.id)) return bad(command, "id", "a number or a string up to 64");
  const Value* cmd = base::json::find(*frame, "cmd");
  if (!cmd || !cmd->IsString()) return bad(command, "cmd", "the command's name is missing");
  command.cmd = base::json::view(*cmd);
  command.data = base::json::find(*frame, "data");
  if (command.data && !command.data->IsObject()) return bad(command, "data", "must be an object");
  return command;
}

void append_event_frame(std::string& out, std::string_view name, std::string_view body) {
  append_text_frame(out, {R"({"event":")", name, R"(","data":)", body, "}"});
}

void append_reply_frame(std::string& out, std::string_view id, bool ok, std::string_view body) {
  append_text_frame(out, {R"({"id":)", id.empty() ? "null" : id,
                          ok ? R"(,"ok":true,"data":)" : R"(,"ok":false,"error":)", body, "}"});
}

}  // namespace ringline::protocol::plain
