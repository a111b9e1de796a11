// The thread of transfers: a loop that is not a core's, with the place where files are kept and the connections that carry their bytes.
//
// It gives way to the cores where they want the same processor. Made before the cores run, ended after they are joined.
#pragma once

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ringline/backend/blobs.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/metrics.hpp"
#include "ringline/base/settings.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/workers.hpp"
#include "ringline/net/transfers.hpp"

namespace ringline::app {

// None: files are in DATA_DIR.
std::optional<backend::S3Options> s3_options(const base::Settings& settings);

class Offload {
 public:
  static base::Result<std::unique_ptr<Offload>> open(const base::Settings& settings, loop::Workers& workers,
                                                     net::HandOverPorts& ports);
  ~Offload();  // lets what is under way end, until DRAIN_TIME after `drain`
  Offload(const Offload&) = delete;
  Offload& operator=(const Offload&) = delete;

  // From any thread while it is there.
  std::vector<loop::Fd> descriptors() const { return descriptors_; }
  std::unique_ptr<backend::BlobsClient> client(loop::Loop& core) {
    return backend::blobs_client(core, *loop_, *place_);
  }
  // Null: there is nothing to break.
  const base::CircuitBreaker* breaker() const noexcept { return place_->breaker(); }
  // The process stops: its time begins.
  void drain() noexcept { drain_until_ms_ = base::monotonic_ms() + settings_.drain_time.count(); }
  // Runs `take` there with what it has counted.
  void ask_metrics(std::move_only_function<void(const base::Metrics&)> take);

 private:
  Offload(const base::Settings& settings, loop::Workers& workers, net::HandOverPorts& ports);
  void run(std::unique_ptr<loop::Ring> ring, std::latch& ready);
  base::Result<void> make_place(loop::Loop& loop);
  base::Task<void> end();

  const base::Settings& settings_;
  loop::Workers& workers_;
  net::HandOverPorts& ports_;
  std::vector<loop::Fd> descriptors_;
  base::Result<void> opened_;
  base::Metrics metrics_;  // the thread's own
  std::unique_ptr<backend::BlobPlace> place_;
  std::unique_ptr<net::Transfers> transfers_;
  std::atomic<std::int64_t> drain_until_ms_{0};
  loop::Loop* loop_ = nullptr;
  std::jthread thread_;  // last: it uses all of this
};

}  // namespace ringline::app
