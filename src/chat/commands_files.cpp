// Files: begun, completed, shown, deleted. The store knows of them, the bytes are elsewhere (blobs.hpp) and never come through here.
//
// An upload is begun by create_upload, which gives a link to write to, and ends with complete_upload: only then is what came looked at, moved to where no
// link writes, and shown to others. A file belongs to one room at most: the one it was uploaded for, or the first that it was sent to.
#include <algorithm>

#include "chat/commands.hpp"
#include "chat/file_types.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"
#include "ringline/base/utf8.hpp"
#include "ringline/chat/files.hpp"

namespace ringline::chat {

namespace {

using base::json::find;
using base::json::find_integer;
using base::json::find_string;

constexpr std::size_t kSha256Digits = 64;

std::unexpected<Error> no_such_file() { return base::fail(Errc::not_found, "no such file"); }
Error no_files() { return base::fail_later(Errc::unavailable, 60'000, "this server keeps no files").error(); }

Result<std::string> read_file_name(const Value& data) {
  auto given = find_string(data, "name");
  if (!given) return base::fail_field("name", "must be a string");
  const std::string_view name = base::trim(*given);
  if (name.empty()) return base::fail_field("name", "must not be empty");
  if (base::count_points(name) > base::limits::kFileNamePoints)
    return base::fail_field("name", "must be at most 255 characters");
  if (!base::is_clean_name(name) || name.find_first_of("/\\") != std::string_view::npos)
    return base::fail_field("name", "must not hold line breaks, control characters or slashes");
  return std::string(name);
}

Result<FileId> read_file_id(const Value& data) {
  auto text = find_string(data, "fileId");
  auto id = text ? FileId::parse(*text) : std::nullopt;
  if (!id) return base::fail_field("fileId", "must be a file's id, as a string of digits");
  return *id;
}

Result<RoomId> read_room_id(const Value& data) {  // 0: none is named
  if (!find(data, "roomId")) return RoomId{};
  auto text = find_string(data, "roomId");
  auto id = text ? RoomId::parse(*text) : std::nullopt;
  if (!id) return base::fail_field("roomId", "must be a room's id, as a string of digits");
  return *id;
}

Result<File> read_upload(Parts& p, const Value& data, const Person& owner) {
  File file{.id = FileId{p.next_id()}, .owner = owner.id};
  auto name = read_file_name(data);
  if (!name) return std::unexpected(name.error());
  file.name = std::move(*name);
  const std::int64_t size = find_integer(data, "size").value_or(0);
  if (size < 1) return base::fail_field("size", "must be the number of bytes, 1 or more");
  file.size = static_cast<std::uint64_t>(size);
  if (file.size > p.o.settings.file_bytes)
    return base::fail(Errc::too_large, "the file is larger than " + std::to_string(p.o.settings.file_bytes) + " bytes");
  auto mime_type = find_string(data, "mimeType");
  if (!mime_type || !is_mime_type(*mime_type))
    return base::fail_field("mimeType", "must be a media type such as image/png");
  file.mime_type = *mime_type;
  auto room = read_room_id(data);
  if (!room) return std::unexpected(room.error());
  file.room = *room;
  file.created_ms = base::wall_ms();
  std::int64_t age_ms = std::chrono::milliseconds(base::limits::kUploadAge).count();
  if (owner.guest) age_ms = std::min<std::int64_t>(age_ms, p.o.settings.guest_file_ttl.count());
  file.expires_ms = file.created_ms + age_ms;
  return file;
}

// By the room's home, which knows at once who is in it.
Task<Result<void>> need_member(Parts& p, RoomId id, UserId user) {
  auto asking = ask<Result<void>>(p, p.home(id), [id, user](Parts& there, Answer<Result<void>> reply) {
    there.rooms.with(id, [&there, user, reply](Result<HomeRoom*> room) {
      if (!room) return reply(there, std::unexpected(room.error()));
      if ((*room)->find(user)) return reply(there, Result<void>());
      if ((*room)->room.is_private) return reply(there, base::fail(Errc::not_found, "no such room"));
      reply(there, base::fail(Errc::forbidden, "join the room first"));
    });
  });
  Result<void> member = co_await asking;
  co_return member;
}

void answer_file(Parts& p, File file, const ReplyTo& to) {
  add_link(file, *p.o.links, base::wall_ms());
  Writer out;
  write_file(out.begin_object().key("file"), file);
  out.end_object();
  answer(p, to, out.view());
}

void write_upload(Writer& out, const Link& link) {
  out.begin_object().key("method").string(link.method).key("url").string(link.url).key("headers").begin_object();
  for (const auto& [name, value] : link.headers) out.key(name).string(value);
  out.end_object().key("expiresAt").time(link.expires_ms).end_object();
}

Task<void> begin_upload(Parts& p, File file, ReplyTo to) {
  if (file.room) {
    auto member = co_await need_member(p, file.room, file.owner);
    if (!member) {
      answer(p, to, member.error());
      co_return;
    }
  }
  auto made = co_await p.o.store.create_file(file, base::limits::kUploadsWaiting);
  if (!made) {
    answer(p, to, made.error());
    co_return;
  }
  Writer out;
  write_file(out.begin_object().key("file"), file);
  write_upload(out.key("upload"), p.o.links->upload(file, base::wall_ms()));
  out.end_object();
  answer(p, to, out.view());
}

// What came against what was declared.
Result<void> check_arrived(const File& file, const BlobHead& head) {
  if (head.size != file.size)
    return base::fail_field("size", std::to_string(head.size) + " bytes came, and " + std::to_string(file.size) +
                                        " were declared: upload it again");
  if (!fits_type(file.mime_type, head.first)) return base::fail_field("mimeType", "what came is not " + file.mime_type);
  return {};
}

// Looks at what came and moves it to its place. Where that was done before, and only the store did not hear of it, it is there already.
Task<Result<void>> take_in(Parts& p, File file, std::string sha256) {
  auto head = co_await p.o.blobs->look(upload_key(file.id));
  if (!head && head.error().code == Errc::not_found) {
    auto moved = co_await p.o.blobs->look(file_key(file.id));
    if (moved && moved->size == file.size) co_return Result<void>();
    co_return base::fail(Errc::conflict, "its bytes have not come: PUT them to upload.url first");
  }
  if (!head) co_return std::unexpected(head.error());
  if (auto right = check_arrived(file, *head); !right) co_return right;
  if (!sha256.empty()) {
    auto digest = co_await p.o.blobs->sha256(upload_key(file.id));
    if (!digest) co_return std::unexpected(digest.error());
    if (*digest != sha256) co_return base::fail_field("sha256", "what came has another: " + *digest);
  }
  auto accepted = co_await p.o.blobs->accept(upload_key(file.id), file_key(file.id), head->version);
  co_return accepted;
}

Task<void> complete(Parts& p, FileId id, std::string sha256, UserCard owner, ReplyTo to) {
  auto file = co_await p.o.store.find_file(id);
  if (file && file->owner != owner->id) file = no_such_file();
  if (!file) {
    answer(p, to, file.error());
    co_return;
  }
  if (file->state == FileState::ready) {
    answer_file(p, std::move(*file), to);
    co_return;
  }
  auto taken = co_await take_in(p, *file, std::move(sha256));
  if (!taken) {
    answer(p, to, taken.error());
    co_return;
  }
  const std::int64_t expires_ms = owner->guest ? file->created_ms + p.o.settings.guest_file_ttl.count() : 0;
  auto ready = co_await p.o.store.complete_file(id, expires_ms);
  if (!ready) {
    answer(p, to, ready.error());
    co_return;
  }
  answer_file(p, std::move(*ready), to);
}

Task<void> show(Parts& p, FileId id, UserCard who, ReplyTo to) {
  auto file = co_await p.o.store.find_file(id);
  const bool own = file && file->owner == who->id;
  if (!own) file = co_await file_to_read(p, id, std::move(who));
  if (!file) {
    answer(p, to, file.error());
    co_return;
  }
  answer_file(p, std::move(*file), to);
}

Task<void> show_list(Parts& p, FileQuery query, UserId who, ReplyTo to) {
  if (query.room) {
    auto member = co_await need_member(p, query.room, who);
    if (!member) {
      answer(p, to, member.error());
      co_return;
    }
  }
  auto page = co_await p.o.store.list_files(std::move(query));
  if (!page) {
    answer(p, to, page.error());
    co_return;
  }
  Writer out;
  out.begin_object().key("files").begin_array();
  for (File& file : page->files) {
    add_link(file, *p.o.links, base::wall_ms());
    write_file(out, file);
  }
  out.end_array();
  if (page->next_cursor) out.key("nextCursor").string(*page->next_cursor);
  out.end_object();
  answer(p, to, out.view());
}

Task<void> drop(Parts& p, FileId id, UserCard who, ReplyTo to) {
  auto file = co_await p.o.store.find_file(id);
  if (file && file->owner != who->id) {
    auto shown = co_await file_to_read(p, id, who);
    file = shown ? base::fail(Errc::forbidden, "only who uploaded it may delete it") : no_such_file();
  }
  if (!file) {
    answer(p, to, file.error());
    co_return;
  }
  auto gone = co_await p.o.store.drop_file(id, base::wall_ms());
  if (!gone) {
    answer(p, to, gone.error());
    co_return;
  }
  co_await remove_file(p, id);  // or FilePurge does it
  answer(p, to, "{}");
}

Result<void> check_avatar(const File& file, std::uint64_t bytes_max) {
  if (file.state != FileState::ready) return base::fail(Errc::conflict, "the file is not there yet: complete it");
  if (!is_picture(file.mime_type)) return base::fail_field("fileId", "must be a picture, such as image/png");
  if (file.size > bytes_max)
    return base::fail(Errc::too_large, "an avatar has at most " + std::to_string(bytes_max) + " bytes");
  return {};
}

// His home shows it to all that see him, and says how he is.
Task<void> make_avatar(Parts& p, FileId id, UserId who, ReplyTo to) {
  auto file = co_await p.o.store.find_file(id);
  if (file && file->owner != who) file = no_such_file();
  Result<void> right = file ? check_avatar(*file, p.o.settings.avatar_bytes) : std::unexpected(file.error());
  if (!right) {
    answer(p, to, right.error());
    co_return;
  }
  auto account = co_await p.o.store.set_avatar(who, id, "/api/v1/files/" + id.text() + "/content", base::wall_ms());
  if (!account) {
    answer(p, to, account.error());
    co_return;
  }
  auto showing = ask<Status>(p, p.home(who), [user = account->user](Parts& there, Answer<Status> reply) {
    there.people.changed(user);
    HomeUser* home = there.people.find(user.id);
    reply(there, home ? home->status : Status::offline);
  });
  const Status status = co_await showing;
  Writer out;
  write_user(out.begin_object().key("user"), account->user, status, true);
  out.end_object();
  answer(p, to, out.view());
}

}  // namespace

Task<bool> remove_file(Parts& p, FileId id) {
  auto removed = co_await p.o.blobs->remove(upload_key(id));
  if (removed) removed = co_await p.o.blobs->remove(file_key(id));
  if (removed) removed = co_await p.o.store.forget_file(id);
  if (!removed) base::log::warn("file_not_removed", {{"file", id.text()}, {"why", removed.error().message}});
  co_return removed.has_value();
}

Task<Result<File>> file_to_read(Parts& p, FileId id, UserCard who) {
  if (!p.o.blobs) co_return std::unexpected(no_files());
  auto file = co_await p.o.store.find_file(id);
  if (!file) co_return file;
  if (file->state != FileState::ready) co_return no_such_file();
  if (!who || file->open || file->owner == who->id) co_return file;
  if (!file->room) co_return no_such_file();
  auto member = co_await need_member(p, file->room, who->id);
  if (!member && member.error().code == Errc::unavailable) co_return std::unexpected(member.error());
  if (!member) co_return no_such_file();
  co_return file;
}

Task<Result<File>> file_to_write(Parts& p, FileId id, UserCard who) {
  if (!p.o.blobs) co_return std::unexpected(no_files());
  auto file = co_await p.o.store.find_file(id);
  if (!file) co_return file;
  if (who && file->owner != who->id) co_return no_such_file();
  if (file->state != FileState::waiting) co_return base::fail(Errc::conflict, "its bytes are there already");
  co_return file;
}

std::string_view message_type_of(const File& file) noexcept {
  for (const std::string_view type : {"image", "video", "audio"})
    if (file.mime_type.starts_with(type) && file.mime_type.substr(type.size()).starts_with('/')) return type;
  return "file";
}

void create_upload(Parts& p, Call& call) {
  if (!p.o.blobs) return answer(p, call.to, no_files());
  auto file = read_upload(p, *call.data, *call.actor);
  if (!file) return answer(p, call.to, file.error());
  p.o.scope.spawn(begin_upload(p, std::move(*file), call.to));
}

void complete_upload(Parts& p, Call& call) {
  if (!p.o.blobs) return answer(p, call.to, no_files());
  auto id = read_file_id(*call.data);
  if (!id) return answer(p, call.to, id.error());
  std::string sha256;
  if (find(*call.data, "sha256")) {
    sha256 = find_string(*call.data, "sha256").value_or("");
    for (char& c : sha256)
      if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (sha256.size() != kSha256Digits || sha256.find_first_not_of("0123456789abcdef") != std::string::npos)
      return answer(p, call.to, base::fail_field("sha256", "must be 64 hex digits").error());
  }
  p.o.scope.spawn(complete(p, *id, std::move(sha256), call.actor, call.to));
}

void get_file(Parts& p, Call& call) {
  if (!p.o.blobs) return answer(p, call.to, no_files());
  auto id = read_file_id(*call.data);
  if (!id) return answer(p, call.to, id.error());
  p.o.scope.spawn(show(p, *id, call.actor, call.to));
}

void list_files(Parts& p, Call& call) {
  if (!p.o.blobs) return answer(p, call.to, no_files());
  FileQuery query{.owner = call.actor->id, .cursor = {}, .limit = base::limits::kPageDefault};
  auto room = read_room_id(*call.data);
  if (!room) return answer(p, call.to, room.error());
  query.room = *room;
  query.cursor = find_string(*call.data, "cursor").value_or("");
  if (find(*call.data, "limit")) {
    const std::int64_t limit = find_integer(*call.data, "limit").value_or(0);
    if (limit < 1 || limit > static_cast<std::int64_t>(base::limits::kPageMax))
      return answer(p, call.to, base::fail_field("limit", "must be a number from 1 to 100").error());
    query.limit = static_cast<std::size_t>(limit);
  }
  p.o.scope.spawn(show_list(p, std::move(query), call.actor->id, call.to));
}

void set_avatar(Parts& p, Call& call) {
  if (!p.o.blobs) return answer(p, call.to, no_files());
  auto id = read_file_id(*call.data);
  if (!id) return answer(p, call.to, id.error());
  p.o.scope.spawn(make_avatar(p, *id, call.actor->id, call.to));
}

void delete_file(Parts& p, Call& call) {
  if (!p.o.blobs) return answer(p, call.to, no_files());
  auto id = read_file_id(*call.data);
  if (!id) return answer(p, call.to, id.error());
  p.o.scope.spawn(drop(p, *id, call.actor, call.to));
}

}  // namespace ringline::chat
