// The way of a command: found in the table, counted at its sender's home, run where its row says. A call that leaves this core, or waits, takes its data
// along as text; one that stays is handed on as it is.
#include <string>
#include <utility>

#include "chat/call.hpp"
#include "chat/parts.hpp"

namespace ringline::chat {

namespace {

using Step = void (*)(Parts&, Call&);

// A call that owns its data.
struct OwnedCall {
  Call call;
  std::string data;

  explicit OwnedCall(const Call& from) : call(from) {
    Writer out;
    out.value(*from.data);
    data = out.view();
  }
  void run(Parts& there, Step step) {
    call.data = there.reader.parse(data);
    ASSERT(call.data != nullptr);
    step(there, call);
  }
};

void hop(Parts& here, unsigned core, Call& call, Step step) {
  if (core == here.o.core) return step(here, call);
  here.on(core, [owned = OwnedCall(call), step](Parts& there) mutable { owned.run(there, step); });
}

std::optional<RoomId> room_of(const Value& data) {
  auto text = base::json::find_string(data, "roomId");
  return text ? RoomId::parse(*text) : std::nullopt;
}

void run_in_room(Parts& here, Call& call);

void run_with_room(Parts& here, Call& call, HomeRoom& room) {
  call.room = &room;
  room.used_ms = here.now_ms();
  UserId actor = call.actor->id;
  if (room.is_changing(actor)) {  // what he is about to become is not committed yet
    if (room.after_change.size() >= base::limits::kRoomCallsWaiting)
      return answer(here, call.to, base::fail_later(Errc::unavailable, 1000, "the room is busy; try again").error());
    room.after_change.push_back([&here, owned = OwnedCall(call)]() mutable { owned.run(here, &run_in_room); });
    return;
  }
  if (call.command->access == Access::member && !room.find(actor)) {
    if (room.room.is_private) return answer(here, call.to, base::fail(Errc::not_found, "no such room").error());
    return answer(here, call.to, base::fail(Errc::forbidden, "join the room first").error());
  }
  call.command->handler(here, call);
}

void run_in_room(Parts& here, Call& call) {
  if (HomeRoom* room = here.rooms.find(call.room_id); room && !room->opening) return run_with_room(here, call, *room);
  here.rooms.with(call.room_id, [&here, owned = OwnedCall(call)](Result<HomeRoom*> room) mutable {
    if (!room) return answer(here, owned.call.to, room.error());
    owned.run(here, &run_in_room);
  });
}

void run_at_home(Parts& here, Call& call) { call.command->handler(here, call); }

void route(Parts& here, Call& call) {
  switch (call.command->place) {
    case Place::here:
      return call.command->handler(here, call);
    case Place::user_home:
      return hop(here, here.home(call.actor->id), call, &run_at_home);
    case Place::room_home:
      if (!call.room_id)
        return answer(here, call.to, base::fail_field("roomId", "must be a room's id, as a string of digits").error());
      return hop(here, here.home(call.room_id), call, &run_in_room);
  }
}

void after_allowance(Parts& here, Call& call, std::uint32_t wait_ms) {
  if (wait_ms == 0) return route(here, call);
  ++here.o.metrics.rate_limited;
  answer(here, call.to, base::fail_later(Errc::rate_limited, wait_ms, "too many messages; wait a little").error());
}

Task<void> take_allowance_abroad(Parts& here, OwnedCall owned) {
  std::uint32_t wait_ms = co_await here.abroad.take_send(owned.call.actor->id);
  owned.call.data = here.reader.parse(owned.data);
  after_allowance(here, owned.call, wait_ms);
}

void take_allowance(Parts& here, Call& call) {
  if (here.abroad.counts(call.actor->id)) return here.o.scope.spawn(take_allowance_abroad(here, OwnedCall(call)));
  after_allowance(here, call, here.people.take_send(call.actor->id));
}

}  // namespace

void dispatch(Parts& here, Call& call) {
  ++here.o.metrics.commands;
  if (!here.o.around.can_post())
    return answer(here, call.to, base::fail_later(Errc::unavailable, 1000, "the server is busy; try again").error());
  if (!call.data->IsObject()) return answer(here, call.to, base::fail_field("data", "must be an object").error());
  if (call.command->place == Place::room_home) {
    call.room_id = room_of(*call.data).value_or(RoomId{});
    here.rooms.fetch(call.room_id);  // wanted once the sender is counted
  }
  if (call.command->rate == Rate::message) return hop(here, here.home(call.actor->id), call, &take_allowance);
  route(here, call);
}

void answer(Parts& here, const ReplyTo& to, std::string_view body) {
  if (to.core != here.o.core) {
    here.on(to.core, [to, text = std::string(body)](Parts& there) { answer(there, to, text); });
    return;
  }
  if (to.waiter) return to.waiter->complete({.ok = true, .body = std::string(body), .error = {}});
  if (Session* session = here.o.around.find(to.connection)) session->out.reply(to.tag, to.command->name, true, body);
}

void answer(Parts& here, const ReplyTo& to, const Error& error) {
  if (to.core != here.o.core) {
    here.on(to.core, [to, error](Parts& there) { answer(there, to, error); });
    return;
  }
  ++here.o.metrics.commands_failed;
  if (to.waiter) return to.waiter->complete({.ok = false, .body = {}, .error = error});
  Session* session = here.o.around.find(to.connection);
  if (!session) return;
  Writer out;
  base::json::write_error(out, error);
  session->out.reply(to.tag, to.command->name, false, out.view());
}

}  // namespace ringline::chat
