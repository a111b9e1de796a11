// FilePurge: files whose time is over, guests' and uploads that were never completed, and those that were deleted while their bytes could not be removed.
// On core 0, in small batches; what fails is tried again with the next.
#pragma once

#include <cstdint>

#include "ringline/base/task.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

class FilePurge {
 public:
  explicit FilePurge(Shard::Parts& parts) : p_(parts) {}
  void on_tick(std::int64_t now_ms);

 private:
  base::Task<void> run();

  Shard::Parts& p_;
  std::int64_t next_ms_ = 0;
  bool running_ = false;
};

}  // namespace ringline::chat
