#include <gtest/gtest.h>

#include <string>

#include "ringline/protocol/plain.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol::plain {
namespace {

TEST(Plain, Decodes) {
  base::json::Reader reader;
  Command command = decode(reader, R"({"id":7,"cmd":"send_message","data":{"text":"x"},"unknown":1})");
  EXPECT_TRUE(command.bad_field.empty());
  EXPECT_EQ(command.id.view(), "7");
  EXPECT_EQ(command.cmd, "send_message");
  ASSERT_NE(command.data, nullptr);
  EXPECT_EQ(base::json::find_string(*command.data, "text"), "x");
  Command bare = decode(reader, R"({"cmd":"ping"})");
  EXPECT_TRUE(bare.bad_field.empty());
  EXPECT_TRUE(bare.id.empty());
  EXPECT_EQ(bare.data, nullptr);
}

TEST(Plain, IdsComeBackAsTheyAre) {
  base::json::Reader reader;
  for (std::string_view id : {"7", "-1", "0", "1.5", "18446744073709551615", R"("a")", R"("a\"b")", R"("")"})
    EXPECT_EQ(decode(reader, R"({"cmd":"ping","id":)" + std::string(id) + "}").id.view(), id);
  std::string longest = "\"" + std::string(64, 'x') + "\"";
  EXPECT_EQ(decode(reader, R"({"cmd":"ping","id":)" + longest + "}").id.view(), longest);
  EXPECT_TRUE(decode(reader, R"({"cmd":"ping","id":null})").bad_field.empty());
}

TEST(Plain, SaysWhatIsWrong) {
  base::json::Reader reader;
  auto bad_field = [&](const std::string& text) { return decode(reader, text).bad_field; };
  for (const char* text : {"", "{", "hello", "[]", "7", "\"x\"", "null", "{\"cmd\":\"ping\"} x", "{\"cmd\":\"\xff\"}"})
    EXPECT_EQ(bad_field(text), "frame") << text;
  EXPECT_EQ(bad_field(std::string(200'000, '[')), "frame");
  EXPECT_EQ(decode(reader, R"({"cmd":"x","data":)" + std::string(100, '[') + std::string(100, ']') + "}").problem,
            "JSON nested too deep");
  EXPECT_EQ(bad_field(R"({"cmd":"x","id":{}})"), "id");
  EXPECT_EQ(bad_field(R"({"cmd":"x","id":true})"), "id");
  EXPECT_EQ(bad_field(R"({"cmd":"x","id":")" + std::string(65, 'x') + "\"}"), "id");
  EXPECT_EQ(bad_field(R"({"cmd":"x","id":")" + std::string(60, '\x7f') + R"(\u0001\u0002\u0003"})"), "id")
      << "too long once written as JSON";
  EXPECT_EQ(bad_field(R"({"id":1})"), "cmd");
  EXPECT_EQ(bad_field(R"({"cmd":7})"), "cmd");
  EXPECT_EQ(bad_field(R"({"cmd":"x","data":[]})"), "data");
  EXPECT_EQ(decode(reader, R"({"id":3,"cmd":7})").id.view(), "3") << "the answer carries the id";
}

TEST(Plain, Encodes) {
  std::string out;
  append_event_frame(out, "ready", R"({"a":1})");
  EXPECT_EQ(first_frame(out).payload, R"({"event":"ready","data":{"a":1}})");
  EXPECT_EQ(first_frame(out).bytes, out.size());
  out.clear();
  append_reply_frame(out, "7", true, "{}");
  EXPECT_EQ(first_frame(out).payload, R"({"id":7,"ok":true,"data":{}})");
  out.clear();
  append_reply_frame(out, "", false, R"({"code":"invalid"})");
  EXPECT_EQ(first_frame(out).payload, R"({"id":null,"ok":false,"error":{"code":"invalid"}})");
}

}  // namespace
}  // namespace ringline::protocol::plain
