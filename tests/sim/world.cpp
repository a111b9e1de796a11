#include "world.hpp"

#include <algorithm>
#include <climits>

#include "ringline/base/assert.hpp"

namespace ringline::sim {
namespace {

World* the_world = nullptr;

constexpr std::int64_t kTurnNsMax = 20'000;  // what a turn takes

}  // namespace

World::World(std::uint64_t seed) : random_(seed), product_random_(~seed) {
  ASSERT(the_world == nullptr);
  the_world = this;
}

World::~World() {
  ASSERT(kernels_.empty() && jobs_.empty());
  the_world = nullptr;
}

World& World::current() {
  ASSERT(the_world != nullptr);
  return *the_world;
}

World* World::find() noexcept { return the_world; }

void World::advance_to(std::int64_t ns) noexcept { now_ns_ = std::max(now_ns_, ns); }

void World::set_delay(std::chrono::nanoseconds least, std::chrono::nanoseconds most) noexcept {
  ASSERT(least.count() >= 0 && least <= most);
  delay_least_ns_ = least.count();
  delay_most_ns_ = most.count();
}

std::int64_t World::delay_ns() {
  return delay_least_ns_ +
         static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(delay_most_ns_ - delay_least_ns_) + 1));
}

bool World::run_until(loop::Loop& loop, const Done& done, std::chrono::seconds time) {
  loop::Loop* const one = &loop;
  return run_until(Loops(&one, 1), done, time);
}

bool World::run_until(Loops loops, const Done& done, std::chrono::seconds time) {
  const std::int64_t end = now_ns_ + std::chrono::nanoseconds(time).count();
  while (!done()) {
    if (now_ns_ > end) return false;
    if (!anything_ready(loops)) {
      const std::int64_t next = next_event_ns(loops);
      if (next == INT64_MAX) return false;
      advance_to(next);
    }
    run_due_jobs();
    loops[draw(loops.size())]->turn(false);
    now_ns_ += static_cast<std::int64_t>(draw(kTurnNsMax));
  }
  return true;
}

bool World::anything_ready(Loops loops) const {
  return std::ranges::any_of(
             loops, [](loop::Loop* loop) { return loop->anything_to_do() || loop->ring().has_unsubmitted(); }) ||
         next_event_ns(loops) <= now_ns_;
}

std::int64_t World::next_event_ns(Loops loops) const {
  std::int64_t next = next_job_ns();
  for (const Kernel* kernel : kernels_) next = std::min(next, kernel->next_due_ns());
  for (loop::Loop* loop : loops) {
    const std::int64_t due_ms = loop->timers().next_due_ms();
    if (due_ms < INT64_MAX / 1'000'000) next = std::min(next, due_ms * 1'000'000);
    if (loop->metrics().mailbox_stash > 0) next = std::min(next, now_ns_);
  }
  return next;
}

void World::later(const void* owner, Job job) {
  jobs_.push_back({.owner = owner, .due_ns = now_ns_ + delay_ns(), .job = std::move(job)});
}

void World::forget(const void* owner) {
  std::erase_if(jobs_, [owner](const Later& one) { return one.owner == owner; });
}

std::int64_t World::next_job_ns() const noexcept {
  std::int64_t next = INT64_MAX;
  for (const Later& one : jobs_) next = std::min(next, one.due_ns);
  return next;
}

void World::run_due_jobs() {
  for (std::int64_t due = next_job_ns(); due <= now_ns_; due = next_job_ns()) {
    const auto first = std::ranges::find(jobs_, due, &Later::due_ns);
    Job job = std::move(first->job);
    jobs_.erase(first);
    job();
  }
}

void World::crash(bool complete) {
  for (Kernel* kernel : kernels_) kernel->power_off(!complete);
  disk_.power_off();
}

}  // namespace ringline::sim
