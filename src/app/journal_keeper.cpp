// See journal_keeper.hpp.
#include "app/journal_keeper.hpp"

#include <unordered_set>

#include "app/boot.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::app {

namespace {

// A commit that is under way may still fail, and what it wrote be read all the same: only what is older than this is taken in again, and what a server had
// lost is older by then. What is younger is not in the store yet and goes there as ever.
constexpr std::int64_t kSettledMs = 3000;
constexpr std::int64_t kRetryMs = 5000;

}  // namespace

JournalKeeper::JournalKeeper(std::string data_dir, std::unique_ptr<backend::Recovery> recovered,
                             backend::Database& store, unsigned recovering)
    : data_dir_(std::move(data_dir)),
      store_(store),
      hosts_(recovering == 0 ? backend::Hosts::one : backend::Hosts::several),
      taken_in_ms_(recovering == 0 ? base::monotonic_ms() : INT64_MAX),
      recovering_(recovering),
      recovered_(std::move(recovered)) {
  store_.keep_journals(recovered_ != nullptr);
}

void JournalKeeper::on_recovered() noexcept {
  if (recovering_.fetch_sub(1) == 1) taken_in_ms_ = base::monotonic_ms();
}

bool JournalKeeper::begin() {
  if (running_) return false;
  const std::int64_t now_ms = base::monotonic_ms();
  if (const std::uint64_t rewinds = store_.rewinds(); rewinds != rewinds_) {
    rewinds_ = rewinds;
    due_ms_ = now_ms + kSettledMs;
  }
  const bool safe = recovered_ && store_.safe_before_ms() > taken_in_ms_;
  if (now_ms < due_ms_ || (rewinds_ == retaken_ && !safe)) return false;
  running_ = true;
  return true;
}

void JournalKeeper::run() {
  const bool again = rewinds_ != retaken_;
  auto done = again ? retake() : remove_recovered();
  if (!done) {
    due_ms_ = base::monotonic_ms() + kRetryMs;
    base::log::warn(again ? "journals_not_retaken" : "journals_not_removed", {{"why", done.error().message}});
  }
  running_ = false;
}

// Per room in the order of seqs, up to the first that is too young.
base::Result<void> JournalKeeper::retake() {
  auto recovery = backend::recover_journals(data_dir_, hosts_);
  if (!recovery) return std::unexpected(recovery.error());
  const std::int64_t settled_ms = base::wall_ms() - kSettledMs;
  std::unordered_set<base::RoomId> young;
  auto wanted = [&](const chat::Event& event) {
    if (event.at_ms > settled_ms) young.insert(event.room);
    return event.seq != 0 && !young.contains(event.room) && !stopping_;
  };
  auto taken = take_in(**recovery, store_, wanted, hosts_);
  if (!taken) return taken;
  if (stopping_) return {};
  retaken_ = rewinds_;
  store_.retaken(retaken_);
  base::log::info("journals_retaken", {{"events", (*recovery)->report().events}});
  return {};
}

base::Result<void> JournalKeeper::remove_recovered() {
  if (auto removed = recovered_->remove_recovered(); !removed) return removed;
  recovered_.reset();
  store_.keep_journals(false);
  removed_ = true;
  return {};
}

}  // namespace ringline::app
