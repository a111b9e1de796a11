// The command table: one row a command, sorted by name. Dispatch, documents and tests come from it.
#include "chat/commands.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace ringline::chat {

namespace {

constexpr auto kCommands = std::to_array<Command>({
    // name, handler, place, access, rate, sockets only, fields
    {"complete_upload", &complete_upload, Place::here, Access::anybody, Rate::none, false, "fileId, sha256?"},
    {"create_room", &create_room, Place::here, Access::anybody, Rate::none, false,
     "type, name?, description?, private?, ephemeral?, memberIds?"},
    {"create_upload", &create_upload, Place::here, Access::anybody, Rate::none, false, "name, size, mimeType, roomId?"},
    {"delete_file", &delete_file, Place::here, Access::anybody, Rate::none, false, "fileId"},
    {"get_file", &get_file, Place::here, Access::anybody, Rate::none, false, "fileId"},
    {"get_history", &get_history, Place::room_home, Access::member, Rate::none, false,
     "roomId, before|after|around|aroundId, limit?"},
    {"get_room", &get_room, Place::room_home, Access::anybody, Rate::none, false, "roomId"},
    {"get_user", &get_user, Place::here, Access::anybody, Rate::none, false, "userId"},
    {"join", &join, Place::here, Access::anybody, Rate::none, true, "name?, room"},
    {"join_room", &join_room, Place::room_home, Access::anybody, Rate::none, false, "roomId"},
    {"leave_room", &leave_room, Place::room_home, Access::member, Rate::none, false, "roomId"},
    {"list_files", &list_files, Place::here, Access::anybody, Rate::none, false, "roomId?, cursor?, limit?"},
    {"list_members", &list_members, Place::room_home, Access::member, Rate::none, false, "roomId, cursor?, limit?"},
    {"list_rooms", &list_rooms, Place::here, Access::anybody, Rate::none, false, "cursor?, limit?"},
    {"mark_read", &mark_read, Place::room_home, Access::member, Rate::none, false, "roomId, seq"},
    {"ping", &ping, Place::here, Access::anybody, Rate::none, true, ""},
    {"refresh_token", &refresh_token, Place::here, Access::anybody, Rate::none, true, "token"},
    {"resume", &resume, Place::here, Access::anybody, Rate::none, true, "rooms"},
    {"search_messages", &search_messages, Place::here, Access::anybody, Rate::none, false,
     "query, roomId?, fromUserId?, cursor?, limit?"},
    {"search_rooms", &search_rooms, Place::here, Access::anybody, Rate::none, false, "query, cursor?, limit?"},
    {"send_message", &send_message, Place::room_home, Access::member, Rate::message, false,
     "roomId, clientId?, type?, text?, fileId?, replyTo?, mentions?, extra?"},
    {"set_avatar", &set_avatar, Place::here, Access::anybody, Rate::none, false, "fileId"},
    {"start_typing", &start_typing, Place::room_home, Access::member, Rate::none, true, "roomId"},
    {"stop_typing", &stop_typing, Place::room_home, Access::member, Rate::none, true, "roomId"},
    {"unwatch_stats", &unwatch_stats, Place::here, Access::anybody, Rate::none, true, ""},
    {"watch_stats", &watch_stats, Place::here, Access::anybody, Rate::none, true, ""},
});

constexpr bool is_sorted_unique(std::span<const Command> rows) {
  for (std::size_t i = 1; i < rows.size(); ++i)
    if (!(rows[i - 1].name < rows[i].name)) return false;
  return true;
}
static_assert(is_sorted_unique(kCommands));

}  // namespace

const Command* find_command(std::string_view name) noexcept {
  auto row = std::ranges::lower_bound(kCommands, name, {}, &Command::name);
  return row != kCommands.end() && row->name == name ? &*row : nullptr;
}

Error log_refused() {
  return base::fail_later(Errc::unavailable, 2000, "messages cannot be kept right now; try again").error();
}

}  // namespace ringline::chat
