#include "ring_error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace ringline::loop {
namespace {

constexpr std::string_view kNeeds =
    "Linux 6.1 or later is needed, as in Debian 12 (apt install linux-image-amd64, then reboot)";

std::string forbidden(const RingRefusal& refusal) {
  if (refusal.disabled == 2) {
    return "io_uring is switched off on this host (kernel.io_uring_disabled = 2): run `sysctl -w "
           "kernel.io_uring_disabled=0`, and keep it "
           "in a file below /etc/sysctl.d";
  }
  if (refusal.disabled == 1) {
    return "io_uring is kept for privileged processes on this host (kernel.io_uring_disabled = 1): run `sysctl -w "
           "kernel.io_uring_disabled=0`, or name a group of this user in kernel.io_uring_group";
  }
  return fmt::format(
      "{} is forbidden, by a seccomp filter or a security module: allow io_uring_setup, io_uring_enter and "
      "io_uring_register. systemd: "
      "SystemCallFilter=@system-service has them. Containers: give a seccomp profile that has them (docker run "
      "--security-opt "
      "seccomp=PROFILE.json)",
      refusal.call);
}

std::string text_of(const RingRefusal& refusal) {
  switch (refusal.sys) {
    case ENOSYS:
      return fmt::format("this kernel ({}) has no io_uring, or a sandbox hides it: {}, built with CONFIG_IO_URING",
                         refusal.kernel, kNeeds);
    case EPERM:
    case EACCES:
      return forbidden(refusal);
    case EINVAL:
      return explain_missing("deferred task work (IORING_SETUP_DEFER_TASKRUN)", refusal.kernel).message;
    case ENOMEM:
      return fmt::format(
          "{} was refused memory: raise the memlock limit (`ulimit -l unlimited`, systemd: LimitMEMLOCK=infinity) or "
          "the memory limit of "
          "the service or container",
          refusal.call);
    case EMFILE:
    case ENFILE:
      return fmt::format("{}: no descriptor is left: raise the limit (`ulimit -n`, systemd: LimitNOFILE=)",
                         refusal.call);
    default:
      return fmt::format("{} failed on kernel {}: {}", refusal.call, refusal.kernel,
                         std::generic_category().message(refusal.sys));
  }
}

}  // namespace

base::Error explain(const RingRefusal& refusal) {
  return {.code = base::Errc::internal, .message = text_of(refusal), .field = {}, .sys = refusal.sys};
}

base::Error explain_missing(std::string_view feature, std::string_view kernel) {
  return {.code = base::Errc::internal,
          .message = fmt::format("this kernel ({}) is too old: its io_uring lacks {}; {}", kernel, feature, kNeeds),
          .field = {},
          .sys = EINVAL};
}

}  // namespace ringline::loop
