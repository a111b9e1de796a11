// TCP sockets: made here, used through the ring.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::loop {

// Where to connect or to listen.
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
};

// The first address of a host name or number. Blocks while a name is looked up: at start-up, or on a worker.
base::Result<Address> resolve_tcp(const std::string& host, std::uint16_t port);
// All of them, in the order in which they are to be tried. Blocks likewise, but for a number.
base::Result<std::vector<Address>> resolve_all_tcp(const std::string& host, std::uint16_t port);

struct ListenOptions {
  int backlog = 4096;
  bool share_port = false;           // SO_REUSEPORT: one socket a core on one port
  std::size_t unsent_bytes_max = 0;  // TCP_NOTSENT_LOWAT of accepted sockets; 0: the system's
};
// A listening socket; port 0: any (ask `local_port`). Accepted sockets inherit TCP_NODELAY and the bound of unsent bytes from it.
// "::" takes IPv4 too. Errors say what to do.
base::Result<Fd> listen_tcp(const std::string& host, std::uint16_t port, const ListenOptions& options);
// A socket to connect to `address` with, TCP_NODELAY set.
base::Result<Fd> socket_tcp(const Address& address);

std::uint16_t local_port(Fd socket);          // 0: not bound
std::string peer_address(Fd socket);          // "192.0.2.1", "2001:db8::1"; empty: not connected any more
std::string text_of(const Address& address);  // likewise

}  // namespace ringline::loop
