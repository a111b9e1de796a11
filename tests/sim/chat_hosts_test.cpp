// Several hosts and a bus between them: people who chat through any of them, while the bus goes, comes back without its last events or with nothing at all,
// hosts are cut off from it, killed and started again. Each round is from one seed.
//
//   chat_hosts_test --seed 17       that round alone, with the log
//   chat_hosts_test --rounds 2000
//
// Checked while it runs: within an epoch each connection gets each room's events in seq order, none twice, none left out, and at each seq everybody gets the same
// event. At the end all hosts are up and everything comes to rest: then all members have all events, the database has each room's without a hole, each message
// that was acked is there once, and a room has a new epoch only where the bus lost something while a host was away.
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "chat_bus_sim.hpp"
#include "chat_host_sim.hpp"
#include "chat_hosts_scenes.hpp"
#include "chat_store_sim.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/log.hpp"
#include "world.hpp"

namespace ringline::chat::test {
namespace {

using base::json::find;
using base::json::find_integer;
using base::json::find_string;
using base::json::Value;

std::uint64_t rounds = 300;
std::optional<std::uint64_t> only_seed;
std::uint64_t running_seed = 0;

constexpr unsigned kHosts = 3;
constexpr unsigned kCores = 2;
constexpr unsigned kPeople = 5;
constexpr unsigned kRooms = 2;

struct Totals {
  std::uint64_t acked = 0, pending = 0, duplicates = 0, seen = 0, kills = 0, losses = 0, cuts = 0, epochs = 0,
                resumed = 0;
};

struct Plan {
  bool bus_goes = false;
  bool bus_loses = false;
  bool cuts = false;
  bool kills = false;
  bool holds = false;  // one room is for a host to take in that does not, all the time
};

struct Place {
  RoomId room;
  std::uint64_t epoch;
  std::uint64_t seq;
  auto operator<=>(const Place&) const = default;
};

class Round;

struct Person final : Outlet {
  Person(Round& from, unsigned number) : round(from), name("p" + std::to_string(number)) {}

  // Outlet
  void reply(const ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) override;
  void signed_in(const ReplyTag&) override {}
  void refused(const ReplyTag&, const base::Error&, std::optional<CloseCode>) override { gone = true; }
  void send_event(std::string_view event, std::string_view body) override;
  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) override;
  bool has_room() const noexcept override { return true; }
  void close(CloseCode, std::string_view) override { gone = true; }
  Wire wire() const noexcept override { return Wire::plain; }
  std::string address() const override { return "10.0.0.1"; }

  struct Send {
    RoomId room;
    bool in_flight = false;
  };
  struct Point {
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;
  };

  Round& round;
  std::string name;
  std::string token;
  UserId id;
  unsigned host = kHosts;  // kHosts: nowhere
  std::unique_ptr<Session> session;
  bool ready = false;
  bool gone = false;
  std::map<std::string, Send> outbox;  // by clientId
  std::map<std::uint64_t, std::string> requests;
  std::map<RoomId, Point> points;  // what it has of each room that it is in
  std::set<RoomId> in;
  std::map<RoomId, std::uint64_t> unread;  // as he was told last
  unsigned joins_wanted = 0;
};

class Round {
 public:
  Round(std::uint64_t seed, Plan plan, Totals& totals) : plan_(plan), totals_(totals), world_(seed), server_(world_) {
    db_.several_hosts = true;
    settings_.rate_limit_messages = 0;
    settings_.rate_limit_guests = 0;
    settings_.access_token_age = settings_.session_ttl = std::chrono::hours(24 * 365);
    for (unsigned i = 0; i < kPeople; ++i) people_.push_back(std::make_unique<Person>(*this, i));
    for (Slot& slot : slots_) slot.starts.resize(kCores);
  }
  ~Round() {
    for (unsigned host = 0; host < kHosts; ++host) kill(host);
  }

  std::string run() {
    for (unsigned host = 0; host < kHosts; ++host) start(host);
    for (std::uint64_t steps = 20 + world_.draw(60); steps > 0 && wrong_.empty(); --steps) {
      if (world_.chance(20)) trouble();
      for (std::uint64_t acts = world_.draw(6); acts > 0; --acts) act(*people_[world_.draw(kPeople)]);
      pass(world_.draw(world_.chance(20) ? 1500 : 100));
      if (plan_.holds) hold();
    }
    if (wrong_.empty() && plan_.holds) check_held();
    if (wrong_.empty()) come_to_rest();
    if (wrong_.empty()) check();
    for (unsigned host = 0; host < kHosts && wrong_.empty(); ++host) check_marks(host);
    return wrong_;
  }

  void fail(std::string what) {
    if (wrong_.empty()) wrong_ = std::move(what);
  }

  void on_reply(Person& person, std::string key, bool ok, std::string_view body);
  void on_ready(Person& person, std::string_view body);
  void on_unread(Person& person, std::string_view body);
  void on_event(Person& person, std::string_view name, std::string_view body);

 private:
  template <class>
  friend class test::Scenes;
  struct Slot {
    std::unique_ptr<Host> host;
    std::vector<backend::JournalStart> starts;
    std::vector<sim::Kernel*> kernels;
    bool crashed = false;
    std::unique_ptr<backend::Recovery> recovery;  // until all that it read is in the new logs
    unsigned recovering = 0;                      // cores that are at it
    bool failed = false;
  };

  // ---- Hosts

  static std::string directory(unsigned host) { return "data-" + std::to_string(host); }

  void start(unsigned number) {
    Slot& slot = slots_[number];
    slot.crashed = false;
    auto recovery = backend::recover_journals(directory(number));
    if (!recovery) return fail("recovery: " + recovery.error().message);
    std::vector<Event> events;
    for (bool more = true; more;) {
      auto batch = (*recovery)->next();
      if (!batch) return fail("reading: " + batch.error().message);
      more = !batch->empty();
      std::ranges::move(*batch, std::back_inserter(events));
    }
    for (unsigned core = 0; core < kCores; ++core) slot.starts[core] = (*recovery)->start_of(core);
    db_.note((*recovery)->report().highest_id.value);
    const std::size_t before = world_.kernels().size();
    HostOptions options{.data_dir = directory(number),
                        .cores = kCores,
                        .highest_id = db_.highest_id,
                        .starts = slot.starts,
                        .store_batch = plan_.holds ? 2U : 8000U,
                        .segment_bytes = roomy_ ? 4U * 1024 * 1024 : 64U * 1024,
                        .batch_bytes = roomy_ ? 1024U * 1024 : 16U * 1024,
                        .bus = &server_,
                        .number = number,
                        .settings = settings_,
                        .tokens = tokens_};
    slot.host = std::make_unique<Host>(world_, db_, slot.crashed, std::move(options));
    slot.kernels.assign(world_.kernels().begin() + static_cast<std::ptrdiff_t>(before), world_.kernels().end());
    slot.recovery = std::move(*recovery);
    slot.failed = false;
    slot.recovering = kCores;
    std::vector<std::vector<Event>> by_home(kCores);
    for (Event& event : events) by_home[base::home_core(event.room, kCores)].push_back(std::move(event));
    for (unsigned core = 0; core < kCores; ++core)
      slot.host->loops()[core]->scope().spawn(recover(*this, number, core, std::move(by_home[core])));
  }

  static Task<void> recover(Round& round, unsigned number, unsigned core, std::vector<Event> events) {
    Slot& slot = round.slots_[number];
    bool done = false;
    while (!done && !slot.crashed) {
      done = co_await slot.host->shard(core).recover(events);
      if (!done) co_await slot.host->loops()[core]->sleep(std::chrono::milliseconds(500));
    }
    if (slot.crashed || --slot.recovering > 0) co_return;
    if (!slot.recovery->remove_recovered()) round.fail("what was recovered cannot be removed");
    slot.recovery.reset();
    for (unsigned one = 0; one < kCores; ++one) slot.host->shard(one).recovered();
  }

  void kill(unsigned number) {
    Slot& slot = slots_[number];
    if (!slot.host) return;
    slot.crashed = true;
    for (sim::Kernel* kernel : slot.kernels) kernel->kill();
    for (unsigned core = 0; core < kCores; ++core) {
      slot.host->bus(core).dead = true;
      slot.host->bus(core).cut();
    }
    for (auto& person : people_)
      if (person->host == number) drop(*person);
    if (!slot.host->let_go()) fail("something waits for ever");
    for (sim::Kernel* kernel : slot.kernels) kernel->power_off(true);  // what has been tried since is forgotten
    slot.host.reset();
    slot.recovery.reset();
    server_.give_up(number);
  }

  void trouble() {
    const unsigned host = static_cast<unsigned>(world_.draw(kHosts));
    switch (world_.draw(5)) {
      case 0:
        if (plan_.bus_goes && server_.up) server_.stop();
        return;
      case 1:
      case 2:
        return bring_back_bus();
      case 3:
        if (!plan_.cuts || !slots_[host].host) return;
        ++totals_.cuts;
        away_ = true;
        for (unsigned core = 0; core < kCores; ++core) slots_[host].host->bus(core).cut();
        cut_off_.insert(host);
        return;
      default:
        if (cut_off_.erase(host) > 0 && slots_[host].host) {
          for (unsigned core = 0; core < kCores; ++core) slots_[host].host->bus(core).connect();
          return;
        }
        if (!plan_.kills) return;
        if (slots_[host].host) {
          ++totals_.kills;
          kill(host);
          away_ = true;
        } else {
          start(host);
        }
    }
  }

  void hold() {
    if (held_ || server_.rooms.empty()) return;
    held_ = server_.rooms.begin()->first;
    server_.rooms.at(*held_).ingester = kHosts;
    server_.rooms.at(*held_).ingest_until_ms = INT64_MAX;
  }
  // Then nothing of it is stored, and all of the others.
  void check_held() {
    rest(20'000);
    for (const auto& [id, room] : server_.rooms)
      if (id != held_ && db_.rooms.at(id).log.size() < room.last())
        fail("room " + id.text() + " waits for one that another host takes in");
    if (held_) server_.rooms.at(*held_).ingest_until_ms = 0;
  }

  void bring_back_bus() {
    if (server_.up) return;
    unsigned keep = 100;
    if (plan_.bus_loses && world_.chance(50)) {
      keep = world_.chance(50) ? 0 : static_cast<unsigned>(world_.draw(100));
      ++totals_.losses;
      lost_ = true;
    }
    server_.start(keep);
    for (unsigned host : cut_off_)
      if (slots_[host].host)
        for (unsigned core = 0; core < kCores; ++core) slots_[host].host->bus(core).cut();
  }

  std::vector<loop::Loop*> loops() {
    std::vector<loop::Loop*> all;
    for (Slot& slot : slots_)
      if (slot.host) all.insert(all.end(), slot.host->loops().begin(), slot.host->loops().end());
    return all;
  }

  void rest(std::int64_t ms) {
    const std::int64_t until = world_.now_ns() + ms * 1'000'000;
    std::vector<loop::Loop*> all = loops();
    world_.run_until(all, [&] { return !wrong_.empty() || world_.now_ns() > until; });
  }

  // A minute of simulated time at most.
  template <class So>
  void await(So so, const char* otherwise) {
    const std::int64_t until = world_.now_ns() + 60'000'000'000;
    std::vector<loop::Loop*> all = loops();
    world_.run_until(all, [&] { return !wrong_.empty() || so() || world_.now_ns() > until; });
    if (!so()) fail(otherwise);
  }

  void pass(std::uint64_t turns) {
    std::vector<loop::Loop*> all = loops();
    if (all.empty()) return;
    world_.run_until(all, [&] { return !wrong_.empty() || turns-- == 0; });
  }

  // ---- People

  void act(Person& person) {
    if (person.gone) drop(person);
    if (!person.session) return connect(person);
    if (!person.ready) return;
    switch (world_.draw(12)) {
      case 0:
        return drop(person);
      case 1:
        return join(person);
      case 2:
        if (world_.chance(20)) return leave(person);
        return send_again(person);
      case 3:
        return world_.chance(50) ? mark_read(person) : send_again(person);
      default:
        return send_new(person);
    }
  }

  void connect(Person& person) { connect(person, static_cast<unsigned>(world_.draw(kHosts))); }
  void connect(Person& person, unsigned host) {
    if (!slots_[host].host) return;
    const unsigned core = static_cast<unsigned>(world_.draw(kCores));
    const base::ConnectionId id{++last_connection_ << (base::kHostBits + base::kCoreBits + base::kCounterBits) |
                                core << base::kCounterBits};
    person.host = host;
    person.gone = person.ready = false;
    person.session = std::make_unique<Session>(id, person);
    ConnectData data{.token = person.token, .has_token = !person.token.empty(), .name = person.name, .resume = {}};
    for (const auto& [room, point] : person.points)
      data.resume.push_back({.room = room, .seq = point.seq, .epoch = point.epoch});
    data.has_resume = !data.resume.empty();
    slots_[host].host->sessions()[id] = person.session.get();
    slots_[host].host->shard(core).connect(*person.session, ReplyTag("0"), std::move(data));
  }

  void drop(Person& person) {
    if (!person.session) return;
    Host& host = *slots_[person.host].host;
    host.shard(person.session->id.core()).disconnected(*person.session);
    host.sessions().erase(person.session->id);
    person.session.reset();
    person.host = kHosts;
    person.ready = false;
    person.requests.clear();
    for (auto& [key, send] : person.outbox) send.in_flight = false;
  }

  void command(Person& person, std::string_view name, std::string key, const std::string& data) {
    const std::uint64_t tag = ++last_tag_;
    person.requests.emplace(tag, std::move(key));
    const Value* value = commands_.parse(data);
    ASSERT(value != nullptr);
    slots_[person.host]
        .host->shard(person.session->id.core())
        .command(*person.session, ReplyTag(std::to_string(tag)), name, value);
  }

  void join(Person& person) {
    command(person, "join", {}, R"({"room":"room )" + std::to_string(world_.draw(kRooms)) + "\"}");
  }
  void leave(Person& person) {
    if (person.in.empty()) return;
    const RoomId room = *std::next(person.in.begin(), static_cast<std::ptrdiff_t>(world_.draw(person.in.size())));
    person.in.erase(room);
    person.points.erase(room);
    left_.insert({person.id, room});
    command(person, "leave_room", {}, R"({"roomId":")" + room.text() + "\"}");
  }
  void mark_read(Person& person) {
    if (person.in.empty()) return;
    const RoomId room = *std::next(person.in.begin(), static_cast<std::ptrdiff_t>(world_.draw(person.in.size())));
    const auto point = person.points.find(room);
    if (point == person.points.end()) return;  // he has seen nothing of it that has a seq
    const std::uint64_t seq = point->second.seq - world_.draw(1 + point->second.seq / 2);
    command(person, "mark_read", {}, R"({"roomId":")" + room.text() + R"(","seq":)" + std::to_string(seq) + "}");
  }
  void send(Person& person, const std::string& key, Person::Send& send) {
    send.in_flight = true;
    command(person, "send_message", key,
            R"({"roomId":")" + send.room.text() + R"(","clientId":")" + key + R"(","text":")" + key + "\"}");
  }
  void send_new(Person& person) {
    if (person.in.empty()) return join(person);
    const RoomId room = *std::next(person.in.begin(), static_cast<std::ptrdiff_t>(world_.draw(person.in.size())));
    const std::string key = person.name + "-" + std::to_string(++last_key_);
    send(person, key, person.outbox.emplace(key, Person::Send{.room = room}).first->second);
  }
  void send_again(Person& person) {
    for (auto& [key, one] : person.outbox)
      if (!one.in_flight) return send(person, key, one);
  }

  // ---- The end

  void come_to_rest() {
    plan_ = {};
    for (unsigned host = 0; host < kHosts; ++host)
      if (!slots_[host].host) start(host);
    bring_back_bus();
    cut_off_.clear();
    for (Slot& slot : slots_)
      for (unsigned core = 0; core < kCores; ++core) slot.host->bus(core).connect();
    std::string why;
    for (int tries = 0; tries < 400 && wrong_.empty(); ++tries) {
      for (auto& person : people_) {
        if (person->gone) drop(*person);
        if (!person->session) connect(*person);
        if (person->ready) send_again(*person);
      }
      rest(500);
      why = unrest();
      if (why.empty()) return;
    }
    fail("does not come to rest: " + why);
  }

  std::string unrest() {
    for (Slot& slot : slots_) {
      if (slot.recovery) return "a host is recovering";
      for (unsigned core = 0; core < kCores; ++core)
        if (!slot.host->shard(core).all_stored()) return "a host has events that are not stored";
    }
    for (auto& person : people_) {
      if (!person->ready) return person->name + " is not there";
      if (!person->outbox.empty()) return person->name + " has no answer to " + person->outbox.begin()->first;
      for (RoomId room : person->in) {
        const Person::Point& point = person->points[room];
        const RoomRow& row = db_.rooms.at(room);
        if (row.members.contains(person->id) && point.seq < row.log.size())
          return person->name + " has room " + room.text() + " up to " + std::to_string(point.seq) + " of " +
                 std::to_string(row.log.size());
      }
    }
    for (const auto& [id, row] : db_.rooms)
      for (std::size_t& read = read_of_[id]; read < row.log.size(); ++read)
        if (auto message = db_.message_of(row.log[read])) kept_.insert(message->client_id);
    for (const auto& [key, place] : acked_)
      if (place.seq == 0 && !kept_.contains(key)) return key + " is pending";
    return {};
  }

  void check() {
    if (!db_.wrong.empty()) return fail(db_.wrong);
    std::map<std::string, unsigned> there;
    for (auto& [id, row] : db_.rooms) {
      std::set<EventId> ids;
      for (std::size_t i = 0; i < row.log.size(); ++i) {
        const Event& event = row.log[i];
        if (event.seq != i + 1) fail("a hole in room " + id.text());
        if (!ids.insert(event.id).second) fail("an event twice in room " + id.text());
        if (auto message = db_.message_of(event)) ++there[message->client_id];
        const auto seen = seen_.find({id, event.epoch, event.seq});
        // Of an epoch that has ended: its histories had parted.
        if (seen != seen_.end() && seen->second != event.id && event.epoch == row.room.epoch)
          fail("room " + id.text() + " seq " + std::to_string(event.seq) + " was seen as another event");
      }
      if (row.room.epoch != 1) {
        ++totals_.epochs;
        if (!lost_ || !away_) fail("room " + id.text() + " is in a new epoch without cause");
      }
    }
    for (const auto& [key, place] : acked_)
      if (there[key] != 1) fail(key + " was acked, and is there " + std::to_string(there[key]) + " times");
    for (const auto& [key, count] : there)
      if (count != 1 && !key.empty()) fail(key + " is there " + std::to_string(count) + " times");
  }

  // Who comes to this host now is told of each room what the database says.
  void check_marks(unsigned host) {
    for (auto& person : people_) {
      drop(*person);
      person->unread.clear();
      connect(*person, host);
    }
    std::vector<loop::Loop*> all = loops();
    const std::int64_t until = world_.now_ns() + 2'000'000'000;
    world_.run_until(all, [&] { return !wrong_.empty() || world_.now_ns() > until; });
    for (auto& person : people_)
      for (const auto& [id, unread] : person->unread) {
        const RoomRow& row = db_.rooms.at(id);
        const auto member = row.members.find(person->id);
        if (member != row.members.end() && unread != row.room.message_count - member->second.read_count)
          fail(person->name + " at host " + std::to_string(host) + ", room " + id.text() + ": " +
               std::to_string(unread) + " unread; in the database he has read " +
               std::to_string(member->second.read_count) + " of " + std::to_string(row.room.message_count));
      }
  }

  Plan plan_;
  Totals& totals_;
  sim::World world_;
  base::Settings settings_;
  Tokens tokens_{{"a secret of the simulation's own"}};
  Database db_;
  BusServer server_;
  std::array<Slot, kHosts> slots_;
  std::vector<std::unique_ptr<Person>> people_;
  std::set<unsigned> cut_off_;
  std::optional<RoomId> held_;
  bool roomy_ = false;  // the journals, as they are outside of tests
  bool lost_ = false;   // the bus lost something
  bool away_ = false;   // a host was killed or cut off
  std::string wrong_;
  std::map<Place, EventId> seen_;
  std::map<std::string, Place> acked_;     // by clientId; seq 0: as pending
  std::set<std::string> kept_;             // what the database has, by clientId
  std::map<RoomId, std::size_t> read_of_;  // so many events of a room
  std::set<std::pair<UserId, RoomId>> left_;
  std::uint64_t last_connection_ = 0;
  std::uint64_t last_tag_ = 0;
  std::uint64_t last_key_ = 0;
  base::json::Reader commands_;
  base::json::Reader answers_;
};

// ---- What people hear

std::uint64_t number_of(const Value& object, std::string_view name) {
  return static_cast<std::uint64_t>(find_integer(object, name).value_or(0));
}
template <class Tag>
base::Id<Tag> id_of(const Value& object, std::string_view name) {
  return base::Id<Tag>::parse(find_string(object, name).value_or("")).value_or(base::Id<Tag>{});
}

void Person::reply(const ReplyTag& tag, std::string_view, bool ok, std::string_view body) {
  auto found = requests.find(std::stoull(std::string(tag.view())));
  if (found == requests.end()) return round.fail("an answer to nothing: " + std::string(body));
  std::string key = std::move(found->second);
  requests.erase(found);
  round.on_reply(*this, std::move(key), ok, body);
}

void Person::send_event(std::string_view event, std::string_view body) {
  if (event == "ready") round.on_ready(*this, body);
  if (event == "unread_changed") round.on_unread(*this, body);
}

bool Person::send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) {
  std::string_view bytes = std::string_view(chunk->bytes).substr(from, to - from);
  while (!bytes.empty()) {
    const std::size_t space = bytes.find(' ');
    const std::size_t end = bytes.find('\n');
    round.on_event(*this, bytes.substr(1, space - 1), bytes.substr(space + 1, end - space - 1));
    bytes.remove_prefix(end + 1);
  }
  return true;
}

void Round::on_ready(Person& person, std::string_view text) {
  const Value* body = answers_.parse(text);
  ASSERT(body != nullptr);
  person.ready = true;
  person.id = id_of<base::UserTag>(*find(*body, "user"), "id");
  if (const Value* tokens = find(*body, "tokens")) person.token = find_string(*tokens, "accessToken").value_or("");
  std::set<RoomId> there;
  for (const Value& room : find(*body, "rooms")->GetArray()) {
    const RoomId id = id_of<base::RoomTag>(room, "id");
    there.insert(id);
    person.unread[id] = number_of(room, "unread");
    Person::Point& point = person.points[id];
    // A room without a point, or one of another epoch, is read anew: what comes is what follows.
    if (point.epoch != number_of(room, "epoch") || point.seq > number_of(room, "lastSeq"))
      point = {.epoch = number_of(room, "epoch"), .seq = number_of(room, "lastSeq")};
  }
  std::erase_if(person.points, [&](const auto& point) { return !there.contains(point.first); });
  person.in = there;
}

void Round::on_unread(Person& person, std::string_view text) {
  const Value* body = answers_.parse(text);
  ASSERT(body != nullptr);
  person.unread[id_of<base::RoomTag>(*body, "roomId")] = number_of(*body, "unread");
}

void Round::on_reply(Person& person, std::string key, bool ok, std::string_view text) {
  const Value* body = answers_.parse(text);
  ASSERT(body != nullptr);
  if (key.empty()) {
    const Value* room = ok ? find(*body, "room") : nullptr;
    if (room) person.in.insert(id_of<base::RoomTag>(*room, "id"));
    return;
  }
  auto sent = person.outbox.find(key);
  if (sent != person.outbox.end()) sent->second.in_flight = false;
  if (!ok) {
    const auto code = find_string(*body, "code").value_or("");
    // Not a member any more: it is not to be sent. (An attempt before may have been taken all the same.)
    if (code == "forbidden" || code == "not_found") person.outbox.erase(key);
    if (code != "forbidden" && code != "not_found" && code != "unavailable") fail(key + ": " + std::string(text));
    return;
  }
  const Value& message = *find(*body, "message");
  if (find_string(message, "text") != std::string_view(key)) fail(key + " was answered with another message");
  const bool pending = base::json::find_bool(*body, "pending").value_or(false);
  if (base::json::find_bool(*body, "duplicate").value_or(false)) ++totals_.duplicates;
  ++(pending ? totals_.pending : totals_.acked);
  acked_.try_emplace(key, Place{id_of<base::RoomTag>(message, "roomId"), 0, number_of(message, "seq")});
  person.outbox.erase(key);
}

void Round::on_event(Person& person, std::string_view name, std::string_view text) {
  const Value* body = answers_.parse(text);
  if (!body) return fail("an event that is no JSON: " + std::string(text));
  if (name == "room_reset") {
    person.points[id_of<base::RoomTag>(*body, "roomId")] = {.epoch = number_of(*body, "epoch"),
                                                            .seq = number_of(*body, "lastSeq")};
    return;
  }
  const std::uint64_t seq = number_of(*body, "seq");
  if (seq == 0) return;  // passing, or pending
  ++totals_.seen;
  const RoomId room = id_of<base::RoomTag>(*body, "roomId");
  const std::uint64_t epoch = number_of(*body, "epoch");
  const EventId id = id_of<base::EventTag>(*body, "id");
  const std::string what =
      person.name + ": room " + room.text() + " epoch " + std::to_string(epoch) + " seq " + std::to_string(seq);
  auto [seen, fresh] = seen_.try_emplace(Place{room, epoch, seq}, id);
  if (!fresh && seen->second != id && !(lost_ && away_)) fail(what + " is another event than before");
  Person::Point& point = person.points[room];
  const bool follows = point.seq + 1 == seq || point.seq == 0 || left_.contains({person.id, room});
  if (point.epoch != 0 && epoch == point.epoch && !follows) fail(what + " follows " + std::to_string(point.seq));
  point = {.epoch = epoch, .seq = seq};
  person.in.insert(room);
}

void run_rounds(Plan plan, const char* name) {
  Totals totals;
  const std::uint64_t first = only_seed.value_or(1);
  const std::uint64_t count = only_seed ? 1 : rounds;
  for (running_seed = first; running_seed < first + count; ++running_seed) {
    const std::string wrong = Round(running_seed, plan, totals).run();
    ASSERT_TRUE(wrong.empty()) << wrong << "\nagain: chat_hosts_test --gtest_filter=*." << name << " --seed "
                               << running_seed;
  }
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%s: %llu acks, %llu pending, %llu duplicates, %llu events delivered, %llu kills, %llu cuts, %llu losses of the "
      "bus, %llu new epochs\n",
      name, number(totals.acked), number(totals.pending), number(totals.duplicates), number(totals.seen),
      number(totals.kills), number(totals.cuts), number(totals.losses), number(totals.epochs));
  if (only_seed) return;
  EXPECT_GT(totals.acked, count * 10);
  EXPECT_GT(totals.seen, count * 10);
  if (plan.bus_goes) EXPECT_GT(totals.pending, count / 2);
  if (plan.kills) EXPECT_GT(totals.kills, count / 4);
  if (plan.bus_loses) EXPECT_GT(totals.losses, count / 20);
}

TEST(ChatHosts, Calm) { run_rounds({}, "Calm"); }
TEST(ChatHosts, ARoomThatAnotherTakesInKeepsNoneBack) {
  run_rounds({.holds = true}, "ARoomThatAnotherTakesInKeepsNoneBack");
}
TEST(ChatHosts, TheBusGoes) { run_rounds({.bus_goes = true}, "TheBusGoes"); }
TEST(ChatHosts, TheBusLoses) { run_rounds({.bus_goes = true, .bus_loses = true}, "TheBusLoses"); }
TEST(ChatHosts, HostsAreCutOff) { run_rounds({.bus_goes = true, .cuts = true}, "HostsAreCutOff"); }
TEST(ChatHosts, HostsAreKilled) { run_rounds({.bus_goes = true, .cuts = true, .kills = true}, "HostsAreKilled"); }
std::string play(std::string (Scenes<Round>::*scene)()) {
  Totals totals;
  Round round(1, {}, totals);
  return (Scenes<Round>(round).*scene)();
}
TEST(ChatHosts, ALongOutage) { EXPECT_EQ(play(&Scenes<Round>::long_outage), ""); }
TEST(ChatHosts, AStartAfterALongOutage) { EXPECT_EQ(play(&Scenes<Round>::start_after_outage), ""); }
TEST(ChatHosts, OneRoomIsAway) { EXPECT_EQ(play(&Scenes<Round>::one_room_away), ""); }
TEST(ChatHosts, ASessionThatEndsUnheard) { EXPECT_EQ(play(&Scenes<Round>::session_ends_unheard), ""); }
TEST(ChatHosts, WhoIsAloneAgainIsCountedHere) { EXPECT_EQ(play(&Scenes<Round>::alone_again), ""); }
TEST(ChatHosts, Everything) {
  run_rounds({.bus_goes = true, .bus_loses = true, .cuts = true, .kills = true}, "Everything");
}

void on_abort(int /*signal*/) {
  std::fprintf(stderr, "aborted in the round of seed %llu\n", static_cast<unsigned long long>(running_seed));
}

}  // namespace
}  // namespace ringline::chat::test

int main(int argc, char** argv) {
  namespace test = ringline::chat::test;
  ::testing::InitGoogleTest(&argc, argv);
  std::signal(SIGABRT, &test::on_abort);
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--seed") test::only_seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--rounds") test::rounds = std::strtoull(argv[i + 1], nullptr, 10);
  }
  ringline::base::Settings settings;
  if (!test::only_seed) settings.log_file = "/dev/null";
  if (!ringline::base::log::start(settings)) return 2;
  const int result = RUN_ALL_TESTS();
  ringline::base::log::stop();
  return result;
}
