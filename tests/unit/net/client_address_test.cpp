#include <gtest/gtest.h>

#include "net/client_address.hpp"

namespace ringline::net {
namespace {

using Blocks = std::vector<std::string>;

TEST(InBlocks, AddressesAndBlocks) {
  Blocks blocks = {"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"};
  EXPECT_TRUE(in_blocks("10.255.0.1", blocks));
  EXPECT_FALSE(in_blocks("11.0.0.1", blocks));
  EXPECT_TRUE(in_blocks("192.0.2.7", blocks));
  EXPECT_FALSE(in_blocks("192.0.2.8", blocks));
  EXPECT_TRUE(in_blocks("2001:db8:1::5", blocks));
  EXPECT_FALSE(in_blocks("2001:db9::5", blocks));
  EXPECT_TRUE(in_blocks("::ffff:10.1.2.3", blocks)) << "IPv4 in IPv6";
  EXPECT_FALSE(in_blocks("", blocks));
  EXPECT_FALSE(in_blocks("not an address", blocks));
  EXPECT_TRUE(in_blocks("203.0.113.9", Blocks{"true"}));
}

TEST(ClientAddress, OnlyTrustedProxiesAreBelieved) {
  Blocks trusted = {"127.0.0.1", "10.0.0.0/8"};
  EXPECT_EQ(client_address("203.0.113.9", "198.51.100.1", trusted), "203.0.113.9")
      << "a client that says it is another";
  EXPECT_EQ(client_address("127.0.0.1", "198.51.100.1", trusted), "198.51.100.1");
  EXPECT_EQ(client_address("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.3", trusted), "198.51.100.1")
      << "what stands before is the client's word";
  EXPECT_EQ(client_address("127.0.0.1", "", trusted), "127.0.0.1");
  EXPECT_EQ(client_address("127.0.0.1", "198.51.100.1", Blocks{}), "127.0.0.1");
}

TEST(ClientAddress, SoManyProxiesAreBelieved) {
  constexpr std::string_view kForwarded = "6.6.6.6, 198.51.100.1, 192.0.2.7";
  EXPECT_EQ(client_address("203.0.113.9", kForwarded, Blocks{}, 0), "203.0.113.9");
  EXPECT_EQ(client_address("203.0.113.9", kForwarded, Blocks{}, 1), "192.0.2.7");
  EXPECT_EQ(client_address("203.0.113.9", kForwarded, Blocks{}, 2), "198.51.100.1");
  EXPECT_EQ(client_address("203.0.113.9", "", Blocks{}, 2), "203.0.113.9");
}

}  // namespace
}  // namespace ringline::net
