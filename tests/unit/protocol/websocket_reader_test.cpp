// Frames in: the families of RFC 6455, each cut at every byte, and where contexts are.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ringline/protocol/websocket.hpp"

namespace ringline::protocol {
namespace {

using Kind = FrameEvent::Kind;

struct Seen {
  Kind kind;
  Opcode opcode;
  std::uint16_t code;
  std::string payload;
  bool compressed;
  bool operator==(const Seen&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  return out << "{kind " << static_cast<int>(seen.kind) << " opcode " << static_cast<int>(seen.opcode) << " code "
             << seen.code << " '" << seen.payload << "'}";
}
Seen text(std::string payload) { return {Kind::message, Opcode::text, 0, std::move(payload), false}; }
Seen binary(std::string payload) { return {Kind::message, Opcode::binary, 0, std::move(payload), false}; }

constexpr std::array<std::uint8_t, 4> kMask = {1, 2, 3, 4};
std::string frame(Opcode opcode, std::string_view payload, bool fin = true, bool rsv1 = false) {
  std::string out;
  append_client_frame(out, opcode, payload, kMask, fin, rsv1);
  return out;
}
std::string raw(std::initializer_list<int> bytes) {
  std::string out;
  for (int byte : bytes) out.push_back(static_cast<char>(byte));
  return out;
}

constexpr FrameRules kRules{.message_bytes = 1000};

std::vector<Seen> read(const std::vector<std::string_view>& pieces, FrameRules rules = kRules,
                       Role role = Role::server) {
  FrameContexts contexts(role);
  FrameReader reader;
  std::vector<Seen> seen;
  for (std::string_view piece : pieces) {
    auto input = std::as_bytes(std::span(piece));
    while (!input.empty()) {
      FrameEvent event = reader.next(contexts, input, rules);
      EXPECT_GT(event.consumed, 0U);
      input = input.subspan(event.consumed);
      if (event.kind == Kind::none) continue;
      // The code is compared, not the words.
      std::string payload(event.kind == Kind::failed ? std::string_view() : event.payload);
      Opcode opcode = event.kind == Kind::message ? event.opcode : Opcode::text;
      seen.push_back({event.kind, opcode, event.code, std::move(payload), event.compressed});
    }
    reader.park(contexts);
  }
  reader.release(contexts);
  EXPECT_EQ(contexts.in_use(), 0U);
  EXPECT_EQ(contexts.unfinished_bytes(), 0U);
  return seen;
}

// The events of `bytes`, the same however they are cut in two, and byte by byte.
std::vector<Seen> events(std::string_view bytes, FrameRules rules = kRules) {
  std::vector<Seen> whole = read({bytes}, rules);
  std::vector<std::string_view> single;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    single.push_back(bytes.substr(i, 1));
    if (i > 0) EXPECT_EQ(read({bytes.substr(0, i), bytes.substr(i)}, rules), whole) << "cut at " << i;
  }
  EXPECT_EQ(read(single, rules), whole) << "byte by byte";
  return whole;
}
std::vector<Seen> fails(std::uint16_t code) { return {{Kind::failed, Opcode::text, code, "", false}}; }

TEST(FrameReader, MessagesOfAllSizes) {
  for (std::size_t size : {0U, 1U, 125U, 126U, 127U, 128U, 1000U}) {
    std::string payload(size, '*');
    EXPECT_EQ(events(frame(Opcode::text, payload)), (std::vector<Seen>{text(payload)})) << size;
    EXPECT_EQ(events(frame(Opcode::binary, payload)), (std::vector<Seen>{binary(payload)})) << size;
  }
  std::string large(70'000, '*');
  EXPECT_EQ(read({frame(Opcode::binary, large)}, {.message_bytes = 70'000}), (std::vector<Seen>{binary(large)}));
}

TEST(FrameReader, SeveralFramesInOnePiece) {
  std::string bytes = frame(Opcode::text, "one") + frame(Opcode::ping, "p") + frame(Opcode::binary, "") +
                      frame(Opcode::pong, "") + frame(Opcode::text, "two");
  EXPECT_EQ(events(bytes), (std::vector<Seen>{text("one"),
                                              {Kind::ping, Opcode::text, 0, "p", false},
                                              binary(""),
                                              {Kind::pong, Opcode::text, 0, "", false},
                                              text("two")}));
}

TEST(FrameReader, FragmentsWithControlFramesBetween) {
  std::string bytes = frame(Opcode::text, "a", false) + frame(Opcode::ping, "x") +
                      frame(Opcode::continuation, "", false) + frame(Opcode::continuation, "b") +
                      frame(Opcode::text, "c");
  EXPECT_EQ(events(bytes), (std::vector<Seen>{{Kind::ping, Opcode::text, 0, "x", false}, text("ab"), text("c")}));
  EXPECT_EQ(
      events(frame(Opcode::text, "", false) + frame(Opcode::continuation, "", false) + frame(Opcode::continuation, "")),
      (std::vector<Seen>{text("")}));
}

TEST(FrameReader, FragmentsOutOfPlace) {
  EXPECT_EQ(events(frame(Opcode::continuation, "x")), fails(1002));
  EXPECT_EQ(events(frame(Opcode::continuation, "x", false)), fails(1002));
  EXPECT_EQ(events(frame(Opcode::text, "x", false) + frame(Opcode::text, "y")), fails(1002));
  EXPECT_EQ(events(frame(Opcode::text, "x") + frame(Opcode::continuation, "y")),
            (std::vector<Seen>{text("x"), fails(1002)[0]}));
}

TEST(FrameReader, ControlFrames) {
  std::string longest(125, 'p');
  EXPECT_EQ(events(frame(Opcode::ping, longest)), (std::vector<Seen>{{Kind::ping, Opcode::text, 0, longest, false}}));
  EXPECT_EQ(events(frame(Opcode::ping, std::string(126, 'p'))), fails(1002));
  EXPECT_EQ(events(frame(Opcode::ping, "", false)), fails(1002));
  EXPECT_EQ(events(frame(Opcode::close, "", false)), fails(1002));
  EXPECT_EQ(events(frame(Opcode::close, std::string(126, 'p'))), fails(1002));
  EXPECT_EQ(read({frame(Opcode::ping, longest)}, {.message_bytes = 10}),
            (std::vector<Seen>{{Kind::ping, Opcode::text, 0, longest, false}}))
      << "the bound is for messages";
}

TEST(FrameReader, ReservedBitsAndOpcodes) {
  for (int bits : {0x40, 0x20, 0x10}) EXPECT_EQ(events(raw({0x81 | bits, 0x80, 0, 0, 0, 0})), fails(1002)) << bits;
  for (int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15})
    EXPECT_EQ(events(raw({0x80 | opcode, 0x80, 0, 0, 0, 0})), fails(1002)) << opcode;
}

TEST(FrameReader, CompressedWhereNegotiated) {
  FrameRules rules{.message_bytes = 1000, .allow_rsv1 = true};
  std::string not_text = "\xff\xfe";
  EXPECT_EQ(events(frame(Opcode::text, not_text, true, true), rules),
            (std::vector<Seen>{{Kind::message, Opcode::text, 0, not_text, true}}));
  EXPECT_EQ(events(frame(Opcode::text, not_text, false, true) + frame(Opcode::continuation, "x"), rules),
            (std::vector<Seen>{{Kind::message, Opcode::text, 0, not_text + "x", true}}));
  EXPECT_EQ(events(frame(Opcode::text, not_text), rules), fails(1007)) << "a plain one is checked";
  EXPECT_EQ(events(frame(Opcode::text, "x", false, true) + frame(Opcode::continuation, "y", true, true), rules),
            fails(1002));
  EXPECT_EQ(events(frame(Opcode::ping, "", true, true), rules), fails(1002));
}

TEST(FrameReader, LengthsMustBeShortest) {
  EXPECT_EQ(events(raw({0x81, 0x80 | 126, 0, 5, 0, 0, 0, 0}) + "abcde"), fails(1002));
  EXPECT_EQ(events(raw({0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0}) + "abcde"), fails(1002));
  EXPECT_EQ(events(raw({0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})), fails(1002))
      << "the highest bit is set";
}

TEST(FrameReader, MasksAreTheClients) {
  std::string unmasked;
  append_frame(unmasked, Opcode::text, "x");
  EXPECT_EQ(events(unmasked), fails(1002));
  EXPECT_EQ(read({unmasked}, kRules, Role::client), (std::vector<Seen>{text("x")}));
  EXPECT_EQ(read({frame(Opcode::text, "x")}, kRules, Role::client), fails(1002));
}

TEST(FrameReader, TooBig) {
  EXPECT_EQ(events(frame(Opcode::text, std::string(1001, 'x'))), fails(1009));
  EXPECT_EQ(read({raw({0x82, 0x80 | 127, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})}), fails(1009)) << "not waited for";
  std::string half(600, 'x');
  EXPECT_EQ(events(frame(Opcode::text, half, false) + frame(Opcode::continuation, half)), fails(1009));
  FrameRules small{.message_bytes = 5};
  EXPECT_EQ(events(frame(Opcode::text, "123456"), small), fails(1009));
  EXPECT_EQ(events(frame(Opcode::text, "12345"), small), (std::vector<Seen>{text("12345")}));
}

TEST(FrameReader, TextIsUtf8) {
  std::string good = "\xce\xba\xe1\xbd\xb9\xf0\x9f\x98\x80";
  EXPECT_EQ(events(frame(Opcode::text, good)), (std::vector<Seen>{text(good)}));
  // A character in two fragments.
  EXPECT_EQ(events(frame(Opcode::text, good.substr(0, 3), false) + frame(Opcode::continuation, good.substr(3))),
            (std::vector<Seen>{text(good)}));
  for (std::string bad :
       {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xce", "a\x80", "\xf8\x88\x80\x80\x80"})
    EXPECT_EQ(events(frame(Opcode::text, bad)), fails(1007)) << bad;
  EXPECT_EQ(events(frame(Opcode::text, "\xce", false) + frame(Opcode::continuation, "x")), fails(1007));
  EXPECT_EQ(events(frame(Opcode::binary, "\xff")), (std::vector<Seen>{binary("\xff")}));
}

TEST(FrameReader, BadTextIsNotWaitedFor) {
  std::string bytes = frame(Opcode::text, "abc\xff", false);
  EXPECT_EQ(read({bytes}), fails(1007)) << "the message has no end yet";
}

// The byte, fed one at a time, at which the reader fails with 1007; -1: it does not.
int bad_byte(std::string_view bytes) {
  FrameContexts contexts(Role::server);
  FrameReader reader;
  int failed_at = -1;
  for (std::size_t i = 0; i < bytes.size() && failed_at < 0; ++i) {
    FrameEvent event = reader.next(contexts, std::as_bytes(std::span(bytes.substr(i, 1))), kRules);
    if (event.kind == Kind::failed && event.code == close_code::kEncoding) failed_at = static_cast<int>(i);
    reader.park(contexts);
  }
  reader.release(contexts);
  return failed_at;
}

TEST(FrameReader, BadTextFailsAtItsFirstBadByte) {
  constexpr int kHead = 6;
  struct Case {
    std::string_view text;
    int bad;  // which of its bytes cannot be UTF-8
  };
  for (const Case& one :
       {Case{"\xff", 0}, Case{"abc\xffzzzz", 3}, Case{"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80xyz", 6},
        Case{"\xc0\x80", 0}, Case{"\xe0\x80\x80", 1}, Case{"a\xed\xa0\x80", 2}, Case{"\xf0\x80\x80\x80", 1},
        Case{"\xf5xxx", 0}, Case{"\xc3(", 1}, Case{"\xe2\x82(", 2}, Case{"\x80", 0}}) {
    EXPECT_EQ(bad_byte(frame(Opcode::text, one.text)), kHead + one.bad) << one.text;
    // In the second fragment, and with its own bytes cut over two.
    std::string first = frame(Opcode::text, "gr\xc3\xbc\xc3", false);
    std::string second = frame(Opcode::continuation, "\x9f" + std::string(one.text), false);
    EXPECT_EQ(bad_byte(first + second), static_cast<int>(first.size()) + kHead + 1 + one.bad) << one.text;
    for (std::size_t cut = 1; cut < one.text.size(); ++cut) {
      std::string head = frame(Opcode::text, one.text.substr(0, cut), false) + frame(Opcode::ping, "\xff");
      std::string tail = frame(Opcode::continuation, one.text.substr(cut));
      int skipped =
          one.bad < static_cast<int>(cut) ? kHead : static_cast<int>(head.size()) + kHead - static_cast<int>(cut);
      EXPECT_EQ(bad_byte(head + tail), skipped + one.bad) << one.text << " cut at " << cut;
    }
  }
  EXPECT_EQ(bad_byte(frame(Opcode::text, "\xe2\x82")), kHead + 1) << "the message ends inside a character";
  EXPECT_EQ(bad_byte(frame(Opcode::text, "\xe2\x82", false)), -1) << "the rest may come";
}

TEST(FrameReader, WhatIsWrongBetweenFragments) {
  std::string open = frame(Opcode::text, "a", false);
  for (int opcode : {3, 7, 11, 15}) EXPECT_EQ(events(open + frame(static_cast<Opcode>(opcode), "x")), fails(1002));
  EXPECT_EQ(events(open + frame(Opcode::binary, "b", false)), fails(1002));
  EXPECT_EQ(events(open + frame(Opcode::ping, "x", false)), fails(1002));
  EXPECT_EQ(events(frame(Opcode::text, "one") + frame(static_cast<Opcode>(3), "x") + frame(Opcode::ping, "")),
            (std::vector<Seen>{text("one"), fails(1002)[0]}))
      << "what came before is read";
  EXPECT_EQ(events(open + frame(Opcode::close, "\x03\xe8") + frame(Opcode::continuation, "b")),
            (std::vector<Seen>{{Kind::close, Opcode::text, 1000, "", false}}))
      << "a message that is open is dropped";
  std::string reserved = frame(Opcode::continuation, "b");
  reserved[0] = static_cast<char>(reserved[0] | 0x20);
  EXPECT_EQ(events(open + reserved), fails(1002));
}

TEST(FrameReader, CloseWithAndWithoutACode) {
  EXPECT_EQ(events(frame(Opcode::close, "")),
            (std::vector<Seen>{{Kind::close, Opcode::text, close_code::kNone, "", false}}));
  EXPECT_EQ(events(frame(Opcode::close, "\x03\xe8")),
            (std::vector<Seen>{{Kind::close, Opcode::text, 1000, "", false}}));
  std::string reason = "gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac";
  EXPECT_EQ(events(frame(Opcode::close, "\x0f\xa0" + reason)),
            (std::vector<Seen>{{Kind::close, Opcode::text, 4000, reason, false}}));
  EXPECT_EQ(events(frame(Opcode::close, "\x03")), fails(1002)) << "half a code";
  EXPECT_EQ(events(frame(Opcode::close,
                         "\x03\xe8"
                         "ok\xff")),
            fails(1007));
  for (int code : {0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535})
    EXPECT_EQ(events(frame(Opcode::close, raw({code >> 8, code & 0xff}))), fails(1002)) << code;
  for (int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999})
    EXPECT_EQ(events(frame(Opcode::close, raw({code >> 8, code & 0xff}))).at(0).code, code);
}

TEST(FrameReader, NothingIsReadAfterTheEnd) {
  EXPECT_EQ(events(frame(Opcode::close, "") + frame(Opcode::text, "x")).size(), 1U);
  EXPECT_EQ(events(frame(Opcode::continuation, "") + frame(Opcode::text, "x")).size(), 1U);
}

TEST(FrameReader, ManyFragments) {
  std::string bytes = frame(Opcode::binary, "x", false);
  for (int i = 0; i < 70'000; ++i) bytes += frame(Opcode::continuation, "y", false);
  bytes += frame(Opcode::continuation, "z");
  std::vector<Seen> seen = read({bytes}, {.message_bytes = 80'000});
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].payload.size(), 70'002U);
}

TEST(FrameReader, SixteenMebibytes) {
  constexpr std::size_t kBytes = 16 * 1024 * 1024;
  std::string payload;
  while (payload.size() < kBytes) payload += "\xe2\x82\xac!";
  FrameRules rules{.message_bytes = kBytes};
  for (std::size_t fragment : {kBytes, kBytes / 4, std::size_t{1000}, std::size_t{64}}) {
    std::string bytes;
    for (std::size_t at = 0; at < kBytes; at += fragment)
      append_client_frame(bytes, at == 0 ? Opcode::text : Opcode::continuation,
                          std::string_view(payload).substr(at, fragment), kMask, at + fragment >= kBytes);
    // As a socket gives them.
    std::vector<std::string_view> pieces;
    for (std::string_view rest = bytes; !rest.empty(); rest.remove_prefix(pieces.back().size()))
      pieces.push_back(rest.substr(0, 4096));
    std::vector<Seen> seen = read(pieces, rules);
    ASSERT_EQ(seen.size(), 1U) << fragment;
    EXPECT_TRUE(seen[0].payload == payload) << fragment;
  }
  std::string larger = frame(Opcode::binary, payload + "!");
  EXPECT_EQ(read({larger}, rules), fails(1009));
}

TEST(FrameContexts, OnlyTheUnfinishedHoldOne) {
  FrameContexts contexts(Role::server);
  FrameReader reader;
  auto feed = [&](std::string_view piece) {
    auto input = std::as_bytes(std::span(piece));
    while (!input.empty()) input = input.subspan(reader.next(contexts, input, kRules).consumed);
    reader.park(contexts);
    return !reader.idle();
  };
  std::string whole = frame(Opcode::text, "hello");
  EXPECT_FALSE(feed(whole));
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    EXPECT_TRUE(feed(std::string_view(whole).substr(0, cut))) << cut;
    EXPECT_EQ(contexts.in_use(), 1U);
    EXPECT_FALSE(feed(std::string_view(whole).substr(cut))) << cut;
    EXPECT_EQ(contexts.in_use(), 0U);
  }
  EXPECT_TRUE(feed(frame(Opcode::text, "a", false)));
  EXPECT_TRUE(feed(frame(Opcode::ping, "")));
  EXPECT_FALSE(feed(frame(Opcode::continuation, "b")));
  EXPECT_TRUE(feed(frame(Opcode::close, ""))) << "one that ended is not lent again";
  reader.release(contexts);
}

TEST(FrameContexts, SharedByConnectionsInTurn) {
  FrameContexts contexts(Role::server);
  std::array<FrameReader, 3> readers;
  std::string first = frame(Opcode::text, "from ", false);
  std::string second = frame(Opcode::continuation, "you");
  for (FrameReader& reader : readers) {
    auto input = std::as_bytes(std::span(first));
    reader.next(contexts, input, kRules);
    reader.park(contexts);
  }
  EXPECT_EQ(contexts.in_use(), 3U);
  EXPECT_GT(contexts.unfinished_bytes(), 0U);
  for (FrameReader& reader : readers) {
    FrameEvent event = reader.next(contexts, std::as_bytes(std::span(second)), kRules);
    EXPECT_EQ(event.payload, "from you");
    reader.park(contexts);
  }
  EXPECT_EQ(contexts.in_use(), 0U);
  EXPECT_EQ(contexts.unfinished_bytes(), 0U);
}

TEST(FrameContexts, UnfinishedMessagesOfACoreAreBounded) {
  FrameContexts contexts(Role::server);
  constexpr std::size_t kEach = 40 * 1024 * 1024;
  FrameRules rules{.message_bytes = kEach};
  std::string part = frame(Opcode::binary, std::string(kEach, 'x'), false);
  std::array<FrameReader, 8> readers;
  std::size_t refused = 0;
  for (FrameReader& reader : readers) {
    FrameEvent event = reader.next(contexts, std::as_bytes(std::span(part)), rules);
    if (event.kind == Kind::failed && event.code == close_code::kOverloaded) ++refused;
  }
  EXPECT_GT(refused, 0U);
  for (FrameReader& reader : readers) reader.release(contexts);
  EXPECT_EQ(contexts.unfinished_bytes(), 0U);
}

}  // namespace
}  // namespace ringline::protocol
