// Workers without threads: a job runs at some time of the world's, between two turns, so that what workers do to the disk is part of the seed's story.
#include "ringline/loop/workers.hpp"

#include "world.hpp"

namespace ringline::loop {

Workers::Workers(unsigned threads, std::string /*name*/, std::size_t jobs_max) : jobs_max_(jobs_max) {
  ASSERT(threads > 0 && jobs_max > 0);
}

Workers::~Workers() {
  stopping_ = true;
  sim::World::current().forget(this);
  while (!jobs_.empty()) work();
}

bool Workers::submit(std::move_only_function<void()> job) {
  ASSERT(!stopping_);
  if (jobs_.size() >= jobs_max_) return false;
  jobs_.push_back(std::move(job));
  sim::World::current().later(this, [this] { work(); });
  return true;
}

void Workers::work() {
  std::move_only_function<void()> job = std::move(jobs_.front());
  jobs_.pop_front();
  job();
}

}  // namespace ringline::loop
