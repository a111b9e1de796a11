#include "ringline/loop/tcp.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/wait.h>

#include "support.hpp"

namespace ringline::loop::test {
namespace {

int option(Fd socket, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  ::getsockopt(socket.value, level, name, &value, &length);
  return value;
}

TEST(Tcp, AcceptedSocketsInheritWhatTheyNeed) {
  const auto listener = listen_tcp("127.0.0.1", 0, {.unsent_bytes_max = 131'072});
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  const auto address = resolve_tcp("127.0.0.1", local_port(*listener));
  const Fd client = *socket_tcp(*address);
  ASSERT_EQ(::connect(client.value, address->get(), address->length), 0);
  const Fd accepted{::accept4(listener->value, nullptr, nullptr, SOCK_CLOEXEC)};
  EXPECT_NE(option(accepted, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_EQ(option(accepted, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 131'072);
  EXPECT_NE(option(client, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_EQ(peer_address(accepted), "127.0.0.1");
  for (const Fd fd : {client, accepted, *listener}) ::close(fd.value);
  EXPECT_EQ(peer_address(client), "");
  EXPECT_EQ(local_port(client), 0);
}

TEST(Tcp, SeveralShareAPortOnlyIfAllSaySo) {
  const auto first = listen_tcp("127.0.0.1", 0, {.share_port = true});
  const std::uint16_t port = local_port(*first);
  const auto second = listen_tcp("127.0.0.1", port, {.share_port = true});
  EXPECT_TRUE(second.has_value());
  const auto third = listen_tcp("127.0.0.1", port, {});
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().sys, EADDRINUSE);
  EXPECT_NE(third.error().message.find("the port is taken; stop what uses it"), std::string::npos)
      << third.error().message;
  for (const Fd fd : {*first, *second}) ::close(fd.value);
}

TEST(Tcp, TakesIpv4OnIpv6AndWritesItPlainly) {
  const auto listener = listen_tcp("::", 0, {});
  if (!listener && listener.error().sys == EAFNOSUPPORT) GTEST_SKIP() << "no IPv6 here";
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  const auto address = resolve_tcp("127.0.0.1", local_port(*listener));
  const Fd client = *socket_tcp(*address);
  ASSERT_EQ(::connect(client.value, address->get(), address->length), 0);
  const Fd accepted{::accept4(listener->value, nullptr, nullptr, SOCK_CLOEXEC)};
  EXPECT_EQ(peer_address(accepted), "127.0.0.1");
  for (const Fd fd : {client, accepted, *listener}) ::close(fd.value);
  EXPECT_EQ(text_of(*resolve_tcp("2001:db8::1", 1)), "2001:db8::1");
}

TEST(Tcp, SaysWhatToDo) {
  const auto elsewhere = listen_tcp("192.0.2.1", 0, {});
  ASSERT_FALSE(elsewhere.has_value());
  EXPECT_NE(elsewhere.error().message.find("has no such address"), std::string::npos) << elsewhere.error().message;
  const auto nowhere = resolve_tcp("no such host", 80);
  ASSERT_FALSE(nowhere.has_value());
  EXPECT_NE(nowhere.error().message.find("no such host"), std::string::npos) << nowhere.error().message;
}

TEST(Tcp, APrivilegedPortNeedsTheRightTo) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65'534) != 0) ::_exit(2);
    const auto refused = listen_tcp("127.0.0.1", 80, {});
    if (refused) ::_exit(3);  // net.ipv4.ip_unprivileged_port_start was lowered
    ::_exit(refused.error().sys == EACCES && refused.error().message.contains("CAP_NET_BIND_SERVICE") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) >= 2) GTEST_SKIP() << "every port may be used here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace ringline::loop::test
