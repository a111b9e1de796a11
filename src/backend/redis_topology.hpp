// What tells where commands go: the slot of a key, and what servers say of themselves and of each other. All of it comes from outside and is read with
// care; none of it allocates more than its text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/backend/redis.hpp"

namespace ringline::backend {

inline constexpr unsigned kRedisSlots = 16384;

// The slot of a cluster that has the key: CRC16 of what stands between its first { and the next }, if there is something, else of the whole.
std::uint16_t slot_of(std::string_view key) noexcept;

// Whether it is a number: nothing is to be looked up.
bool is_address(const std::string& host) noexcept;

// "HOST:PORT"; the host may be an IPv6 address without brackets, as Redis writes it. An empty host is `of`'s, which said it.
std::optional<RedisEndpoint> read_endpoint(std::string_view text, const RedisEndpoint& of);

// "MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381".
struct Redirection {
  bool ask = false;  // this command only
  std::uint16_t slot = 0;
  RedisEndpoint to;
};
std::optional<Redirection> read_redirection(std::string_view text, const RedisEndpoint& from);

// Of CLUSTER SLOTS: the masters, each once, and for each slot the index of its one.
struct SlotMap {
  static constexpr std::uint16_t kNobody = 0xffff;
  std::vector<RedisEndpoint> masters;
  std::array<std::uint16_t, kRedisSlots> owner{};
};
// None: it is no such answer, or names more masters than limits::kRedisServers.
std::optional<SlotMap> read_slots(ReplyView reply, const RedisEndpoint& from);

// Of HELLO.
struct ServerInfo {
  unsigned version_major = 0;
  std::string version;
  std::string mode;  // "standalone", "cluster", "sentinel"
  std::string role;  // "master", "replica"
};
base::Result<ServerInfo> read_hello(ReplyView reply, const RedisEndpoint& from);

// Errors after which nothing was done, and which pass.
bool is_passing_refusal(ReplyView error) noexcept;

// Of +switch-master: "NAME OLD-IP OLD-PORT NEW-IP NEW-PORT". None: of another master.
std::optional<RedisEndpoint> read_switch(std::string_view payload, std::string_view master);

// The name in the first line of a library, "#!lua name=NAME"; empty: there is none.
std::string_view library_name(std::string_view library) noexcept;

}  // namespace ringline::backend
