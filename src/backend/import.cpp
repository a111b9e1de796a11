// The import, file by file (ringline/backend/import.hpp): users, then rooms, then messages, room by room in the order of their times.
//
// Messages are read twice: first all of them, to say what cannot be taken and where each belongs; then, sorted, those that are new. Between the two only
// where a row stands in the file is kept of it.
#include "ringline/backend/import.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "backend/hashed_file.hpp"
#include "backend/import_rows.hpp"
#include "backend/tables.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/chat/passwords.hpp"

namespace ringline::backend {

using base::EventId;
using base::RoomId;
using base::UserId;
using base::json::Value;

namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{4} << 30;  // all of it is in memory
constexpr std::size_t kAtOnce = 64;                                // users or rooms of one transaction
constexpr std::size_t kHashedAtOnce = 16;                          // passwords between two steps of the watch
constexpr std::size_t kMessagesAtOnce = 2000;                      // of one transaction
constexpr std::size_t kTextsAtOnce = 1024 * 1024;                  // bytes, likewise
// Ids of what is imported: of its time, of a host that is none, and a part of the hash of its old id.
constexpr std::uint64_t kPlace = std::uint64_t{(1U << base::kHostBits) - 1} << (base::kCoreBits + base::kCounterBits);
constexpr std::uint64_t kHashMask = (1U << (base::kCoreBits + base::kCounterBits)) - 1;

struct SourceFile {
  std::string name;
  std::string text;
};

struct MessagePlace {
  JsonRow row;
  RoomId room;
  std::int64_t created_ms = 0;
};

std::uint64_t id_at(std::int64_t wall_ms, const std::string& hash) {
  const std::int64_t latest = base::wall_ms() - base::kIdEpochMs;
  const std::int64_t ms = std::clamp<std::int64_t>(wall_ms - base::kIdEpochMs, 0, latest);
  std::uint64_t part = 0;
  std::from_chars(hash.data(), hash.data() + 8, part, 16);
  return static_cast<std::uint64_t>(ms) << (base::kHostBits + base::kCoreBits + base::kCounterBits) | kPlace |
         (part & kHashMask);
}

class Importer {
 public:
  Importer(Database& database, std::string store, ImportOptions options, ImportWatch& watch)
      : database_(database), store_(std::move(store)), options_(options), watch_(watch) {}

  Result<ImportReport> run(const std::string& folder);

 private:
  using TakeRow = std::function<Result<void>(const JsonRow& row, const RowContext& context)>;
  struct PendingUser {
    JsonRow row;
    ImportUser user;
    std::string password;
  };
  struct PendingRoom {
    JsonRow row;
    ImportRoom room;
    std::string old_name;
    bool senders_join = false;
  };

  std::optional<SourceFile> read_file(const std::string& folder, const std::string& name);
  Result<void> each_row(const SourceFile& file, std::string_view kind, ImportCounts& counts, const TakeRow& take);
  Result<void> take_row(const JsonRow& row, const TakeRow& take, ImportCounts& counts);
  void say(const JsonRow& row, std::string_view what);
  void refuse(const JsonRow& row, std::string_view why, ImportCounts& counts);

  Result<void> take_users(const SourceFile& file);
  Result<void> take_user(const JsonRow& at, UserRow row);
  Result<void> write_users();
  void hash_passwords();

  Result<void> take_rooms(const SourceFile& file);
  Result<void> take_room(const JsonRow& at, RoomRow row);
  Result<void> write_rooms();
  void add_members(const JsonRow& at, const RoomRow& row, ImportRoom& room);

  Result<void> take_messages(const SourceFile& file);
  Result<void> place_message(const JsonRow& at, const RowContext& context);
  Result<void> know_messages();
  Result<void> make_room_for_messages();
  Result<void> write_room_messages(std::size_t first, std::size_t last);
  Result<void> write_messages(RoomId room, std::vector<chat::Message> messages, const std::vector<JsonRow>& rows);
  chat::Message message_of(const MessagePlace& place);
  std::string client_id_of(const MessageRow& row, RoomId room, UserId sender);
  EventId new_message_id(std::int64_t created_ms, const std::string& hash);

  const ImportedUser* find_user(const std::string& reference) const;
  const ImportedRoom* find_room(const std::string& reference) const;

  Database& database_;
  const std::string store_;
  const ImportOptions options_;
  ImportWatch& watch_;
  ImportReport report_;
  base::json::Reader json_;
  base::json::Reader key_json_;
  std::string file_;  // that is read now

  Imported known_;
  std::unordered_set<std::string> seen_;                   // old ids in this file
  std::unordered_map<std::string, std::string> user_ids_;  // by folded old name: old id
  std::unordered_map<std::string, std::string> room_ids_;
  std::vector<PendingUser> users_;
  std::vector<PendingRoom> rooms_;
  std::unordered_set<RoomId> joining_;  // rooms whose members are who sent something

  std::vector<MessagePlace> places_;
  std::unordered_map<std::string, unsigned> same_;  // messages without an id, by what they say: how many were seen
  std::unordered_map<RoomId, std::unordered_set<std::string>> client_ids_;  // taken before
  std::unordered_set<std::uint64_t> ids_;                                   // of messages
  std::uint64_t early_id_ = 0;  // the last one of before 2020, for which there are no ids of their time
};

// ---- Files and rows.

std::optional<SourceFile> Importer::read_file(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  std::error_code error;
  if (!fs::exists(path, error) && !error) {
    watch_.say(name + " is not there");
    return std::nullopt;
  }
  const std::uintmax_t bytes = fs::file_size(path, error);
  SourceFile source{.name = name, .text = {}};
  if (!error && bytes <= kFileBytesMax) {
    source.text.resize(bytes);
    std::ifstream file(path, std::ios::binary);
    if (file.read(source.text.data(), static_cast<std::streamsize>(bytes))) return source;
  }
  report_.broken = true;
  watch_.say(name + (bytes > kFileBytesMax && !error ? " has more than 4 GiB: split it" : " cannot be read"));
  return std::nullopt;
}

void Importer::say(const JsonRow& row, std::string_view what) {
  watch_.say(fmt::format("{}: row {} (line {}): {}", file_, row.number, row.line, what));
}

void Importer::refuse(const JsonRow& row, std::string_view why, ImportCounts& counts) {
  ++counts.refused;
  say(row, fmt::format("not taken: {}", why));
}

Result<void> Importer::take_row(const JsonRow& row, const TakeRow& take, ImportCounts& counts) {
  const Value* key = row.key.empty() ? nullptr : key_json_.parse(row.key);
  const Value* value = json_.parse(row.text);
  if (!value) {
    const bool encoding = json_.error() == base::json::ParseError::encoding;
    refuse(row, encoding ? "it is not in UTF-8" : "it is no JSON, or nested too deeply", counts);
    return {};
  }
  return take(row, {.value = *value,
                    .key = key ? json_text(*key) : std::string(),
                    .in_list = row.in_list,
                    .others = report_.not_carried});
}

Result<void> Importer::each_row(const SourceFile& file, std::string_view kind, ImportCounts& counts,
                                const TakeRow& take) {
  file_ = file.name;
  seen_.clear();
  std::uint64_t total = 0;
  for (JsonRows rows(file.text, kind); rows.next();) ++total;
  watch_.begin(kind, total);
  JsonRows rows(file.text, kind);
  while (auto row = rows.next()) {
    ++counts.rows;
    if (auto taken = take_row(*row, take, counts); !taken) return taken;
  }
  if (rows.error().empty()) return {};
  report_.broken = true;
  watch_.say(fmt::format("{}: {}: what is behind it cannot be read", file.name, rows.error()));
  return {};
}

const ImportedUser* Importer::find_user(const std::string& reference) const {
  auto found = known_.users.find(reference);
  if (found == known_.users.end()) {
    const auto named = user_ids_.find(base::fold_case(reference));
    if (named != user_ids_.end()) found = known_.users.find(named->second);
  }
  return found == known_.users.end() ? nullptr : &found->second;
}

const ImportedRoom* Importer::find_room(const std::string& reference) const {
  auto found = known_.rooms.find(reference);
  if (found == known_.rooms.end()) {
    const auto named = room_ids_.find(base::fold_case(reference));
    if (named != room_ids_.end()) found = known_.rooms.find(named->second);
  }
  return found == known_.rooms.end() ? nullptr : &found->second;
}

// ---- Users.

Result<void> Importer::take_users(const SourceFile& file) {
  auto read = each_row(file, "users", report_.users,
                       [this](const JsonRow& at, const RowContext& row) { return take_user(at, read_user_row(row)); });
  return read ? write_users() : read;
}

Result<void> Importer::take_user(const JsonRow& at, UserRow row) {
  if (row.problem.empty() && !seen_.insert(row.old_id).second)
    row.problem = fmt::format("an earlier row has the same id {}", row.old_id);
  if (!row.problem.empty()) {
    watch_.advance(1);
    refuse(at, row.problem, report_.users);
    return {};
  }
  user_ids_.try_emplace(base::fold_case(row.old_name), row.old_id);
  if (known_.users.contains(row.old_id)) {
    ++report_.users.known;
    watch_.advance(1);
    return {};
  }
  for (const std::string& note : row.notes) say(at, note);
  const std::int64_t now = base::wall_ms();
  PendingUser pending{.row = at, .user = {.old_id = row.old_id, .account = {}}, .password = std::move(row.password)};
  chat::Account& account = pending.user.account;
  account.user.created_ms = row.created_ms != 0 ? row.created_ms : now;
  account.user.id = UserId{id_at(account.user.created_ms, Sha256::of(row.old_id))};
  account.user.username = std::move(row.name);
  account.user.display_name = std::move(row.display_name);
  account.user.email = std::move(row.email);
  account.user.avatar_url = std::move(row.avatar_url);
  account.user.bio = std::move(row.bio);
  account.user.role = chat::user_role(row.role).value_or(chat::UserRole::user);
  account.user.guest = row.guest;
  account.user.updated_ms = now;
  account.user.last_seen_ms = row.seen_ms;
  account.password_hash = std::move(row.password_hash);
  account.banned = row.banned;
  users_.push_back(std::move(pending));
  const auto plain = std::ranges::count_if(users_, [](const PendingUser& user) { return !user.password.empty(); });
  const bool full = users_.size() >= kAtOnce || static_cast<std::size_t>(plain) >= kHashedAtOnce;
  return full ? write_users() : Result<void>();
}

// Each takes a good part of a second, by intent.
void Importer::hash_passwords() {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < users_.size(); i = next++)
      if (!users_[i].password.empty())
        users_[i].user.account.password_hash = chat::hash_password(users_[i].password, options_.bcrypt_cost);
  };
  std::vector<std::jthread> helpers;
  for (unsigned i = 1; i < options_.threads; ++i) helpers.emplace_back(work);
  work();
}

Result<void> Importer::write_users() {
  if (users_.empty()) return {};
  hash_passwords();
  std::vector<ImportUser> wanted;
  for (const PendingUser& user : users_) wanted.push_back(user.user);
  auto made = database_.import_users(std::move(wanted));
  if (!made) return std::unexpected(made.error());
  for (std::size_t i = 0; i < users_.size(); ++i) {
    const std::string& name = users_[i].user.account.user.username;
    if ((*made)[i].username != name)
      say(users_[i].row,
          fmt::format("the name \"{}\" is taken, the user is called \"{}\" now", name, (*made)[i].username));
    known_.users[users_[i].user.old_id] = std::move((*made)[i]);
  }
  report_.users.taken += users_.size();
  watch_.advance(users_.size());
  users_.clear();
  return {};
}

// ---- Rooms.

Result<void> Importer::take_rooms(const SourceFile& file) {
  auto read = each_row(file, "rooms", report_.rooms,
                       [this](const JsonRow& at, const RowContext& row) { return take_room(at, read_room_row(row)); });
  return read ? write_rooms() : read;
}

Result<void> Importer::take_room(const JsonRow& at, RoomRow row) {
  if (row.problem.empty() && !seen_.insert(row.old_id).second)
    row.problem = fmt::format("an earlier row has the same id {}", row.old_id);
  if (!row.problem.empty()) {
    watch_.advance(1);
    refuse(at, row.problem, report_.rooms);
    return {};
  }
  if (!row.old_name.empty()) room_ids_.try_emplace(base::fold_case(row.old_name), row.old_id);
  if (const auto known = known_.rooms.find(row.old_id); known != known_.rooms.end()) {
    ++report_.rooms.known;
    watch_.advance(1);
    if (!row.lists_members) joining_.insert(known->second.id);
    return {};
  }
  for (const std::string& note : row.notes) say(at, note);
  PendingRoom pending{.row = at, .room = {.old_id = row.old_id, .room = {}, .members = {}}, .old_name = row.old_name};
  pending.senders_join = !row.lists_members;
  chat::Room& room = pending.room.room;
  room.created_ms = room.updated_ms = row.created_ms != 0 ? row.created_ms : base::wall_ms();
  room.id = RoomId{id_at(room.created_ms, Sha256::of(row.old_id))};
  room.name = row.name;
  room.description = row.description;
  room.avatar_url = row.avatar_url;
  room.is_private = row.is_private;
  if (row.channel) room.type = chat::RoomType::channel;
  add_members(at, row, pending.room);
  if (row.direct && pending.room.members.size() == 2) {
    room.type = chat::RoomType::direct;
  } else if (row.direct) {
    room.name = allowed_name(row.old_name.empty() ? row.old_id : row.old_name, "room");
    say(at, "a direct room is of two people, this one becomes a private group");
  }
  rooms_.push_back(std::move(pending));
  return rooms_.size() >= kAtOnce ? write_rooms() : Result<void>();
}

// Users that are not known are said, and left out. In a direct room nobody owns it.
void Importer::add_members(const JsonRow& at, const RoomRow& row, ImportRoom& room) {
  const auto find = [&](const std::string& reference) -> const ImportedUser* {
    const ImportedUser* user = find_user(reference);
    if (user && user->id) return user;
    say(at, fmt::format("\"{}\" is no user that was taken, and left out of it", reference));
    return nullptr;
  };
  const auto add = [&](UserId user, chat::MemberRole role, std::int64_t joined_ms) {
    const auto there = std::ranges::find(room.members, user, &chat::Member::user);
    if (there != room.members.end()) {
      there->role = std::max(there->role, role);
    } else {
      room.members.push_back({.user = user, .joined_ms = joined_ms, .role = role});
    }
  };
  for (const RoomRow::Member& member : row.members) {
    const ImportedUser* user = find(member.user);
    const auto role = chat::member_role(member.role).value_or(chat::MemberRole::member);
    if (user) add(user->id, role, member.joined_ms != 0 ? member.joined_ms : room.room.created_ms);
  }
  if (row.owner.empty() || row.direct) return;
  if (const ImportedUser* owner = find(row.owner)) {
    room.room.created_by = owner->id;
    add(owner->id, chat::MemberRole::owner, room.room.created_ms);
  }
}

Result<void> Importer::write_rooms() {
  if (rooms_.empty()) return {};
  std::vector<ImportRoom> wanted;
  for (const PendingRoom& room : rooms_) wanted.push_back(room.room);
  auto made = database_.import_rooms(std::move(wanted));
  if (!made) return std::unexpected(made.error());
  for (std::size_t i = 0; i < rooms_.size(); ++i) {
    const std::string& name = rooms_[i].room.room.name;
    ImportedRoom& room = (*made)[i];
    if (room.name != name && room.id != kLobby)
      say(rooms_[i].row, fmt::format("the name \"{}\" is taken, the room is called \"{}\" now", name, room.name));
    if (rooms_[i].senders_join) joining_.insert(room.id);
    known_.rooms[rooms_[i].room.old_id] = std::move(room);
  }
  report_.rooms.taken += rooms_.size();
  watch_.advance(rooms_.size());
  rooms_.clear();
  return {};
}

// ---- Messages.

Result<void> Importer::take_messages(const SourceFile& file) {
  auto read = each_row(file, "messages", report_.messages,
                       [this](const JsonRow& at, const RowContext& row) { return place_message(at, row); });
  if (read) read = know_messages();
  if (read) read = make_room_for_messages();
  if (!read) return read;
  std::ranges::sort(places_, {}, [](const MessagePlace& place) {
    return std::tuple(place.room.value, place.created_ms, place.row.number);
  });
  watch_.begin("messages into their rooms", places_.size());
  for (std::size_t first = 0; first < places_.size();) {
    std::size_t last = first;
    while (last < places_.size() && places_[last].room == places_[first].room) ++last;
    if (auto written = write_room_messages(first, last); !written) return written;
    first = last;
  }
  return {};
}

Result<void> Importer::place_message(const JsonRow& at, const RowContext& context) {
  watch_.advance(1);
  MessageRow row = read_message_row(context);
  const ImportedRoom* room = row.problem.empty() ? find_room(row.room) : nullptr;
  const ImportedUser* sender = row.problem.empty() ? find_user(row.sender) : nullptr;
  if (row.problem.empty() && !room) row.problem = fmt::format("its room \"{}\" is not in rooms.json", row.room);
  if (row.problem.empty() && !sender) row.problem = fmt::format("its sender \"{}\" is not in users.json", row.sender);
  if (row.problem.empty() && (!room->id || !sender->id)) row.problem = "its room or its sender was deleted since";
  if (row.problem.empty() && !row.old_id.empty() &&
      !seen_.insert(fmt::format("{}/{}", room->id.value, row.old_id)).second)
    row.problem = fmt::format("an earlier row of this room has the same id {}", row.old_id);
  if (!row.problem.empty()) {
    refuse(at, row.problem, report_.messages);
    return {};
  }
  for (const std::string& note : row.notes) say(at, note);
  places_.push_back({.row = at, .room = room->id, .created_ms = row.created_ms});
  return {};
}

// What earlier runs have taken.
Result<void> Importer::know_messages() {
  for (const auto& [old_id, room] : known_.rooms) {
    if (!room.id || client_ids_.contains(room.id)) continue;
    auto messages = database_.imported_messages(room.id);
    if (!messages) return std::unexpected(messages.error());
    auto& known = client_ids_[room.id];
    for (ImportedMessage& message : *messages) {
      known.insert(std::move(message.client_id));
      ids_.insert(message.id.value);
    }
  }
  return {};
}

Result<void> Importer::make_room_for_messages() {
  std::set<std::uint64_t> months;
  for (const MessagePlace& place : places_) months.insert(next_month(id_at(place.created_ms, std::string(8, '0'))));
  std::vector<std::uint64_t> ids;
  for (const std::uint64_t month_end : months) ids.push_back(month_end - 1);
  auto tables = open_tables(store_);
  if (!tables) return std::unexpected(tables.error());
  return (*tables)->make_room_for(ids);
}

std::string Importer::client_id_of(const MessageRow& row, RoomId room, UserId sender) {
  std::string key = fmt::format("{}\n{}", room.value, row.old_id);
  if (row.old_id.empty()) {
    key = fmt::format("{}\n{}\n{}\n{}", room.value, sender.value, row.created_ms, row.text);
    key += fmt::format("\n{}", ++same_[Sha256::of(key)]);
  }
  return fmt::format("{}{}", kImportPrefix, Sha256::of(key).substr(0, 32));
}

EventId Importer::new_message_id(std::int64_t created_ms, const std::string& hash) {
  std::uint64_t id = id_at(created_ms, hash);
  if (created_ms < base::kIdEpochMs) id = early_id_ = std::max(id, early_id_ + 1);
  while (!ids_.insert(id).second) ++id;
  return EventId{id};
}

// It was read once already, so what it names is there.
chat::Message Importer::message_of(const MessagePlace& place) {
  const Value* key = place.row.key.empty() ? nullptr : key_json_.parse(place.row.key);
  const std::string name = key ? json_text(*key) : std::string();
  std::map<std::string, std::uint64_t> counted;  // before
  const MessageRow row = read_message_row(
      {.value = *json_.parse(place.row.text), .key = name, .in_list = place.row.in_list, .others = counted});
  const ImportedUser& sender = *find_user(row.sender);
  chat::Message message{.room = place.room, .sender = sender.id, .sender_username = sender.username};
  message.client_id = client_id_of(row, place.room, sender.id);
  message.created_ms = row.created_ms;
  message.edited_ms = row.edited_ms;
  message.deleted_ms = row.deleted_ms;
  if (row.deleted_ms == 0) message.text = row.text;
  return message;
}

Result<void> Importer::write_room_messages(std::size_t first, std::size_t last) {
  const RoomId room = places_[first].room;
  const auto& known = client_ids_[room];
  std::vector<chat::Message> messages;
  std::vector<JsonRow> rows;
  std::size_t bytes = 0;
  for (std::size_t i = first; i < last; ++i) {
    chat::Message message = message_of(places_[i]);
    if (known.contains(message.client_id)) {
      ++report_.messages.known;
      watch_.advance(1);
      continue;
    }
    message.id = new_message_id(message.created_ms, message.client_id.substr(kImportPrefix.size()));
    bytes += message.text.size();
    messages.push_back(std::move(message));
    rows.push_back(places_[i].row);
    if (messages.size() < kMessagesAtOnce && bytes < kTextsAtOnce) continue;
    if (auto written = write_messages(room, std::exchange(messages, {}), std::exchange(rows, {})); !written)
      return written;
    bytes = 0;
  }
  return write_messages(room, std::move(messages), rows);
}

Result<void> Importer::write_messages(RoomId room, std::vector<chat::Message> messages,
                                      const std::vector<JsonRow>& rows) {
  if (messages.empty()) return {};
  auto refused = database_.import_messages(room, std::move(messages), joining_.contains(room));
  if (!refused) return std::unexpected(refused.error());
  for (const ImportRefusal& one : *refused)
    refuse(rows[one.index], fmt::format("the database refuses it: {} (see `ringline dead-letters`)", one.reason),
           report_.messages);
  report_.messages.taken += rows.size() - refused->size();
  watch_.advance(rows.size());
  return {};
}

Result<ImportReport> Importer::run(const std::string& folder) {
  auto known = database_.imported();
  if (!known) return std::unexpected(known.error());
  known_ = std::move(*known);
  const auto users = read_file(folder, "users.json");
  const auto rooms = read_file(folder, "rooms.json");
  const auto messages = read_file(folder, "messages.json");
  Result<void> done;
  if (users) done = take_users(*users);
  if (done && rooms) done = take_rooms(*rooms);
  if (done && messages) done = take_messages(*messages);
  if (!done) return std::unexpected(done.error());
  return std::move(report_);
}

}  // namespace

base::Result<ImportReport> import_files(Database& database, const std::string& store, const std::string& folder,
                                        ImportOptions options, ImportWatch& watch) {
  for (const std::string& place : {folder, folder + "/data"}) {
    std::error_code error;
    for (const char* name : {"users.json", "rooms.json", "messages.json"})
      if (fs::exists(place + "/" + name, error)) return Importer(database, store, options, watch).run(place);
  }
  return base::fail(base::Errc::not_found,
                    "there is no users.json, rooms.json or messages.json in " + folder + " or in its folder data");
}

}  // namespace ringline::backend
