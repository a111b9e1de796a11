// The journal on the disk that forgets: rounds of random work, each from one seed, with several crashes in a row, in the middle of commits,
// preallocation and recovery, over changing numbers of cores, with failing and full disks. After each crash the journals must give back everything that
// was acked, in order, without a hole, nothing twice, nothing invented, and nothing that was voided.
//
//   journal_crash_test --seed 17      that round alone, with the journal's log
//   journal_crash_test --rounds 20000
//
// The check itself is checked: with syncs that do nothing it must find a loss.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ringline/backend/journal.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/log.hpp"
#include "world.hpp"

namespace ringline::backend::test {
namespace {

namespace disk = loop::disk;

std::uint64_t rounds = 1000;
std::optional<std::uint64_t> only_seed;
std::uint64_t current_seed = 0;  // said when an assertion ends the process

constexpr std::uint64_t kRooms = 5;
constexpr std::uint64_t kCoresMax = 3;
constexpr std::uint64_t kSegmentBytes = 64 * 1024;
constexpr std::size_t kBatchBytes = 16 * 1024;
const std::string kDataDir = "data";

enum class Fate : std::uint8_t {
  waiting,
  acked,
  failed,
  gone
};  // failed: unknown until the journal takes appends again; gone: may never be seen

struct Sent {
  chat::Event event;
  Fate fate = Fate::waiting;
};

struct Plan {
  bool relaxed = false;
  bool faults = false;
  bool lie = false;  // syncs of segments do nothing
};

struct Totals {
  std::uint64_t crashes = 0;
  std::uint64_t closes = 0;
  std::uint64_t acked = 0;
  std::uint64_t recovered = 0;
  std::uint64_t voided = 0;
  std::uint64_t torn = 0;
  std::uint64_t failures = 0;
  std::uint64_t in_flight = 0;  // crashes with appends in flight
};

// What the world outside knows: what was sent, what it was told, what the store holds. Survives crashes.
struct Truth {
  std::unordered_map<base::EventId, Sent> sent;
  std::map<std::uint64_t, std::vector<base::EventId>> acked;   // by room, in seq order: seen by somebody
  std::map<std::uint64_t, std::vector<base::EventId>> stored;  // likewise: durable in the store
  std::uint64_t last_id = 0;
};

bool same(const chat::Event& a, const chat::Event& b) {
  return a.room == b.room && a.seq == b.seq && a.epoch == b.epoch && a.id == b.id && a.at_ms == b.at_ms &&
         a.actor == b.actor && a.kind == b.kind && a.body.view() == b.body.view();
}

// One core of one life: a sequencer over a journal.
class Core final : public chat::RoomLogListener {
 public:
  Core(sim::World& world, loop::Mailboxes& mailboxes, unsigned core, JournalOptions options, Truth& truth,
       const bool& crashed)
      : world_(world),
        truth_(truth),
        crashed_(crashed),
        relaxed_(options.relaxed),
        loop(core, mailboxes, sim::open_ring()) {
    auto opened = Journal::open(std::move(options), loop, workers_, *this);
    if (!opened) return;  // the power went
    journal = std::move(*opened);
    loop.add_hook(*journal);
  }

  // In the next turn, as everything that appends does.
  void append_soon(std::uint64_t room) {
    loop.send(loop.core(), loop::make_mail([this, room] { append(room); }));
  }

  void append(std::uint64_t room) {
    if (crashed_) return;
    std::uint64_t& next = next_.try_emplace(room, truth_.acked[room].size() + 1).first->second;
    const std::size_t bytes = world_.chance(10) ? world_.draw(8000) : world_.draw(300);
    chat::Event event{.room = {room},
                      .seq = next,
                      .epoch = 1,
                      .id = {++truth_.last_id},
                      .at_ms = world_.wall_ms(),
                      .actor = {world_.draw(100)},
                      .kind = chat::EventKind::message_created,
                      .body = base::Blob::copy_of(std::string(bytes, static_cast<char>('a' + truth_.last_id % 26)))};
    const std::uint64_t ticket = journal->append(event);
    if (ticket == 0) return;
    ++next;
    for (const base::EventId id : failed_) truth_.sent[id].fate = Fate::gone;
    failed_.clear();
    pending_.push_back({ticket, event.id});
    truth_.sent[event.id] = {.event = event};
  }

  void on_committed(std::uint64_t last) override {
    if (crashed_) {
      EXPECT_TRUE(relaxed_);
      return;
    }
    while (!pending_.empty() && pending_.front().ticket <= last) {
      const Pending done = pending_.front();
      pending_.pop_front();
      Sent& sent = truth_.sent[done.id];
      sent.fate = Fate::acked;
      auto& acked = truth_.acked[sent.event.room.value];
      EXPECT_EQ(sent.event.seq, acked.size() + 1);
      acked.push_back(done.id);
      to_store_.push_back(done);
      ++acked_now;
    }
  }

  void on_failed(std::uint64_t first, std::uint64_t last) override {
    if (crashed_) return;
    ++failures;
    while (!pending_.empty()) {
      const Pending lost = pending_.front();
      pending_.pop_front();
      EXPECT_GE(lost.ticket, first);
      EXPECT_LE(lost.ticket, last);
      truth_.sent[lost.id].fate = Fate::failed;
      failed_.push_back(lost.id);
    }
    next_.clear();
  }

  // The store takes some of what is committed.
  void store() {
    if (to_store_.empty()) return;
    std::uint64_t last = 0;
    for (std::uint64_t left = 1 + world_.draw(to_store_.size()); left > 0; --left) {
      const chat::Event& event = truth_.sent[to_store_.front().id].event;
      auto& stored = truth_.stored[event.room.value];
      EXPECT_EQ(event.seq, stored.size() + 1);
      stored.push_back(event.id);
      last = to_store_.front().ticket;
      to_store_.pop_front();
    }
    journal->on_stored(last);
  }

  void store_all(bool held) {
    while (!held && !to_store_.empty()) store();
  }

  bool idle() const noexcept { return pending_.empty(); }

 private:
  struct Pending {
    std::uint64_t ticket;
    base::EventId id;
  };
  sim::World& world_;
  Truth& truth_;
  const bool& crashed_;
  bool relaxed_;
  std::map<std::uint64_t, std::uint64_t> next_;  // seq by room
  std::deque<Pending> pending_;
  std::deque<Pending> to_store_;
  std::vector<base::EventId> failed_;

 public:
  loop::Loop loop;
  std::unique_ptr<Journal> journal;
  std::uint64_t acked_now = 0;
  std::uint64_t failures = 0;

 private:
  loop::Workers workers_{1, "sim", 16};  // its jobs post to the loop
};

class Round {
 public:
  Round(std::uint64_t seed, Plan plan, Totals& totals) : plan_(plan), totals_(totals), world_(seed) {}

  // What is wrong, or nothing.
  std::string run() {
    for (std::uint64_t life = 3 + world_.draw(4); life > 0; --life) {
      live();
      if (std::string wrong = recover(); !wrong.empty()) return wrong;
    }
    return {};
  }

 private:
  void crash() {
    crashed_ = true;
    world_.crash();
  }

  // Sets the power to go in the middle of one of the next syncs, or not at all.
  void arm_crash(unsigned percent, std::uint64_t syncs_max) {
    syncs_left_ = world_.chance(percent) ? 1 + world_.draw(syncs_max) : 0;
    world_.disk().on_sync = [this](const std::string& path) {
      if (plan_.lie) world_.disk().lie(path.ends_with(".log"));
      if (syncs_left_ > 0 && --syncs_left_ == 0) crash();
    };
  }

  void inject_fault() {
    sim::Disk& disk = world_.disk();
    switch (world_.draw(4)) {
      case 0:
        return disk.fail_syncs(1 + static_cast<unsigned>(world_.draw(3)));
      case 1:
        return disk.fail_writes(1 + static_cast<unsigned>(world_.draw(2)));
      case 2:
        return disk.shorten_writes(1);
      default:
        return disk.set_capacity(world_.chance(50) ? UINT64_MAX : disk.used_bytes() + world_.draw(kSegmentBytes));
    }
  }

  void clear_faults() {
    sim::Disk& disk = world_.disk();
    disk.fail_syncs(0);
    disk.fail_writes(0);
    disk.shorten_writes(0);
    disk.set_capacity(UINT64_MAX);
    disk.lie(false);
  }

  // From start-up to a crash.
  void live() {
    const unsigned cores = 1 + static_cast<unsigned>(world_.draw(kCoresMax));
    arm_crash(50, 60);
    loop::Mailboxes mailboxes(cores);
    std::vector<std::unique_ptr<Core>> all;
    std::vector<loop::Loop*> loops;
    for (unsigned core = 0; core < cores; ++core) {
      JournalOptions options{.data_dir = kDataDir,
                             .core = core,
                             .segment_bytes = kSegmentBytes,
                             .batch_bytes = kBatchBytes,
                             .relaxed = plan_.relaxed,
                             .start = starts_[core]};
      all.push_back(std::make_unique<Core>(world_, mailboxes, core, std::move(options), truth_, crashed_));
      loops.push_back(&all.back()->loop);
    }
    for (loop::Loop* loop : loops) loop->set_peers(loops);
    if (std::ranges::all_of(all, [](const auto& core) { return core->journal != nullptr; })) work(all, loops);
    if (!crashed_ && world_.chance(20)) close(all, loops);
    for (const auto& core : all) {
      totals_.acked += core->acked_now;
      totals_.failures += core->failures;
    }
    if (std::ranges::any_of(all, [](const auto& core) { return !core->idle(); })) ++totals_.in_flight;
    crash();  // if it did not come by itself; again: what was started since is forgotten too
    ++totals_.crashes;
  }

  void work(std::vector<std::unique_ptr<Core>>& cores, std::vector<loop::Loop*>& loops) {
    for (std::uint64_t steps = world_.draw(60); steps > 0 && !crashed_; --steps) {
      if (plan_.faults && world_.chance(8)) inject_fault();
      for (std::uint64_t appends = world_.draw(12); appends > 0; --appends) {
        const std::uint64_t room = 1 + world_.draw(kRooms);
        cores[base::home_core(base::RoomId{room}, static_cast<unsigned>(cores.size()))]->append_soon(room);
      }
      std::uint64_t turns = world_.draw(world_.chance(20) ? 200 : 10);
      world_.run_until(loops, [&] { return crashed_ || turns-- == 0; }, std::chrono::seconds(20));
      if (!crashed_ && !held_ && world_.chance(20)) cores[world_.draw(cores.size())]->store();
    }
  }

  // A clean stop, before the power goes all the same.
  void close(std::vector<std::unique_ptr<Core>>& cores, std::vector<loop::Loop*>& loops) {
    syncs_left_ = 0;  // a coroutine waits: it must come to its end
    std::size_t open = cores.size();
    const auto closer = [](Journal& journal, std::size_t& left) -> base::Task<void> {
      co_await journal.close();
      --left;
    };
    for (const auto& core : cores) {
      if (world_.chance(50)) core->store_all(held_);
      core->loop.scope().spawn(closer(*core->journal, open));
    }
    EXPECT_TRUE(world_.run_until(loops, [&] { return open == 0; }));
    ++totals_.closes;
  }

  // Until it succeeds: it may be cut off too.
  std::string recover() {
    for (;;) {
      world_.reboot();
      crashed_ = false;
      clear_faults();
      arm_crash(20, 6);
      auto recovery = recover_journals(kDataDir);
      std::string wrong;
      if (recovery) wrong = check(**recovery);
      world_.disk().on_sync = nullptr;
      if (!wrong.empty()) return wrong;
      if (!crashed_ && !recovery) return "recovery failed: " + recovery.error().message;
      if (!crashed_ && settle(**recovery)) return {};
      world_.crash();
    }
  }

  // Takes what was recovered into the store and starts the next life. False: the power goes.
  bool settle(Recovery& recovery) {
    if (world_.chance(15)) return false;
    for (unsigned core = 0; core < kCoresMax; ++core) starts_[core] = recovery.start_of(core);
    held_ = world_.chance(25);
    if (held_) return true;  // the store is away: the journals are kept
    truth_.stored = truth_.acked;
    if (world_.chance(15)) {
      remove_some();
      return false;
    }
    return recovery.remove_recovered().has_value();
  }

  // As far as remove_recovered came before the power went.
  void remove_some() {
    for (unsigned core = 0; core < kCoresMax; ++core) {
      const std::string directory = journal::core_directory(kDataDir, core);
      for (const std::string& name : disk::list(directory).value_or(std::vector<std::string>())) {
        if (!journal::segment_number(name)) continue;
        EXPECT_TRUE(disk::remove(directory + "/" + name).has_value());
        if (world_.chance(15)) return;
        EXPECT_TRUE(disk::sync_directory(directory).has_value());
      }
    }
  }

  std::string check(Recovery& recovery) {
    auto logs = truth_.stored;
    for (;;) {
      auto events = recovery.next();
      if (!events) return crashed_ ? "" : "reading failed: " + events.error().message;
      if (events->empty()) break;
      for (const chat::Event& event : *events)
        if (std::string wrong = check(event, logs[event.room.value]); !wrong.empty()) return wrong;
    }
    const JournalReport& report = recovery.report();
    if (report.damages_found > 0)
      return "damage where none was done: " + report.damages[0].file + " at " +
             std::to_string(report.damages[0].offset) + ": " + report.damages[0].what;
    if (report.repeated > 0) return "an event came twice";
    if (!plan_.relaxed)
      for (const auto& [room, acked] : truth_.acked)
        if (std::string wrong = check_kept(room, acked, logs[room]); !wrong.empty()) return wrong;
    learn(std::move(logs));
    totals_.recovered += report.events;
    totals_.voided += report.voided_batches;
    totals_.torn += report.torn_bytes > 0 ? 1 : 0;
    return {};
  }

  std::string check(const chat::Event& event, std::vector<base::EventId>& log) const {
    const std::string what =
        "event " + event.id.text() + ", room " + event.room.text() + " seq " + std::to_string(event.seq);
    const auto found = truth_.sent.find(event.id);
    if (found == truth_.sent.end() || !same(found->second.event, event)) return what + " was never sent like this";
    if (found->second.fate == Fate::gone) return what + " was voided or lost, and is back";
    const auto stored = truth_.stored.find(event.room.value);
    if (stored != truth_.stored.end() && event.seq <= stored->second.size())
      return stored->second[event.seq - 1] == event.id ? "" : what + " is another in the store";
    if (event.seq != log.size() + 1) return what + " follows seq " + std::to_string(log.size());
    log.push_back(event.id);
    return {};
  }

  static std::string check_kept(std::uint64_t room, const std::vector<base::EventId>& acked,
                                const std::vector<base::EventId>& log) {
    for (std::size_t i = 0; i < acked.size(); ++i)
      if (i >= log.size() || log[i] != acked[i])
        return "room " + std::to_string(room) + " lost seq " + std::to_string(i + 1) + ", which was acked";
    return {};
  }

  // What came back is seen now; what did not must never come back.
  void learn(std::map<std::uint64_t, std::vector<base::EventId>> logs) {
    for (auto& [id, sent] : truth_.sent) sent.fate = Fate::gone;
    for (const auto& [room, log] : logs)
      for (const base::EventId id : log) truth_.sent[id].fate = Fate::acked;
    truth_.acked = std::move(logs);
  }

  Plan plan_;
  Totals& totals_;
  sim::World world_;
  Truth truth_;
  std::array<JournalStart, kCoresMax> starts_{};
  bool crashed_ = false;
  bool held_ = false;
  std::uint64_t syncs_left_ = 0;
};

void run_rounds(Plan plan, std::uint64_t count, const char* name) {
  Totals totals;
  const std::uint64_t first = only_seed.value_or(1);
  for (std::uint64_t seed = first; seed < first + (only_seed ? 1 : count); ++seed) {
    current_seed = seed;
    const std::string wrong = Round(seed, plan, totals).run();
    ASSERT_TRUE(wrong.empty() && !::testing::Test::HasFailure())
        << wrong << "\nagain: journal_crash_test --gtest_filter=*." << name << " --seed " << seed;
  }
  std::printf(
      "%s: %llu crashes (%llu after a clean stop, %llu with appends in flight), %llu acks, %llu events recovered, %llu "
      "failed commits told, %llu voided batches met, %llu torn tails\n",
      name, static_cast<unsigned long long>(totals.crashes), static_cast<unsigned long long>(totals.closes),
      static_cast<unsigned long long>(totals.in_flight), static_cast<unsigned long long>(totals.acked),
      static_cast<unsigned long long>(totals.recovered), static_cast<unsigned long long>(totals.failures),
      static_cast<unsigned long long>(totals.voided), static_cast<unsigned long long>(totals.torn));
  if (only_seed) return;
  if (!plan.relaxed) {
    EXPECT_GT(totals.in_flight, count / 10);
  }
  EXPECT_GT(totals.torn, count / 20);
  if (plan.faults) {
    EXPECT_GT(totals.failures, count / 10);
    EXPECT_GT(totals.voided, count / 100);
  }
}

TEST(JournalCrash, Strict) { run_rounds({}, rounds, "Strict"); }
TEST(JournalCrash, FailingDisk) { run_rounds({.faults = true}, rounds, "FailingDisk"); }
TEST(JournalCrash, Relaxed) { run_rounds({.relaxed = true}, rounds / 4, "Relaxed"); }

TEST(JournalCrash, WithoutTheSyncALossIsFound) {
  Totals totals;
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed)
    if (!Round(seed, {.lie = true}, totals).run().empty()) ++found;
  std::printf("without the sync: %llu of 50 rounds lost something\n", static_cast<unsigned long long>(found));
  EXPECT_GE(found, 25U);
}

}  // namespace
}  // namespace ringline::backend::test

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--seed") ringline::backend::test::only_seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--rounds") ringline::backend::test::rounds = std::strtoull(argv[i + 1], nullptr, 10);
  }
  std::signal(SIGABRT, [](int) {
    std::fprintf(stderr, "in seed %llu\n", static_cast<unsigned long long>(ringline::backend::test::current_seed));
  });
  ringline::base::Settings settings;
  if (!ringline::backend::test::only_seed) settings.log_file = "/dev/null";
  if (!ringline::base::log::start(settings)) return 2;
  const int result = RUN_ALL_TESTS();
  ringline::base::log::stop();
  return result;
}
