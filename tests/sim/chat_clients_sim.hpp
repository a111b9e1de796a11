// The people: users with two devices each, who join and leave rooms, send, send again, read slowly, go and come back with resume points, and hold
// whatever they are told against the truth.
//
// A device's resume point of a room is dropped for good once its user asks to leave the room, as clients do that close it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chat_host_sim.hpp"
#include "chat_truth_sim.hpp"

namespace ringline::chat::test {

using base::json::find;
using base::json::find_integer;
using base::json::find_string;

class Clients;

enum class Asked : std::uint8_t { join, leave, create, send, history, mark };

struct Request {
  Asked what = Asked::send;
  RoomId room;  // 0 with a join by a name that is new to us
  std::string key;
  std::string text;
  std::uint64_t order = 0;
};

struct Membership {
  enum class State : std::uint8_t { unknown, out, in } state = State::unknown;
  bool busy = false;  // an answer is awaited; or it will never come in this life
};

struct Send {
  RoomId room;
  unsigned attempts = 0;
  unsigned in_flight = 0;
};

struct Connection;

struct Device {
  std::unique_ptr<Connection> connection;  // null: offline
  std::map<RoomId, std::uint64_t> points;  // the highest seq seen in each room
};

struct User {
  std::string name;
  UserId id;
  std::string token;
  std::array<Device, 2> devices;
  std::map<RoomId, Membership> rooms;
  std::set<RoomId> left;                             // once
  std::set<std::string> joining;                     // rooms, by connections that are gone: done at any time, or never
  std::map<std::string, Send> outbox;                // sends that are not acked
  std::vector<std::pair<std::string, RoomId>> sent;  // those that are
};

struct Connection final : Outlet {
  Connection(Clients& from, User& whose, Device& of, ConnectionId id, Wire kind)
      : clients(from), user(whose), device(of), session(id, *this), wire_(kind) {}

  void reply(const ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) override;
  void signed_in(const ReplyTag& /*tag*/) override {}
  void refused(const ReplyTag& tag, const base::Error& error, std::optional<CloseCode> close) override;
  void send_event(std::string_view name, std::string_view body) override;
  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) override;
  bool has_room() const noexcept override { return !full; }
  void close(CloseCode code, std::string_view reason) override;
  Wire wire() const noexcept override { return wire_; }
  std::string address() const override { return "10.0.0.1"; }

  Clients& clients;
  User& user;
  Device& device;
  Session session;
  Wire wire_;
  bool ready = false;
  bool slow = false;  // takes nothing
  bool full = false;  // and has refused something
  bool gone = false;
  std::map<std::uint64_t, Request> requests;
  std::map<RoomId, std::uint64_t> last;    // seq that came last
  std::map<RoomId, std::uint64_t> first;   // and first
  std::map<RoomId, std::uint64_t> start;   // lastSeq in `ready`
  std::map<RoomId, std::uint64_t> resume;  // what it came with
  std::set<RoomId> loose;                  // left meanwhile: what comes next may be behind a gap
};

class Clients {
 public:
  using State = Membership::State;
  static constexpr unsigned kUsers = 4;
  static constexpr std::uint64_t kNames = 3;

  Clients(sim::World& world, Truth& truth, Totals& totals, const bool& cut)
      : world_(world), truth_(truth), totals_(totals), cut_(cut) {
    for (unsigned i = 0; i < kUsers; ++i) users_[i].name = "u" + std::to_string(i);
  }

  void move_to(Host& host) noexcept { host_ = &host; }
  bool cut() const noexcept { return cut_; }
  Truth& truth() noexcept { return truth_; }

  // One thing that somebody does.
  void act() {
    User& user = users_[world_.draw(kUsers)];
    Device& device = user.devices[world_.draw(2)];
    if (!device.connection || device.connection->gone) return connect(user, device);
    Connection& connection = *device.connection;
    if (!connection.ready) return;
    switch (world_.draw(20)) {
      case 0:
        return disconnect(device);
      case 1:
        return join(connection);
      case 2:
        return world_.chance(30) ? leave(connection) : join(connection);
      case 3:
        return world_.chance(30) ? create(connection) : join(connection);
      case 4:
        return set_slow(connection, !connection.slow);
      case 5:
        return read_history(connection);
      case 6:
      case 7:
        return send_again(connection);
      case 8:
        return send_acked_again(connection);
      case 9:
        return mark_read(connection);
      default:
        return send_new(connection);
    }
  }

  // The host is gone, or about to be: all connections are.
  void drop_all() {
    for (User& user : users_)
      for (Device& device : user.devices) disconnect(device);
  }

  // Before things come to rest: everybody is there, reads, and has sent what had no answer.
  void settle() {
    for (User& user : users_) {
      for (Device& device : user.devices) {
        if (!device.connection || device.connection->gone) {
          connect(user, device);
        } else if (device.connection->ready) {
          set_slow(*device.connection, false);
          send_again(*device.connection);
        }
      }
    }
  }
  bool at_rest() const {
    for (const User& user : users_) {
      if (!user.outbox.empty()) return false;
      for (const Device& device : user.devices)
        if (!device.connection || !device.connection->ready || !device.connection->requests.empty() ||
            !has_all(user, *device.connection))
          return false;
    }
    return true;
  }
  std::string unrest() const {
    for (const User& user : users_) {
      if (!user.outbox.empty()) return user.name + " has no answer to " + user.outbox.begin()->first;
      for (const Device& device : user.devices) {
        if (!device.connection || !device.connection->ready) return user.name + " cannot sign in";
        if (!device.connection->requests.empty()) return user.name + " has no answer to a request";
        if (const auto missed = missing(user, *device.connection))
          return user.name + " never got the last events of room " + missed->text();
      }
    }
    return {};
  }
  bool waits() const {
    return std::ranges::any_of(users_, [](const User& user) { return !user.outbox.empty(); });
  }

  // After a recovery: what was certain is so, and what was not is known now.
  void check(const Database& db) {
    for (User& user : users_) {
      user.joining.clear();
      if (!user.id) continue;
      for (const auto& [id, row] : db.rooms) {
        const bool in = row.members.contains(user.id);
        Membership& mine = user.rooms[id];
        if (mine.state == State::in && !in) truth_.fail(user.name + " joined room " + id.text() + ", and is no member");
        if (mine.state == State::out && in) truth_.fail(user.name + " left room " + id.text() + ", and is a member");
        mine = {.state = in ? State::in : State::out};
      }
    }
    names_ = db.public_names;
  }

  // From connections.
  void on_reply(Connection& connection, const Request& request, bool ok, std::string_view body);
  void on_ready(Connection& connection, std::string_view body);
  void on_event(Connection& connection, std::string_view name, std::string_view body);
  void on_resumed(Connection& connection, const base::json::Value& rooms);
  void count_refusal() noexcept { ++totals_.refused; }
  void fail(const Connection& connection, const std::string& what) { truth_.fail(connection.user.name + ": " + what); }

 private:
  void connect(User& user, Device& device);
  void disconnect(Device& device);
  void command(Connection& connection, std::string_view name, Request request, const std::string& data);
  void join(Connection& connection);
  void leave(Connection& connection);
  void create(Connection& connection);
  void send(Connection& connection, const std::string& key, Send& send);
  void send_new(Connection& connection);
  void send_again(Connection& connection);
  void send_acked_again(Connection& connection);
  void mark_read(Connection& connection);
  void read_history(Connection& connection);
  void set_slow(Connection& connection, bool slow);

  bool may_still_join(const User& user, RoomId room) const;
  void on_membership(Connection& connection, const Request& request, bool ok, const base::json::Value& body);
  void on_sent(Connection& connection, const Request& request, bool ok, const base::json::Value& body);
  void on_history(Connection& connection, const Request& request, const base::json::Value& body);
  void see_message(const base::json::Value& message);
  void check_order(Connection& connection, RoomId room, std::uint64_t seq);

  std::optional<RoomId> missing(const User& user, const Connection& connection) const {
    for (const auto& [room, mine] : user.rooms) {
      if (mine.state != State::in || mine.busy) continue;
      const auto highest = truth_.highest.find(room);
      if (highest == truth_.highest.end()) continue;
      const auto last = connection.last.find(room);
      const auto start = connection.start.find(room);
      const std::uint64_t had = last != connection.last.end()     ? last->second
                                : start != connection.start.end() ? start->second
                                                                  : 0;
      if (had < highest->second) return room;
    }
    return std::nullopt;
  }
  bool has_all(const User& user, const Connection& connection) const { return !missing(user, connection).has_value(); }

  std::optional<RoomId> any_room() {
    const auto& kept = users_[world_.draw(kUsers)].rooms;
    if (kept.empty()) return std::nullopt;
    return std::next(kept.begin(), static_cast<std::ptrdiff_t>(world_.draw(kept.size())))->first;
  }

  sim::World& world_;
  Truth& truth_;
  Totals& totals_;
  const bool& cut_;
  Host* host_ = nullptr;
  std::array<User, kUsers> users_;
  std::map<std::string, RoomId> names_;  // of public rooms
  std::uint64_t last_key_ = 0;
  std::uint64_t last_tag_ = 0;
  std::uint64_t last_connection_ = 0;
  base::json::Reader commands_;
  base::json::Reader answers_;
};

}  // namespace ringline::chat::test
