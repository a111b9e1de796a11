// GuestPurge: guests who cannot come back do not stay for ever. On core 0, in small batches: the store removes those of whom nothing is kept; those that are
// in rooms leave them first, by an event as anybody does, and are removed by a later batch.
#pragma once

#include <cstdint>

#include "ringline/base/task.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

class GuestPurge {
 public:
  explicit GuestPurge(Shard::Parts& parts) : p_(parts) {}
  void on_tick(std::int64_t now_ms);

 private:
  base::Task<void> run();

  Shard::Parts& p_;
  std::int64_t next_ms_ = 0;
  bool running_ = false;
};

}  // namespace ringline::chat
