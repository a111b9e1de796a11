// What the rows of an older chat say, by the names that such chats use (ringline/backend/import.hpp). Nothing is looked up here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backend/import_json.hpp"

namespace ringline::backend {

// `problem`: why the row cannot be taken; empty: it can. `notes`: what of it is not taken as it is.
struct RowNotes {
  std::string problem;
  std::vector<std::string> notes;
};

struct UserRow : RowNotes {
  std::string old_id;
  std::string old_name;
  std::string name;  // as it may be here
  std::string display_name;
  std::string email;
  std::string avatar_url;
  std::string bio;
  std::string role;           // user, moderator, admin
  std::string password_hash;  // that chat::check_password knows; empty: none
  std::string password;       // as it is; empty: none
  bool guest = false;
  bool banned = false;
  std::int64_t created_ms = 0;  // 0: not said
  std::int64_t seen_ms = 0;
};

struct RoomRow : RowNotes {
  struct Member {
    std::string user;  // an old id or name
    std::string role;
    std::int64_t joined_ms = 0;
  };
  std::string old_id;
  std::string old_name;
  std::string name;
  std::string description;
  std::string avatar_url;
  std::string owner;  // an old id or name; empty: not said
  bool direct = false;
  bool channel = false;
  bool is_private = false;
  bool lists_members = false;
  std::vector<Member> members;
  std::int64_t created_ms = 0;
};

struct MessageRow : RowNotes {
  std::string old_id;  // empty: none
  std::string room;    // an old id or name
  std::string sender;  // likewise
  std::string text;
  std::int64_t created_ms = 0;
  std::int64_t edited_ms = 0;
  std::int64_t deleted_ms = 0;
};

// `key`: under which the row stands; empty: none. `in_list`: that is the list's. Fields without a place are counted into `others` under "FILE: NAME".
struct RowContext {
  const base::json::Value& value;
  std::string key;
  bool in_list = false;
  std::map<std::string, std::uint64_t>& others;
};
UserRow read_user_row(const RowContext& row);
RoomRow read_room_row(const RowContext& row);
MessageRow read_message_row(const RowContext& row);

// A name that is allowed here, as near as can be: `instead`-… where nothing is left of it or only digits.
std::string allowed_name(std::string_view name, std::string_view instead);

}  // namespace ringline::backend
