// The order of what is sent: a frame that is begun is finished, then urgent bytes, then room events.
#include <gtest/gtest.h>

#include <string>

#include "net/outbox.hpp"

namespace ringline::net {
namespace {

struct Box {
  base::ChunkPool pool;
  Outbox box;
  ~Box() { box.clear(); }
  void shared(std::string_view bytes) {
    base::ChunkRef chunk = pool.take();
    chunk->bytes = bytes;
    box.add_shared(chunk, 0, static_cast<std::uint32_t>(bytes.size()));
  }
  void urgent(std::string_view bytes) { box.urgent(pool).append(bytes); }
  // What the next send offers; the kernel takes `taken` bytes of it.
  std::string send(std::size_t taken) {
    const msghdr* message = box.begin_send();
    std::string all;
    for (std::size_t i = 0; i < message->msg_iovlen; ++i)
      all.append(static_cast<const char*>(message->msg_iov[i].iov_base), message->msg_iov[i].iov_len);
    EXPECT_EQ(all.size(), box.sending_bytes());
    box.sent(std::min(taken, all.size()));
    return all.substr(0, taken);
  }
};

TEST(Outbox, UrgentGoesBeforeRoomEvents) {
  Box out;
  out.shared("event");
  out.urgent("reply");
  EXPECT_EQ(out.send(100), "replyevent");
  EXPECT_TRUE(out.box.empty());
  EXPECT_EQ(out.box.shared_bytes() + out.box.urgent_bytes(), 0U);
}

TEST(Outbox, SmallPiecesBehindAReplyGoAsOne) {
  const std::string large(4000, 'x');
  for (const auto& [event, pieces] : {std::pair(std::string("event"), 1U), std::pair(large, 3U)}) {
    Box out;
    out.shared(event);
    out.shared("more");
    out.urgent("reply");
    EXPECT_EQ(out.box.begin_send()->msg_iovlen, pieces);
    EXPECT_EQ(out.box.sending_bytes(), 9 + event.size());
    EXPECT_EQ(out.box.shared_bytes() + out.box.urgent_bytes(), 9 + event.size());
    EXPECT_EQ(out.send(3), "rep");
    EXPECT_EQ(out.send(5000), "ly" + event + "more");
    EXPECT_EQ(out.box.shared_bytes() + out.box.urgent_bytes(), 0U);
  }
}

TEST(Outbox, UrgentNeverGoesIntoAFrame) {
  Box out;
  out.shared("event one");
  out.shared("event two");
  EXPECT_EQ(out.send(3), "eve");
  out.urgent("reply");
  EXPECT_EQ(out.send(100), "nt onereplyevent two");
}

TEST(Outbox, WhatTheKernelDidNotTakeIsNotBegun) {
  Box out;
  out.shared("one");
  out.shared("two");
  EXPECT_EQ(out.send(3), "one");
  out.urgent("reply");
  EXPECT_EQ(out.send(100), "replytwo");
}

TEST(Outbox, WhatComesWhileASendIsUnderWay) {
  Box out;
  out.shared("one");
  const msghdr* message = out.box.begin_send();
  out.urgent("reply");
  out.shared("two");
  EXPECT_EQ(message->msg_iovlen, 1U);
  EXPECT_EQ(message->msg_iov[0].iov_len, 3U);
  out.box.sent(1);
  EXPECT_EQ(out.send(100), "nereplytwo");
}

TEST(Outbox, PartsOfAChunk) {
  Box out;
  base::ChunkRef chunk = out.pool.take();
  chunk->bytes = "0123456789";
  out.box.add_shared(chunk, 2, 5);
  out.box.add_shared(chunk, 7, 10);
  EXPECT_EQ(out.send(100), "234789");
}

TEST(Outbox, AtMostSoManyPiecesASend) {
  Box out;
  for (int i = 0; i < 40; ++i) out.shared("x");
  EXPECT_EQ(out.send(1000).size(), base::limits::kSendPieces);
  EXPECT_EQ(out.send(1000).size(), base::limits::kSendPieces);
  EXPECT_EQ(out.send(1000).size(), 40 - 2 * base::limits::kSendPieces);
}

TEST(Outbox, DropsRoomEventsThatAreNotBegun) {
  Box out;
  out.shared("one");
  out.shared("two");
  EXPECT_EQ(out.send(1), "o");
  out.urgent("close");
  out.box.drop_shared();
  EXPECT_EQ(out.box.shared_bytes(), 2U);
  EXPECT_EQ(out.send(100), "neclose");
}

TEST(Outbox, EveryCutGivesEveryByteOnce) {
  for (std::size_t first = 1; first < 12; ++first) {
    Box out;
    out.shared("aaaa");
    out.urgent("UU");
    out.shared("bbbb");
    std::string all = out.send(first);
    out.urgent("V");
    while (!out.box.empty()) all += out.send(2);
    EXPECT_EQ(all.size(), 11U);
    EXPECT_EQ(std::count(all.begin(), all.end(), 'a'), 4);
    EXPECT_EQ(std::count(all.begin(), all.end(), 'b'), 4);
    EXPECT_NE(all.find("UU"), std::string::npos) << all;
    EXPECT_NE(all.find("aaaa"), std::string::npos) << all;
    EXPECT_NE(all.find("bbbb"), std::string::npos) << all;
  }
}

}  // namespace
}  // namespace ringline::net
