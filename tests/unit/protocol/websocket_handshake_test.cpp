#include <gtest/gtest.h>

#include <array>
#include <string>

#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {
namespace {

constexpr std::array<std::string_view, 2> kOurs = {"ringline.v1", "other"};

UpgradeCheck check(std::string_view lines, std::string_view start = "GET /ws HTTP/1.1") {
  RequestReader reader;
  auto step = reader.feed(std::string(start) + "\r\nHost: a\r\n" + std::string(lines) + "\r\n");
  EXPECT_EQ(step.status, RequestReader::Status::complete);
  return check_upgrade(reader.take(), kOurs);
}
std::string upgrade(std::string_view more) {
  return "Upgrade: websocket\r\nConnection: Upgrade\r\n" + std::string(more);
}
std::string full(std::string_view more) {
  return upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + std::string(more));
}

TEST(Handshake, TheExampleOfTheRfc) {
  EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  UpgradeCheck result = check(full(""));
  EXPECT_EQ(result.status, 101);
  EXPECT_EQ(result.subprotocol, "");
  std::string out;
  append_upgrade_response(out, result);
  EXPECT_EQ(out,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

TEST(Handshake, ChoosesOurSubprotocol) {
  UpgradeCheck result = check(full("Sec-WebSocket-Protocol: x, ringline.v1\r\nSec-WebSocket-Protocol: other\r\n"));
  EXPECT_EQ(result.subprotocol, "ringline.v1");
  std::string out;
  append_upgrade_response(out, result, "permessage-deflate");
  EXPECT_NE(out.find("\r\nSec-WebSocket-Protocol: ringline.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            std::string::npos);
  EXPECT_EQ(check(full("Sec-WebSocket-Protocol: unknown\r\n")).subprotocol, "");
}

TEST(Handshake, RefusesWhatIsNone) {
  EXPECT_EQ(check("").status, 400);
  EXPECT_EQ(check("Upgrade: websocket\r\n").status, 400);
  EXPECT_EQ(check("Upgrade: h2c\r\nConnection: Upgrade\r\n").status, 400);
  EXPECT_EQ(check(full(""), "POST /ws HTTP/1.1").status, 400);
  EXPECT_EQ(check(full(""), "GET /ws HTTP/1.0").status, 400);
  EXPECT_EQ(check(upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")).status, 426);
  EXPECT_EQ(check(upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n")).status, 426);
  EXPECT_EQ(check(upgrade("Sec-WebSocket-Version: 13\r\n")).status, 400);
  EXPECT_EQ(check(upgrade("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n")).status, 400);
  EXPECT_EQ(check(upgrade("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ!!\r\n")).status, 400);
}

}  // namespace
}  // namespace ringline::protocol
