// See client_address.hpp.
#include "net/client_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

namespace ringline::net {

namespace {

struct Parsed {
  std::array<unsigned char, 16> bytes{};
  unsigned bits = 0;  // 32 or 128
};

// IPv4 mapped into IPv6 ("::ffff:192.0.2.1") is IPv4.
std::optional<Parsed> parse(std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN> copy{};
  if (text.empty() || text.size() >= copy.size()) return std::nullopt;
  text.copy(copy.data(), text.size());
  Parsed parsed;
  if (::inet_pton(AF_INET, copy.data(), parsed.bytes.data()) == 1) {
    parsed.bits = 32;
    return parsed;
  }
  if (::inet_pton(AF_INET6, copy.data(), parsed.bytes.data()) != 1) return std::nullopt;
  parsed.bits = 128;
  constexpr std::array<unsigned char, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), parsed.bytes.begin())) {
    std::memmove(parsed.bytes.data(), parsed.bytes.data() + 12, 4);
    parsed.bits = 32;
  }
  return parsed;
}

bool in_block(const Parsed& address, std::string_view block) noexcept {
  auto slash = block.find('/');
  auto base = parse(block.substr(0, slash));
  if (!base || base->bits != address.bits) return false;
  unsigned prefix = base->bits;
  if (slash != std::string_view::npos) {
    std::string_view digits = block.substr(slash + 1);
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
    if (error != std::errc{} || end != digits.data() + digits.size() || prefix > base->bits) return false;
  }
  if (std::memcmp(base->bytes.data(), address.bytes.data(), prefix / 8) != 0) return false;
  unsigned rest = prefix % 8;
  if (rest == 0) return true;
  auto mask = static_cast<unsigned char>(0xff << (8 - rest));
  return (base->bytes[prefix / 8] & mask) == (address.bytes[prefix / 8] & mask);
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool in_blocks(std::string_view address, std::span<const std::string> blocks) noexcept {
  auto parsed = parse(address);
  return std::ranges::any_of(
      blocks, [&](const std::string& block) { return block == "true" || (parsed && in_block(*parsed, block)); });
}

std::string client_address(std::string_view peer, std::string_view forwarded_for, std::span<const std::string> trusted,
                           unsigned hops) {
  std::string_view client = peer;
  for (unsigned hop = 0; !forwarded_for.empty() && (hop < hops || in_blocks(client, trusted)); ++hop) {
    auto comma = forwarded_for.rfind(',');
    std::string_view last = trimmed(comma == std::string_view::npos ? forwarded_for : forwarded_for.substr(comma + 1));
    forwarded_for = comma == std::string_view::npos ? std::string_view() : forwarded_for.substr(0, comma);
    if (!parse(last)) break;  // whoever wrote this is not to be believed further
    client = last;
  }
  return std::string(client);
}

}  // namespace ringline::net
