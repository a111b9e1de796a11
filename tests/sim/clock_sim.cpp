// The clock seam: the world's time. Without a world (before main, between tests) it stands still.
#include "ringline/base/clock.hpp"

#include "world.hpp"

namespace ringline::base {

std::int64_t wall_ms() noexcept {
  const sim::World* world = sim::World::find();
  return world == nullptr ? 0 : world->wall_ms();
}

std::int64_t monotonic_ns() noexcept {
  const sim::World* world = sim::World::find();
  return world == nullptr ? 0 : world->now_ns();
}

}  // namespace ringline::base
