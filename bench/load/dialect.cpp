#include "dialect.hpp"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

#include "marker.hpp"
#include "ringline/base/json.hpp"

namespace ringline::bench {
namespace {

namespace json = base::json;

constexpr std::string_view kEvent = R"({"event":)";
constexpr std::string_view kAnswer = R"({"id":)";
constexpr std::string_view kOk = R"("ok":true)";
constexpr std::string_view kSeq = R"("seq":)";
constexpr std::string_view kReady = R"({"event":"ready")";
constexpr std::string_view kResumed = R"({"event":"resumed")";
constexpr std::string_view kToken = R"("accessToken":")";
constexpr std::size_t kOkWithin = 64;    // of an answer: behind it the text of a message may say the same
constexpr std::size_t kSeqWithin = 512;  // of an event

Said answer(std::string_view payload, std::size_t digits) noexcept {
  Said said{.kind = Kind::answer, .body = payload};
  const auto [end, error] = std::from_chars(payload.data() + digits, payload.data() + payload.size(), said.id);
  if (error != std::errc{}) return {};
  said.body.remove_prefix(static_cast<std::size_t>(end - payload.data()));
  said.ok = said.body.substr(0, kOkWithin).find(kOk) != std::string_view::npos;
  return said;
}

// Engine.IO 4 with Socket.IO 5 in it: https://socket.io/docs/v4/socket-io-protocol
Said read_socketio(std::string_view payload) noexcept {
  if (payload.empty()) return {};
  switch (payload[0]) {
    case '0':
      return {.kind = Kind::greeting};
    case '1':
      return {.kind = Kind::refused, .body = payload};
    case '2':
      return {.kind = Kind::ping};
    case '4':
      break;
    default:
      return {};
  }
  if (payload.size() < 2) return {};
  switch (payload[1]) {
    case '0':
      return {.kind = Kind::connected};
    case '2':
      return {.kind = Kind::event};
    case '3':
      return answer(payload, 2);
    case '1':
    case '4':
      return {.kind = Kind::refused, .body = payload};
    default:
      return {};
  }
}

// The object in an answer: of Socket.IO the first argument.
const json::Value* object_of(json::Reader& reader, std::string_view text) {
  const json::Value* value = reader.parse(text);
  if (value != nullptr && value->IsArray() && !value->Empty()) value = &(*value)[0];
  return value != nullptr && value->IsObject() ? value : nullptr;
}

}  // namespace

Dialect::Dialect(const Options& options, std::uint32_t run)
    : options_(options), protocol_(options.protocol), run_(run) {}

std::string Dialect::room_name(std::uint32_t room) const { return fmt::format("bench-{:08x}-{}", run_, room); }

bool Dialect::greets() const noexcept {
  return protocol_ == Protocol::profile ? !options_.profile.greeting.empty() : protocol_ != Protocol::ringline;
}

std::string_view Dialect::pong() const noexcept {
  return protocol_ == Protocol::profile ? std::string_view(options_.profile.pong) : "3";
}

std::string Dialect::upgrade(std::uint32_t room) const {
  const bool plain = protocol_ == Protocol::ringline;
  std::string own;
  if (protocol_ == Protocol::profile) fill(own, options_.profile.path, {.room = room_name(room)});
  const std::string subprotocol = plain ? "ringline.v1" : options_.profile.subprotocol;
  const std::string path = !options_.path.empty() ? options_.path
                           : plain                ? "/ws"
                           : !own.empty()         ? own
                                                  : "/socket.io/?EIO=4&transport=websocket";
  return fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
      "cmluZ2xpbmUtbG9hZC0wMQ==\r\n"
      "Sec-WebSocket-Version: 13\r\n{}\r\n",
      path, options_.host, options_.port,
      subprotocol.empty() ? "" : fmt::format("Sec-WebSocket-Protocol: {}\r\n", subprotocol));
}

void Dialect::connect(std::string& out, std::uint32_t connection, std::string_view token,
                      std::string_view resume) const {
  const auto to = std::back_inserter(out);
  switch (protocol_) {
    case Protocol::ringline:
      if (!token.empty()) {
        fmt::format_to(to, R"({{"cmd":"connect","id":{},"data":{{"token":"{}"{}{}}}}})", kConnectId, token,
                       resume.empty() ? "" : R"(,"resume":)", resume);
        return;
      }
      fmt::format_to(to, R"({{"cmd":"connect","id":{},"data":{{"name":"{:08x}-{}"}}}})", kConnectId, run_, connection);
      return;
    case Protocol::socketio:
      fmt::format_to(to, R"(40{{"name":"{:08x}-{}"}})", run_, connection);
      return;
    case Protocol::socketio_peer:
      out += "40";
      return;
    case Protocol::profile:
      return;
  }
}

void Dialect::join(std::string& out, std::uint32_t room) const {
  const auto to = std::back_inserter(out);
  const std::string name = room_name(room);
  switch (protocol_) {
    case Protocol::ringline:
      fmt::format_to(to, R"({{"cmd":"join","id":{},"data":{{"room":"{}"}}}})", kJoinId, name);
      return;
    case Protocol::socketio:
      fmt::format_to(to, R"(42{}["join",{{"room":"{}"}}])", kJoinId, name);
      return;
    case Protocol::socketio_peer:
      fmt::format_to(to, R"(42{}["{}","{}"])", kJoinId, options_.join_event, name);
      return;
    case Protocol::profile:
      fill(out, options_.profile.join, {.room = name});
      return;
  }
}

void Dialect::send(std::string& out, std::string_view room_id, std::string_view text, std::uint32_t id,
                   std::uint32_t sender, std::uint32_t counter) const {
  if (protocol_ == Protocol::profile)
    return fill(out, options_.profile.send, {.room = room_id, .id = id, .text = text});
  const auto to = std::back_inserter(out);
  if (protocol_ == Protocol::ringline) {
    out += R"({"cmd":"send_message",)";
    if (id != 0) fmt::format_to(to, R"("id":{},)", id);
    out += R"("data":)";
  } else {
    out += "42";
    if (id != 0) fmt::format_to(to, "{}", id);
    fmt::format_to(to, R"(["{}",)", is_peer() ? options_.send_event : "send_message");
  }
  if (is_peer()) {
    fmt::format_to(to, R"("{}"])", text);
    return;
  }
  fmt::format_to(to, R"({{"roomId":"{}",)", room_id);
  if (options_.client_ids) fmt::format_to(to, R"("clientId":"{:08x}-{}-{}",)", run_, sender, counter);
  fmt::format_to(to, R"("text":"{}"}})", text);
  out += protocol_ == Protocol::ringline ? '}' : ']';
}

void Dialect::ask_history(std::string& out, std::string_view room_id, std::uint32_t id) const {
  fmt::format_to(std::back_inserter(out), R"({{"cmd":"get_history","id":{},"data":{{"roomId":"{}","limit":50}}}})", id,
                 room_id);
}

// An answer is looked for first: of an echo it has the text in it. A frame that says nothing known and has no marker may be the server's own business.
Said Dialect::read_profile(std::string_view payload) const noexcept {
  const Profile& profile = options_.profile;
  const auto begins = [&](const std::string& with) { return !with.empty() && payload.starts_with(with); };
  if (begins(profile.answer)) {
    Said said = answer(payload, profile.answer.size());
    said.ok = said.kind == Kind::answer;
    if (said.ok) return said;
  }
  if (payload.find(kMarkerByte) != std::string_view::npos) return {.kind = Kind::event};
  if (begins(profile.joined)) return {.kind = Kind::answer, .id = kJoinId, .ok = true, .body = payload};
  if (begins(profile.ping)) return {.kind = Kind::ping};
  if (begins(profile.greeting)) return {.kind = Kind::greeting};
  return {.kind = Kind::event};
}

Place Dialect::place_in(const Said& said) {
  const std::string text = "{\"id\":0" + std::string(said.body);
  json::Reader reader;
  const json::Value* value = object_of(reader, text);
  const json::Value* data = value != nullptr ? json::find(*value, "data") : nullptr;
  const json::Value* room = data != nullptr && data->IsObject() ? json::find(*data, "room") : nullptr;
  if (room == nullptr || !room->IsObject()) return {};
  return {.seq = json::find_integer(*room, "lastSeq").value_or(-1),
          .epoch = json::find_integer(*room, "epoch").value_or(0)};
}

bool Dialect::is_ready(std::string_view payload) noexcept { return payload.starts_with(kReady); }

std::string_view Dialect::token_in(std::string_view payload) noexcept {
  const std::size_t at = payload.find(kToken);
  if (at == std::string_view::npos) return {};
  payload.remove_prefix(at + kToken.size());
  return payload.substr(0, payload.find('"'));
}

std::optional<bool> Dialect::resumed_in(std::string_view payload) noexcept {
  if (!payload.starts_with(kResumed)) return {};
  return payload.find(R"("complete":false)") == std::string_view::npos;
}

Said Dialect::read(std::string_view payload) const noexcept {
  if (protocol_ == Protocol::profile) return read_profile(payload);
  if (protocol_ != Protocol::ringline) return read_socketio(payload);
  if (payload.starts_with(kEvent)) return {.kind = Kind::event};
  if (payload.starts_with(kAnswer)) return answer(payload, kAnswer.size());
  return {};
}

std::string Dialect::room_id(const Said& said, std::uint32_t room) const {
  if (is_peer()) return room_name(room);
  // What is left of a plain answer behind its id is `,"ok":…}`.
  const std::string text =
      protocol_ == Protocol::ringline ? "{\"id\":0" + std::string(said.body) : std::string(said.body);
  json::Reader reader;
  const json::Value* value = object_of(reader, text);
  const json::Value* data = value != nullptr ? json::find(*value, "data") : nullptr;
  const json::Value* made = data != nullptr && data->IsObject() ? json::find(*data, "room") : nullptr;
  if (made == nullptr || !made->IsObject()) return {};
  return std::string(json::find_string(*made, "id").value_or(""));
}

bool Dialect::well_formed(std::string_view payload, std::string_view text) const {
  if (protocol_ == Protocol::profile) return payload.find(text) != std::string_view::npos;
  json::Reader reader;
  if (protocol_ != Protocol::ringline) payload.remove_prefix(2);
  const json::Value* value = reader.parse(payload);
  if (value == nullptr) return false;
  if (protocol_ != Protocol::ringline) {
    if (!value->IsArray() || value->Size() != 2 || !(*value)[0].IsString()) return false;
    const std::string_view event = json::view((*value)[0]);
    value = &(*value)[1];
    if (is_peer()) return event == options_.message_event && value->IsString() && json::view(*value) == text;
    if (event != "message_created") return false;
  } else {
    if (!value->IsObject() || json::find_string(*value, "event") != "message_created") return false;
    value = json::find(*value, "data");
  }
  if (value == nullptr || !value->IsObject()) return false;
  const json::Value* message = json::find(*value, "message");
  return message != nullptr && message->IsObject() && json::find_string(*message, "text") == text &&
         json::find_integer(*message, "seq") == json::find_integer(*value, "seq");
}

std::int64_t Dialect::seq(std::string_view payload) const noexcept {
  if (is_peer()) return -1;
  std::size_t at = seq_hint_;
  if (payload.substr(std::min(at, payload.size()), kSeq.size()) != kSeq) {
    at = payload.substr(0, kSeqWithin).find(kSeq);
    if (at == std::string_view::npos) return -1;
    seq_hint_ = at;
  }
  std::int64_t value = -1;
  std::from_chars(payload.data() + at + kSeq.size(), payload.data() + payload.size(), value);
  return value;
}

}  // namespace ringline::bench
