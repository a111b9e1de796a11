// The simulated world: one thread, any number of loops, virtual time, a disk that forgets, all from one seed. Link loop_sim_dep before the layers
// under test: its ring, disk, workers, clock and random number functions take the place of the real ones.
//
//   sim::World world(seed);                 // first: rings and clocks need one
//   loop::Mailboxes mailboxes(1);
//   loop::Loop loop(0, mailboxes, sim::open_ring());
//   world.run_until(loop, [&] { return done; });
//   world.crash();                          // the power is off: nothing more reaches the disk
//   … destroy what ran …
//   world.reboot();                         // what is certain is there, the rest as it may be
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "disk_model.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::sim {

// A ring as the world sees it.
class Kernel {
 public:
  virtual std::int64_t next_due_ns() const noexcept = 0;  // when its next completion is there; INT64_MAX: none
  virtual void power_off(bool forget) = 0;
  // The process that has it is killed: what is in the kernel is done or not, and fails; nothing that is started later is done.
  virtual void kill() = 0;

 protected:
  ~Kernel() = default;
};

class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  static World& current();
  static World* find() noexcept;  // null: none

  Disk& disk() noexcept { return disk_; }

  // Chance. Apart from that of base::random_bytes, so that code which draws more does not change what the kernel does.
  std::uint64_t draw(std::uint64_t below) {
    return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_);
  }
  bool chance(unsigned percent) { return draw(100) < percent; }

  // Time.
  std::int64_t now_ns() const noexcept { return now_ns_; }
  void advance_to(std::int64_t ns) noexcept;
  void jump_wall(std::int64_t ms) noexcept { wall_offset_ms_ += ms; }
  // How long operations take, each drawn from here.
  void set_delay(std::chrono::nanoseconds least, std::chrono::nanoseconds most) noexcept;

  using Done = std::function<bool()>;
  using Loops = std::span<loop::Loop* const>;
  // Turns the loops in random order, and lets time pass when none has anything to do. False: `done` did not become true within `time`, or nothing can
  // happen any more.
  bool run_until(Loops loops, const Done& done, std::chrono::seconds time = std::chrono::hours(1));
  bool run_until(loop::Loop& loop, const Done& done, std::chrono::seconds time = std::chrono::hours(1));

  // The power goes. What is in the kernel never completes (its ops are free, no handler is called), or, if `complete`, fails with -EIO. Everything that
  // is tried from then on fails with EIO.
  void crash(bool complete = false);
  void reboot() noexcept { disk_.power_on(); }

  // For the seam's functions. `later`: calls `job` after a random time; `forget`: nothing more of this owner's.
  using Job = std::move_only_function<void()>;
  void later(const void* owner, Job job);
  void forget(const void* owner);
  void run_due_jobs();
  std::int64_t next_job_ns() const noexcept;
  std::int64_t delay_ns();
  std::int64_t wall_ms() const noexcept { return kStartWallMs + wall_offset_ms_ + now_ns_ / 1'000'000; }
  std::uint64_t product_random() { return product_random_(); }
  void add(Kernel& kernel) { kernels_.push_back(&kernel); }
  const std::vector<Kernel*>& kernels() const noexcept {
    return kernels_;
  }  // in the order in which their rings were opened
  void remove(Kernel& kernel) { std::erase(kernels_, &kernel); }

 private:
  static constexpr std::int64_t kStartWallMs = 1'767'225'600'000;  // 2026-01-01

  struct Later {
    const void* owner;
    std::int64_t due_ns;
    Job job;
  };

  bool anything_ready(Loops loops) const;
  std::int64_t next_event_ns(Loops loops) const;

  std::mt19937_64 random_;
  std::mt19937_64 product_random_;
  std::int64_t now_ns_ = 1'000'000'000;
  std::int64_t wall_offset_ms_ = 0;
  std::int64_t delay_least_ns_ = 1'000;
  std::int64_t delay_most_ns_ = 2'000'000;
  std::vector<Kernel*> kernels_;
  std::vector<Later> jobs_;
  Disk disk_{*this};
};

std::unique_ptr<loop::Ring> open_ring();

}  // namespace ringline::sim
