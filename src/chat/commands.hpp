// The handlers of the command table (commands.cpp), by file.
#pragma once

#include "chat/call.hpp"
#include "chat/parts.hpp"

namespace ringline::chat {

// commands_rooms.cpp
void join(Parts& p, Call& call);
void create_room(Parts& p, Call& call);
void list_rooms(Parts& p, Call& call);
void search_rooms(Parts& p, Call& call);
void get_room(Parts& p, Call& call);
void join_room(Parts& p, Call& call);
void leave_room(Parts& p, Call& call);
void list_members(Parts& p, Call& call);
// commands_messages.cpp
void send_message(Parts& p, Call& call);
void get_history(Parts& p, Call& call);
void mark_read(Parts& p, Call& call);
void start_typing(Parts& p, Call& call);
void stop_typing(Parts& p, Call& call);
// commands_files.cpp
void create_upload(Parts& p, Call& call);
void complete_upload(Parts& p, Call& call);
void get_file(Parts& p, Call& call);
void list_files(Parts& p, Call& call);
void delete_file(Parts& p, Call& call);
void set_avatar(Parts& p, Call& call);
// Removes the bytes of a file that is gone, and then what is known of it. False: another time.
Task<bool> remove_file(Parts& p, FileId id);
// How a message with this file is called where its sender does not say.
std::string_view message_type_of(const File& file) noexcept;
// commands_search.cpp
void search_messages(Parts& p, Call& call);
// commands_people.cpp
void resume(Parts& p, Call& call);
void ping(Parts& p, Call& call);
void refresh_token(Parts& p, Call& call);
void watch_stats(Parts& p, Call& call);
void unwatch_stats(Parts& p, Call& call);
void get_user(Parts& p, Call& call);

// The field `limit` of a list: 50 where it is not given.
Result<std::size_t> read_limit(const Value& data);

// What a member list and a member event show.
void write_member(Writer& out, const HomeMember& member);

// A page of a room's messages: from the tail, and from the store what is older. The room is looked up again after every wait.
struct Page {
  std::vector<base::Blob> messages;  // JSON objects, oldest first
  bool has_before = false;
  bool has_after = false;
};
Task<Result<Page>> read_page(Parts& p, HistoryQuery query);
void write_messages(Writer& out, const Page& page);  // the array

// The first event of a room that is new. `then` runs at its commit, when the members' homes know of the room, or when that failed. False: the log refused
// it, nothing happened.
bool begin_room(Parts& p, HomeRoom& room, Sequencer::Then then);
// A member leaves. `then` runs at the commit, or when that failed. False: the log refused it, nothing happened.
bool leave(Parts& p, HomeRoom& room, const UserCard& user, Sequencer::Then then);
// In a channel only the owner and admins do.
bool may_send(const HomeRoom& room, const HomeMember& member);
// Makes the user a member if he is none, and answers {user, room, members, messages}.
void join_and_answer(Parts& p, HomeRoom& room, UserCard user, ReplyTo to);

// The error of an append that the log refused.
Error log_refused();

}  // namespace ringline::chat
