// The bus in the simulated world: what Redis does for chat, in memory, for any number of hosts. A call takes effect somewhere between its start and its answer,
// both at random times; told events go to each host in order, at random times.
//
// It can go (nothing takes effect, nothing is told; what was under way may have taken effect or not), come back as it was, without its last events of each room,
// or with nothing at all; and a single host can be cut off from it.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
#include "ringline/chat/bus.hpp"
#include "ringline/loop/loop.hpp"
#include "world.hpp"

namespace ringline::chat::test {

using base::Errc;
using base::EventId;
using base::Result;
using base::RoomId;
using base::Task;
using base::UserId;

// What all hosts share.
struct BusRoom {
  bool there = false;
  std::uint64_t epoch = 1;
  std::uint64_t trimmed = 0;  // events up to it are not here
  EventId trimmed_id;         // of that one; 0: not known
  std::deque<RoomEvent> log;  // what follows
  std::map<std::string, std::uint64_t> keys;
  std::map<UserId, std::uint64_t> rights;
  std::uint64_t rights_of_all = 0;
  unsigned ingester = 0;
  std::int64_t ingest_until_ms = 0;
  std::uint64_t stored = 0;

  std::uint64_t last() const { return trimmed + log.size(); }
  EventId last_id() const { return log.empty() ? trimmed_id : log.back().event.id; }
  const RoomEvent* at(std::uint64_t seq) const {
    return seq > trimmed && seq <= last() ? &log[static_cast<std::size_t>(seq - trimmed - 1)] : nullptr;
  }
};

class BusSim;

class BusServer {
 public:
  explicit BusServer(sim::World& world) : world_(world) {}

  bool up = true;
  unsigned losing_percent = 0;  // answers that do not come
  std::map<RoomId, BusRoom> rooms;
  RoomId away;           // its server alone: calls about it are not answered. 0: none
  unsigned appends = 0;  // calls
  unsigned counts = 0;   // likewise, of take_send

  void attach(BusSim& bus) { clients_.push_back(&bus); }
  void detach(BusSim& bus) { std::erase(clients_, &bus); }
  void stop();
  // `keep_percent` of each room's events since they were stored; 0: nothing at all of any room.
  void start(unsigned keep_percent);
  // Hosts whose return is waited for before anything new is taken.
  void have_put_back(unsigned host, unsigned core);
  bool recovering() const noexcept { return !missing_.empty(); }
  void tell(const RoomEvent& event);
  void pass(RoomId room, const std::string& name, const std::string& body, unsigned from);
  void tell(UserId user, const std::string& what, const std::string& body, unsigned from);
  std::map<UserId, std::set<unsigned>> online;  // at which hosts
  std::map<UserId, std::map<RoomId, bool>> memberships;
  std::map<UserId, std::map<RoomId, ReadMark>> marks;
  std::map<UserId, std::vector<std::int64_t>> sends;
  // A host that died is not waited for any more.
  void give_up(unsigned host);

 private:
  friend class BusSim;
  sim::World& world_;
  std::vector<BusSim*> clients_;
  std::set<std::pair<unsigned, unsigned>> missing_;  // host and core
};

// The bus of one core of one host.
class BusSim final : public Bus {
 public:
  static constexpr std::int64_t kDelayMsMax = 6;

  BusSim(sim::World& world, BusServer& server, loop::Loop& loop, unsigned host)
      : world_(world), server_(server), loop_(loop), host_(host) {
    server_.attach(*this);
  }
  ~BusSim() {
    server_.detach(*this);
    world_.forget(this);
  }

  void set_listener(BusListener& listener) {
    listener_ = &listener;
    connect();
  }
  void cut() {
    if (std::exchange(connected_, false)) post([](BusListener& to) { to.on_away(); });
    following_.clear();
    ++connections_;
  }
  void connect() {
    if (connected_ || !server_.up || dead) return;
    connected_ = true;
    subscribe_again();
    if (server_.missing_.contains({host_, loop_.core()})) {
      post([](BusListener& to) { to.on_lost(); });
    } else if (!server_.recovering()) {
      post([](BusListener& to) { to.on_back(); });
    }
  }
  // The subscriptions alone are lost, and made again.
  void go_deaf() {
    following_.clear();
    deaf_ = true;
  }
  void subscribe_again() {
    deaf_ = false;
    for (RoomId room : wanted_) confirm(room);
    for (UserId user : users_) confirm(user);
  }
  void recovered() {
    if (connected_) post([](BusListener& to) { to.on_back(); });
  }
  unsigned host() const noexcept { return host_; }
  unsigned core() const noexcept { return loop_.core(); }
  bool dead = false;  // its host is killed

  bool is_there() const noexcept override { return connected_ && !server_.recovering(); }
  bool is_there(RoomId room) const noexcept override { return is_there() && room != server_.away; }
  bool is_there(UserId /*user*/) const noexcept override { return is_there(); }

  Task<Result<std::vector<Verdict>>> append_all(std::vector<Proposal> proposals, StreamPlace known) override {
    if (!is_there(proposals.front().entry.event.room)) co_return away();
    ++server_.appends;
    auto running =
        run<std::vector<Verdict>>([this, proposals = std::move(proposals), known]() -> Result<std::vector<Verdict>> {
          if (server_.recovering()) return away();
          std::vector<Verdict> verdicts;
          for (const Proposal& proposal : proposals) {
            verdicts.push_back(take(proposal, known));
            const Verdict::Kind kind = verdicts.back().kind;
            if (kind != Verdict::Kind::taken && kind != Verdict::Kind::duplicate) break;
          }
          return verdicts;
        });
    Result<std::vector<Verdict>> answer = co_await std::move(running);
    co_return answer;
  }

  Task<Result<StreamPage>> read(RoomId id, std::uint64_t after) override {
    return run<StreamPage>([this, id, after]() -> Result<StreamPage> {
      StreamPage page;
      auto found = server_.rooms.find(id);
      if (found == server_.rooms.end()) return page;
      const BusRoom& room = found->second;
      page.last = {.epoch = room.epoch, .seq = room.last(), .id = room.last_id()};
      for (const RoomEvent& event : room.log)
        if (event.event.seq > after && page.events.size() < 5) page.events.push_back(event);
      return page;
    });
  }

  Task<Result<std::vector<StreamPlace>>> places(std::vector<RoomId> rooms) override {
    return run<std::vector<StreamPlace>>([this, rooms = std::move(rooms)]() -> Result<std::vector<StreamPlace>> {
      std::vector<StreamPlace> places;
      for (RoomId id : rooms) {
        auto found = server_.rooms.find(id);
        StreamPlace place;
        if (found != server_.rooms.end())
          place = {.epoch = found->second.epoch, .seq = found->second.last(), .id = found->second.last_id()};
        places.push_back(place);
      }
      return places;
    });
  }

  Task<Result<void>> put_back(RoomId id, StreamPlace end, StreamPlace base, std::vector<RoomEvent> events) override {
    return run<void>([this, id, end, base, events = std::move(events)]() -> Result<void> {
      BusRoom& room = server_.rooms[id];
      if (room.last() != end.seq || (room.there && room.epoch != base.epoch) ||
          (end.id && room.last_id() && room.last_id() != end.id))
        return base::fail(Errc::conflict, "it ends elsewhere");
      if (base.seq > room.last() || !room.there) {
        room = {.there = true,
                .epoch = base.epoch,
                .trimmed = base.seq,
                .trimmed_id = base.id,
                .log = {},
                .keys = {},
                .rights = {}};
        room.stored = base.seq;
      }
      for (const RoomEvent& event : events) add(room, event);
      return {};
    });
  }

  Task<Result<void>> begin_epoch(RoomId id, StreamPlace base) override {
    return run<void>([this, id, base]() -> Result<void> {
      BusRoom& room = server_.rooms[id];
      if (room.there && room.epoch >= base.epoch) return base::fail(Errc::conflict, "it has begun");
      room = {.there = true,
              .epoch = base.epoch,
              .trimmed = base.seq,
              .trimmed_id = base.id,
              .log = {},
              .keys = {},
              .rights = {}};
      room.rights_of_all = room.stored = base.seq;
      return {};
    });
  }

  void stored(std::vector<StoredUpTo> rooms) override {
    later([this, rooms = std::move(rooms)] {
      for (const StoredUpTo& one : rooms) {
        auto found = server_.rooms.find(one.room);
        if (found == server_.rooms.end()) continue;
        BusRoom& room = found->second;
        if (room.epoch != one.epoch || !room.at(one.seq) || room.at(one.seq)->event.id != one.id) continue;
        room.stored = std::max(room.stored, one.seq);
        while (room.log.size() > 3 && room.trimmed < room.stored && world_.chance(50)) trim(room);
      }
    });
  }

  Task<Result<std::vector<IngestClaim>>> claim_ingest(std::vector<RoomId> rooms) override {
    return run<std::vector<IngestClaim>>([this, rooms = std::move(rooms)]() -> Result<std::vector<IngestClaim>> {
      std::vector<IngestClaim> claims;
      for (RoomId id : rooms) {
        BusRoom& room = server_.rooms[id];
        const std::int64_t now = loop_.now_ms();
        if (room.ingest_until_ms <= now) room.ingester = host_;
        const bool ours = room.ingester == host_;
        if (ours) room.ingest_until_ms = now + base::limits::kIngestLease.count();
        const RoomEvent* event = room.at(room.stored);
        claims.push_back({.ours = ours,
                          .stored = room.stored,
                          .epoch = room.epoch,
                          .id = event                         ? event->event.id
                                : room.stored == room.trimmed ? room.trimmed_id
                                                              : EventId{}});
      }
      return claims;
    });
  }

  void follow(RoomId room) override {
    wanted_.insert(room);
    if (connected_) confirm(room);
  }
  void unfollow(RoomId room) override {
    wanted_.erase(room);
    following_.erase(room);
  }
  void pass(RoomId room, std::string_view name, std::string_view body) override {
    later([this, room, name = std::string(name), body = std::string(body)] {
      if (connected_) server_.pass(room, name, body, host_);
    });
  }
  void follow(UserId user) override {
    users_.insert(user);
    if (connected_) confirm(user);
  }
  void unfollow(UserId user) override { users_.erase(user); }
  void tell(UserId user, std::string_view what, std::string_view body) override {
    later([this, user, what = std::string(what), body = std::string(body)] { server_.tell(user, what, body, host_); });
  }
  Task<Result<unsigned>> set_presence(UserId user, bool is_online) override {
    return run<unsigned>([this, user, is_online]() -> Result<unsigned> {
      std::set<unsigned>& hosts = server_.online[user];
      if (is_online) {
        hosts.insert(host_);
      } else {
        hosts.erase(host_);
      }
      return others(user);
    });
  }
  Task<Result<std::vector<unsigned>>> presence_of(std::vector<UserId> users) override {
    return run<std::vector<unsigned>>([this, users = std::move(users)]() -> Result<std::vector<unsigned>> {
      std::vector<unsigned> counts;
      for (UserId user : users) counts.push_back(others(user));
      return counts;
    });
  }
  Task<Result<std::uint32_t>> take_send(UserId user, unsigned limit, std::int64_t window_ms,
                                        std::vector<std::int64_t> before) override {
    ++server_.counts;
    return run<std::uint32_t>([this, user, limit, window_ms, before = std::move(before)]() -> Result<std::uint32_t> {
      std::vector<std::int64_t>& times = server_.sends[user];
      times.insert(times.end(), before.begin(), before.end());
      std::ranges::sort(times);
      const std::int64_t now = base::wall_ms();
      std::erase_if(times, [&](std::int64_t at) { return at <= now - window_ms; });
      if (times.size() >= limit) return static_cast<std::uint32_t>(times[times.size() - limit] + window_ms - now);
      times.push_back(now);
      return 0U;
    });
  }
  void note_membership(UserId user, RoomId room, bool joined) override {
    later([this, user, room, joined] { server_.memberships[user][room] = joined; });
  }
  void note_mark(const ReadMark& mark) override {
    later([this, mark] {
      ReadMark& kept = server_.marks[mark.user][mark.room];
      if (!kept.room || std::pair(kept.epoch, kept.seq) < std::pair(mark.epoch, mark.seq)) kept = mark;
    });
  }
  Task<Result<UserNotes>> recent_notes(UserId user) override {
    return run<UserNotes>([this, user]() -> Result<UserNotes> {
      const auto& kept = server_.memberships[user];
      UserNotes notes{.memberships = {kept.begin(), kept.end()}, .marks = {}};
      for (const auto& [room, mark] : server_.marks[user]) notes.marks.push_back(mark);
      return notes;
    });
  }
  void have_put_back() override {
    later([this] {
      if (connected_) server_.have_put_back(host_, loop_.core());
    });
  }

 private:
  friend class BusServer;

  unsigned others(UserId user) const {
    const auto found = server_.online.find(user);
    if (found == server_.online.end()) return 0;
    return static_cast<unsigned>(found->second.size() - found->second.count(host_));
  }
  static std::unexpected<base::Error> away() { return base::fail_later(Errc::unavailable, 1000, "the bus is away"); }

  // `job` takes effect between two waits, or not at all.
  template <class Value, class Job>
  Task<Result<Value>> run(Job job) {
    if (!connected_) co_return away();
    const std::uint64_t connection = connections_;
    co_await loop_.sleep(std::chrono::milliseconds(world_.draw(kDelayMsMax)));
    if (connection != connections_ || !server_.up || dead) co_return away();
    Result<Value> result = job();
    const bool lost = world_.chance(server_.losing_percent);
    co_await loop_.sleep(lost ? base::limits::kBusTimeout : std::chrono::milliseconds(world_.draw(kDelayMsMax)));
    if (lost || connection != connections_ || !server_.up || dead) co_return away();
    co_return result;
  }

  // Does something at the server after a while.
  void later(sim::World::Job job) {
    world_.later(this, [this, job = std::move(job)]() mutable {
      if (connected_ && server_.up && !dead) job();
    });
  }
  // Tells the host something, in order.
  void post(std::move_only_function<void(BusListener&)> tell) {
    told_.push_back(std::move(tell));
    world_.later(this, [this] {
      if (told_.empty() || dead || !listener_) return;
      loop_.send(loop_.core(),
                 loop::make_mail([this, tell = std::move(told_.front())]() mutable { tell(*listener_); }));
      told_.pop_front();
    });
  }
  void confirm(RoomId room) {
    following_.insert(room);
    post([room](BusListener& to) { to.on_following(room); });
  }
  void confirm(UserId user) {
    post([user](BusListener& to) { to.on_following(user); });
  }

  Verdict take(const Proposal& proposal, StreamPlace known) {
    using Kind = Verdict::Kind;
    const RoomId id = proposal.entry.event.room;
    BusRoom& room = server_.rooms[id];
    Verdict verdict{.seq = room.last(), .id = room.last_id(), .epoch = room.epoch};
    auto say = [&](Kind kind) {
      verdict.kind = kind;
      return verdict;
    };
    if (room.there && room.epoch > known.epoch) return say(Kind::new_epoch);
    if (room.there && room.epoch < known.epoch) return say(Kind::old_epoch);
    if (room.last() < known.seq) return say(Kind::behind);
    const EventId there = known.seq == room.trimmed ? room.trimmed_id
                          : room.at(known.seq)      ? room.at(known.seq)->event.id
                                                    : EventId{};
    if (known.id && there && known.id != there) return say(Kind::differs);
    if (known.seq < room.trimmed) return say(Kind::gone);
    if (auto key = room.keys.find(proposal.key); key != room.keys.end()) {
      verdict.seq = key->second;
      verdict.id = room.at(key->second)->event.id;
      return say(Kind::duplicate);
    }
    auto changed = [&](UserId user) {
      auto found = room.rights.find(user);
      return user && found != room.rights.end() && found->second > known.seq;
    };
    if (!proposal.forced &&
        (room.rights_of_all > known.seq || changed(proposal.entry.event.actor) || changed(proposal.subject)))
      return say(Kind::stale);
    if (!std::exchange(room.there, true)) room.epoch = known.epoch;
    RoomEvent event = with_seq(proposal, room.last() + 1);
    add(room, event, proposal.key);
    if (proposal.subject) room.rights[proposal.subject] = event.event.seq;
    if (proposal.of_all) room.rights_of_all = event.event.seq;
    server_.tell(event);
    verdict.seq = event.event.seq;
    verdict.id = event.event.id;
    return say(Kind::taken);
  }

  void add(BusRoom& room, const RoomEvent& event, std::string key = {}) {
    ASSERT(event.event.seq == room.last() + 1);
    if (key.empty()) key = key_of(event);
    room.keys[key] = event.event.seq;
    room.log.push_back(event);
  }
  std::string key_of(const RoomEvent& event) {
    const base::json::Value* body = reader_.parse(event.event.body.view());
    auto client_id = base::json::find_string(*body, "clientId");
    return client_id ? event.event.actor.text() + ":" + std::string(*client_id) : event.event.id.text();
  }
  static void trim(BusRoom& room) {
    ++room.trimmed;
    room.trimmed_id = room.log.front().event.id;
    room.log.pop_front();
    std::erase_if(room.keys, [&](const auto& key) { return key.second <= room.trimmed; });
    std::erase_if(room.rights, [&](const auto& right) { return right.second <= room.trimmed; });
  }

  sim::World& world_;
  BusServer& server_;
  loop::Loop& loop_;
  unsigned host_;
  BusListener* listener_ = nullptr;
  bool connected_ = false;
  std::uint64_t connections_ = 0;  // that have ended
  std::set<RoomId> wanted_;
  std::set<RoomId> following_;
  std::set<UserId> users_;
  bool deaf_ = false;
  std::deque<std::move_only_function<void(BusListener&)>> told_;
  base::json::Reader reader_;
};

inline void BusServer::stop() {
  up = false;
  for (BusSim* client : clients_) client->cut();
}

inline void BusServer::start(unsigned keep_percent) {
  up = true;
  if (keep_percent < 100) {
    missing_.clear();
    for (BusSim* client : clients_) missing_.insert({client->host(), client->core()});
    for (auto& [id, room] : rooms) {
      std::uint64_t keep = (room.last() - room.stored) * keep_percent / 100;
      while (room.last() > room.stored + keep && !room.log.empty()) {
        std::erase_if(room.keys, [&](const auto& key) { return key.second == room.last(); });
        std::erase_if(room.rights, [&](const auto& right) { return right.second == room.last(); });
        room.log.pop_back();
      }
    }
    if (keep_percent == 0) rooms.clear();
  }
  for (BusSim* client : clients_) client->connect();
}

inline void BusServer::have_put_back(unsigned host, unsigned core) {
  if (missing_.erase({host, core}) == 0 || recovering()) return;
  for (BusSim* client : clients_) client->recovered();
}

inline void BusServer::give_up(unsigned host) {
  const bool was = recovering();
  std::erase_if(missing_, [&](const auto& one) { return one.first == host; });
  if (!was || recovering()) return;
  for (BusSim* client : clients_) client->recovered();
}

inline void BusServer::tell(const RoomEvent& event) {
  for (BusSim* client : clients_)
    if (client->following_.contains(event.event.room)) client->post([event](BusListener& to) { to.on_event(event); });
}

inline void BusServer::pass(RoomId room, const std::string& name, const std::string& body, unsigned from) {
  for (BusSim* client : clients_)
    if (client->host() != from && client->following_.contains(room))
      client->post([room, from, name, body](BusListener& to) { to.on_passing(room, from, name, body); });
}

inline void BusServer::tell(UserId user, const std::string& what, const std::string& body, unsigned from) {
  for (BusSim* client : clients_)
    if (client->host() != from && client->users_.contains(user) && !client->deaf_)
      client->post([user, what, body](BusListener& to) { to.on_user(user, what, body); });
}

}  // namespace ringline::chat::test
