// See chat_clients_sim.hpp.
#include "chat_clients_sim.hpp"

namespace ringline::chat::test {

using base::json::Value;

namespace {

std::uint64_t seq_of(const Value& object, std::string_view name) {
  return static_cast<std::uint64_t>(find_integer(object, name).value_or(0));
}

template <class Tag>
base::Id<Tag> id_of(const Value& object, std::string_view name) {
  return base::Id<Tag>::parse(find_string(object, name).value_or("")).value_or(base::Id<Tag>{});
}

}  // namespace

// ---- What a connection hears. After the cut nobody listens.

void Connection::reply(const ReplyTag& tag, std::string_view /*cmd*/, bool ok, std::string_view body) {
  if (clients.cut()) return;
  const auto found = requests.find(std::stoull(std::string(tag.view())));
  if (found == requests.end()) return clients.fail(*this, "an answer to nothing: " + std::string(body));
  const Request request = std::move(found->second);
  requests.erase(found);
  clients.on_reply(*this, request, ok, body);
}

void Connection::refused(const ReplyTag& /*tag*/, const base::Error& error, std::optional<CloseCode> /*close*/) {
  if (clients.cut()) return;
  gone = true;
  if (error.code != base::Errc::unavailable) clients.fail(*this, "not let in: " + error.message);
}

void Connection::send_event(std::string_view name, std::string_view body) {
  if (clients.cut() || name != "ready") return;
  clients.on_ready(*this, body);
}

bool Connection::send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) {
  if (slow || full) {
    full = true;
    clients.count_refusal();
    return false;
  }
  if (clients.cut()) return true;
  std::string_view bytes = std::string_view(chunk->bytes).substr(from, to - from);
  while (!bytes.empty()) {
    const std::size_t space = bytes.find(' ');
    const std::size_t end = bytes.find('\n');
    if (bytes[0] != (wire_ == Wire::plain ? 'p' : 's')) clients.fail(*this, "got bytes of the other protocol");
    clients.on_event(*this, bytes.substr(1, space - 1), bytes.substr(space + 1, end - space - 1));
    bytes.remove_prefix(end + 1);
  }
  return true;
}

void Connection::close(CloseCode code, std::string_view reason) {
  if (clients.cut()) return;
  gone = true;
  clients.fail(*this, "closed with " + std::to_string(static_cast<int>(code)) + ": " + std::string(reason));
}

// ---- What people do.

void Clients::connect(User& user, Device& device) {
  disconnect(device);
  // Of a new user one device after the other: the second is to be the same guest.
  if (user.token.empty() &&
      std::ranges::any_of(user.devices, [](const Device& one) { return one.connection != nullptr; }))
    return;
  const unsigned core = static_cast<unsigned>(world_.draw(host_->cores()));
  const ConnectionId id{++last_connection_ << (base::kHostBits + base::kCoreBits + base::kCounterBits) |
                        core << base::kCounterBits};
  device.connection =
      std::make_unique<Connection>(*this, user, device, id, world_.chance(50) ? Wire::plain : Wire::socketio);
  Connection& connection = *device.connection;
  ConnectData data{.token = user.token, .has_token = !user.token.empty(), .name = user.name, .resume = {}};
  if (!user.token.empty() && world_.chance(80)) {
    for (const auto& [room, seq] : device.points) {
      if (user.left.contains(room)) continue;
      connection.resume[room] = seq;
      data.resume.push_back({.room = room, .seq = seq, .epoch = 1});
    }
    data.has_resume = !data.resume.empty();
  }
  host_->sessions()[id] = &connection.session;
  host_->shard(core).connect(connection.session, ReplyTag("0"), std::move(data));
}

void Clients::disconnect(Device& device) {
  if (!device.connection) return;
  Connection& connection = *device.connection;
  for (const auto& [tag, request] : connection.requests) {
    if (request.what == Asked::send) {
      if (const auto sent = connection.user.outbox.find(request.key); sent != connection.user.outbox.end())
        --sent->second.in_flight;
    }
    if (request.what == Asked::join || request.what == Asked::leave) {
      // It may be done at any time from now on.
      if (request.what == Asked::join) connection.user.joining.insert(request.key);
      for (auto& [room, mine] : connection.user.rooms)
        if (!request.room || request.room == room) mine = {.state = State::unknown, .busy = true};
    }
  }
  host_->shard(connection.session.id.core()).disconnected(connection.session);
  host_->sessions().erase(connection.session.id);
  device.connection.reset();
}

void Clients::command(Connection& connection, std::string_view name, Request request, const std::string& data) {
  const std::string tag = std::to_string(++last_tag_);
  request.order = ++truth_.order;
  connection.requests.emplace(last_tag_, std::move(request));
  const Value* parsed = commands_.parse(data);
  ASSERT(parsed != nullptr);
  host_->shard(connection.session.id.core()).command(connection.session, ReplyTag(tag), name, parsed);
}

void Clients::join(Connection& connection) {
  const std::string name = "room-" + std::to_string(world_.draw(kNames));
  const auto known = names_.find(name);
  const RoomId room = known == names_.end() ? RoomId{} : known->second;
  if (room) {
    Membership& mine = connection.user.rooms[room];
    if (mine.busy) return;
    mine.busy = true;
    if (mine.state == State::out) mine.state = State::unknown;
  }
  command(connection, "join", {.what = Asked::join, .room = room, .key = name, .text = {}},
          R"({"room":")" + name + "\"}");
}

void Clients::leave(Connection& connection) {
  const auto room = any_room();
  if (!room) return;
  Membership& mine = connection.user.rooms[*room];
  if (mine.busy) return;
  mine = {.state = State::unknown, .busy = true};
  connection.user.left.insert(*room);
  command(connection, "leave_room", {.what = Asked::leave, .room = *room, .key = {}, .text = {}},
          R"({"roomId":")" + room->text() + "\"}");
}

void Clients::create(Connection& connection) {
  std::string members;
  for (const User& other : users_)
    if (other.id && world_.chance(50))
      members.append(members.empty() ? "\"" : ",\"").append(other.id.text()).append("\"");
  const std::string name = "private-" + std::to_string(++last_key_);
  command(connection, "create_room", {.what = Asked::create, .room = {}, .key = name, .text = {}},
          R"({"type":"group","private":true,"name":")" + name + R"(","memberIds":[)" + members + "]}");
}

void Clients::send(Connection& connection, const std::string& key, Send& send) {
  const std::string text = key + "#" + std::to_string(++send.attempts);
  ++send.in_flight;
  truth_.attempts.push_back(text);
  command(connection, "send_message", {.what = Asked::send, .room = send.room, .key = key, .text = text},
          R"({"roomId":")" + send.room.text() + R"(","clientId":")" + key + R"(","text":")" + text + "\"}");
}

// Mostly to a room of his own; sometimes to one that is none of his business.
void Clients::send_new(Connection& connection) {
  User& user = connection.user;
  auto room = any_room();
  for (int tries = 0; room && tries < 4 && user.rooms[*room].state != State::in; ++tries) room = any_room();
  if (!room) return join(connection);
  const std::string key = user.name + "-" + std::to_string(++last_key_);
  const auto slot = user.outbox.emplace(key, Send{.room = *room}).first;
  send(connection, key, slot->second);
  if (world_.chance(10) && user.outbox.contains(key)) send(connection, key, user.outbox[key]);
}

void Clients::send_again(Connection& connection) {
  std::vector<std::string> keys;
  for (const auto& [key, send] : connection.user.outbox)
    if (send.in_flight == 0) keys.push_back(key);
  for (const std::string& key : keys)
    if (const auto found = connection.user.outbox.find(key); found != connection.user.outbox.end())
      send(connection, key, found->second);
}

void Clients::send_acked_again(Connection& connection) {
  User& user = connection.user;
  if (user.sent.empty()) return;
  const auto& [key, room] = user.sent[world_.draw(user.sent.size())];
  command(connection, "send_message", {.what = Asked::send, .room = room, .key = key, .text = key + "#again"},
          R"({"roomId":")" + room.text() + R"(","clientId":")" + key + R"(","text":")" + key + R"(#again"})");
}

void Clients::read_history(Connection& connection) {
  const auto room = any_room();
  if (!room) return;
  static constexpr std::array<std::string_view, 3> kLimits = {"5", "30", "100"};
  command(connection, "get_history", {.what = Asked::history, .room = *room, .key = {}, .text = {}},
          R"({"roomId":")" + room->text() + R"(","limit":)" + std::string(kLimits[world_.draw(kLimits.size())]) + "}");
}

// The store sees to it that what is counted up to there is right.
void Clients::mark_read(Connection& connection) {
  const auto room = any_room();
  const auto seen = room ? connection.device.points.find(*room) : connection.device.points.end();
  if (seen == connection.device.points.end()) return;
  command(connection, "mark_read", {.what = Asked::mark, .room = *room, .key = {}, .text = {}},
          R"({"roomId":")" + room->text() + R"(","seq":)" + std::to_string(1 + world_.draw(seen->second)) + "}");
}

void Clients::set_slow(Connection& connection, bool slow) {
  connection.slow = slow;
  if (slow || !connection.full) return;
  connection.full = false;
  host_->shard(connection.session.id.core()).drained(connection.session);
}

// ---- What they are told.

void Clients::on_reply(Connection& connection, const Request& request, bool ok, std::string_view text) {
  ++truth_.order;
  const Value* body = answers_.parse(text);
  if (body == nullptr) return fail(connection, "an answer that is no JSON: " + std::string(text));
  switch (request.what) {
    case Asked::join:
    case Asked::leave:
    case Asked::create:
      return on_membership(connection, request, ok, *body);
    case Asked::send:
      return on_sent(connection, request, ok, *body);
    case Asked::history:
      if (ok) on_history(connection, request, *body);
      return;
    case Asked::mark:
      if (find_string(*body, "code") == "invalid") fail(connection, "a mark was refused: " + std::string(text));
      return;
  }
}

bool Clients::may_still_join(const User& user, RoomId room) const {
  return std::ranges::any_of(user.joining, [&](const std::string& name) {
    const auto known = names_.find(name);
    return known == names_.end() || known->second == room;
  });
}

void Clients::on_membership(Connection& connection, const Request& request, bool ok, const Value& body) {
  User& user = connection.user;
  const std::string code(find_string(body, "code").value_or(""));
  const Value* made = find(body, "room");
  const RoomId room = request.room ? request.room : made != nullptr ? id_of<base::RoomTag>(*made, "id") : RoomId{};
  if (!room) return;
  Membership& mine = user.rooms[room];
  if (request.room) mine.busy = false;
  if (mine.busy) return;  // another request is under way
  if (request.what == Asked::leave) {
    // An error is not certain: a join before it may have failed in a commit that is not voided yet.
    if (ok) mine.state = may_still_join(user, room) ? State::unknown : State::out;
    if (code == "conflict") mine.state = State::in;
    if (!ok) return;
    for (Device& device : user.devices)
      if (device.connection) device.connection->loose.insert(room);
    return;
  }
  if (!ok) return;
  mine.state = State::in;
  if (request.what == Asked::join) names_[request.key] = room;
}

void Clients::on_sent(Connection& connection, const Request& request, bool ok, const Value& body) {
  User& user = connection.user;
  const auto waiting = user.outbox.find(request.key);
  if (waiting != user.outbox.end() && request.text != request.key + "#again") --waiting->second.in_flight;
  if (!ok) {
    const std::string code(find_string(body, "code").value_or(""));
    const bool unavailable = code == "unavailable";
    if (unavailable) ++totals_.unavailable;
    if (!unavailable && code != "forbidden" && code != "not_found")
      return fail(connection, request.text + " was refused: " + code);
    if (request.text == request.key + "#again") return;
    truth_.errored.push_back({request.text, base::home_core(request.room, host_->cores()), truth_.order});
    truth_.errored_texts.insert(request.text);
    if (const auto at = truth_.places.find(request.key);
        at != truth_.places.end() && truth_.seen[at->second].text == request.text)
      return fail(connection, request.text + " was seen, and is answered with an error");
    if (!unavailable && waiting != user.outbox.end() && waiting->second.in_flight == 0) user.outbox.erase(waiting);
    return;
  }
  const Value* message = find(body, "message");
  if (message == nullptr) return fail(connection, "an ack without a message");
  const std::string text(find_string(*message, "text").value_or(""));
  const bool duplicate = base::json::find_bool(body, "duplicate").value_or(false);
  if (!duplicate && text != request.text) return fail(connection, request.text + " was answered with " + text);
  truth_.ack(request.key, {id_of<base::RoomTag>(*message, "roomId"), seq_of(*message, "seq")},
             id_of<base::EventTag>(*message, "id"), text);
  if (duplicate) {
    ++totals_.duplicates;
  } else {
    ++totals_.acked;
    totals_.voided += truth_.put_to_an_end(base::home_core(request.room, host_->cores()), request.order);
  }
  if (waiting == user.outbox.end()) return;
  user.sent.emplace_back(request.key, request.room);
  user.outbox.erase(waiting);
}

// The newest messages: none that was acked before it was asked for may be missing among them.
void Clients::on_history(Connection& connection, const Request& request, const Value& body) {
  const Value* messages = find(body, "messages");
  if (messages == nullptr || !messages->IsArray()) return fail(connection, "a history without messages");
  std::set<std::uint64_t> seqs;
  for (const Value& message : messages->GetArray()) {
    see_message(message);
    if (!seqs.insert(seq_of(message, "seq")).second) fail(connection, "a message twice in a history");
  }
  const bool all = !base::json::find_bool(body, "hasBefore").value_or(true);
  const std::uint64_t first = all ? 0 : seqs.empty() ? UINT64_MAX : *seqs.begin();
  for (const auto& [key, one] : truth_.acked)
    if (one.place.first == request.room && one.order < request.order && one.place.second >= first &&
        !seqs.contains(one.place.second))
      fail(connection, key + " was acked and is not in the history of room " + request.room.text());
}

void Clients::see_message(const Value& message) {
  truth_.see({id_of<base::RoomTag>(message, "roomId"), seq_of(message, "seq")}, id_of<base::EventTag>(message, "id"),
             std::string(find_string(message, "text").value_or("")), {});
}

void Clients::on_ready(Connection& connection, std::string_view text) {
  ++truth_.order;
  User& user = connection.user;
  const Value* body = answers_.parse(text);
  if (body == nullptr) return fail(connection, "a ready that is no JSON");
  connection.ready = true;
  user.id = id_of<base::UserTag>(*find(*body, "user"), "id");
  if (const Value* tokens = find(*body, "tokens")) user.token = find_string(*tokens, "accessToken").value_or("");
  for (const Value& room : find(*body, "rooms")->GetArray()) {
    const RoomId id = id_of<base::RoomTag>(room, "id");
    connection.start[id] = seq_of(room, "lastSeq");
    if (seq_of(room, "epoch") != 1) fail(connection, "room " + id.text() + " has a new epoch");
    user.rooms.try_emplace(id);
  }
}

void Clients::on_event(Connection& connection, std::string_view name, std::string_view text) {
  const Value* body = answers_.parse(text);
  if (body == nullptr) return fail(connection, "an event that is no JSON: " + std::string(text));
  if (name == "resumed") return on_resumed(connection, *find(*body, "rooms"));
  const std::uint64_t seq = seq_of(*body, "seq");
  if (seq == 0) return;  // passing
  ++truth_.order;
  ++totals_.seen;
  const RoomId room = id_of<base::RoomTag>(*body, "roomId");
  if (!connection.ready) fail(connection, "an event before ready");
  if (seq_of(*body, "epoch") != 1) fail(connection, "an event of another epoch");
  const Value* message = find(*body, "message");
  truth_.see({room, seq}, id_of<base::EventTag>(*body, "id"),
             message ? std::string(find_string(*message, "text").value_or("")) : std::string(), text);
  truth_.delivered[{connection.user.id, room}].insert(seq);
  check_order(connection, room, seq);
  // Who has left, by another connection it may be, misses what comes before he is in again.
  if (name == "member_left" && id_of<base::UserTag>(*body, "userId") == connection.user.id)
    connection.loose.insert(room);
  connection.last[room] = seq;
  connection.first.try_emplace(room, seq);
  connection.device.points[room] = seq;
}

void Clients::check_order(Connection& connection, RoomId room, std::uint64_t seq) {
  const std::string what = "room " + room.text() + ": seq " + std::to_string(seq);
  const auto last = connection.last.find(room);
  const bool loose = connection.loose.contains(room);
  if (last != connection.last.end()) {
    if (seq <= last->second || (seq != last->second + 1 && !loose))
      fail(connection, what + " follows " + std::to_string(last->second));
    return;
  }
  const auto start = connection.start.find(room);
  if (start == connection.start.end() || loose) return;  // joined since
  const auto resume = connection.resume.find(room);
  const std::uint64_t before = resume == connection.resume.end() ? start->second : resume->second;
  if (seq != before + 1)
    fail(connection, what + " is the first that comes, after " + std::to_string(before) + " before it signed in");
}

void Clients::on_resumed(Connection& connection, const Value& rooms) {
  ++totals_.resumed;
  for (const auto& [room, seq] : connection.resume) {
    if (!connection.start.contains(room) || connection.user.left.contains(room))
      continue;  // no longer a member, or perhaps not
    const Value* told = find(rooms, room.text());
    if (told == nullptr) return fail(connection, "room " + room.text() + " is not in resumed");
    if (!base::json::find_bool(*told, "complete").value_or(false))
      fail(connection, "room " + room.text() + " is not complete");
    const auto last = connection.last.find(room);
    const std::uint64_t had = last == connection.last.end() ? seq : last->second;
    if (had < seq_of(*told, "to"))
      fail(connection, "resumed came at seq " + std::to_string(had) + " of room " + room.text() + ", promised to " +
                           std::to_string(seq_of(*told, "to")));
  }
}

}  // namespace ringline::chat::test
