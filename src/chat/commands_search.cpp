// Searching what was said: only in rooms that the caller is in. Of one room its home knows that, of all his rooms his own home.
#include <algorithm>

#include "chat/commands.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::chat {

namespace {

using base::json::find;
using base::json::find_integer;
using base::json::find_string;

using FoundRooms = Result<std::vector<RoomId>>;

// One that he is in, or why not: as for any other command about it.
FoundRooms room_of_member(const Result<HomeRoom*>& room, UserId user) {
  if (!room) return std::unexpected(room.error());
  if ((*room)->find(user)) return std::vector<RoomId>{(*room)->id()};
  if ((*room)->room.is_private) return base::fail(Errc::not_found, "no such room");
  return base::fail(Errc::forbidden, "join the room first");
}

Task<FoundRooms> rooms_to_search(Parts& p, RoomId room, UserId user) {
  if (room) {
    auto asking = ask<FoundRooms>(p, p.home(room), [room, user](Parts& there, Answer<FoundRooms> answer) {
      there.rooms.with(room,
                       [&there, user, answer](Result<HomeRoom*> found) { answer(there, room_of_member(found, user)); });
    });
    FoundRooms one = co_await asking;
    co_return one;
  }
  auto asking = ask<FoundRooms>(p, p.home(user), [user](Parts& there, Answer<FoundRooms> answer) {
    there.people.with(user, [&there, answer](Result<HomeUser*> found) {
      if (!found) return answer(there, std::unexpected(found.error()));
      std::vector<RoomId> rooms;
      for (const HomeUser::InRoom& in : (*found)->rooms) rooms.push_back(in.id);
      answer(there, std::move(rooms));
    });
  });
  FoundRooms all = co_await asking;
  co_return all;
}

Task<void> answer_search(Parts& p, SearchQuery query, RoomId room, UserId user, ReplyTo to) {
  auto rooms = co_await rooms_to_search(p, room, user);
  if (!rooms) {
    answer(p, to, rooms.error());
    co_return;
  }
  query.rooms = std::move(*rooms);
  auto page = co_await p.o.store.search_messages(std::move(query));
  if (!page) {
    answer(p, to, page.error());
    co_return;
  }
  Writer out;
  out.begin_object().key("messages").begin_array();
  for (const Message& message : page->messages) write_message(out, message);
  out.end_array();
  if (page->next != 0) out.key("nextCursor").string(std::to_string(page->next));
  out.end_object();
  answer(p, to, out.view());
}

Result<std::vector<std::string>> read_words(const Value& data) {
  auto text = find_string(data, "query");
  if (!text || base::count_points(*text) > base::limits::kSearchPoints)
    return base::fail_field("query", "must be a string of at most 200 characters");
  std::vector<std::string> words;
  const std::string all = base::words_of(*text);
  for (std::string_view rest = all; !rest.empty();) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, end);
    if (std::ranges::find(words, word) == words.end()) words.emplace_back(word);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (words.empty()) return base::fail_field("query", "must hold a word");
  if (words.size() > base::limits::kSearchWords) return base::fail_field("query", "must be at most 8 words");
  return words;
}

// The id under `name`; 0: it is not given.
template <class Id>
Result<Id> read_id(const Value& data, std::string_view name) {
  const Value* given = find(data, name);
  if (!given) return Id{};
  auto id = given->IsString() ? Id::parse(base::json::view(*given)) : std::nullopt;
  if (!id) return base::fail_field(std::string(name), "must be an id, as a string of digits");
  return *id;
}

}  // namespace

void search_messages(Parts& p, Call& call) {
  const Value& data = *call.data;
  auto words = read_words(data);
  if (!words) return answer(p, call.to, words.error());
  auto room = read_id<RoomId>(data, "roomId");
  if (!room) return answer(p, call.to, room.error());
  auto sender = read_id<UserId>(data, "fromUserId");
  if (!sender) return answer(p, call.to, sender.error());
  auto cursor = read_id<EventId>(data, "cursor");
  if (!cursor) return answer(p, call.to, base::fail_field("cursor", "must be a nextCursor of this search").error());
  auto limit = read_limit(data);
  if (!limit) return answer(p, call.to, limit.error());
  SearchQuery query{
      .words = std::move(*words), .rooms = {}, .from_user = *sender, .cursor = cursor->value, .limit = *limit};
  p.o.scope.spawn(answer_search(p, std::move(query), *room, call.actor->id, call.to));
}

}  // namespace ringline::chat
