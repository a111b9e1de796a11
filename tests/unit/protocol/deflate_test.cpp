// permessage-deflate: offers, messages in (made here by zlib itself, and by RFC 7692's examples), frames out.
#include "ringline/protocol/deflate.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>
#include <string>
#include <vector>

#include "ringline/base/utf8.hpp"

namespace ringline::protocol {
namespace {

// Our answer to an offer; "": no agreement.
std::string answer(std::string_view offers) {
  std::string out;
  if (auto agreement = negotiate_deflate(offers)) agreement->append_header_value(out);
  return out;
}
constexpr std::string_view kBoth = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
std::string both_and(std::string_view more) { return std::string(kBoth) + std::string(more); }

TEST(DeflateOffer, WhatBrowsersAndLibrariesSend) {
  EXPECT_EQ(answer("permessage-deflate"), kBoth);
  EXPECT_EQ(answer("permessage-deflate; client_max_window_bits"), kBoth) << "Chromium, ws: a hint without a wish";
  EXPECT_EQ(answer("permessage-deflate; server_no_context_takeover; client_no_context_takeover"), kBoth);
  EXPECT_EQ(answer("PerMessage-Deflate;Server_No_Context_Takeover"), kBoth);
  EXPECT_EQ(answer("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits"), kBoth);
}

TEST(DeflateOffer, WindowsAreAnsweredAsAsked) {
  for (int bits = 8; bits <= 15; ++bits) {
    std::string number = std::to_string(bits);
    auto agreement = negotiate_deflate("permessage-deflate; server_max_window_bits=" + number);
    ASSERT_TRUE(agreement) << bits;
    EXPECT_EQ(agreement->server_bits, static_cast<unsigned>(bits));
    EXPECT_EQ(agreement->takes_ours(), bits == 15);
    EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=" + number),
              both_and("; server_max_window_bits=" + number));
    EXPECT_EQ(answer("permessage-deflate; client_max_window_bits=" + number),
              both_and("; client_max_window_bits=" + number));
  }
  EXPECT_TRUE(negotiate_deflate("permessage-deflate")->takes_ours());
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=\"10\" ; client_max_window_bits = \"9\""),
            both_and("; server_max_window_bits=10; client_max_window_bits=9"));
}

TEST(DeflateOffer, BadOnesArePassedOver) {
  for (std::string_view bad :
       {"server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=08",
        "server_max_window_bits=1x", "server_max_window_bits=\"\"", "server_max_window_bits=\"1\\0\"",
        "server_max_window_bits=999999999999", "client_max_window_bits=0", "client_max_window_bits=016",
        "client_max_window_bits=\"\"", "server_no_context_takeover=1", "client_no_context_takeover=\"\"",
        "server_no_context_takeover; server_no_context_takeover", "client_max_window_bits; client_max_window_bits=9",
        "server_max_window_bits=9; server_max_window_bits=9", "unknown", "unknown=1"}) {
    std::string offer = "permessage-deflate; " + std::string(bad);
    EXPECT_EQ(answer(offer), "") << offer;
    EXPECT_EQ(answer(offer + ", permessage-deflate; server_max_window_bits=12"),
              both_and("; server_max_window_bits=12"))
        << offer;
  }
}

TEST(DeflateOffer, TheFirstGoodOneIsTaken) {
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=10, permessage-deflate"),
            both_and("; server_max_window_bits=10"));
  EXPECT_EQ(answer("permessage-deflate, permessage-deflate; server_max_window_bits=10"), kBoth);
  EXPECT_EQ(answer("mux; max-channels=4; flow-control, deflate-stream, foo; bar=\"a,b;c\", permessage-deflate"), kBoth);
  EXPECT_EQ(answer(" , ,permessage-deflate,, "), kBoth);
}

TEST(DeflateOffer, NothingOrMalformed) {
  for (std::string_view offers :
       {"", " ", ",", "permessage-bzip2", "permessage-deflate-x", "x permessage-deflate", "permessage-deflate;",
        "permessage-deflate; =9", "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=\"9", "permessage-deflate; x=\"9\\", "permessage-deflate x",
        "permessage-deflate; a b", "permessage-deflate, =", "permessage-deflate, \"x\"", ";permessage-deflate"})
    EXPECT_EQ(answer(offers), "") << offers;
}

// --- In ---

// As a client compresses: raw deflate; `flush` Z_SYNC_FLUSH loses its tail.
std::string deflated(const std::vector<std::string_view>& blocks, int level = 6, int bits = 15,
                     bool last_final = false) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    std::string buffer(blocks[i].size() * 2 + 100, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(blocks[i].data()));
    stream.avail_in = static_cast<uInt>(blocks[i].size());
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    bool is_final = last_final && i + 1 == blocks.size();
    EXPECT_EQ(deflate(&stream, is_final ? Z_FINISH : Z_SYNC_FLUSH), is_final ? Z_STREAM_END : Z_OK);
    out.append(buffer, 0, buffer.size() - stream.avail_out);
  }
  deflateEnd(&stream);
  if (!last_final) out.resize(out.size() - 4);
  return out;
}

std::string text_of(std::expected<std::string_view, std::uint16_t> result) {
  return result ? std::string(*result) : "code " + std::to_string(result.error());
}
std::string raw(std::initializer_list<int> bytes) {
  std::string out;
  for (int byte : bytes) out.push_back(static_cast<char>(byte));
  return out;
}
std::string noise(std::size_t size) {
  std::mt19937 random(7);
  std::string out(size, '\0');
  for (char& byte : out) byte = static_cast<char>(random());
  return out;
}

TEST(Inflater, TheExamplesOfTheRfc) {
  Inflater inflater;
  EXPECT_EQ(text_of(inflater.inflate(raw({0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}), 100)), "Hello");
  EXPECT_EQ(text_of(inflater.inflate(raw({0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00}), 100)),
            "Hello")
      << "a block without compression";
  EXPECT_EQ(text_of(inflater.inflate(raw({0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00}), 100)), "Hello")
      << "a final block";
  EXPECT_EQ(text_of(inflater.inflate(
                raw({0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00}), 100)),
            "Hello")
      << "two blocks";
  EXPECT_EQ(text_of(inflater.inflate(raw({0x00}), 100)), "") << "an empty message";
}

TEST(Inflater, MessagesOfAllSizesAndWays) {
  Inflater inflater;
  std::string random = noise(200'000);
  for (std::size_t size : {1U, 2U, 100U, 1024U, 16'383U, 16'384U, 16'385U, 65'536U, 200'000U})
    for (const std::string& text : {std::string(size, 'x'), random.substr(0, size)})
      for (int level : {0, 1, 9})
        for (int bits : {9, 15}) {
          EXPECT_TRUE(text_of(inflater.inflate(deflated({text}, level, bits), size)) == text) << size;
          EXPECT_EQ(text_of(inflater.inflate(deflated({text}, level, bits), size - 1)), "code 1009") << size;
        }
}

TEST(Inflater, NothingIsKeptBetweenMessages) {
  Inflater inflater;
  std::string first(500, 'a');
  EXPECT_EQ(text_of(inflater.inflate(deflated({first}), 1000)), first);
  // The second part refers to the first: without it, it refers to nothing.
  std::string both = deflated({"Hello Hello Hello", "Hello Hello Hello"});
  std::string second = both.substr(deflated({"Hello Hello Hello"}).size() + 4);
  EXPECT_EQ(text_of(inflater.inflate(both, 1000)), "Hello Hello HelloHello Hello Hello");
  EXPECT_EQ(text_of(inflater.inflate(second, 1000)), "code 1007");
  EXPECT_EQ(text_of(inflater.inflate(deflated({first}), 1000)), first) << "it goes on after a failure";
}

TEST(Inflater, FinalBlocks) {
  Inflater inflater;
  std::string once = deflated({"some text"}, 6, 15, true);
  EXPECT_EQ(text_of(inflater.inflate(once, 100)), "some text");
  EXPECT_EQ(text_of(inflater.inflate(once + raw({0}), 100)), "some text");
  EXPECT_EQ(text_of(inflater.inflate(once + once, 100)), "some textsome text");
  EXPECT_EQ(text_of(inflater.inflate(once + deflated({"and more"}), 100)), "some textand more");
  EXPECT_EQ(text_of(inflater.inflate(once + raw({0xff, 0xff}), 100)), "code 1007") << "rubbish behind it";
}

TEST(Inflater, BrokenData) {
  Inflater inflater;
  EXPECT_EQ(text_of(inflater.inflate(raw({0xff}), 100)), "code 1007");
  EXPECT_EQ(text_of(inflater.inflate(raw({0x06}), 100)), "code 1007") << "a block of the type that is not used";
  EXPECT_EQ(text_of(inflater.inflate(raw({0x00, 0x05, 0x00, 0x00, 0x00, 'a'}), 100)), "code 1007");
  EXPECT_EQ(text_of(inflater.inflate("plain text was marked compressed", 1000)), "code 1007");
  // Cut anywhere it is no message, however much of it could be read.
  std::string text = "a text, a text, another text with a little " + noise(40);
  std::string whole = deflated({text});
  for (std::size_t size = 1; size < whole.size(); ++size) {
    auto result = inflater.inflate(std::string_view(whole).substr(0, size), 1000);
    EXPECT_TRUE(!result || *result != text) << size;
  }
  EXPECT_EQ(text_of(inflater.inflate(std::string_view(whole).substr(0, whole.size() / 2), 1000)), "code 1007");
}

TEST(Inflater, ABombCostsTheLimit) {
  Inflater inflater;
  std::string bomb = deflated({std::string(64 * 1024 * 1024, '\0')}, 9);
  EXPECT_LT(bomb.size(), 70'000U);
  for (std::size_t limit : {0U, 1U, 65'536U, 1'000'000U})
    EXPECT_EQ(text_of(inflater.inflate(bomb, limit)), "code 1009") << limit;
  EXPECT_EQ(text_of(inflater.inflate(deflated({"fine"}), 4)), "fine");
}

TEST(Inflater, ManyEmptyFinalBlocksAreNoMessageOfTheirOwn) {
  Inflater inflater;
  std::string blocks;
  for (int i = 0; i < 30'000; ++i) blocks += raw({0x03, 0x00});
  EXPECT_EQ(text_of(inflater.inflate(blocks, 10)), "");
}

TEST(Inflater, TextIsCheckedByTheCaller) {
  Inflater inflater;
  auto message = inflater.inflate(deflated({"\xff\xfe"}), 10);
  ASSERT_TRUE(message);
  EXPECT_FALSE(base::valid_utf8(*message));
}

// --- Out ---

struct Read {
  bool compressed;
  std::string payload;
};
// A client reads the frames back.
std::vector<Read> read(std::string_view frames) {
  FrameContexts contexts(Role::client);
  FrameReader reader;
  Inflater inflater;
  std::vector<Read> seen;
  auto input = std::as_bytes(std::span(frames));
  while (!input.empty()) {
    FrameEvent event = reader.next(contexts, input, {.message_bytes = 10'000'000, .allow_rsv1 = true});
    input = input.subspan(event.consumed);
    EXPECT_EQ(event.kind, FrameEvent::Kind::message);
    std::string payload(event.payload);
    if (event.compressed) payload = text_of(inflater.inflate(event.payload, 10'000'000));
    seen.push_back({event.compressed, std::move(payload)});
  }
  reader.release(contexts);
  return seen;
}

TEST(Deflater, CompressesWhatIsWorthIt) {
  Deflater deflater;
  std::string small(kDeflateBytesMin - 1, 'x');
  std::string enough(kDeflateBytesMin, 'x');
  std::string random = noise(5000);
  std::string large;
  while (large.size() < 300'000)
    large += R"({"event":"message_created","data":{"seq":)" + std::to_string(large.size()) + "}}";
  std::string out;
  EXPECT_FALSE(deflater.append_frame(out, Opcode::text, ""));
  EXPECT_FALSE(deflater.append_frame(out, Opcode::text, small));
  EXPECT_TRUE(deflater.append_frame(out, Opcode::text, enough));
  EXPECT_FALSE(deflater.append_frame(out, Opcode::binary, random)) << "it does not become smaller";
  EXPECT_TRUE(deflater.append_frame(out, Opcode::text, large));
  EXPECT_TRUE(deflater.append_frame(out, Opcode::binary, enough)) << "after one that was given up";
  EXPECT_LT(out.size(), 80'000U);

  std::vector<Read> seen = read(out);
  ASSERT_EQ(seen.size(), 6U);
  EXPECT_EQ(seen[0].payload, "");
  EXPECT_EQ(seen[1].payload, small);
  EXPECT_TRUE(seen[2].compressed);
  EXPECT_EQ(seen[2].payload, enough);
  EXPECT_FALSE(seen[3].compressed);
  EXPECT_TRUE(seen[3].payload == random);
  EXPECT_TRUE(seen[4].compressed);
  EXPECT_TRUE(seen[4].payload == large);
  EXPECT_EQ(seen[5].payload, enough);
}

TEST(Deflater, TheSameMessageIsTheSameFrame) {
  Deflater deflater;
  std::string text(2000, 'x');
  std::string first, second;
  deflater.append_frame(first, Opcode::text, text);
  deflater.append_frame(second, Opcode::text, std::string(3000, 'y'));
  second.clear();
  deflater.append_frame(second, Opcode::text, text);
  EXPECT_EQ(first, second) << "nothing is kept between messages";
}

}  // namespace
}  // namespace ringline::protocol
