// What start-up says where the ring is refused: by text for each cause, and for real under a seccomp filter.
#include "ring_error.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>

#include "support.hpp"

namespace ringline::loop::test {
namespace {

std::string said(int sys, int disabled = 0) {
  const base::Error error =
      explain({.sys = sys, .call = "io_uring_setup", .disabled = disabled, .kernel = "5.10.0-test"});
  EXPECT_EQ(error.sys, sys);
  return error.message;
}

TEST(RingError, NamesTheCauseAndTheRemedy) {
  EXPECT_TRUE(said(ENOSYS).contains("(5.10.0-test) has no io_uring"));
  EXPECT_TRUE(said(ENOSYS).contains("Linux 6.1"));
  EXPECT_TRUE(said(EINVAL).contains("IORING_SETUP_DEFER_TASKRUN"));
  EXPECT_TRUE(said(EINVAL).contains("apt install linux-image-amd64"));
  EXPECT_TRUE(said(EPERM, 2).contains("sysctl -w kernel.io_uring_disabled=0"));
  EXPECT_TRUE(said(EPERM, 1).contains("kernel.io_uring_group"));
  EXPECT_TRUE(said(EPERM).contains("seccomp"));
  EXPECT_TRUE(said(EACCES).contains("security module"));
  EXPECT_TRUE(said(ENOMEM).contains("LimitMEMLOCK=infinity"));
  EXPECT_TRUE(said(EMFILE).contains("LimitNOFILE="));
  EXPECT_TRUE(said(EIO).contains("io_uring_setup failed on kernel 5.10.0-test"));
  EXPECT_TRUE(explain_missing("skipped completions", "5.4.0")
                  .message.contains("(5.4.0) is too old: its io_uring lacks skipped completions"));
}

// The message of Ring::open in a child whose `call` is answered with `error`.
std::string message_under_filter(unsigned call, unsigned error) {
  std::array<int, 2> pipe{};
  if (::pipe(pipe.data()) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::array filter{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = filter.size(), .filter = filter.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      ::_exit(1);
    const auto ring = Ring::open({.entries = 8, .receive_buffers = 8, .receive_buffer_bytes = 64});
    const std::string message = ring ? "opened" : ring.error().message;
    static_cast<void>(::write(pipe[1], message.data(), message.size()));
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string message;
  std::array<char, 1024> piece{};
  for (ssize_t got = 0; (got = ::read(pipe[0], piece.data(), piece.size())) > 0;)
    message.append(piece.data(), static_cast<std::size_t>(got));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return message;
}

TEST(RingError, UnderASeccompFilter) {
  const std::string forbidden = message_under_filter(__NR_io_uring_setup, EPERM);
  EXPECT_TRUE(forbidden.starts_with("io_uring_setup is forbidden")) << forbidden;
  EXPECT_TRUE(forbidden.contains("SystemCallFilter=@system-service")) << forbidden;
  const std::string missing = message_under_filter(__NR_io_uring_setup, ENOSYS);
  EXPECT_TRUE(missing.contains("has no io_uring, or a sandbox hides it")) << missing;
  const std::string memory = message_under_filter(__NR_io_uring_setup, ENOMEM);
  EXPECT_TRUE(memory.contains("memlock")) << memory;
  const std::string old = message_under_filter(__NR_io_uring_setup, EINVAL);
  EXPECT_TRUE(old.contains("is too old")) << old;
  const std::string half = message_under_filter(__NR_io_uring_register, EPERM);
  EXPECT_TRUE(half.starts_with("io_uring_register is forbidden")) << half;
  EXPECT_EQ(message_under_filter(__NR_getppid, EPERM), "opened");
}

}  // namespace
}  // namespace ringline::loop::test
