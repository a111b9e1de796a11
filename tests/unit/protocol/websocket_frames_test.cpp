#include <gtest/gtest.h>

#include <string>

#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {
namespace {

TEST(FrameHeader, TwoFourAndTenBytes) {
  struct Case {
    std::size_t size;
    std::size_t header;
  };
  for (auto [size, header] : {Case{0, 2}, Case{125, 2}, Case{126, 4}, Case{65535, 4}, Case{65536, 10}}) {
    std::string out;
    append_frame_header(out, Opcode::binary, size);
    EXPECT_EQ(out.size(), header);
    out.append(size, 'x');
    OwnFrame frame = first_frame(out);
    EXPECT_EQ(frame.opcode, Opcode::binary);
    EXPECT_EQ(frame.payload.size(), size);
    EXPECT_EQ(frame.bytes, header + size);
  }
}

TEST(FrameHeader, TheExamplesOfTheRfc) {
  std::string out;
  append_frame(out, Opcode::text, "Hello");
  EXPECT_EQ(out, "\x81\x05Hello");
  out.clear();
  append_client_frame(out, Opcode::text, "Hello", {0x37, 0xfa, 0x21, 0x3d});
  EXPECT_EQ(out, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
  out.clear();
  append_frame_header(out, Opcode::text, 1, true);
  EXPECT_EQ(static_cast<unsigned char>(out[0]), 0xc1);
}

TEST(FrameHeader, FramesOfABufferOneByOne) {
  std::string out;
  append_frame(out, Opcode::text, "one");
  append_frame(out, Opcode::ping, "");
  OwnFrame first = first_frame(out);
  EXPECT_EQ(first.payload, "one");
  EXPECT_EQ(first_frame(std::string_view(out).substr(first.bytes)).opcode, Opcode::ping);
}

TEST(CloseFrame, CodeAndReason) {
  std::string out;
  append_close_frame(out, 4001, "token expired");
  EXPECT_EQ(out, "\x88\x0f\x0f\xa1token expired");
  out.clear();
  append_close_frame(out, close_code::kNone, "not said");
  EXPECT_EQ(out, std::string_view("\x88\x00", 2));
  out.clear();
  append_close_frame(out, 1000, std::string(122, 'x') + "\xe2\x82\xac");
  EXPECT_EQ(out.size(), 2U + 2U + 122U) << "cut before the character, not in it";
}

}  // namespace
}  // namespace ringline::protocol
