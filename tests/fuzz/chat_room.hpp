// Two people in a room on a simulated host of two cores, real but for the kernel: what one of them says, the other must survive. The first sends what
// the input holds, the second only listens, on the other core.
//
// Invariant, checked at the end of each input: every command has had exactly one answer, and both have heard the room's events once and in order.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chat_host_sim.hpp"
#include "ringline/base/assert.hpp"

namespace ringline::fuzz {

using base::json::Value;
using chat::ReplyTag;

inline constexpr std::string_view kCodes[] = {"invalid",   "unauthenticated", "forbidden",  "not_found", "conflict",
                                              "too_large", "rate_limited",    "unavailable"};  // never `internal`

class Person final : public chat::Outlet {
 public:
  Person(chat::test::Host& host, unsigned core, std::uint64_t number)
      : session({number << (base::kHostBits + base::kCoreBits + base::kCounterBits) | core << base::kCounterBits},
                *this),
        host_(host) {
    host.sessions()[session.id] = &session;
  }
  ~Person() {
    if (session.state != chat::Session::State::gone) leave();
  }
  void leave() {
    host_.shard(session.id.core()).disconnected(session);
    host_.sessions().erase(session.id);
  }

  void reply(const ReplyTag& /*tag*/, std::string_view /*cmd*/, bool ok, std::string_view body) override {
    ASSERT(open > 0);
    --open;
    const Value* read = reader_.parse(body);
    ASSERT(read && read->IsObject());
    if (const Value* room = base::json::find(*read, "room")) note(room_id, *room);
    if (const Value* message = base::json::find(*read, "message")) note(message_id, *message);
    if (ok) return;
    const auto code = base::json::find_string(*read, "code");
    ASSERT(code && std::ranges::find(kCodes, *code) != std::end(kCodes));
    ASSERT(base::json::find_string(*read, "message"));
  }
  void signed_in(const ReplyTag& /*tag*/) override {}
  void refused(const ReplyTag& /*tag*/, const base::Error& /*error*/,
               std::optional<chat::CloseCode> /*close*/) override {
    refused_in = true;
  }
  void send_event(std::string_view name, std::string_view body) override { hear(name, body); }
  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) override {
    std::string_view bytes = std::string_view(chunk->bytes).substr(from, to - from);
    while (!bytes.empty()) {
      const std::size_t space = bytes.find(' ');
      const std::size_t end = bytes.find('\n');
      ASSERT(space < end && end != std::string_view::npos);
      hear(bytes.substr(1, space - 1), bytes.substr(space + 1, end - space - 1));
      bytes.remove_prefix(end + 1);
    }
    return true;
  }
  bool has_room() const noexcept override { return true; }
  void close(chat::CloseCode /*code*/, std::string_view /*reason*/) override { closed = true; }
  chat::Wire wire() const noexcept override {
    return session.id.core() == 0 ? chat::Wire::plain : chat::Wire::socketio;
  }
  std::string address() const override { return "10.0.0.1"; }

  chat::Session session;
  bool ready = false;
  bool refused_in = false;
  bool closed = false;
  unsigned open = 0;  // commands without an answer
  std::string user_id;
  std::string room_id;
  std::string message_id;

 private:
  void note(std::string& id, const Value& object) {
    if (const auto text = base::json::find_string(object, "id")) id = *text;
  }
  void hear(std::string_view name, std::string_view body) {
    const Value* read = reader_.parse(body);
    ASSERT(read && read->IsObject());
    if (name == "ready") {
      ready = true;
      note(user_id, *base::json::find(*read, "user"));
      return;
    }
    const auto seq = base::json::find_integer(*read, "seq");
    const auto room = base::json::find_string(*read, "roomId");
    if (!seq || !room) return;
    std::int64_t& last = heard_[std::string(*room)];
    ASSERT(*seq > last);  // a hole only while he was not in the room
    last = *seq;
  }

  chat::test::Host& host_;
  base::json::Reader reader_;
  std::map<std::string, std::int64_t> heard_;
};

// A host with both signed in and in the lobby.
class ChatRoom {
 public:
  ChatRoom() {
    settings_.rate_limit_messages = 0;
    settings_.rate_limit_guests = 0;
    starts_.resize(kCores);
    host_ = std::make_unique<chat::test::Host>(
        world_, db_, crashed_,
        chat::test::HostOptions{
            .data_dir = "data", .cores = kCores, .starts = starts_, .settings = settings_, .tokens = tokens_});
    ASSERT(host_->started());
    speaker = std::make_unique<Person>(*host_, 0, 1);
    listener = std::make_unique<Person>(*host_, 1, 2);
    for (Person* person : {speaker.get(), listener.get()}) {
      host_->shard(person->session.id.core())
          .connect(person->session, ReplyTag("0"), {.token = {}, .name = "somebody", .resume = {}});
      ASSERT(world_.run_until(host_->loops(), [&] { return person->ready; }));
      command(*person, "join", R"({"room":"lobby"})");
      settle();
    }
    ASSERT(!speaker->room_id.empty() && speaker->room_id == listener->room_id);
  }
  ~ChatRoom() {
    crashed_ = true;
    world_.crash(true);
    speaker.reset();
    listener.reset();
    ASSERT(host_->let_go());
  }

  // `data`: JSON text, or null: none.
  void command(Person& person, std::string_view name, std::string_view data) {
    const Value* value = reader_.parse(data);
    ASSERT(value != nullptr);
    command(person, ReplyTag("1"), name, value);
  }
  void command(Person& person, const ReplyTag& tag, std::string_view name, const Value* data) {
    ++person.open;
    host_->shard(person.session.id.core()).command(person.session, tag, name, data);
  }
  // Until everything is answered, and the listener has an answer too.
  void settle() {
    ASSERT(world_.run_until(host_->loops(), [&] { return speaker->open == 0 && listener->open == 0; }));
  }
  bool usable() const noexcept { return !speaker->closed && !listener->closed; }

  std::unique_ptr<Person> speaker;
  std::unique_ptr<Person> listener;

 private:
  static constexpr unsigned kCores = 2;

  sim::World world_{1};
  base::Settings settings_;
  chat::Tokens tokens_{{"a secret of the simulation's own"}};
  chat::test::Database db_;
  bool crashed_ = false;
  base::json::Reader reader_;
  std::vector<backend::JournalStart> starts_;
  std::unique_ptr<chat::test::Host> host_;
};

}  // namespace ringline::fuzz
