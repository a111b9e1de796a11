// See file_purge.hpp.
#include "chat/file_purge.hpp"

#include <algorithm>

#include "chat/commands.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/log.hpp"

namespace ringline::chat {

namespace {

constexpr std::size_t kBatchFiles = 100;
constexpr std::int64_t kEveryMs = 60 * 1000;
constexpr std::int64_t kShortestMs = 1000;

// Where files live for seconds only, it is looked more often.
std::int64_t pause_ms(const base::Settings& settings) {
  return std::clamp(settings.guest_file_ttl.count() / 4, kShortestMs, kEveryMs);
}

}  // namespace

void FilePurge::on_tick(std::int64_t now_ms) {
  if (!p_.o.blobs || p_.o.core != 0 || running_ || now_ms < next_ms_) return;
  const bool is_start = next_ms_ == 0;
  next_ms_ = now_ms + pause_ms(p_.o.settings);
  if (is_start) return;
  running_ = true;
  p_.o.scope.spawn(run());
}

base::Task<void> FilePurge::run() {
  auto expired = co_await p_.o.store.take_expired_files(base::wall_ms(), kBatchFiles);
  if (!expired) {
    base::log::warn("files_not_removed", {{"why", expired.error().message}});
    running_ = false;
    co_return;
  }
  for (const FileId id : *expired) {
    const bool removed = co_await remove_file(p_, id);
    if (!removed) break;  // the place or the store is away
    ++p_.o.metrics.files_expired;
  }
  running_ = false;
}

}  // namespace ringline::chat
