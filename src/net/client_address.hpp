// Who a request is from, behind proxies.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ringline::net {

// Whether an address ("192.0.2.1", "2001:db8::1") is one of, or in a block of, `blocks` ("10.0.0.0/8", "::1", "true": every address).
bool in_blocks(std::string_view address, std::span<const std::string> blocks) noexcept;

// The client's address: the peer's, or if the peer is a trusted proxy the last address of X-Forwarded-For that is none. `hops`: so many proxies are
// trusted whatever their addresses are.
std::string client_address(std::string_view peer, std::string_view forwarded_for, std::span<const std::string> trusted,
                           unsigned hops = 0);

}  // namespace ringline::net
