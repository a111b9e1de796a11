#include <gtest/gtest.h>

#include <string>

#include "ringline/protocol/engineio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol::engineio {
namespace {

TEST(EngineIo, Decodes) {
  EXPECT_EQ(decode("4hello")->type, PacketType::message);
  EXPECT_EQ(decode("4hello")->data, "hello");
  EXPECT_EQ(decode("2probe")->type, PacketType::ping);
  EXPECT_EQ(decode("6")->type, PacketType::noop);
  for (std::string_view bad : {"", "7", "a", "/", "b4abc", " 4"}) EXPECT_FALSE(decode(bad)) << bad;
}

TEST(EngineIo, OpenHasExactlyTheseKeys) {
  std::string out;
  append_open(
      out,
      {.sid = "s-1", .upgradable = true, .ping_interval_ms = 25000, .ping_timeout_ms = 20000, .max_payload = 1000000});
  EXPECT_EQ(out,
            R"(0{"sid":"s-1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000})");
  out.clear();
  append_open_frame(out,
                    {.sid = "s", .upgradable = false, .ping_interval_ms = 1, .ping_timeout_ms = 2, .max_payload = 3});
  EXPECT_EQ(first_frame(out).payload, R"(0{"sid":"s","upgrades":[],"pingInterval":1,"pingTimeout":2,"maxPayload":3})");
}

TEST(EngineIo, Frames) {
  std::string out;
  append_frame(out, PacketType::ping);
  append_frame(out, PacketType::pong, "probe");
  EXPECT_EQ(out,
            "\x81\x01"
            "2"
            "\x81\x06"
            "3probe");
}

TEST(EngineIo, ErrorBodies) {
  EXPECT_EQ(error_body(RequestError::unknown_transport), R"({"code":0,"message":"Transport unknown"})");
  EXPECT_EQ(error_body(RequestError::unknown_sid), R"({"code":1,"message":"Session ID unknown"})");
  EXPECT_EQ(error_body(RequestError::bad_handshake_method), R"({"code":2,"message":"Bad handshake method"})");
  EXPECT_EQ(error_body(RequestError::bad_request), R"({"code":3,"message":"Bad request"})");
  EXPECT_EQ(error_body(RequestError::forbidden), R"({"code":4,"message":"Forbidden"})");
  EXPECT_EQ(error_body(RequestError::unsupported_version), R"({"code":5,"message":"Unsupported protocol version"})");
}

}  // namespace
}  // namespace ringline::protocol::engineio
