// Import: users.json, rooms.json and messages.json of the file store of an older chat (Node, Socket.IO), taken into a store. For the command; all of it blocks.
//
// Such a file is a list of objects, an object of them by their ids, or either of these as the one member of an object ("users": …); messages may also be lists
// by room. What can be taken of a row is, what cannot is said: a row that is refused, something of it that is left out or had to be changed, and fields that
// there is no place for. Users and rooms get new ids, which the table `imported` remembers; a message is known again by the clientId that is made of its
// old id (or of its content, where it has none). So what was taken is not taken twice, whenever the command was ended.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ringline/backend/copy.hpp"
#include "ringline/backend/database.hpp"
#include "ringline/base/result.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::backend {

struct ImportCounts {
  std::uint64_t rows = 0;
  std::uint64_t taken = 0;
  std::uint64_t known = 0;  // taken before
  std::uint64_t refused = 0;
};
struct ImportReport {
  ImportCounts users;
  ImportCounts rooms;
  ImportCounts messages;
  bool broken = false;                               // a file could not be read to its end
  std::map<std::string, std::uint64_t> not_carried;  // "messages.json: reactions" -> rows that have it

  bool complete() const noexcept {
    return !broken && users.refused == 0 && rooms.refused == 0 && messages.refused == 0;
  }
};

class ImportWatch : public Watch {
 public:
  // A row that is refused, or not taken as it was: "messages.json: row 17 (line 40): …".
  virtual void say(const std::string& what) = 0;
};

struct ImportOptions {
  unsigned bcrypt_cost = 12;  // of passwords that are there as they are
  unsigned threads = 1;       // to hash them
};

// `folder` holds the files, or a folder `data` with them. An error: the store or a disk failed; what was taken until then stays.
base::Result<ImportReport> import_files(Database& database, const std::string& store, const std::string& folder,
                                        ImportOptions options, ImportWatch& watch);

// ---- What the database does for it. Ids are proposals: the next that is free is taken.
struct ImportUser {
  std::string old_id;
  chat::Account account;  // a name that is taken gets -2, -3, …
};
struct ImportRoom {
  std::string old_id;
  chat::Room room;  // likewise; a public one called as the lobby is that
  std::vector<chat::Member> members;
};
struct ImportedUser {
  base::UserId id;  // 0: he was deleted since
  std::string username;
};
struct ImportedRoom {
  base::RoomId id;
  std::string name;
};
struct Imported {
  std::unordered_map<std::string, ImportedUser> users;  // by old id
  std::unordered_map<std::string, ImportedRoom> rooms;
};
struct ImportedMessage {
  std::string client_id;
  base::EventId id;
};
// Where in the list that was given, and why it was refused.
struct ImportRefusal {
  std::size_t index = 0;
  std::string reason;
};
inline constexpr std::string_view kImportPrefix = "import-";  // of clientIds

}  // namespace ringline::backend
