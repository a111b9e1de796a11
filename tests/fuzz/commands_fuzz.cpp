// The JSON commands of /ws, a frame a line: the frame's form, JSON as such, what `connect` and `resume` say, and then the command itself, run through the
// real chat of a simulated host of two cores. $R, $U and $M stand for the ids of the lobby, of the speaker and of the last message, so that the
// corpus needs no luck with numbers.
//
// The host is kept for many inputs, since making it takes longer than running one; it is made anew every kInputsPerHost, and with FRESH=1 in the
// environment for each: that is how a finding is repeated.
#include <cmath>
#include <cstdlib>
#include <string>

#include "chat_room.hpp"
#include "input.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/protocol/plain.hpp"

namespace {

using namespace ringline;
using base::json::Value;
namespace plain = protocol::plain;

constexpr std::size_t kLinesMax = 8;
constexpr unsigned kInputsPerHost = 500;

bool same(const Value& a, const Value& b) {
  if (a.GetType() != b.GetType()) return false;
  if (a.IsString()) return base::json::view(a) == base::json::view(b);
  if (a.IsArray()) return std::equal(a.Begin(), a.End(), b.Begin(), b.End(), same);
  if (a.IsObject())
    return std::equal(a.MemberBegin(), a.MemberEnd(), b.MemberBegin(), b.MemberEnd(),
                      [](const auto& x, const auto& y) { return same(x.name, y.name) && same(x.value, y.value); });
  if (a.IsInt64()) return b.IsInt64() && a.GetInt64() == b.GetInt64();
  if (a.IsUint64()) return b.IsUint64() && a.GetUint64() == b.GetUint64();
  // A double may come back with its last digit changed: the reader is fast, not exact.
  if (a.IsDouble()) return std::abs(a.GetDouble() - b.GetDouble()) <= std::abs(a.GetDouble()) * 1e-14;
  return true;
}

int depth_of(const Value& value) {
  int deepest = 0;
  if (value.IsArray())
    for (const Value& item : value.GetArray()) deepest = std::max(deepest, depth_of(item));
  if (value.IsObject())
    for (const auto& member : value.GetObject()) deepest = std::max(deepest, depth_of(member.value));
  return value.IsArray() || value.IsObject() ? deepest + 1 : 0;
}

// What was read can be written and read again: calls travel between cores as text.
void check_json(std::string_view text) {
  static base::json::Reader reader;
  static base::json::Reader second;
  const Value* value = reader.parse(text);
  ASSERT((value == nullptr) == (reader.error() != base::json::ParseError::none));
  if (!value) return;
  ASSERT(base::valid_utf8(text) && depth_of(*value) <= base::json::kDepthMax);
  base::json::Writer out;
  out.value(*value);
  const Value* again = second.parse(out.view());
  ASSERT(again && same(*value, *again));
  if (const auto message = chat::read_message(*value)) {
    base::json::Writer written;
    chat::write_message(written, *message);
    const Value* object = second.parse(written.view());
    const auto back = object ? chat::read_message(*object) : std::nullopt;
    ASSERT(back && back->id == message->id && back->room == message->room && back->seq == message->seq);
    ASSERT(back->deleted_ms == message->deleted_ms);
    if (back->deleted_ms == 0)
      ASSERT(back->text == message->text && back->mentions == message->mentions && back->reply_to == message->reply_to);
  }
}

void check_connect(const Value& data) {
  const auto connect = chat::read_connect(data);
  if (!connect) {
    const std::string& field = connect.error().field;
    ASSERT(field == "data" || field == "token" || field == "name" || field == "resume");
    return;
  }
  ASSERT(connect->has_token || connect->token.empty());
  ASSERT(connect->resume.size() <= 1000 && (connect->has_resume || connect->resume.empty()));
  for (const chat::ResumePoint& point : connect->resume)
    ASSERT(point.room && point.seq >> 63 == 0 && point.epoch >> 63 == 0);
}

// The frame's form. The command's values live in `reader`.
plain::Command check_frame(base::json::Reader& reader, std::string_view text) {
  const plain::Command command = plain::decode(reader, text);
  ASSERT(command.bad_field.empty() == command.problem.empty());
  ASSERT(command.bad_field != "frame" || command.id.empty());
  if (!command.id.empty()) {
    static base::json::Reader ids;
    const Value* id = ids.parse(command.id.view());
    ASSERT(id && (id->IsString() || id->IsNumber()));
    std::string frame;
    plain::append_reply_frame(frame, command.id.view(), true, "{}");
    ASSERT(frame.ends_with(R"(,"ok":true,"data":{}})"));
  }
  if (!command.bad_field.empty()) return command;
  ASSERT(!command.data || command.data->IsObject());
  if (command.data) check_connect(*command.data);
  return command;
}

std::string with_ids(std::string_view line, const fuzz::Person& speaker) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char next = line[i] == '$' && i + 1 < line.size() ? line[i + 1] : '\0';
    const std::string* id = next == 'R'   ? &speaker.room_id
                            : next == 'U' ? &speaker.user_id
                            : next == 'M' ? &speaker.message_id
                                          : nullptr;
    if (id) {
      text.append(*id);
      ++i;
    } else {
      text.push_back(line[i]);
    }
  }
  return text;
}

fuzz::ChatRoom& room() {
  static auto& kept = *new std::unique_ptr<fuzz::ChatRoom>;  // not for the end of the process, when the log is gone
  static unsigned inputs = 0;
  static const bool fresh = std::getenv("FRESH") != nullptr;
  if (!kept || !kept->usable() || fresh || ++inputs % kInputsPerHost == 0) {
    kept.reset();  // one simulated world at a time
    kept = std::make_unique<fuzz::ChatRoom>();
  }
  return *kept;
}

void run(fuzz::ChatRoom& chat, std::string_view line) {
  static base::json::Reader reader;
  const std::string text = with_ids(line, *chat.speaker);
  check_json(text);
  const plain::Command command = check_frame(reader, text);
  if (!command.bad_field.empty() || command.cmd == "connect") return;
  chat.command(*chat.speaker, chat::ReplyTag(command.id.view()), command.cmd, command.data);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  base::Settings settings;
  settings.log_file = "/dev/null";
  ASSERT(base::log::start(settings).has_value());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view left = fuzz::Input(data, size).text();
  fuzz::ChatRoom& chat = room();
  for (std::size_t lines = 0; lines < kLinesMax && !left.empty(); ++lines) {
    const std::size_t end = left.find('\n');
    run(chat, left.substr(0, end));
    left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
  }
  chat.command(*chat.listener, "ping", "{}");
  chat.settle();
  return 0;
}
