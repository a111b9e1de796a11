// Messages: sending, history, marks, typing. All run at the room's home.
#include <algorithm>
#include <ranges>

#include "chat/commands.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::chat {

namespace {

using base::json::find;
using base::json::find_integer;
using base::json::find_string;

constexpr std::array<std::string_view, 7> kMessageTypes = {"text", "image", "video",    "audio",
                                                           "file", "voice", "encrypted"};

constexpr int kExtraDepth = 8;  // it lies three deep in an event's body, which must stay below json::kDepthMax

int depth_of(const Value& value) {
  int deepest = 0;
  if (value.IsObject())
    for (const auto& member : value.GetObject()) deepest = std::max(deepest, depth_of(member.value));
  if (value.IsArray())
    for (const Value& element : value.GetArray()) deepest = std::max(deepest, depth_of(element));
  return value.IsObject() || value.IsArray() ? deepest + 1 : 0;
}

bool is_printable_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

// A send whose form is right.
struct Send {
  std::string client_id;
  std::string type = "text";
  std::string text;
  EventId reply_to;
  std::vector<UserId> mentions;
  std::string extra;
  FileId file_id;
  std::optional<File> file;  // of it, once it is attached to the room
  bool is_typed = false;     // its sender said of what type it is
};

Result<void> read_extras(const Value& data, Send& send) {
  if (auto text = find_string(data, "replyTo")) {
    auto id = EventId::parse(*text);
    if (!id) return base::fail_field("replyTo", "must be a message's id");
    send.reply_to = *id;
  } else if (find(data, "replyTo")) {
    return base::fail_field("replyTo", "must be a message's id, as a string");
  }
  if (const Value* mentions = find(data, "mentions")) {
    if (!mentions->IsArray() || mentions->Size() > base::limits::kMentions)
      return base::fail_field("mentions", "must be a list of at most 50 user ids");
    for (const Value& mention : mentions->GetArray()) {
      auto id = mention.IsString() ? UserId::parse(base::json::view(mention)) : std::nullopt;
      if (!id) return base::fail_field("mentions", "must be user ids, as strings");
      send.mentions.push_back(*id);
    }
  }
  if (const Value* extra = find(data, "extra")) {
    if (depth_of(*extra) > kExtraDepth) return base::fail_field("extra", "must not be nested deeper than 8");
    Writer out;
    out.value(*extra);
    if (out.view().size() > base::limits::kExtraBytes) return base::fail(Errc::too_large, "extra is larger than 1 KiB");
    send.extra = out.view();
  }
  return {};
}

Result<Send> read_send(const Value& data, std::size_t text_points) {
  Send send;
  if (const Value* id = find(data, "clientId")) {
    if (!id->IsString()) return base::fail_field("clientId", "must be a string");
    send.client_id = base::json::view(*id);
    if (send.client_id.empty() || send.client_id.size() > base::limits::kClientIdBytes ||
        !is_printable_ascii(send.client_id))
      return base::fail_field("clientId", "must be 1 to 64 printable ASCII characters without spaces");
  }
  if (const Value* type = find(data, "type")) {
    if (!type->IsString() || std::ranges::find(kMessageTypes, base::json::view(*type)) == kMessageTypes.end())
      return base::fail_field("type", "must be one of text, image, video, audio, file, voice, encrypted");
    send.type = base::json::view(*type);
    send.is_typed = true;
  }
  if (find(data, "fileId")) {
    auto id = find_string(data, "fileId");
    auto file = id ? FileId::parse(*id) : std::nullopt;
    if (!file) return base::fail_field("fileId", "must be a file's id, as a string of digits");
    send.file_id = *file;
  }
  const Value* text = find(data, "text");
  if (text ? !text->IsString() : !send.file_id) return base::fail_field("text", "must be a string");
  if (text) send.text = base::sanitize_text(base::json::view(*text));
  if (send.text.find_first_not_of(" \t\n") == std::string::npos) {
    if (!send.file_id) return base::fail_field("text", "must not be empty");
    send.text.clear();
  }
  if (send.text.size() > text_points && base::count_points(send.text) > text_points)
    return base::fail(Errc::too_large, "the text is longer than " + std::to_string(text_points) + " characters");
  if (auto extras = read_extras(data, send); !extras) return std::unexpected(extras.error());
  return send;
}

void sequence_send(Parts& p, HomeRoom& room, const Person& sender, Send send, std::uint64_t key, const ReplyTo& to,
                   std::int64_t arrived_ns) {
  bool taken = p.sequencer.sequence_message(room, sender, send.client_id, key, to, arrived_ns,
                                            [&](Writer& out, const Event& event) {
                                              Message message{.id = event.id,
                                                              .room = event.room,
                                                              .seq = event.seq,
                                                              .sender = sender.id,
                                                              .sender_username = std::string(sender.username()),
                                                              .sender_avatar_url = std::string(sender.avatar_url()),
                                                              .type = std::move(send.type),
                                                              .text = std::move(send.text),
                                                              .file = std::move(send.file),
                                                              .reply_to = send.reply_to,
                                                              .mentions = std::move(send.mentions),
                                                              .extra = std::move(send.extra),
                                                              .created_ms = event.at_ms};
                                              write_message(out, message);
                                            });
  if (!taken) return answer(p, to, log_refused());
  p.rooms.stop_typing(room, sender.id);
}

// The key may have been used and be in the store alone (`look_up`); a file is attached to the room there.
Task<void> send_after_store(Parts& p, RoomId room_id, UserCard sender, Send send, std::uint64_t key, bool look_up,
                            ReplyTo to, std::int64_t arrived_ns) {
  Result<std::optional<Message>> found;
  if (look_up) found = co_await p.o.store.find_by_client_id(room_id, sender->id, send.client_id);
  if (!found) {
    answer(p, to, found.error());
    co_return;
  }
  if (*found) {
    ++p.o.metrics.duplicates;
    Writer out;
    write_message(out, **found);
    answer(p, to, message_answer(p, out.view(), true));
    co_return;
  }
  if (send.file_id) {
    auto file = co_await p.o.store.attach_file(send.file_id, sender->id, room_id);
    if (!file) {
      answer(p, to, file.error());
      co_return;
    }
    add_link(*file, *p.o.links, base::wall_ms());
    if (!send.is_typed) send.type = message_type_of(*file);
    send.file = std::move(*file);
  }
  HomeRoom* room = p.rooms.find(room_id);
  if (!room || !room->find(sender->id)) {
    answer(p, to, base::fail(Errc::not_found, "no such room").error());
    co_return;
  }
  if (key != 0 && p.sequencer.answer_duplicate(*room, sender->id, send.client_id, key, to)) co_return;
  sequence_send(p, *room, *sender, std::move(send), key, to, arrived_ns);
}

}  // namespace

bool may_send(const HomeRoom& room, const HomeMember& member) {
  return room.room.type != RoomType::channel || member.member.role != MemberRole::member;
}

void send_message(Parts& p, Call& call) {
  HomeRoom& room = *call.room;
  const Person& sender = *call.actor;
  if (!may_send(room, *room.find(sender.id)))
    return answer(p, call.to, base::fail(Errc::forbidden, "only the channel's owner and admins send here").error());
  auto send = read_send(*call.data, p.o.settings.text_points);
  if (!send) return answer(p, call.to, send.error());
  if (send->file_id && !p.o.blobs)
    return answer(p, call.to, base::fail_field("fileId", "this server keeps no files").error());
  std::uint64_t key = 0;
  bool look_up = false;
  if (!send->client_id.empty()) {
    key = client_key(sender.id, send->client_id) ^ base::mix(room.room.id.value);
    bool seen = p.seen.maybe_seen(key);
    if (seen && p.sequencer.answer_duplicate(room, sender.id, send->client_id, key, call.to)) return;
    look_up = seen || !room.keys_complete;
  }
  if (look_up || send->file_id) {
    p.o.scope.spawn(
        send_after_store(p, room.room.id, call.actor, std::move(*send), key, look_up, call.to, call.arrived_ns));
    return;
  }
  sequence_send(p, room, sender, std::move(*send), key, call.to, call.arrived_ns);
}

namespace {

Result<HistoryQuery> read_query(const Value& data, RoomId room) {
  HistoryQuery query{.room = room, .limit = base::limits::kPageDefault};
  int positions = 0;
  for (auto [name, from] : {std::pair{"before", HistoryQuery::From::before},
                            {"after", HistoryQuery::From::after},
                            {"around", HistoryQuery::From::around}}) {
    if (!find(data, name)) continue;
    auto seq = find_integer(data, name);
    if (!seq || *seq < 0) return base::fail_field(name, "must be a seq: a number of 0 or more");
    query.from = from;
    query.position = static_cast<std::uint64_t>(*seq);
    ++positions;
  }
  if (const Value* id = find(data, "aroundId")) {
    auto parsed = id->IsString() ? EventId::parse(base::json::view(*id)) : std::nullopt;
    if (!parsed) return base::fail_field("aroundId", "must be a message's id");
    query.from = HistoryQuery::From::around_id;
    query.position = parsed->value;
    ++positions;
  }
  if (positions > 1) return base::fail_field("before", "at most one of before, after, around, aroundId");
  if (find(data, "limit")) {
    auto limit = find_integer(data, "limit");
    if (!limit || *limit < 1 || *limit > static_cast<std::int64_t>(base::limits::kPageMax))
      return base::fail_field("limit", "must be a number from 1 to 100");
    query.limit = static_cast<std::size_t>(*limit);
  }
  return query;
}

struct TailMessage {
  std::uint64_t seq;
  EventId id;
  base::Blob json;
};

// The messages of the tail, as they are now, with the seq before which the store is asked.
struct TailView {
  std::uint64_t first = 1;
  std::vector<TailMessage> messages;  // around what is asked for, oldest first
  bool more_before = false;           // the tail has older messages than these
  bool more_after = false;
};

TailView view_tail(const HomeRoom& room, std::uint64_t from, std::uint64_t to, std::size_t keep, bool keep_newest) {
  TailView view{.first = room.tail_first()};
  auto add = [&](const RoomEvent& entry) {
    view.messages.push_back({entry.event.seq, entry.event.id, base::Blob::copy_of(entry.message())});
  };
  auto in_range = [&](const RoomEvent& entry) {
    return entry.message_size > 0 && entry.event.seq >= from && entry.event.seq <= to;
  };
  if (keep_newest) {
    for (const RoomEvent& entry : room.tail.entries() | std::views::reverse) {
      if (!in_range(entry)) continue;
      if (view.messages.size() == keep) {
        view.more_before = true;
        break;
      }
      add(entry);
    }
    std::ranges::reverse(view.messages);
  } else {
    for (const RoomEvent& entry : room.tail.entries()) {
      if (!in_range(entry)) continue;
      if (view.messages.size() == keep) {
        view.more_after = true;
        break;
      }
      add(entry);
    }
  }
  return view;
}

base::Blob message_blob(const Message& message) {
  static thread_local Writer out;
  out.clear();
  write_message(out, message);
  return base::Blob::copy_of(out.view());
}

// The newest `limit` messages with seq < before. What is older than the tail's first seq is in the store (rooms.hpp, invariant), so the tail is looked
// at first and the store asked for what lies before it.
Task<Result<Page>> read_before(Parts& p, RoomId id, std::uint64_t before, std::size_t limit) {
  HomeRoom* room = p.rooms.find(id);
  if (!room) co_return base::fail(Errc::not_found, "no such room");
  Page page;
  TailView tail = view_tail(*room, 0, before - 1, limit, true);
  page.has_before = tail.more_before;
  if (!tail.more_before && tail.first > 1) {
    std::size_t missing = limit - tail.messages.size();
    HistoryQuery query{.room = id,
                       .from = HistoryQuery::From::before,
                       .position = std::min(before, tail.first),
                       .limit = std::max<std::size_t>(missing, 1),
                       .stored_seq = std::min(before, tail.first) - 1};
    auto stored = co_await p.o.store.history(query);
    if (!stored) co_return std::unexpected(stored.error());
    page.has_before = stored->has_before || (missing == 0 && !stored->messages.empty());
    if (missing > 0)
      for (const Message& message : stored->messages) page.messages.push_back(message_blob(message));
  }
  for (TailMessage& message : tail.messages) page.messages.push_back(std::move(message.json));
  co_return page;
}

// The oldest `limit` messages with seq > after.
Task<Result<Page>> read_from(Parts& p, RoomId id, std::uint64_t after, std::size_t limit) {
  HomeRoom* room = p.rooms.find(id);
  if (!room) co_return base::fail(Errc::not_found, "no such room");
  Page page;
  TailView tail = view_tail(*room, after + 1, UINT64_MAX, limit, false);
  page.has_after = tail.more_after;
  if (after + 1 < tail.first) {
    HistoryQuery query{
        .room = id, .from = HistoryQuery::From::after, .position = after, .limit = limit, .stored_seq = tail.first - 1};
    auto stored = co_await p.o.store.history(query);
    if (!stored) co_return std::unexpected(stored.error());
    for (const Message& message : stored->messages)
      if (message.seq < tail.first) page.messages.push_back(message_blob(message));
    page.has_after = page.has_after || stored->has_after;
  }
  for (TailMessage& message : tail.messages) {
    if (page.messages.size() == limit) {
      page.has_after = true;
      break;
    }
    page.messages.push_back(std::move(message.json));
  }
  co_return page;
}

Task<Result<std::uint64_t>> seq_of(Parts& p, RoomId id, EventId message) {
  HistoryQuery query{.room = id, .from = HistoryQuery::From::around_id, .position = message.value, .limit = 1};
  if (HomeRoom* room = p.rooms.find(id)) {
    query.stored_seq = room->tail_first() - 1;
    for (const RoomEvent& entry : room->tail.entries())
      if (entry.message_size > 0 && entry.event.id == message) co_return entry.event.seq;
  }
  auto stored = co_await p.o.store.history(query);
  if (!stored) co_return std::unexpected(stored.error());
  for (const Message& found : stored->messages)
    if (found.id == message) co_return found.seq;
  co_return base::fail(Errc::not_found, "no such message");
}

Task<Result<Page>> read_around(Parts& p, RoomId id, std::uint64_t seq, std::size_t limit) {
  std::size_t older = limit / 2;
  auto after = co_await read_from(p, id, seq == 0 ? 0 : seq - 1, limit - older);
  if (!after) co_return after;
  if (older == 0) {
    auto one = co_await read_before(p, id, std::max<std::uint64_t>(seq, 1), 1);
    if (!one) co_return one;
    after->has_before = !one->messages.empty();
    co_return after;
  }
  auto before = co_await read_before(p, id, std::max<std::uint64_t>(seq, 1), older);
  if (!before) co_return before;
  for (base::Blob& message : after->messages) before->messages.push_back(std::move(message));
  before->has_after = after->has_after;
  co_return before;
}

}  // namespace

Task<Result<Page>> read_page(Parts& p, HistoryQuery query) {
  std::uint64_t position = query.position;
  if (query.from == HistoryQuery::From::around_id) {
    auto seq = co_await seq_of(p, query.room, EventId{position});
    if (!seq) co_return std::unexpected(seq.error());
    position = *seq;
  }
  switch (query.from) {
    case HistoryQuery::From::newest:
      co_return co_await read_before(p, query.room, UINT64_MAX >> 1, query.limit);
    case HistoryQuery::From::before: {
      if (position == 0) co_return base::fail_field("before", "must be a seq: a number of 1 or more");
      auto page = co_await read_before(p, query.room, position, query.limit);
      HomeRoom* room = p.rooms.find(query.room);
      if (page && room) page->has_after = position <= room->last_message_seq;
      co_return page;
    }
    case HistoryQuery::From::after: {
      auto page = co_await read_from(p, query.room, position, query.limit);
      if (!page) co_return page;
      auto older = co_await read_before(p, query.room, position + 1, 1);
      if (!older) co_return older;
      page->has_before = !older->messages.empty();
      co_return page;
    }
    case HistoryQuery::From::around:
    case HistoryQuery::From::around_id:
      co_return co_await read_around(p, query.room, position, query.limit);
  }
  co_return base::fail(Errc::internal, "no such position");
}

void write_messages(Writer& out, const Page& page) {
  out.begin_array();
  for (const base::Blob& message : page.messages) out.raw(message.view());
  out.end_array();
}

namespace {

Task<void> answer_history(Parts& p, HistoryQuery query, ReplyTo to) {
  auto page = co_await read_page(p, query);
  if (!page) {
    answer(p, to, page.error());
    co_return;
  }
  Writer out;
  out.begin_object().key("messages");
  write_messages(out, *page);
  out.key("hasBefore").boolean(page->has_before).key("hasAfter").boolean(page->has_after).end_object();
  answer(p, to, out.view());
}

}  // namespace

void get_history(Parts& p, Call& call) {
  auto query = read_query(*call.data, call.room->room.id);
  if (!query) return answer(p, call.to, query.error());
  p.o.scope.spawn(answer_history(p, *query, call.to));
}

namespace {

// What lies before the tail is counted by the store.
Task<void> mark_after_store(Parts& p, RoomId id, UserId user, std::uint64_t seq, ReplyTo to) {
  auto count = co_await p.marks.count(id, user, seq);
  if (!count) {
    answer(p, to, count.error());
    co_return;
  }
  HomeRoom* room = p.rooms.find(id);
  if (HomeMember* member = room ? room->find(user) : nullptr) p.marks.move(*room, *member, seq, *count);
  answer(p, to, "{}");
}

}  // namespace

void mark_read(Parts& p, Call& call) {
  HomeRoom& room = *call.room;
  const auto seq = find_integer(*call.data, "seq");
  if (!seq || *seq < 0 || static_cast<std::uint64_t>(*seq) > room.room.last_seq)
    return answer(p, call.to, base::fail_field("seq", "must be a seq that the room has").error());
  const auto up_to = static_cast<std::uint64_t>(*seq);
  HomeMember& member = *room.find(call.actor->id);
  if (up_to <= member.member.read_seq) return answer(p, call.to, "{}");
  if (!p.marks.may_move())
    return answer(p, call.to, base::fail_later(Errc::unavailable, 1000, "the store is away; try again").error());
  const auto count = Marks::count_in_tail(room, member.member, up_to);
  if (!count) return p.o.scope.spawn(mark_after_store(p, room.id(), member.id(), up_to, call.to));
  p.marks.move(room, member, up_to, *count);
  answer(p, call.to, "{}");
}

void start_typing(Parts& p, Call& call) {
  p.rooms.start_typing(*call.room, *call.actor);
  answer(p, call.to, "{}");
}

void stop_typing(Parts& p, Call& call) {
  p.rooms.stop_typing(*call.room, call.actor->id);
  answer(p, call.to, "{}");
}

}  // namespace ringline::chat
