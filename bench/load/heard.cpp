#include "heard.hpp"

#include <charconv>
#include <optional>

namespace ringline::bench {
namespace {

namespace json = base::json;

// A text that is walked from its beginning; what does not fit ends the walk.
class Walk {
 public:
  explicit Walk(std::string_view text) noexcept : rest_(text) {}
  bool good() const noexcept { return good_; }
  void over(std::string_view what) noexcept {
    good_ = good_ && rest_.starts_with(what);
    if (good_) rest_.remove_prefix(what.size());
  }
  bool is(std::string_view what) const noexcept { return good_ && rest_.starts_with(what); }
  void to(char end) noexcept {
    const std::size_t at = rest_.find(end);
    good_ = good_ && at != std::string_view::npos;
    if (good_) rest_.remove_prefix(at);
  }
  std::uint64_t number() noexcept {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    good_ = good_ && error == std::errc{};
    if (good_) rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

 private:
  std::string_view rest_;
  bool good_ = true;
};

std::optional<Heard> room_event(std::string_view payload) {
  Heard heard{.kind = Heard::Kind::event};
  Walk walk(payload);
  walk.over(R"({"event":")");
  walk.to('"');
  walk.over(R"(","data":{"roomId":")");
  heard.room = walk.number();
  walk.over(R"(","seq":)");
  if (walk.is("null"))
    walk.over("null");
  else
    heard.event.at.seq = walk.number();
  walk.over(R"(,"epoch":)");
  heard.event.at.epoch = walk.number();
  walk.over(R"(,"id":")");
  heard.event.id = walk.number();
  walk.over("\"");
  return walk.good() ? std::optional(std::move(heard)) : std::nullopt;
}

std::uint64_t id_in(const json::Value& object, std::string_view name) {
  const std::string_view text = json::find_string(object, name).value_or("");
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc{} && end == text.data() + text.size() ? id : 0;
}
std::uint64_t number_in(const json::Value& object, std::string_view name) {
  return static_cast<std::uint64_t>(json::find_integer(object, name).value_or(0));
}
const json::Value* object_in(const json::Value& object, std::string_view name) {
  const json::Value* found = json::find(object, name);
  return found != nullptr && found->IsObject() ? found : nullptr;
}

Heard answer(const json::Value& said) {
  Heard heard{.kind = Heard::Kind::answer, .id = static_cast<std::uint32_t>(number_in(said, "id"))};
  heard.ok = json::find_bool(said, "ok").value_or(false);
  if (const json::Value* error = object_in(said, "error")) {
    heard.code = json::find_string(*error, "code").value_or("");
    heard.retry_after_ms = json::find_integer(*error, "retryAfterMs").value_or(0);
  }
  const json::Value* data = object_in(said, "data");
  if (data == nullptr) return heard;
  heard.taken.duplicate = json::find_bool(*data, "duplicate").value_or(false);
  heard.taken.pending = json::find_bool(*data, "pending").value_or(false);
  if (const json::Value* message = object_in(*data, "message")) {
    heard.taken.id = id_in(*message, "id");
    heard.taken.seq = number_in(*message, "seq");
    heard.text = json::find_string(*message, "text").value_or("");
  }
  if (const json::Value* room = object_in(*data, "room")) heard.room = id_in(*room, "id");
  return heard;
}

Heard resumed(const json::Value& data) {
  Heard heard{.kind = Heard::Kind::resumed};
  const json::Value* rooms = object_in(data, "rooms");
  if (rooms == nullptr) return {};
  for (const auto& [name, room] : rooms->GetObject()) {
    const std::string_view text = json::view(name);
    std::uint64_t id = 0;
    std::from_chars(text.data(), text.data() + text.size(), id);
    if (!room.IsObject()) return {};
    heard.rooms.push_back({.room = id,
                           .to = {.epoch = number_in(room, "epoch"), .seq = number_in(room, "to")},
                           .complete = json::find_bool(room, "complete").value_or(false)});
  }
  return heard;
}

Heard event(std::string_view name, const json::Value& data) {
  if (name == "resumed") return resumed(data);
  Heard heard{.kind = Heard::Kind::other, .room = id_in(data, "roomId")};
  if (name == "ready") {
    heard.kind = Heard::Kind::ready;
    if (const json::Value* tokens = object_in(data, "tokens"))
      heard.token = json::find_string(*tokens, "accessToken").value_or("");
  } else if (name == "room_reset") {
    heard.kind = Heard::Kind::reset;
    heard.point = {.epoch = number_in(data, "epoch"), .seq = number_in(data, "lastSeq")};
  } else if (heard.room != 0 && json::find_integer(data, "epoch") && id_in(data, "id") != 0) {
    heard.kind = Heard::Kind::event;
    heard.event = {.at = {.epoch = number_in(data, "epoch"), .seq = number_in(data, "seq")},
                   .id = id_in(data, "id"),
                   .message = {}};
  }
  return heard;
}

}  // namespace

Heard Ear::hear(std::string_view payload) {
  if (auto heard = room_event(payload)) return std::move(*heard);
  const json::Value* said = reader_.parse(payload);
  if (said == nullptr || !said->IsObject()) return {};
  const auto name = json::find_string(*said, "event");
  if (!name) return json::find(*said, "id") != nullptr ? answer(*said) : Heard{};
  const json::Value* data = object_in(*said, "data");
  return data != nullptr ? event(*name, *data) : Heard{};
}

}  // namespace ringline::bench
