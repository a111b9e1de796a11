// Opening and closing a ring. Everything that the loop uses is in Linux 6.1 (Debian 12); an older kernel is refused by name of what it lacks.
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "ring_error.hpp"
#include "ring_impl.hpp"

namespace ringline::loop {
namespace {

std::string kernel_release() {
  utsname name{};
  return ::uname(&name) == 0 ? name.release : "unknown";
}

std::unexpected<base::Error> refuse(int sys, std::string_view call) {
  int disabled = 0;
  std::ifstream("/proc/sys/kernel/io_uring_disabled") >> disabled;
  return std::unexpected(explain({.sys = sys, .call = call, .disabled = disabled, .kernel = kernel_release()}));
}

struct Feature {
  unsigned bit;
  const char* name;
};
constexpr std::array kFeatures{
    Feature{IORING_FEAT_NODROP, "completions that are never dropped (IORING_FEAT_NODROP)"},
    Feature{IORING_FEAT_EXT_ARG, "waits with a time-out (IORING_FEAT_EXT_ARG)"},
    Feature{IORING_FEAT_CQE_SKIP, "skipped completions (IORING_FEAT_CQE_SKIP)"},
};

}  // namespace

base::Result<std::unique_ptr<Ring>> Ring::prepare(const RingOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
  params.cq_entries = options.entries * 4;
  const int made = io_uring_queue_init_params(options.entries, &impl->ring, &params);
  if (made < 0) return refuse(-made, "io_uring_setup");
  // From here on the destructor takes down what is there.
  std::unique_ptr<Ring> ring(new Ring(std::move(impl)));
  Impl& self = *ring->impl_;
  self.reap_max = params.cq_entries;
  for (const Feature& feature : kFeatures) {
    if ((params.features & feature.bit) == 0) return std::unexpected(explain_missing(feature.name, kernel_release()));
  }
  io_uring_params disk{};
  disk.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED;
  if (const int failed = io_uring_queue_init_params(Impl::kDiskEntries, &self.disk, &disk); failed < 0)
    return refuse(-failed, "io_uring_setup");
  if (io_uring_probe* probe = io_uring_get_probe_ring(&self.ring); probe != nullptr) {
    self.can_message = io_uring_opcode_supported(probe, IORING_OP_MSG_RING) != 0;
    io_uring_free_probe(probe);
  }
  self.doorbell = ::eventfd(0, EFD_CLOEXEC);
  if (self.doorbell < 0) return refuse(errno, "eventfd");
  if (const int failed = io_uring_register_eventfd(&self.disk, self.doorbell); failed < 0)
    return refuse(-failed, "io_uring_register");
  return ring;
}

base::Result<void> Ring::begin() {
  Impl& self = *impl_;
  // The thread that enables it is the single issuer. (io_uring_enable_rings is missing in Debian 12's library.)
  for (io_uring* queue : {&self.ring, &self.disk}) {
    if (const int failed =
            io_uring_register(static_cast<unsigned>(queue->ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
        failed < 0)
      return refuse(-failed, "io_uring_register");
    io_uring_register_ring_fd(queue);  // saves a look-up each enter; not needed
  }
  if (self.options.receive_buffers > 0) {
    const int failed = self.buffers.provide(self.ring, self.options.receive_buffers, self.options.receive_buffer_bytes);
    if (failed == EINVAL) return std::unexpected(explain_missing("provided buffer rings", kernel_release()));
    if (failed != 0) return refuse(failed, "io_uring_register");
  }
  self.arm_doorbell();
  return {};
}

base::Result<std::unique_ptr<Ring>> Ring::open(const RingOptions& options) {
  auto ring = prepare(options);
  if (!ring) return ring;
  if (auto begun = (*ring)->begin(); !begun) return std::unexpected(begun.error());
  return ring;
}

std::array<Fd, 3> Ring::descriptors() const noexcept {
  return {Fd{impl_->ring.ring_fd}, Fd{impl_->disk.ring_fd}, Fd{impl_->doorbell}};
}

Ring::Ring(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Ring::~Ring() {
  ASSERT(impl_->in_kernel == 0);
  ASSERT(impl_->buffers.all_given());
  impl_->closing = true;
  if (impl_->doorbell_armed) {
    io_uring_sqe& sqe = impl_->request();
    io_uring_prep_cancel64(&sqe, static_cast<std::uint64_t>(Tag::doorbell), 0);
    sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(&sqe, static_cast<std::uint64_t>(Tag::cancel_failed));
  }
  while (impl_->doorbell_armed || has_unsubmitted()) {
    enter(impl_->doorbell_armed, INT64_MAX);
    reap();
  }
  io_uring_queue_exit(&impl_->ring);
  if (impl_->disk.ring_fd > 0) io_uring_queue_exit(&impl_->disk);
  if (impl_->doorbell >= 0) ::close(impl_->doorbell);
}

}  // namespace ringline::loop
