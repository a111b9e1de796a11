// Journal, sequence and acks on the disk that forgets: real loops, journals and chat over changing numbers of cores, people who chat through them, and
// a power that goes at random instants, in the middle of commits and of recovery too. Each round is several lives of one host, from one seed.
//
//   chat_crash_test --seed 17      that round alone, with the log
//   chat_crash_test --rounds 20000
//
// Checked while it runs: each session gets each room's events in seq order, none twice, none left out; what was answered with an error is not seen;
// history shows all that was acked. After each recovery: every acked send is there once, under its id and seq; what anybody saw is there as it was;
// nobody got an event of a room that he was not in; what was joined or left is so; no room has a hole or a new epoch. The check itself is checked:
// with syncs that do nothing it must find a loss.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "chat_clients_sim.hpp"
#include "chat_host_sim.hpp"
#include "chat_store_sim.hpp"
#include "chat_truth_sim.hpp"
#include "ringline/backend/journal_recovery.hpp"
#include "ringline/base/log.hpp"
#include "world.hpp"

namespace ringline::chat::test {
namespace {

std::uint64_t rounds = 1000;
std::optional<std::uint64_t> only_seed;
std::uint64_t running_seed = 0;

constexpr std::uint64_t kCoresMax = 3;
const std::string kDataDir = "data";

struct Plan {
  bool faults = false;  // of disk and store
  bool lie = false;     // syncs of segments do nothing
};

class Round {
 public:
  Round(std::uint64_t seed, Plan plan, Totals& totals) : plan_(plan), totals_(totals), world_(seed) {
    settings_.rate_limit_messages = 0;
    settings_.rate_limit_guests = 0;
    settings_.access_token_age = settings_.session_ttl = std::chrono::hours(24 * 365);
  }

  // What is wrong, or nothing.
  std::string run() {
    for (std::uint64_t life = 2 + world_.draw(3); life > 0 && truth_.wrong.empty(); --life) {
      live();
      if (truth_.wrong.empty()) recover();
    }
    return truth_.wrong;
  }

 private:
  void crash() {
    crashed_ = true;
    world_.crash(true);
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
        return disk.set_capacity(world_.chance(50) ? UINT64_MAX : disk.used_bytes() + world_.draw(64 * 1024));
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
    arm_crash(50, 60);
    starts_.resize(kCoresMax);
    HostOptions options{.data_dir = kDataDir,
                        .cores = 1 + static_cast<unsigned>(world_.draw(kCoresMax)),
                        .highest_id = db_.highest_id,
                        .starts = starts_,
                        .store_failing_percent = plan_.faults ? 2U : 0U,
                        .store_batch = world_.chance(50) ? 1 + world_.draw(20) : 8000,
                        .settings = settings_,
                        .tokens = tokens_};
    Host host(world_, db_, crashed_, std::move(options));
    clients_.move_to(host);
    if (host.started()) {
      work(host);
      if (!crashed_ && truth_.wrong.empty() && world_.chance(30)) come_to_rest(host);
      if (clients_.waits()) ++totals_.in_flight;
      crash();  // if it did not come by itself
      clients_.drop_all();
      if (!host.let_go()) truth_.fail("something waits for ever");
    }
    ++totals_.crashes;
    crashed_ = true;
    world_.crash();  // what was tried since is forgotten
    truth_.errored.clear();
    truth_.errored_texts.clear();
  }

  void work(Host& host) {
    for (std::uint64_t steps = 5 + world_.draw(25); steps > 0 && going(); --steps) {
      if (plan_.faults && world_.chance(4)) inject_fault();
      for (std::uint64_t acts = world_.draw(6); acts > 0 && going(); --acts) clients_.act();
      std::uint64_t turns = world_.draw(world_.chance(15) ? 120 : 12);
      world_.run_until(host.loops(), [&] { return !going() || turns-- == 0; });
    }
  }
  bool going() const noexcept { return !crashed_ && truth_.wrong.empty(); }

  // Faults have stopped: everybody gets all answers and all events.
  void come_to_rest(Host& host) {
    clear_faults();
    syncs_left_ = 0;
    bool rests = false;
    for (int tries = 0; tries < 40 && !rests && going(); ++tries) {
      clients_.settle();
      const std::int64_t until = world_.now_ns() + 500'000'000;
      world_.run_until(host.loops(), [&] {
        rests = host.journals_healthy() && clients_.at_rest();
        return rests || !going() || world_.now_ns() > until;
      });
    }
    if (rests) {
      ++totals_.quiet;
    } else if (going()) {
      truth_.fail("does not come to rest: " +
                  (host.journals_healthy() ? clients_.unrest() : std::string("a journal stays unhealthy")));
    }
  }

  // Until it succeeds: it may be cut off too. As boot.cpp does it.
  void recover() {
    for (bool done = false; !done;) {
      world_.reboot();
      crashed_ = false;
      clear_faults();
      arm_crash(20, 6);
      done = take_in();
      world_.disk().on_sync = nullptr;
      if (!truth_.wrong.empty()) return;
      if (crashed_) done = false;
      if (!done) world_.crash();
    }
    truth_.check(db_);
    clients_.check(db_);
  }

  // False: the power went.
  bool take_in() {
    auto recovery = backend::recover_journals(kDataDir);
    if (!recovery) return crashed_ || failed("recovery: " + recovery.error().message);
    for (bool more = true; more;) {
      auto events = (*recovery)->next();
      if (!events) return crashed_ || failed("reading: " + events.error().message);
      more = !events->empty();
      if (!db_.ingest(*events)) return failed(db_.wrong);
    }
    const backend::JournalReport& report = (*recovery)->report();
    if (report.damages_found > 0)
      return failed("damage where none was done: " + report.damages[0].file + ": " + report.damages[0].what);
    db_.note(report.highest_id.value);
    if (world_.chance(15)) return false;
    for (unsigned core = 0; core < kCoresMax; ++core) starts_[core] = (*recovery)->start_of(core);
    return (*recovery)->remove_recovered().has_value();
  }
  bool failed(std::string what) {
    truth_.fail(std::move(what));
    return false;
  }

  Plan plan_;
  Totals& totals_;
  sim::World world_;
  base::Settings settings_;
  Tokens tokens_{{"a secret of the simulation's own"}};
  Database db_;
  Truth truth_;
  bool crashed_ = false;
  Clients clients_{world_, truth_, totals_, crashed_};
  std::vector<backend::JournalStart> starts_;
  std::uint64_t syncs_left_ = 0;
};

void print(const char* name, const Totals& totals) {
  const auto number = [](std::uint64_t count) { return static_cast<unsigned long long>(count); };
  std::printf(
      "%s: %llu crashes (%llu with sends unanswered), %llu lives that came to rest, %llu acks, %llu duplicates "
      "answered, %llu events delivered, "
      "%llu resumes, %llu refusals by slow readers, %llu sends unavailable, %llu refused or failed ones put to an end "
      "by a later commit\n",
      name, number(totals.crashes), number(totals.in_flight), number(totals.quiet), number(totals.acked),
      number(totals.duplicates), number(totals.seen), number(totals.resumed), number(totals.refused),
      number(totals.unavailable), number(totals.voided));
}

void run_rounds(Plan plan, const char* name) {
  Totals totals;
  const std::uint64_t first = only_seed.value_or(1);
  const std::uint64_t count = only_seed ? 1 : plan.faults ? rounds / 4 : rounds;
  for (running_seed = first; running_seed < first + count; ++running_seed) {
    const std::string wrong = Round(running_seed, plan, totals).run();
    ASSERT_TRUE(wrong.empty()) << wrong << "\nagain: chat_crash_test --gtest_filter=*." << name << " --seed "
                               << running_seed;
  }
  print(name, totals);
  if (only_seed) return;
  EXPECT_GT(totals.in_flight, count / 2);
  EXPECT_GT(totals.quiet, count / 10);
  EXPECT_GT(totals.acked, count * 10);
  EXPECT_GT(totals.duplicates, count);
  EXPECT_GT(totals.resumed, count / 2);
  EXPECT_GT(totals.refused, count / 10);
  if (plan.faults) {
    EXPECT_GT(totals.unavailable, count);
    EXPECT_GT(totals.voided, count / 10);
  }
}

TEST(ChatCrash, Strict) { run_rounds({}, "Strict"); }
TEST(ChatCrash, FailingDisk) { run_rounds({.faults = true}, "FailingDisk"); }

TEST(ChatCrash, WithoutTheSyncALossIsFound) {
  Totals totals;
  std::uint64_t found = 0;
  for (running_seed = 1; running_seed <= 30; ++running_seed)
    if (!Round(running_seed, {.lie = true}, totals).run().empty()) ++found;
  std::printf("without the sync: %llu of 30 rounds lost something\n", static_cast<unsigned long long>(found));
  EXPECT_GE(found, 15U);
}

// An ASSERT of the server ends the test: this says in which round.
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
