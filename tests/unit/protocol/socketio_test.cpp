#include <gtest/gtest.h>

#include <string>

#include "ringline/base/json.hpp"
#include "ringline/protocol/socketio.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol::socketio {
namespace {

TEST(SocketIo, DecodesEveryPart) {
  auto packet = decode(R"(51-/admin,456["project:delete",{"_placeholder":true,"num":0}])");
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->type, PacketType::binary_event);
  EXPECT_EQ(packet->attachments, 1U);
  EXPECT_EQ(packet->name_space, "/admin");
  EXPECT_EQ(packet->ack, "456");
  EXPECT_TRUE(packet->payload.starts_with(R"(["project:delete")"));
}

TEST(SocketIo, DecodesTheExamplesOfTheProtocol) {
  EXPECT_EQ(decode("0")->name_space, "/");
  EXPECT_EQ(decode(R"(0/admin,{"token":"123"})")->payload, R"({"token":"123"})");
  EXPECT_EQ(decode("0/admin,")->name_space, "/admin");
  EXPECT_EQ(decode("0/admin")->name_space, "/admin");
  EXPECT_EQ(decode("1/admin,")->type, PacketType::disconnect);
  EXPECT_EQ(decode(R"(2["hello",1])")->payload, R"(["hello",1])");
  EXPECT_EQ(decode(R"(2/admin,456["project:delete",123])")->ack, "456");
  EXPECT_EQ(decode("3/admin,456[]")->type, PacketType::ack);
  EXPECT_EQ(decode(R"(61-/admin,456[{"_placeholder":true,"num":0}])")->attachments, 1U);
  EXPECT_EQ(decode(R"(50-["x"])")->attachments, 0U);
}

TEST(SocketIo, RefusesWhatIsNoPacket) {
  for (std::string_view bad : {"",
                               "7",
                               "abc",
                               "2{}",
                               R"(2abc["x"])",
                               "2",
                               "3[]",
                               "3",
                               "1{}",
                               "15",
                               "0[]",
                               "0123",
                               "4{}",
                               R"(5["x"])",
                               R"(5-["x"])",
                               R"(5a-["x"])",
                               R"(51["x"])",
                               R"(565-["x"])",
                               R"(51000000-["x"])",
                               R"(599999999999999999999-["x"])",
                               R"(212345678901234567["x"])",
                               R"(2 ["x"])",
                               R"(2"x")"})
    EXPECT_FALSE(decode(bad)) << bad;
  EXPECT_FALSE(decode("0/" + std::string(kNamespaceBytesMax, 'n') + ","));
}

TEST(SocketIo, EveryPrefixIsJudged) {
  std::string_view text = R"(51-/admin,456["project:delete",{"_placeholder":true,"num":0}])";
  for (std::size_t size = 0; size <= text.size(); ++size) decode(text.substr(0, size));
}

TEST(SocketIo, ReadsEvents) {
  base::json::Reader reader;
  auto event = read_event(*reader.parse(R"(["send_message",{"a":1},2])"));
  ASSERT_TRUE(event);
  EXPECT_EQ(event->name, "send_message");
  EXPECT_EQ(event->arguments, 2U);
  EXPECT_TRUE(event->argument(0).IsObject());
  EXPECT_TRUE(event->argument(1).IsInt());
  for (std::string_view bad :
       {"[]", "[1]", "[null]", "{}", R"(["connect"])", R"(["disconnecting"])", R"(["newListener",1])"})
    EXPECT_FALSE(read_event(*reader.parse(bad))) << bad;
}

TEST(SocketIo, PlaceholdersStandForAttachments) {
  base::json::Reader reader;
  EXPECT_TRUE(placeholders_fit(*reader.parse(R"(["x",{"a":[{"_placeholder":true,"num":0}]}])"), 1));
  EXPECT_TRUE(placeholders_fit(*reader.parse(R"(["x",{"_placeholder":false,"num":7},"_placeholder"])"), 1));
  EXPECT_TRUE(placeholders_fit(*reader.parse(R"(["x",{"_placeholder":true}])"), 0));  // not a packet with attachments
  for (const char* bad : {R"(["x",{"a":[{"_placeholder":true,"num":1}]}])", R"([{"_placeholder":true}])",
                          R"([{"_placeholder":true,"num":-1}])", R"([{"_placeholder":true,"num":"0"}])"})
    EXPECT_FALSE(placeholders_fit(*reader.parse(bad), 1)) << bad;
}

// Encoders are compared without the frame's header, which is checked by first_frame itself.
template <class Append>
std::string packet(Append append) {
  std::string out;
  append(out);
  OwnFrame frame = first_frame(out);
  EXPECT_EQ(frame.bytes, out.size());
  EXPECT_EQ(frame.opcode, Opcode::text);
  return std::string(frame.payload);
}

TEST(SocketIo, Encodes) {
  EXPECT_EQ(packet([](auto& out) { append_event_frame(out, "message_created", R"({"a":1})"); }),
            R"(42["message_created",{"a":1}])");
  EXPECT_EQ(packet([](auto& out) { append_ack_frame(out, "7", "{}"); }), "437[{}]");
  EXPECT_EQ(packet([](auto& out) { append_reply_frame(out, "7", true, "{}"); }), R"(437[{"ok":true,"data":{}}])");
  EXPECT_EQ(packet([](auto& out) { append_reply_frame(out, "0", false, "{}"); }), R"(430[{"ok":false,"error":{}}])");
  EXPECT_EQ(packet([](auto& out) { append_command_failed_frame(out, "a\"b", "{}"); }),
            R"(42["command_failed",{"cmd":"a\"b","error":{}}])");
  EXPECT_EQ(packet([](auto& out) { append_connect_frame(out, "/", "s"); }), R"(40{"sid":"s"})");
  EXPECT_EQ(packet([](auto& out) { append_connect_frame(out, "/admin", "s"); }), R"(40/admin,{"sid":"s"})");
  EXPECT_EQ(packet([](auto& out) { append_connect_error_frame(out, "/x", "Invalid namespace"); }),
            R"(44/x,{"message":"Invalid namespace"})");
  EXPECT_EQ(packet([](auto& out) { append_connect_error_frame(out, "/", "no", R"({"code":1})"); }),
            R"(44{"message":"no","data":{"code":1}})");
  EXPECT_EQ(packet([](auto& out) { append_disconnect_frame(out, "/"); }), "41");
  EXPECT_EQ(packet([](auto& out) { append_disconnect_frame(out, "/x"); }), "41/x,");
  std::string body(70'000, '1');
  EXPECT_EQ(packet([&](auto& out) { append_event_frame(out, "e", body); }).size(), body.size() + 8);
}

}  // namespace
}  // namespace ringline::protocol::socketio
