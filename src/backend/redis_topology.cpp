// See redis_topology.hpp.
#include "backend/redis_topology.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace ringline::backend {

using base::Errc;

namespace {

constexpr unsigned kVersionMin = 7;  // functions, sharded publish/subscribe

// CRC-16/XMODEM (polynomial 0x1021), as Redis Cluster's specification names it.
constexpr std::array<std::uint16_t, 256> kCrc = [] {
  std::array<std::uint16_t, 256> table{};
  for (unsigned byte = 0; byte < table.size(); ++byte) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000U) != 0 ? (crc << 1) ^ 0x1021U : crc << 1;
    table[byte] = static_cast<std::uint16_t>(crc);
  }
  return table;
}();

template <class Number>
std::optional<Number> number(std::string_view text) noexcept {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// The text up to the next blank, which is taken away with it.
std::string_view next_word(std::string_view& text) noexcept {
  const std::size_t blank = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, blank);
  text.remove_prefix(std::min(blank + 1, text.size()));
  return word;
}

std::optional<RedisEndpoint> endpoint(std::string_view host, std::int64_t port) {
  if (host.empty() || port < 1 || port > 65535) return std::nullopt;
  return RedisEndpoint{.host = std::string(host), .port = static_cast<std::uint16_t>(port)};
}

}  // namespace

std::uint16_t slot_of(std::string_view key) noexcept {
  if (const std::size_t open = key.find('{'); open != key.npos) {
    const std::size_t end = key.find('}', open + 1);
    if (end != key.npos && end > open + 1) key = key.substr(open + 1, end - open - 1);
  }
  std::uint16_t crc = 0;
  for (const char c : key)
    crc = static_cast<std::uint16_t>((crc << 8) ^ kCrc[((crc >> 8) ^ static_cast<unsigned char>(c)) & 0xffU]);
  return crc % kRedisSlots;
}

bool is_address(const std::string& host) noexcept {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

std::optional<RedisEndpoint> read_endpoint(std::string_view text, const RedisEndpoint& of) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  const auto port = number<std::uint16_t>(text.substr(colon + 1));
  if (!port) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  return endpoint(host.empty() ? std::string_view(of.host) : host, *port);
}

std::optional<Redirection> read_redirection(std::string_view text, const RedisEndpoint& from) {
  Redirection read;
  const std::string_view kind = next_word(text);
  if (kind != "MOVED" && kind != "ASK") return std::nullopt;
  read.ask = kind == "ASK";
  const auto slot = number<std::uint16_t>(next_word(text));
  if (!slot || *slot >= kRedisSlots) return std::nullopt;
  read.slot = *slot;
  auto to = read_endpoint(next_word(text), from);
  if (!to) return std::nullopt;
  read.to = std::move(*to);
  return read;
}

// [[first, last, [host, port, id, …], replica…]…]; the host is nil or empty where the node does not know its own.
std::optional<SlotMap> read_slots(ReplyView reply, const RedisEndpoint& from) {
  if (!reply.is_array() || reply.size() == 0) return std::nullopt;
  std::optional<SlotMap> map(std::in_place);
  map->owner.fill(SlotMap::kNobody);
  for (std::size_t i = 0; i < reply.size(); ++i) {
    const ReplyView range = reply[i];
    const std::int64_t first = range[0].integer(), last = range[1].integer();
    const ReplyView master = range[2];
    if (range.size() < 3 || first < 0 || last < first || last >= kRedisSlots) return std::nullopt;
    const std::string_view host = master[0].text();
    // "?" stands for a name that is not configured (cluster-preferred-endpoint-type hostname).
    const auto place = endpoint(host.empty() || host == "?" ? std::string_view(from.host) : host, master[1].integer());
    if (!place) return std::nullopt;
    auto known = std::ranges::find(map->masters, *place);
    if (known == map->masters.end()) {
      if (map->masters.size() == limits::kRedisServers) return std::nullopt;
      known = map->masters.insert(map->masters.end(), *place);
    }
    const auto index = static_cast<std::uint16_t>(known - map->masters.begin());
    std::fill(map->owner.begin() + first, map->owner.begin() + last + 1, index);
  }
  return map;
}

// [name, value, name, value…]
base::Result<ServerInfo> read_hello(ReplyView reply, const RedisEndpoint& from) {
  const std::string place = from.text();
  if (reply.code() == "NOAUTH")
    return base::fail(Errc::invalid, place + " asks for a password: name it in REDIS_URL or REDIS_PASSWORD");
  if (reply.code() == "ERR" && !is_passing_refusal(reply))
    return base::fail(Errc::invalid, place + " does not know HELLO: Redis 7 or later is needed");
  if (reply.is_error()) {
    const bool passes = is_passing_refusal(reply);
    return base::fail(passes ? Errc::unavailable : Errc::invalid,
                      place + " refuses HELLO: " + std::string(reply.text()));
  }
  ServerInfo info;
  for (std::size_t i = 0; i + 1 < reply.size(); i += 2) {
    const std::string_view name = reply[i].text(), value = reply[i + 1].text();
    if (name == "version") info.version = value;
    if (name == "mode") info.mode = value;
    if (name == "role") info.role = value;
  }
  info.version_major = number<unsigned>(std::string_view(info.version).substr(0, info.version.find('.'))).value_or(0);
  if (info.version_major < kVersionMin)
    return base::fail(Errc::invalid,
                      fmt::format("{} is Redis {}: {} or later is needed", place,
                                  info.version.empty() ? "of an unknown version" : info.version, kVersionMin));
  return info;
}

bool is_passing_refusal(ReplyView error) noexcept {
  constexpr std::array<std::string_view, 9> kCodes{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN",
                                                   "BUSY",    "OOM",      "NOREPLICAS", "MISCONF"};
  return std::ranges::find(kCodes, error.code()) != kCodes.end() ||
         error.text().starts_with("ERR max number of clients reached");
}

std::optional<RedisEndpoint> read_switch(std::string_view payload, std::string_view master) {
  if (next_word(payload) != master) return std::nullopt;
  next_word(payload);
  next_word(payload);
  const std::string_view host = next_word(payload);
  const auto port = number<std::uint16_t>(next_word(payload));
  return port ? endpoint(host, *port) : std::nullopt;
}

std::string_view library_name(std::string_view library) noexcept {
  std::string_view line = library.substr(0, library.find('\n'));
  if (!line.starts_with("#!")) return {};
  while (!line.empty()) {
    const std::string_view word = next_word(line);
    constexpr std::string_view kName = "name=";
    if (word.starts_with(kName)) return word.substr(kName.size());
  }
  return {};
}

}  // namespace ringline::backend
