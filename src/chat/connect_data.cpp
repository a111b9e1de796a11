// Reading what a client says when it connects: see session.hpp.
#include "ringline/chat/session.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kResumeRooms = 1000;
constexpr std::size_t kTokenBytes = 4096;
constexpr std::size_t kRecoveryBytes = 64;

std::optional<std::uint64_t> position(const base::json::Value& point, std::string_view name) {
  auto number = base::json::find_integer(point, name);
  if (!number || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

}  // namespace

base::Result<std::vector<ResumePoint>> read_resume(const base::json::Value& rooms) {
  if (!rooms.IsObject() || rooms.MemberCount() > kResumeRooms)
    return base::fail_field("resume", "must be an object of at most 1,000 rooms: {ROOMID: {seq, epoch}}");
  std::vector<ResumePoint> points;
  for (const auto& member : rooms.GetObject()) {
    auto room = RoomId::parse(base::json::view(member.name));
    auto seq = member.value.IsObject() ? position(member.value, "seq") : std::nullopt;
    auto epoch = member.value.IsObject() ? position(member.value, "epoch") : std::nullopt;
    if (!room || !seq || !epoch) return base::fail_field("resume", "must be {ROOMID: {seq, epoch}} with numbers");
    points.push_back({*room, *seq, *epoch});
  }
  return points;
}

base::Result<ConnectData> read_connect(const base::json::Value& data) {
  ConnectData result;
  if (!data.IsObject()) return base::fail_field("data", "must be an object");
  if (const auto* token = base::json::find(data, "token")) {
    if (!token->IsString() || token->GetStringLength() > kTokenBytes)
      return base::fail_field("token", "must be an access token, as a string");
    result.token = base::json::view(*token);
    result.has_token = true;
  }
  if (const auto* name = base::json::find(data, "name")) {
    if (!name->IsString()) return base::fail_field("name", "must be a string");
    result.name = base::json::view(*name);
  }
  auto pid = base::json::find_string(data, "pid");
  auto offset = base::json::find_string(data, "offset");
  if (pid && offset && pid->size() <= kRecoveryBytes && offset->size() <= kRecoveryBytes) {
    result.pid = *pid;
    result.offset = *offset;
  }
  if (const auto* resume = base::json::find(data, "resume")) {
    auto points = read_resume(*resume);
    if (!points) return std::unexpected(points.error());
    result.resume = std::move(*points);
    result.has_resume = true;
  }
  return result;
}

}  // namespace ringline::chat
