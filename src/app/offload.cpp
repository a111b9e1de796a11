// See offload.hpp.
#include "app/offload.hpp"

#include <algorithm>
#include <iterator>

#include "ringline/base/log.hpp"
#include "ringline/loop/thread.hpp"

namespace ringline::app {

namespace {

constexpr unsigned kRingEntries = 1024;
constexpr std::chrono::milliseconds kStep{5};

}  // namespace

std::optional<backend::S3Options> s3_options(const base::Settings& settings) {
  if (settings.s3_bucket.empty()) return std::nullopt;
  return backend::S3Options{.endpoint = settings.s3_endpoint,
                            .region = settings.s3_region,
                            .access_key = settings.s3_access_key,
                            .secret_key = settings.s3_secret_key,
                            .bucket = settings.s3_bucket,
                            .path_style = settings.s3_path_style,
                            .make_bucket = settings.use_minio,
                            .public_url_base = settings.s3_public_url_base,
                            .link_age = settings.file_link_age,
                            .timeout = settings.s3_timeout};
}

Offload::Offload(const base::Settings& settings, loop::Workers& workers, net::HandOverPorts& ports)
    : settings_(settings), workers_(workers), ports_(ports) {}

base::Result<std::unique_ptr<Offload>> Offload::open(const base::Settings& settings, loop::Workers& workers,
                                                     net::HandOverPorts& ports) {
  auto ring = loop::Ring::prepare({.entries = kRingEntries, .receive_buffers = 0, .receive_buffer_bytes = 0});
  if (!ring) return std::unexpected(ring.error());
  std::unique_ptr<Offload> made(new Offload(settings, workers, ports));
  std::ranges::copy((*ring)->descriptors(), std::back_inserter(made->descriptors_));
  std::latch ready(1);
  made->thread_ = std::jthread(
      [self = made.get(), &ready, prepared = std::move(*ring)]() mutable { self->run(std::move(prepared), ready); });
  ready.wait();
  if (!made->opened_) return std::unexpected(made->opened_.error());
  return made;
}

Offload::~Offload() {
  if (loop_) loop_->post(loop::make_mail([this] { loop_->scope().spawn(end()); }));
}

base::Result<void> Offload::make_place(loop::Loop& loop) {
  if (const auto s3 = s3_options(settings_)) {
    place_ = backend::open_s3(loop, *s3, metrics_);
    return {};
  }
  auto folder = backend::open_folder(loop, workers_, settings_.data_dir + "/blobs");
  if (!folder) return std::unexpected(folder.error());
  place_ = std::move(*folder);
  return {};
}

void Offload::run(std::unique_ptr<loop::Ring> ring, std::latch& ready) {
  loop::begin_thread("transfers");
  loop::give_way(loop::Niceness::worker);
  const auto begun = ring->begin();
  ASSERT(begun);  // it was prepared
  loop::Mailboxes mailboxes(1);
  loop::Loop loop(0, mailboxes, std::move(ring));
  loop::Loop* const peers[] = {&loop};
  loop.set_peers(peers);
  opened_ = make_place(loop);
  if (!opened_) return ready.count_down();
  transfers_ = std::make_unique<net::Transfers>(loop, *place_, ports_, metrics_);
  loop_ = &loop;
  ready.count_down();
  loop.run();
}

// The cores are gone: nobody asks any more.
base::Task<void> Offload::end() {
  transfers_->stop();
  while (transfers_->running() > 0 && base::monotonic_ms() < drain_until_ms_) co_await loop_->sleep(kStep);
  if (transfers_->running() > 0) base::log::warn("transfers_cut", {{"transfers", transfers_->running()}});
  transfers_->cut();
  place_->cut();
  while (!transfers_->idle()) co_await loop_->sleep(kStep);
  co_await place_->close();
  while (loop_->scope().running() > 1) co_await loop_->sleep(kStep);
  transfers_.reset();
  place_.reset();
  loop_->stop();
}

void Offload::ask_metrics(std::move_only_function<void(const base::Metrics&)> take) {
  loop_->post(loop::make_mail([this, take = std::move(take)]() mutable { take(metrics_); }));
}

}  // namespace ringline::app
