// What is read of Redis' without a server: URLs, replies cut at every byte, slots, redirections, what servers say of themselves.
#include "backend/redis_topology.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <span>

#include "backend/redis_protocol.hpp"

namespace ringline::backend::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const RedisEndpoint kHere{.host = "here", .port = 7};

// ---- URLs.

RedisOptions read(std::string_view url) {
  auto options = read_redis_url(url);
  EXPECT_TRUE(options) << url << ": " << options.error().message;
  return options ? *options : RedisOptions{};
}
std::string servers(const RedisOptions& options) {
  std::string text;
  for (const RedisEndpoint& server : options.servers) text += (text.empty() ? "" : " ") + server.text();
  return text;
}
std::string refusal(std::string_view url) {
  auto options = read_redis_url(url);
  return options ? "it was read" : options.error().message;
}

TEST(RedisUrl, OfOneServer) {
  const RedisOptions plain = read("redis://h");
  EXPECT_EQ(servers(plain), "h:6379");
  EXPECT_FALSE(plain.tls);
  EXPECT_TRUE(plain.password.empty());
  const RedisOptions full = read("rediss://u%40x:p%3A%2f%25@[2001:db8::1]:7000/12");
  EXPECT_EQ(servers(full), "[2001:db8::1]:7000");
  EXPECT_TRUE(full.tls);
  EXPECT_EQ(full.user, "u@x");
  EXPECT_EQ(full.password, "p:/%");
  EXPECT_EQ(full.database, 12U);
  EXPECT_EQ(read("redis://:p@h/").password, "p");
  EXPECT_EQ(read("redis://:p@q@h").password, "p@q");
}

TEST(RedisUrl, OfManyServers) {
  EXPECT_EQ(servers(read("redis://a,b:1,[::1]:2")), "a:6379 b:1 [::1]:2");
  const RedisOptions sentinel = read("redis+sentinel://u:p@a,b:1/my%20main/3?sentinel_user=s&sentinel_password=q%26");
  EXPECT_EQ(servers(sentinel), "a:26379 b:1");
  EXPECT_EQ(sentinel.master, "my main");
  EXPECT_EQ(sentinel.database, 3U);
  EXPECT_EQ(sentinel.sentinel_user, "s");
  EXPECT_EQ(sentinel.sentinel_password, "q&");
  EXPECT_TRUE(read("rediss+sentinel://a/n").tls);
}

TEST(RedisUrl, IsRefusedWithAReasonAndWithoutItsSecrets) {
  for (const char* url :
       {"redis:/h", "http://h", "redis://", "redis://h:0", "redis://h:65536", "redis://h:x", "redis://[::1",
        "redis://[::1]x", "redis://u:hidden%4@h", "redis://u:@h", "redis://u@h", "redis://h/x", "redis://h/10000",
        "redis://h?x=1", "redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h/n?x=1",
        "redis+sentinel://u:hidden@h/n?sentinel_password=%zz", "redis://a,,b"})
    EXPECT_THAT(refusal(url), AllOf(HasSubstr("REDIS_URL cannot be read"), Not(HasSubstr("hidden")))) << url;
}

TEST(RedisUrl, OrItsParts) {
  base::Settings settings;
  settings.redis_host = "h";
  settings.redis_port = 7;
  settings.redis_password = "p";
  settings.redis_tls = true;
  settings.redis_tls_ca = "/ca";
  auto options = redis_options(settings);
  ASSERT_TRUE(options);
  EXPECT_EQ(servers(*options), "h:7");
  EXPECT_EQ(options->password, "p");
  EXPECT_TRUE(options->tls);
  EXPECT_EQ(options->tls_ca, "/ca");
  settings.redis_url = "redis://u:q@g";
  options = redis_options(settings);
  ASSERT_TRUE(options);
  EXPECT_EQ(options->password, "q");
  settings.redis_url = "redis//";
  EXPECT_FALSE(redis_options(settings));
}

// ---- Replies.

ReplyReader::Bounds bounds(std::size_t bytes = 1000, std::size_t elements = 100) {
  return {.bytes = bytes, .elements = elements};
}
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(ReplyView reply) {
  if (reply.is_nil()) return "nil";
  if (reply.type() == ReplyView::Type::integer) return std::to_string(reply.integer());
  if (!reply.is_array()) return (reply.is_error() ? "-" : "") + std::string(reply.text());
  std::string text = "[";
  for (std::size_t i = 0; i < reply.size(); ++i) text += (i > 0 ? " " : "") + text_of(reply[i]);
  return text + "]";
}
// All that can be read of it, fed in pieces of so many bytes.
std::string read_all(std::string_view text, std::size_t piece, ReplyReader::Bounds most = bounds()) {
  ReplyReader reader(most);
  std::string all;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, piece);
    text.remove_prefix(part.size());
    reader.feed(bytes_of(part));
    for (;;) {
      Reply reply;
      const ReplyReader::Step step = reader.next(reply);
      if (step == ReplyReader::Step::broken) return all + "broken: " + std::string(reader.why());
      if (step == ReplyReader::Step::need_more) break;
      all += text_of(reply) + ";";
    }
  }
  return all;
}
Reply reply_of(std::string_view text) {
  ReplyReader reader(bounds());
  reader.feed(bytes_of(text));
  Reply reply;
  EXPECT_EQ(reader.next(reply), ReplyReader::Step::reply) << text;
  return reply;
}

TEST(RedisReplies, AreReadWhereverTheyAreCut) {
  const std::string_view text =
      "+OK\r\n:-12\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n$0\r\n\r\n-MOVED 1 "
      "h:2\r\n*3\r\n:1\r\n*2\r\n+x\r\n$1\r\ny\r\n*0\r\n";
  for (std::size_t piece = 1; piece <= text.size(); ++piece)
    ASSERT_EQ(read_all(text, piece), "OK;-12;a\r\nbc;nil;nil;;-MOVED 1 h:2;[1 [x y] []];") << piece;
}

TEST(RedisReplies, OfOtherFormDoNoHarm) {
  const Reply array = reply_of("*2\r\n$2\r\n17\r\n-ERR no\r\n");
  EXPECT_EQ(array[0].integer(), 17);
  EXPECT_EQ(array[1].integer(), 0);
  EXPECT_EQ(array[1].code(), "ERR");
  EXPECT_EQ(array[0].code(), "");
  EXPECT_TRUE(array[2].is_nil());
  EXPECT_TRUE(array[0][5].is_nil());
  EXPECT_EQ(array.text(), "");
  EXPECT_EQ(reply_of("$3\r\n1x1\r\n").integer(), 0);
}

TEST(RedisReplies, AreBoundedBeforeTheyAreKept) {
  EXPECT_EQ(read_all("$20\r\n" + std::string(20, 'x') + "\r\n+y\r\n", 4, bounds(40)), std::string(20, 'x') + ";y;");
  EXPECT_EQ(read_all("$2000000000\r\n" + std::string(100, 'x'), 10, bounds(40)),
            "broken: a reply of more than 40 bytes");
  EXPECT_EQ(read_all("*2000000000\r\n", 50), "broken: a reply of more than 100 elements");
  EXPECT_EQ(read_all("*60\r\n*60\r\n", 50), "broken: a reply of more than 100 elements");
  // Many small ones are no large one.
  std::string many, expected;
  for (int i = 0; i < 200; ++i) many += "*1\r\n:5\r\n", expected += "[5];";
  EXPECT_EQ(read_all(many, 7, bounds(40)), expected);
  EXPECT_EQ(read_all(many, 5000, bounds(40)), expected);
}

TEST(RedisReplies, ThatAreNoneBreakTheConnection) {
  for (const char* text : {"HTTP/1.1 400 Bad Request\r\n", "%1\r\n+a\r\n+b\r\n", "$x\r\n",
                           "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"})
    EXPECT_THAT(read_all(text, 100), testing::StartsWith("broken: ")) << text;
}

TEST(RedisCommands, MayHoldAnyBytes) {
  std::string out = "before ";
  const std::array<std::string_view, 3> words{"SET", std::string_view("a\0\r\nb", 5), ""};
  append_command(out, words);
  EXPECT_EQ(out, std::string("before *3\r\n$3\r\nSET\r\n$5\r\na\0\r\nb\r\n$0\r\n\r\n", 37));
  const std::vector<std::string_view> many(100, "x");
  out.clear();
  append_command(out, many);
  EXPECT_EQ(out.size(), 6U + 100 * 7);
}

// ---- Slots.

TEST(RedisSlots, AreThoseOfTheSpecification) {
  EXPECT_EQ(slot_of("123456789"), 0x31c3);
  EXPECT_EQ(slot_of("foo"), 12182);
  EXPECT_EQ(slot_of(""), 0);
  EXPECT_EQ(slot_of("chat:{user1000}.following"), slot_of("user1000"));
  EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
  EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
  EXPECT_EQ(slot_of("foo{}{bar}"), slot_of("foo{}{bar}"));
  EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar"));
  EXPECT_NE(slot_of("foo{bar"), slot_of("bar"));
}

std::string read_to(std::string_view text) {
  auto to = read_redirection(text, kHere);
  return to ? (to->ask ? "ask " : "moved ") + std::to_string(to->slot) + " " + to->to.text() : "none";
}

TEST(RedisSlots, AreRedirected) {
  EXPECT_EQ(read_to("MOVED 3999 127.0.0.1:6381"), "moved 3999 127.0.0.1:6381");
  EXPECT_EQ(read_to("ASK 16383 host.example:1"), "ask 16383 host.example:1");
  EXPECT_EQ(read_to("MOVED 0 2001:db8::1:6381"), "moved 0 [2001:db8::1]:6381");
  EXPECT_EQ(read_to("MOVED 0 :6381"), "moved 0 here:6381");
  const std::string_view whole = "MOVED 3999 h:638";
  for (std::size_t cut = 0; cut + 3 < whole.size(); ++cut) EXPECT_EQ(read_to(whole.substr(0, cut)), "none") << cut;
  for (const char* text :
       {"MOVED 16384 h:1", "MOVED -1 h:1", "MOVED 1 h:0", "MOVED 1 h:65536", "MOVED 1 h", "MOVED  1 h:1", "GONE 1 h:1"})
    EXPECT_EQ(read_to(text), "none") << text;
}

std::string array(const std::vector<std::string>& elements) {
  std::string text = "*" + std::to_string(elements.size()) + "\r\n";
  for (const std::string& element : elements) text += element;
  return text;
}
std::string range(int first, int last, const std::string& host, int port) {
  return array({":" + std::to_string(first) + "\r\n", ":" + std::to_string(last) + "\r\n",
                array({host, ":" + std::to_string(port) + "\r\n", "+id\r\n", "*0\r\n"}),
                array({"+replica\r\n", ":1\r\n", "+id\r\n"})});
}

TEST(RedisSlots, AreReadFromAMap) {
  const Reply reply =
      reply_of(array({range(0, 9, "+a\r\n", 1), range(20, 16383, "$-1\r\n", 2), range(11, 12, "+a\r\n", 1)}));
  const auto map = read_slots(reply, kHere);
  ASSERT_TRUE(map);
  ASSERT_EQ(map->masters.size(), 2U);
  EXPECT_EQ(map->masters[0].text(), "a:1");
  EXPECT_EQ(map->masters[1].text(), "here:2");
  EXPECT_EQ(map->owner[0], 0);
  EXPECT_EQ(map->owner[9], 0);
  EXPECT_EQ(map->owner[10], SlotMap::kNobody);
  EXPECT_EQ(map->owner[12], 0);
  EXPECT_EQ(map->owner[13], SlotMap::kNobody);
  EXPECT_EQ(map->owner[16383], 1);
  for (const std::string& wrong : {range(5, 4, "+a\r\n", 1), range(-1, 4, "+a\r\n", 1), range(0, 16384, "+a\r\n", 1),
                                   range(0, 1, "+a\r\n", 0), range(0, 1, "+a\r\n", 65536), std::string(":1\r\n"),
                                   array({":0\r\n", ":1\r\n"}), array({":0\r\n", ":1\r\n", "+a\r\n"})})
    EXPECT_FALSE(read_slots(reply_of(array({wrong})), kHere)) << wrong;
  EXPECT_FALSE(read_slots(reply_of("*0\r\n"), kHere));
  EXPECT_FALSE(read_slots(reply_of("-ERR no\r\n"), kHere));
}

// ---- What servers say.

std::string hello(const std::string& text) {
  auto info = read_hello(reply_of(text), kHere);
  return info ? info->version + " " + info->mode + " " + info->role : info.error().message;
}

TEST(RedisHello, TellsVersionModeAndRole) {
  EXPECT_EQ(hello(array({"+server\r\n", "+redis\r\n", "+version\r\n", "+7.0.15\r\n", "+id\r\n", ":5\r\n", "+mode\r\n",
                         "+cluster\r\n", "+role\r\n", "+master\r\n", "+modules\r\n", "*0\r\n"})),
            "7.0.15 cluster master");
  EXPECT_EQ(hello(array({"+version\r\n", "+6.2.1\r\n"})), "here:7 is Redis 6.2.1: 7 or later is needed");
  EXPECT_EQ(hello("*0\r\n"), "here:7 is Redis of an unknown version: 7 or later is needed");
  EXPECT_THAT(hello("-NOAUTH Authentication required.\r\n"), HasSubstr("asks for a password: name it in REDIS_URL"));
  EXPECT_THAT(hello("-ERR unknown command 'HELLO'\r\n"), HasSubstr("Redis 7 or later is needed"));
  EXPECT_THAT(hello("-LOADING wait\r\n"), HasSubstr("LOADING wait"));
  EXPECT_EQ(read_hello(reply_of("-ERR max number of clients reached\r\n"), kHere).error().code,
            base::Errc::unavailable);
}

TEST(RedisHello, LibrariesHaveNames) {
  EXPECT_EQ(library_name("#!lua name=room_log\nredis.register"), "room_log");
  EXPECT_EQ(library_name("#!lua  name=x"), "x");
  EXPECT_EQ(library_name("#!lua\nname=x"), "");
  EXPECT_EQ(library_name("lua name=x\n"), "");
}

TEST(RedisSentinel, TellsOfAnotherMaster) {
  const auto to = read_switch("main 10.0.0.1 6379 10.0.0.2 6380", "main");
  ASSERT_TRUE(to);
  EXPECT_EQ(to->text(), "10.0.0.2:6380");
  EXPECT_FALSE(read_switch("other 10.0.0.1 6379 10.0.0.2 6380", "main"));
  EXPECT_FALSE(read_switch("main 10.0.0.1 6379 10.0.0.2", "main"));
  EXPECT_FALSE(read_switch("main 10.0.0.1 6379 10.0.0.2 x", "main"));
  EXPECT_FALSE(read_switch("", "main"));
}

}  // namespace
}  // namespace ringline::backend::test
