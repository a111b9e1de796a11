// Statistics for people: counted by each core, asked for by `watch_stats` and /api/socket/stats.
#pragma once

#include <cstdint>
#include <vector>

#include "ringline/base/task.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

class Stats {
 public:
  explicit Stats(Shard::Parts& parts) : p_(parts) {}

  ServerStats of_this_core() const;
  base::Task<std::vector<ServerStats>> of_all_cores();
  void on_tick(std::int64_t now_ms);

 private:
  base::Task<void> tell_watchers();

  Shard::Parts& p_;
  std::uint64_t messages_before_ = 0;
  std::int64_t counted_ms_ = 0;
  double messages_per_second_ = 0;
};

}  // namespace ringline::chat
