// See boot.hpp.
#include "app/boot.hpp"

#include <algorithm>
#include <filesystem>

#include "ringline/base/log.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::app {

namespace {

constexpr std::size_t kBatchEvents = 32'000;  // of all rooms at once: the more, the fewer times a page is changed
constexpr std::string_view kRelaxedMark = "relaxed";  // a run in relaxed mode has written here

void log_report(const backend::JournalReport& report) {
  for (const backend::JournalDamage& damage : report.damages)
    base::log::error("journal_damaged", {{"file", damage.file},
                                         {"offset", damage.offset},
                                         {"bytes", damage.bytes},
                                         {"firstBatch", damage.first_batch},
                                         {"lastBatch", damage.last_batch},
                                         {"what", damage.what}});
  for (const backend::JournalGap& gap : report.gaps)
    base::log::error("journal_gap",
                     {{"room", gap.room.text()}, {"afterSeq", gap.after_seq}, {"nextSeq", gap.next_seq}});
  if (report.segments == 0) return;
  base::log::info("journal_recovered", {{"segments", report.segments},
                                        {"batches", report.batches},
                                        {"events", report.events},
                                        {"voidedBatches", report.voided_batches},
                                        {"tornBytes", report.torn_bytes},
                                        {"damages", report.damages_found},
                                        {"gaps", report.gaps_found},
                                        {"cleanStop", report.was_clean}});
}

bool has_mark(const DataDir& data, std::string_view mark) {
  auto names = loop::disk::list(data.path());
  return names && std::ranges::find(*names, mark) != names->end();
}

// Each start leaves segments that were made at their full size: what is kept of them is what they hold.
void shorten(const backend::Recovery& recovery) {
  for (const auto& [path, bytes] : recovery.used()) {
    std::error_code error;
    if (std::filesystem::file_size(path, error) > bytes && !error) std::filesystem::resize_file(path, bytes, error);
    if (error) base::log::warn("journal_segment_not_shortened", {{"file", path}, {"why", error.message()}});
  }
}

base::Result<void> settle_durability(const base::Settings& settings, const DataDir& data, bool was_clean,
                                     backend::Database& store) {
  bool was_relaxed = has_mark(data, kRelaxedMark);
  if (was_relaxed && !was_clean) {
    base::log::warn(
        "new_epochs",
        {{"why", "the last run was in relaxed mode and did not stop cleanly: events that clients saw may be gone"}});
    if (auto bumped = store.bump_epochs(); !bumped) return bumped;
  }
  // Of several hosts' rooms what clients saw is on the bus too.
  bool relaxed = settings.durability == base::Durability::relaxed && !settings.several_hosts();
  if (relaxed && !was_relaxed) return data.write_file(kRelaxedMark, "");
  // Last: the new epochs are durable by then, so no power cut leaves neither them nor the mark that asks for them.
  if (!relaxed && was_relaxed) return data.remove_file(kRelaxedMark);
  return {};
}

}  // namespace

std::string sqlite_file(const base::Settings& settings) {
  constexpr std::string_view kSqlite = "sqlite:";
  const std::string& url = settings.database_url;
  if (url.empty()) return settings.data_dir + "/ringline.db";
  return url.starts_with(kSqlite) ? url.substr(kSqlite.size()) : std::string();
}

base::Result<void> take_in(backend::Recovery& recovery, backend::Database& store,
                           const std::function<bool(const chat::Event&)>& wanted, backend::Hosts hosts) {
  std::vector<chat::Event> batch;
  for (bool more = true; more;) {
    auto events = recovery.next();
    if (!events) return std::unexpected(events.error());
    more = !events->empty();
    for (chat::Event& event : *events)
      if (wanted(event)) batch.push_back(std::move(event));
    if (batch.empty() || (more && batch.size() < kBatchEvents)) continue;
    std::ranges::stable_sort(batch, {}, [](const chat::Event& event) { return event.room.value; });
    if (auto taken = store.ingest(std::exchange(batch, {}), hosts == backend::Hosts::several); !taken) return taken;
  }
  return {};
}

base::Result<std::unique_ptr<backend::Database>> open_database(const base::Settings& settings, const DataDir& data) {
  if (const std::string file = sqlite_file(settings); !file.empty()) return backend::open_sqlite(file);
  backend::PostgresOptions options{.replica_url = settings.database_replica_url};
  if (!settings.several_hosts()) {
    auto holder = data.host_token();
    if (!holder) return std::unexpected(holder.error());
    options.holder = *holder;
    return backend::open_postgres(settings.database_url, std::move(options));
  }
  backend::HostNumber host = data.host_number();
  options.host = host;
  auto opened = backend::open_postgres(settings.database_url, std::move(options));
  if (!opened) return opened;
  host.number = (*opened)->host();
  if (auto kept = data.keep(host); !kept) return std::unexpected(kept.error());
  base::log::info("host_number", {{"number", host.number}});
  return opened;
}

namespace {

// By the core that is home to its room.
base::Result<void> read_all(backend::Recovery& recovery, std::vector<std::vector<chat::Event>>& by_home) {
  for (bool more = true; more;) {
    auto events = recovery.next();
    if (!events) return std::unexpected(events.error());
    more = !events->empty();
    for (chat::Event& event : *events)
      by_home[base::home_core(event.room, static_cast<unsigned>(by_home.size()))].push_back(std::move(event));
  }
  return {};
}

}  // namespace

base::Result<Booted> take_in_journals(const base::Settings& settings, const DataDir& data, unsigned cores,
                                      backend::Database& store) {
  if (has_mark(data, kRestoring))
    return base::fail(base::Errc::conflict, "a restore into " + data.path() +
                                                " was not finished: run the same `ringline restore` again, until it "
                                                "says that all is there");
  auto stored_id = store.highest_id();  // first: it refuses a store that is half copied
  if (!stored_id) return std::unexpected(stored_id.error());
  const bool alone = !settings.several_hosts();
  const backend::Hosts hosts = alone ? backend::Hosts::one : backend::Hosts::several;
  auto recovery = backend::recover_journals(data.path(), hosts);
  if (!recovery) return std::unexpected(recovery.error());
  std::vector<std::vector<chat::Event>> events(cores);
  auto taken =
      alone ? take_in(**recovery, store, [](const chat::Event&) { return true; }, hosts) : read_all(**recovery, events);
  if (!taken) return std::unexpected(taken.error());
  const backend::JournalReport& report = (*recovery)->report();
  log_report(report);
  if (auto settled = settle_durability(settings, data, report.was_clean, store); !settled)
    return std::unexpected(settled.error());
  Booted booted{.highest_id = std::max(*stored_id, report.highest_id.value),
                .journals = {},
                .recovered = nullptr,
                .events = std::move(events)};
  for (unsigned core = 0; core < cores; ++core) booted.journals.push_back((*recovery)->start_of(core));
  if (!alone || store.safe_before_ms() != INT64_MAX) {
    shorten(**recovery);
    booted.recovered = std::move(*recovery);
    return booted;
  }
  if (auto removed = (*recovery)->remove_recovered(); !removed) return std::unexpected(removed.error());
  return booted;
}

}  // namespace ringline::app
