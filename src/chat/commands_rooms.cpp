// Rooms: making, finding, joining, leaving, members.
#include <algorithm>

#include "chat/commands.hpp"
#include "chat/effects.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/utf8.hpp"

namespace ringline::chat {

namespace {

using base::json::find;
using base::json::find_bool;
using base::json::find_integer;
using base::json::find_string;

constexpr std::size_t kInitialMembers = 100;  // of create_room

// A name of a room or guest: trimmed, clean, 1 to 64 characters, not only digits.
Result<std::string> read_name(const Value& data, std::string_view field) {
  auto given = find_string(data, field);
  if (!given) return base::fail_field(std::string(field), "must be a string");
  std::string_view text = *given;
  auto begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return base::fail_field(std::string(field), "must not be empty");
  text = text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
  if (base::count_points(text) > base::limits::kNamePoints)
    return base::fail_field(std::string(field), "must be at most 64 characters");
  if (!base::is_clean_name(text))
    return base::fail_field(std::string(field), "must not hold line breaks or control characters");
  if (text.find_first_not_of("0123456789") == std::string_view::npos)
    return base::fail_field(std::string(field), "must not be digits only");
  return std::string(text);
}

struct NewRoom {
  Room room;
  std::vector<Member> members;
  std::string direct_key;
};

Task<Result<NewRoom>> check_members(Parts& p, NewRoom draft) {
  for (const Member& member : draft.members) {
    auto account = co_await p.o.store.find_account(member.user);
    if (!account && account.error().code == Errc::not_found)
      co_return base::fail_field("memberIds", "no such user: " + member.user.text());
    if (!account) co_return std::unexpected(account.error());
  }
  co_return draft;
}

// Makes a room in the store and begins it at its home.
Task<void> make_room(Parts& p, NewRoom draft, UserCard actor, ReplyTo to) {
  auto checked = co_await check_members(p, std::move(draft));
  if (!checked) {
    answer(p, to, checked.error());
    co_return;
  }
  auto made = co_await p.o.store.create_room(std::move(checked->room), std::move(checked->members),
                                             std::move(checked->direct_key));
  if (!made) {
    answer(p, to, made.error());
    co_return;
  }
  RoomId id = made->room.id;
  p.on(p.home(id), [id, actor, to](Parts& there) {
    there.rooms.with(id, [&there, actor, to](Result<HomeRoom*> room) {
      if (!room) return answer(there, to, room.error());
      if ((*room)->is_new()) {
        bool begins = begin_room(there, **room, [&there, actor, to](HomeRoom& begun, Sequencer::Outcome outcome) {
          if (outcome == Sequencer::Outcome::failed) return answer(there, to, log_refused());
          answer(there, to, R"({"room":)" + room_json(there, begun, actor->id) + "}");
        });
        if (!begins) answer(there, to, log_refused());
        return;
      }
      if ((*room)->find(actor->id)) tell_home(there, **room, actor->id);
      answer(there, to, R"({"room":)" + room_json(there, **room, actor->id) + "}");
    });
  });
}

Result<void> read_members(const Value& data, const Person& actor, NewRoom& draft) {
  std::int64_t now = base::wall_ms();
  draft.members.push_back({.user = actor.id, .joined_ms = now, .role = MemberRole::owner});
  if (const Value* ids = find(data, "memberIds")) {
    if (!ids->IsArray() || ids->Size() > kInitialMembers)
      return base::fail_field("memberIds", "must be a list of at most 100 user ids");
    for (const Value& text : ids->GetArray()) {
      auto id = text.IsString() ? UserId::parse(base::json::view(text)) : std::nullopt;
      if (!id) return base::fail_field("memberIds", "must be user ids, as strings");
      bool known = std::ranges::find(draft.members, *id, &Member::user) != draft.members.end();
      if (!known) draft.members.push_back({.user = *id, .joined_ms = now, .role = MemberRole::member});
    }
  }
  if (draft.room.type != RoomType::direct) return {};
  if (draft.members.size() != 2) return base::fail_field("memberIds", "a direct room takes exactly one other user");
  draft.members[0].role = MemberRole::member;
  UserId low = std::min(draft.members[0].user, draft.members[1].user);
  UserId high = std::max(draft.members[0].user, draft.members[1].user);
  draft.direct_key = low.text() + ":" + high.text();
  return {};
}

Result<NewRoom> read_new_room(Parts& p, const Value& data, const Person& actor) {
  NewRoom draft;
  auto type = find_string(data, "type");
  auto known = type ? room_type(*type) : std::nullopt;
  if (!known) return base::fail_field("type", "must be direct, group or channel");
  Room& room = draft.room;
  room.id = RoomId{p.next_id()};
  room.type = *known;
  room.created_by = actor.id;
  room.created_ms = room.updated_ms = base::wall_ms();
  room.is_private = find_bool(data, "private").value_or(false) || room.type == RoomType::direct;
  room.ephemeral = find_bool(data, "ephemeral").value_or(false);
  if (room.type != RoomType::direct) {
    auto name = read_name(data, "name");
    if (!name) return std::unexpected(name.error());
    room.name = std::move(*name);
  }
  if (auto description = find_string(data, "description")) {
    room.description = base::sanitize_text(*description);
    if (base::count_points(room.description) > base::limits::kDescriptionPoints)
      return base::fail_field("description", "must be at most 500 characters");
  }
  if (auto members = read_members(data, actor, draft); !members) return std::unexpected(members.error());
  return draft;
}

}  // namespace

void write_member(Writer& out, const HomeMember& member) {
  out.begin_object().key("user");
  write_user(out, *member.user, member.is_here() ? Status::online : Status::offline, false);
  out.key("role").string(name_of(member.member.role)).key("joinedAt").time(member.member.joined_ms);
  out.key("online").boolean(member.is_here()).end_object();
}

void create_room(Parts& p, Call& call) {
  auto draft = read_new_room(p, *call.data, *call.actor);
  if (!draft) return answer(p, call.to, draft.error());
  p.o.scope.spawn(make_room(p, std::move(*draft), call.actor, call.to));
}

namespace {

// {user, room, members, messages}: what a client needs to show the room.
Task<void> answer_join(Parts& p, RoomId id, UserCard user, ReplyTo to) {
  auto page = co_await read_page(p, {.room = id, .limit = base::limits::kJoinMessages});
  HomeRoom* room = p.rooms.find(id);
  if (!page || !room) {
    answer(p, to, page ? base::fail(Errc::not_found, "no such room").error() : page.error());
    co_return;
  }
  if (!room->find(user->id)) {  // he left meanwhile
    answer(p, to, base::fail(Errc::not_found, "no such room").error());
    co_return;
  }
  Writer& out = p.body;
  out.clear();
  out.begin_object().key("user");
  write_user(out, *user, Status::online, true);
  out.key("room").raw(room_json(p, *room, user->id)).key("members");
  p.member_lists.write(out, *room, user->id, p.now_ms());
  out.key("messages");
  write_messages(out, *page);
  out.end_object();
  answer(p, to, out.view());
}

}  // namespace

bool begin_room(Parts& p, HomeRoom& room, Sequencer::Then then) {
  ASSERT(room.is_new());
  const HomeMember* maker = room.find(room.room.created_by);
  if (!maker) return false;
  Sequencer::Draft draft{.room = room, .kind = EventKind::room_created, .actor = *maker->user};
  return p.sequencer.sequence(
      draft, [&](Writer& out, const Event&) { out.key("room").raw(room_json(p, room, UserId{})); }, std::move(then));
}

void join_and_answer(Parts& p, HomeRoom& room, UserCard user, ReplyTo to) {
  if (room.is_new()) {
    bool begins = begin_room(p, room, [&p, user, to](HomeRoom& begun, Sequencer::Outcome outcome) {
      if (outcome == Sequencer::Outcome::failed) return answer(p, to, log_refused());
      join_and_answer(p, begun, user, to);
    });
    if (!begins) answer(p, to, log_refused());
    return;
  }
  if (room.find(user->id)) {
    tell_home(p, room, user->id);
    p.o.scope.spawn(answer_join(p, room.room.id, user, to));
    return;
  }
  if (room.room.is_private) return answer(p, to, base::fail(Errc::not_found, "no such room").error());
  Sequencer::Draft draft{.room = room, .kind = EventKind::member_joined, .actor = *user, .subject = user};
  bool taken = p.sequencer.sequence(
      draft,
      [&](Writer& out, const Event& event) {
        write_member(out.key("member"),
                     {.member = {.user = user->id, .joined_ms = event.at_ms}, .online = 1, .user = user});
      },
      [&here = p, user, to](HomeRoom& joined, Sequencer::Outcome outcome) {
        if (outcome == Sequencer::Outcome::failed) return answer(here, to, log_refused());
        if (outcome == Sequencer::Outcome::overtaken) return join_and_answer(here, joined, user, to);
        here.o.scope.spawn(answer_join(here, joined.room.id, user, to));
      });
  if (!taken) answer(p, to, log_refused());
}

void join_room(Parts& p, Call& call) { join_and_answer(p, *call.room, call.actor, call.to); }

namespace {

void join_at_home(Parts& p, RoomId id, UserCard user, ReplyTo to) {
  p.on(p.home(id), [id, user, to](Parts& there) {
    there.rooms.with(id, [&there, user, to](Result<HomeRoom*> room) {
      if (!room) return answer(there, to, room.error());
      if ((*room)->is_changing(user->id)) {  // he is joining already: this call answers when that is settled
        (*room)->after_change.push_back(
            [&there, id = (*room)->room.id, user, to] { join_at_home(there, id, user, to); });
        return;
      }
      join_and_answer(there, **room, user, to);
    });
  });
}

// `join` by name: a public room, made if it is missing and the server allows it.
Task<void> join_by_name(Parts& p, std::string name, UserCard user, ReplyTo to) {
  auto found = co_await p.o.store.find_room_by_name(name);
  if (found) {
    p.room_names.keep(name, *found);
    join_at_home(p, *found, user, to);
    co_return;
  }
  if (found.error().code != Errc::not_found || !p.o.settings.create_on_join) {
    answer(p, to, found.error());
    co_return;
  }
  auto made_before = co_await p.o.store.rooms_made_by(user->id);
  if (!made_before || *made_before >= base::limits::kRoomsMadeByJoin) {
    answer(p, to,
           made_before ? base::fail(Errc::forbidden, "no such room, and you have made 10 rooms already").error()
                       : made_before.error());
    co_return;
  }
  Room room{.id = RoomId{p.next_id()}, .type = RoomType::group, .name = name, .created_by = user->id};
  room.created_ms = room.updated_ms = base::wall_ms();
  RoomId id = room.id;
  std::vector<Member> members{{.user = user->id, .joined_ms = room.created_ms, .role = MemberRole::owner}};
  auto made = co_await p.o.store.create_room(std::move(room), std::move(members), {});
  if (!made && made.error().code == Errc::conflict) {  // somebody else was quicker
    auto again = co_await p.o.store.find_room_by_name(name);
    if (again) {
      join_at_home(p, *again, user, to);
    } else {
      answer(p, to, again.error());
    }
    co_return;
  }
  if (!made) {
    answer(p, to, made.error());
    co_return;
  }
  join_at_home(p, id, user, to);
}

// The room that had this name when somebody asked for it last. Whether it still has it, its home knows; if not, the store is asked.
void join_hinted(Parts& p, RoomId hint, std::string name, UserCard user, ReplyTo to) {
  p.on(p.home(hint), [hint, name = std::move(name), user, to](Parts& there) mutable {
    const HomeRoom* room = there.rooms.find(hint);
    bool same = room && !room->room.is_private && room->room.type != RoomType::direct &&
                base::fold_case(room->room.name) == base::fold_case(name);
    if (same) return join_at_home(there, hint, user, to);
    there.o.scope.spawn(join_by_name(there, std::move(name), user, to));
  });
}

}  // namespace

void join(Parts& p, Call& call) {
  auto room = find_string(*call.data, "room");
  if (!room) return answer(p, call.to, base::fail_field("room", "must be a room's name or id").error());
  if (auto id = RoomId::parse(*room)) return join_at_home(p, *id, call.actor, call.to);
  auto name = read_name(*call.data, "room");
  if (!name) return answer(p, call.to, name.error());
  if (RoomId hint = p.room_names.find(*name)) return join_hinted(p, hint, std::move(*name), call.actor, call.to);
  p.o.scope.spawn(join_by_name(p, std::move(*name), call.actor, call.to));
}

bool leave(Parts& p, HomeRoom& room, const UserCard& user, Sequencer::Then then) {
  Sequencer::Draft draft{.room = room, .kind = EventKind::member_left, .actor = *user, .subject = user};
  return p.sequencer.sequence(
      draft, [&](Writer& out, const Event&) { out.key("userId").id(user->id).key("reason").string("left"); },
      std::move(then));
}

namespace {

void leave_and_answer(Parts& p, HomeRoom& room, const UserCard& user, const ReplyTo& to) {
  const HomeMember* member = room.find(user->id);
  if (!member) return answer(p, to, "{}");  // he left by another host meanwhile
  bool last_owner =
      member->member.role == MemberRole::owner && std::ranges::none_of(room.members, [&](const HomeMember& other) {
        return other.id() != user->id && other.member.role == MemberRole::owner;
      });
  if (last_owner && room.members.size() > 1)
    return answer(p, to,
                  base::fail(Errc::conflict, "you are the room's only owner: make somebody else one first").error());
  bool taken = leave(p, room, user, [&here = p, user, to](HomeRoom& left, Sequencer::Outcome outcome) {
    if (outcome == Sequencer::Outcome::failed) return answer(here, to, log_refused());
    if (outcome == Sequencer::Outcome::overtaken) return leave_and_answer(here, left, user, to);
    answer(here, to, "{}");
  });
  if (!taken) answer(p, to, log_refused());
}

}  // namespace

void leave_room(Parts& p, Call& call) { leave_and_answer(p, *call.room, call.actor, call.to); }

void get_room(Parts& p, Call& call) {
  HomeRoom& room = *call.room;
  if (room.room.is_private && !room.find(call.actor->id))
    return answer(p, call.to, base::fail(Errc::not_found, "no such room").error());
  answer(p, call.to, R"({"room":)" + room_json(p, room, call.actor->id) + "}");
}

namespace {

Result<std::size_t> read_limit(const Value& data) {
  if (!find(data, "limit")) return base::limits::kPageDefault;
  auto limit = find_integer(data, "limit");
  if (!limit || *limit < 1 || *limit > static_cast<std::int64_t>(base::limits::kPageMax))
    return base::fail_field("limit", "must be a number from 1 to 100");
  return static_cast<std::size_t>(*limit);
}

Task<void> answer_public_rooms(Parts& p, std::string query, std::string cursor, std::size_t limit, ReplyTo to) {
  auto page = co_await p.o.store.list_public_rooms(std::move(query), std::move(cursor), limit);
  if (!page) {
    answer(p, to, page.error());
    co_return;
  }
  Writer out;
  out.begin_object().key("rooms").begin_array();
  for (std::size_t i = 0; i < page->rooms.size(); ++i)
    write_room(out, page->rooms[i], static_cast<std::size_t>(page->member_counts[i]), {}, nullptr);
  out.end_array();
  if (page->next_cursor) out.key("nextCursor").string(*page->next_cursor);
  out.end_object();
  answer(p, to, out.view());
}

void find_rooms(Parts& p, Call& call, std::string query) {
  auto limit = read_limit(*call.data);
  if (!limit) return answer(p, call.to, limit.error());
  std::string cursor(find_string(*call.data, "cursor").value_or(""));
  p.o.scope.spawn(answer_public_rooms(p, std::move(query), std::move(cursor), *limit, call.to));
}

}  // namespace

void list_rooms(Parts& p, Call& call) { find_rooms(p, call, {}); }

void search_rooms(Parts& p, Call& call) {
  auto query = find_string(*call.data, "query");
  if (!query || query->empty() || base::count_points(*query) > base::limits::kNamePoints)
    return answer(p, call.to, base::fail_field("query", "must be a string of 1 to 64 characters").error());
  find_rooms(p, call, std::string(*query));
}

// Members by id: the cursor is the last id that was shown.
void list_members(Parts& p, Call& call) {
  auto limit = read_limit(*call.data);
  if (!limit) return answer(p, call.to, limit.error());
  UserId after;
  if (auto cursor = find_string(*call.data, "cursor")) {
    auto id = UserId::parse(*cursor);
    if (!id) return answer(p, call.to, base::fail_field("cursor", "must be a nextCursor of this list").error());
    after = *id;
  }
  std::vector<UserId> ids;
  for (const HomeMember& member : call.room->members)
    if (member.id() > after) ids.push_back(member.id());
  bool more = ids.size() > *limit;
  auto shown = ids.begin() + static_cast<std::ptrdiff_t>(std::min(ids.size(), *limit));
  std::ranges::partial_sort(ids, shown);
  Writer out;
  out.begin_object().key("members").begin_array();
  for (auto id = ids.begin(); id != shown; ++id) write_member(out, *call.room->find(*id));
  out.end_array();
  if (more) out.key("nextCursor").string(std::prev(shown)->text());
  out.end_object();
  answer(p, call.to, out.view());
}

}  // namespace ringline::chat
