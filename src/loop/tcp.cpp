// Plain system calls: sockets are made at start-up, or once a connection. What accepted sockets need is set on the listener, which they inherit from:
// an accept costs no further call.
#include "ringline/loop/tcp.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

namespace ringline::loop {
namespace {

bool set(int fd, int level, int name, int value) { return ::setsockopt(fd, level, name, &value, sizeof value) == 0; }

std::string advice(int sys, const std::string& host, std::uint16_t port) {
  const std::string where = fmt::format("{}:{}", host, port);
  switch (sys) {
    case EADDRINUSE:
      return fmt::format(
          "cannot listen on {}: the port is taken; stop what uses it (`ss -ltnp 'sport = :{}'`) or choose another",
          where, port);
    case EACCES:
      return fmt::format(
          "cannot listen on {}: ports below 1024 need the right to; choose another, or give it (systemd: "
          "AmbientCapabilities=CAP_NET_BIND_SERVICE)",
          where);
    case EADDRNOTAVAIL:
      return fmt::format(
          "cannot listen on {}: this host has no such address; `ip address` lists them, 0.0.0.0 means all", where);
    case EAFNOSUPPORT:
      return fmt::format("cannot listen on {}: this host has no IPv6; use an IPv4 address, 0.0.0.0 means all", where);
    default:
      return fmt::format("cannot listen on {}: {}", where, std::generic_category().message(sys));
  }
}

base::Result<Address> name_of(Fd socket, int (*ask)(int, sockaddr*, socklen_t*)) {
  Address address;
  address.length = sizeof address.storage;
  if (ask(socket.value, reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0) return address;
  return base::fail_sys(errno, std::generic_category().message(errno));
}

}  // namespace

base::Result<std::vector<Address>> resolve_all_tcp(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failed != 0) {
    return base::fail_sys(failed == EAI_SYSTEM ? errno : 0,
                          fmt::format("cannot find the host {}: {}", host, ::gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* one = found; one; one = one->ai_next) {
    Address& address = addresses.emplace_back();
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
  }
  return addresses;
}

base::Result<Address> resolve_tcp(const std::string& host, std::uint16_t port) {
  auto addresses = resolve_all_tcp(host, port);
  if (!addresses) return std::unexpected(addresses.error());
  return addresses->front();
}

base::Result<Fd> listen_tcp(const std::string& host, std::uint16_t port, const ListenOptions& options) {
  const auto address = resolve_tcp(host, port);
  if (!address) return std::unexpected(address.error());
  const int family = address->storage.ss_family;
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return base::fail_sys(errno, advice(errno, host, port));
  const auto unsent = static_cast<int>(options.unsent_bytes_max);
  const bool ready = set(fd, SOL_SOCKET, SO_REUSEADDR, 1) && set(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
                     (!options.share_port || set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
                     (unsent == 0 || set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent)) &&
                     (family != AF_INET6 || set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
                     ::bind(fd, address->get(), address->length) == 0 && ::listen(fd, options.backlog) == 0;
  if (ready) return Fd{fd};
  const int sys = errno;
  ::close(fd);
  return base::fail_sys(sys, advice(sys, host, port));
}

base::Result<Fd> socket_tcp(const Address& address) {
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return base::fail_sys(errno, "no socket: " + std::generic_category().message(errno));
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return Fd{fd};
}

std::uint16_t local_port(Fd socket) {
  const auto address = name_of(socket, &::getsockname);
  if (!address) return 0;
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address->storage);
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address->storage);
  if (address->storage.ss_family == AF_INET) return ntohs(ipv4.sin_port);
  return address->storage.ss_family == AF_INET6 ? ntohs(ipv6.sin6_port) : std::uint16_t{0};
}

std::string peer_address(Fd socket) {
  const auto address = name_of(socket, &::getpeername);
  return address ? text_of(*address) : std::string();
}

std::string text_of(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address.storage);
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  const char* done = nullptr;
  if (address.storage.ss_family == AF_INET) {
    done = ::inet_ntop(AF_INET, &ipv4.sin_addr, text.data(), text.size());
  } else if (address.storage.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
    done = ::inet_ntop(AF_INET, &ipv6.sin6_addr.s6_addr[12], text.data(), text.size());
  } else if (address.storage.ss_family == AF_INET6) {
    done = ::inet_ntop(AF_INET6, &ipv6.sin6_addr, text.data(), text.size());
  }
  return done == nullptr ? std::string() : std::string(done);
}

}  // namespace ringline::loop
