// One host in the simulated world, with nothing else going on, and guests who are connected to it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat_host_sim.hpp"

namespace ringline::chat::test {

// A connection. One that is slow takes no room events and nothing that passes.
class Guest final : public Outlet {
 public:
  struct Got {
    std::string name;
    std::string body;
  };

  explicit Guest(ConnectionId id, Wire of = Wire::plain) : session(id, *this), kind(of) {}

  void reply(const ReplyTag& /*tag*/, std::string_view /*cmd*/, bool ok, std::string_view body) override {
    answered = true;
    answered_ok = ok;
    answer = body;
  }
  void signed_in(const ReplyTag& /*tag*/) override {}
  void refused(const ReplyTag& /*tag*/, const base::Error& error, std::optional<CloseCode> /*close*/) override {
    FAIL() << error.message;
  }
  void send_event(std::string_view name, std::string_view body) override {
    got.push_back({std::string(name), std::string(body)});
  }
  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) override {
    full = full || slow;
    if (full) return false;
    std::string_view bytes = std::string_view(chunk->bytes).substr(from, to - from);
    while (!bytes.empty()) {
      const std::size_t space = bytes.find(' '), end = bytes.find('\n');
      got.push_back({std::string(bytes.substr(1, space - 1)), std::string(bytes.substr(space + 1, end - space - 1))});
      bytes.remove_prefix(end + 1);
    }
    return true;
  }
  bool has_room() const noexcept override { return !full; }
  void close(CloseCode /*code*/, std::string_view reason) override { FAIL() << reason; }
  Wire wire() const noexcept override { return kind; }
  std::string address() const override { return "10.0.0.1"; }

  std::vector<std::string> bodies(std::string_view name) const {
    std::vector<std::string> found;
    for (const Got& one : got)
      if (one.name == name) found.push_back(one.body);
    return found;
  }

  Session session;
  Wire kind;
  std::vector<Got> got;
  bool slow = false;
  bool full = false;
  bool answered = false;
  bool answered_ok = false;
  std::string answer;
};

class DeliveryTest : public testing::Test {
 protected:
  explicit DeliveryTest(unsigned cores = 1) : cores_(cores) {
    settings_.rate_limit_messages = settings_.rate_limit_guests = 0;
    db_.note(1);
  }

  // Signing in may be over when this returns.
  std::unique_ptr<Guest> guest(const std::string& name, const std::string& token = {},
                               std::vector<ResumePoint> resume = {}, bool slow = false, Wire wire = Wire::plain,
                               unsigned core = 0) {
    const ConnectionId id{(++last_connection_ << (base::kHostBits + base::kCoreBits + base::kCounterBits)) |
                          (std::uint64_t{core} << base::kCounterBits)};
    auto made = std::make_unique<Guest>(id, wire);
    made->slow = made->full = slow;
    host_.sessions()[id] = &made->session;
    ConnectData data{.token = token, .has_token = !token.empty(), .name = name, .resume = std::move(resume)};
    data.has_resume = !data.resume.empty();
    host_.shard(core).connect(made->session, ReplyTag("0"), std::move(data));
    return made;
  }
  std::unique_ptr<Guest> ready(const std::string& name, Wire wire = Wire::plain) {
    auto made = guest(name, {}, {}, false, wire);
    EXPECT_TRUE(until([&] { return !made->bodies("ready").empty(); }));
    return made;
  }
  void leave(Guest& guest) {
    host_.shard(guest.session.id.core()).disconnected(guest.session);
    host_.sessions().erase(guest.session.id);
  }
  void begin(Guest& guest, std::string_view command, const std::string& data) {
    guest.answered = false;
    host_.shard(guest.session.id.core()).command(guest.session, ReplyTag("1"), command, reader_.parse(data));
  }
  void run(Guest& guest, std::string_view command, const std::string& data) {
    begin(guest, command, data);
    EXPECT_TRUE(until([&] { return guest.answered; }));
    EXPECT_TRUE(guest.answered_ok) << command << ": " << guest.answer;
  }
  void drain(Guest& guest) {
    guest.slow = guest.full = false;
    host_.shard(guest.session.id.core()).drained(guest.session);
  }
  template <class Done>
  bool until(Done done) {
    return world_.run_until(host_.loops(), done, std::chrono::seconds(60));
  }
  void pass(std::chrono::milliseconds time) {
    const std::int64_t until_ns = world_.now_ns() + time / std::chrono::nanoseconds(1);
    world_.run_until(host_.loops(), [&] { return world_.now_ns() >= until_ns; });
  }
  std::string part(std::string_view body, std::initializer_list<std::string_view> path) {
    const base::json::Value* value = reader_.parse(body);
    for (std::string_view name : path) value = value ? base::json::find(*value, name) : nullptr;
    return value && value->IsString() ? std::string(base::json::view(*value)) : std::string();
  }
  std::string join(Guest& guest, const std::string& room) {
    run(guest, "join", R"({"room":")" + room + "\"}");
    return part(guest.answer, {"room", "id"});
  }
  std::string token_of(const Guest& guest) { return part(guest.bodies("ready").at(0), {"tokens", "accessToken"}); }
  std::string id_of(const Guest& guest) { return part(guest.bodies("ready").at(0), {"user", "id"}); }
  static RoomId room_id(const std::string& text) { return RoomId::parse(text).value(); }

  sim::World world_{1};
  base::Settings settings_;
  Tokens tokens_{{"a secret of the simulation's own"}};
  Database db_;
  bool crashed_ = false;
  std::uint64_t last_connection_ = 0;
  base::json::Reader reader_;
  unsigned cores_;
  Host host_{world_, db_, crashed_,
             HostOptions{.data_dir = "data",
                         .cores = cores_,
                         .starts = std::vector<backend::JournalStart>(cores_),
                         .segment_bytes = 1024 * 1024,
                         .batch_bytes = 256 * 1024,
                         .settings = settings_,
                         .tokens = tokens_}};
};

}  // namespace ringline::chat::test
