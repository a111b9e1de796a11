// One Redis server: order, deadlines, bounds, what is known of a command that was not answered, and that it recovers from each: cut, frozen, killed.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "redis_support.hpp"

namespace ringline::backend::test {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Before a server: what it answers comes in single bytes.
class Drip {
 public:
  explicit Drip(std::uint16_t to) : to_(to), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in here = loopback(0);
    socklen_t size = sizeof here;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&here), size), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size), 0);
    port = ntohs(here.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Drip() {
    ended_ = true;
    thread_.join();
    for (const pollfd& one : watched_) ::close(one.fd);
  }
  std::uint16_t port = 0;

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  // The listener, then pairs: a client and its server.
  void run() {
    watched_.push_back({.fd = listener_, .events = POLLIN, .revents = 0});
    while (!ended_) {
      ::poll(watched_.data(), watched_.size(), 10);
      for (std::size_t i = 1; i < watched_.size(); ++i)
        if (watched_[i].revents != 0) pass(watched_[i].fd, watched_[i % 2 == 1 ? i + 1 : i - 1].fd, i % 2 == 0);
      if (watched_[0].revents != 0) take();
    }
  }
  void take() {
    const sockaddr_in server = loopback(to_);
    const int on = 1;
    for (const int one :
         {::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC), ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}) {
      ::setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watched_.push_back({.fd = one, .events = POLLIN, .revents = 0});
    }
    EXPECT_EQ(::connect(watched_.back().fd, reinterpret_cast<const sockaddr*>(&server), sizeof server), 0);
  }
  static void pass(int from, int to, bool in_bytes) {
    std::array<char, 4096> piece{};
    const ssize_t count = ::recv(from, piece.data(), piece.size(), MSG_DONTWAIT);
    if (count <= 0) ::shutdown(to, SHUT_RDWR);
    const std::size_t most = in_bytes ? 1 : piece.size();
    for (ssize_t at = 0; at < count;) {
      const ssize_t sent =
          ::send(to, piece.data() + at, std::min(most, static_cast<std::size_t>(count - at)), MSG_NOSIGNAL);
      if (sent <= 0) return;
      at += sent;
    }
  }

  std::uint16_t to_;
  int listener_;
  std::atomic<bool> ended_{false};
  std::vector<pollfd> watched_;
  std::thread thread_;
};

class RedisServerTest : public RedisFixture {
 protected:
  void TearDown() override {
    if (!IsSkipped()) cli("single FLUSHALL");
  }
};

TEST_F(RedisServerTest, AnswersInOrderWhatATurnAsked) {
  Redis& redis = connect(options("single"));
  constexpr int kCalls = 5000;
  std::vector<std::unique_ptr<Asked>> all;
  for (int i = 0; i < kCalls; ++i) {
    all.push_back(std::make_unique<Asked>());
    ASSERT_TRUE(call(redis, *all.back(), {"INCR", "count"}));
  }
  EXPECT_EQ(redis.health().queued, std::size_t{kCalls});
  ASSERT_TRUE(until([&] { return !all.back()->fates.empty(); }));
  for (int i = 0; i < kCalls; ++i) {
    ASSERT_THAT(all[static_cast<std::size_t>(i)]->fates, ElementsAre(RedisFate::answered));
    ASSERT_EQ(all[static_cast<std::size_t>(i)]->reply.integer(), i + 1);
  }
  const RedisHealth health = redis.health();
  EXPECT_TRUE(health.connected);
  EXPECT_EQ(health.queued, 0U);
  EXPECT_EQ(health.counters.calls, std::uint64_t{kCalls});
  EXPECT_EQ(health.counters.failures, 0U);
  EXPECT_GT(health.counters.bytes_received, std::uint64_t{kCalls});
}

TEST_F(RedisServerTest, ErrorsAreReplies) {
  Redis& redis = connect(options("single"));
  EXPECT_EQ(ask(redis, {"SET", "text", std::string("a\0b", 3)}), "OK");
  EXPECT_EQ(ask(redis, {"GET", "text"}), std::string("a\0b", 3));
  EXPECT_THAT(ask(redis, {"INCR", "text"}), StartsWith("ERR value is not an integer"));
  EXPECT_THAT(ask(redis, {"NONSENSE"}), StartsWith("ERR unknown command"));
  EXPECT_EQ(ask(redis, {"GET", "nothing"}), "(nil)");
  EXPECT_EQ(ask(redis, {"MGET", "text", "nothing"}), "(2)");
}

TEST_F(RedisServerTest, TakesTheDatabaseOfTheUrl) {
  RedisOptions given = options("single");
  EXPECT_EQ(ask(connect(given), {"SET", "here", "0"}), "OK");
  given.database = 3;
  EXPECT_EQ(ask(connect(given), {"GET", "here"}), "(nil)");
  given.database = 99;
  EXPECT_THAT(refusal(given), HasSubstr("refuses database 99"));
}

// The one that was too late is answered when nobody waits, and those behind it get their own answers.
TEST_F(RedisServerTest, ALateAnswerIsNobodys) {
  Redis& redis = connect(options("single"));
  Asked late, next;
  ASSERT_TRUE(call(redis, late, {"DEBUG", "SLEEP", "0.2"}, {}, 20ms));
  ASSERT_TRUE(call(redis, next, {"ECHO", "mine"}));
  ASSERT_TRUE(until([&] { return !late.fates.empty(); }));
  EXPECT_THAT(late.fates, ElementsAre(RedisFate::unknown));
  EXPECT_TRUE(next.fates.empty());
  EXPECT_EQ(redis.health().queued, 2U);
  ASSERT_TRUE(until([&] { return !next.fates.empty(); }));
  EXPECT_EQ(next.reply.text(), "mine");
  EXPECT_EQ(late.fates.size(), 1U);
  EXPECT_EQ(redis.health().counters.timeouts, 1U);
  EXPECT_EQ(ask(redis, {"DEBUG", "SLEEP", "0.1"}, {}, 10ms), "no answer " + std::to_string(kRedisUnknown));
  EXPECT_EQ(ask(redis, {"ECHO", "again"}), "again");
}

TEST_F(RedisServerTest, AnAbandonedCallTellsNobody) {
  Redis& redis = connect(options("single"));
  Asked gone, next;
  ASSERT_TRUE(call(redis, gone, {"INCR", "count"}));
  gone.call.abandon();
  EXPECT_FALSE(gone.call.waiting());
  ASSERT_TRUE(call(redis, next, {"INCR", "count"}));
  ASSERT_TRUE(until([&] { return !next.fates.empty(); }));
  EXPECT_EQ(next.reply.integer(), 2);
  EXPECT_TRUE(gone.fates.empty());
}

// A handler calls again, with the same call.
struct Chain {
  Redis& redis;
  int left = 100;
  bool refused = false;
  void ask() {
    const std::array<std::string_view, 2> words{"INCR", "chain"};
    refused = !redis.call(call, {}, words);
  }
  void on_answer(RedisFate fate, Reply) {
    if (fate == RedisFate::answered && --left > 0) ask();
  }
  RedisCallOf<Chain, &Chain::on_answer> call{*this};
};

TEST_F(RedisServerTest, AHandlerMayCallAgain) {
  Redis& redis = connect(options("single"));
  Chain chain{.redis = redis};
  chain.ask();
  ASSERT_TRUE(until([&] { return chain.left == 0; }));
  EXPECT_FALSE(chain.refused);
  EXPECT_EQ(ask(redis, {"GET", "chain"}), "100");
}

TEST_F(RedisServerTest, MoreThanTheBoundsIsRefusedAtOnce) {
  RedisOptions given = options("single");
  given.bounds.calls = 10;
  Redis& redis = connect(given);
  std::vector<Asked> all(12);
  int taken = 0;
  for (Asked& one : all) taken += call(redis, one, {"INCR", "count"}) ? 1 : 0;
  EXPECT_EQ(taken, 10);
  EXPECT_EQ(redis.health().counters.refused, 2U);
  ASSERT_TRUE(until([&] { return !all[9].fates.empty(); }));
  EXPECT_EQ(all[9].reply.integer(), 10);
  EXPECT_TRUE(all[10].fates.empty());
  EXPECT_EQ(ask(redis, {"INCR", "count"}), "11");

  given.bounds.calls = 1000;
  given.bounds.queue_bytes = 1000;
  Redis& tight = connect(given);
  const std::string large(600, 'x');
  std::vector<Asked> two(2);
  EXPECT_TRUE(call(tight, two[0], {"SET", "large", large}));
  EXPECT_FALSE(call(tight, two[1], {"SET", "large", large}));
  EXPECT_TRUE(call(tight, two[1], {"STRLEN", "large"}));
  ASSERT_TRUE(until([&] { return !two[1].fates.empty(); }));
  EXPECT_EQ(two[1].reply.integer(), 600);
}

TEST_F(RedisServerTest, LargeValuesPassUpToTheBound) {
  RedisOptions given = options("single");
  given.bounds.reply_bytes = 4 * 1024 * 1024;
  Redis& redis = connect(given);
  const std::string large(3 * 1024 * 1024, 'x');
  EXPECT_EQ(ask(redis, {"SET", "large", large}), "OK");
  EXPECT_EQ(ask(redis, {"GET", "large"}), large);
  EXPECT_EQ(ask(redis, {"APPEND", "large", large}), std::to_string(2 * large.size()));
  EXPECT_EQ(ask(redis, {"GET", "large"}), "no answer " + std::to_string(kRedisUnknown));
  EXPECT_TRUE(comes(redis, {"STRLEN", "large"}, {}, std::to_string(2 * large.size())));
  EXPECT_EQ(redis.health().counters.losses, 1U);
}

TEST_F(RedisServerTest, AnswersMayComeInSingleBytes) {
  for (const char* which : {"single", "tls"}) {
    RedisOptions given = options(which);
    const Drip drip(given.servers.front().port);
    given.servers.front().port = drip.port;
    Redis& redis = connect(given);
    ASSERT_TRUE(redis.subscribe(which));
    const std::string text(1000, 'x');
    EXPECT_EQ(ask(redis, {"SET", "text", text}), "OK");
    std::vector<Asked> all(20);
    for (Asked& one : all) ASSERT_TRUE(call(redis, one, {"MGET", "text", "nothing", "text"}));
    ASSERT_TRUE(until([&] { return !all.back().fates.empty(); }));
    for (const Asked& one : all) {
      ASSERT_EQ(one.reply[0].text(), text);
      ASSERT_TRUE(one.reply[1].is_nil());
      ASSERT_EQ(one.reply[2].text(), text);
    }
    ASSERT_TRUE(until([&] { return heard_.count("+" + std::string(which)) == 1; }));
    EXPECT_EQ(ask(redis, {"PUBLISH", which, text}), "1");
    ASSERT_TRUE(until([&] { return heard_.count(which + ("=" + text)) == 1; }));
    EXPECT_EQ(redis.health().counters.losses, 0U);
  }
}

// ---- It goes, and comes back.

TEST_F(RedisServerTest, ACutConnectionIsMadeAgain) {
  Redis& redis = connect(patient("single"));
  ASSERT_TRUE(redis.subscribe("chat:{1}"));
  ASSERT_TRUE(until([&] { return heard_.count("+chat:{1}") == 1; }));
  Asked under_way;
  ASSERT_TRUE(call(redis, under_way, {"BLPOP", "nothing", "0"}));
  ASSERT_TRUE(until(
      [&] { return redis.health().queued == 1 && cli("single CLIENT LIST").find("blpop") != std::string::npos; }));
  cli("single CLIENT KILL TYPE normal SKIPME yes");
  cli("single CLIENT KILL TYPE pubsub");
  ASSERT_TRUE(until([&] { return !under_way.fates.empty(); }));
  EXPECT_THAT(under_way.fates, ElementsAre(RedisFate::unknown));
  EXPECT_TRUE(comes(redis, {"ECHO", "back"}, {}, "back"));
  ASSERT_TRUE(until([&] { return heard_.count("+chat:{1}") == 2; }));
  EXPECT_THAT(heard_.told, ElementsAre("+chat:{1}", "lost", "+chat:{1}"));
  Asked published;
  ASSERT_TRUE(redis.publish(published.call, "chat:{1}", "hello"));
  ASSERT_TRUE(until([&] { return heard_.count("chat:{1}=hello") == 1 && !published.fates.empty(); }));
  EXPECT_EQ(published.reply.integer(), 1);
}

TEST_F(RedisServerTest, AFrozenServerIsGivenUpAndRefusedUntilItIsBack) {
  Redis& redis = connect(options("single"));
  ASSERT_TRUE(redis.subscribe("global"));
  ASSERT_TRUE(until([&] { return heard_.count("+global") == 1; }));
  const std::int64_t since_ms = redis.health().since_ms;
  control("freeze single");
  Asked asked;
  ASSERT_TRUE(call(redis, asked, {"INCR", "count"}, {}, 100ms));
  EXPECT_TRUE(until([&] { return !asked.fates.empty(); }));
  EXPECT_THAT(asked.fates, ElementsAre(RedisFate::unknown));
  // Without anything asked it is noticed too, by its silence.
  EXPECT_TRUE(until([&] { return !redis.health().connected && heard_.count("lost") == 1; }));
  EXPECT_TRUE(until([&] { return !asked.call.waiting() && !call(redis, asked, {"ECHO", "x"}, {}, 1ms); }));
  EXPECT_NE(redis.health().why, "");
  EXPECT_GT(redis.health().since_ms, since_ms);
  control("thaw single");
  EXPECT_TRUE(comes(redis, {"ECHO", "back"}, {}, "back"));
  EXPECT_TRUE(until([&] { return heard_.count("+global") == 2 && redis.health().connected; }));
  // What it had been sent was done when it woke.
  EXPECT_EQ(ask(redis, {"GET", "count"}), "1");
}

TEST_F(RedisServerTest, AKilledServerIsKnownToHaveDoneNothingOrNotKnown) {
  Redis& redis = connect(patient("single"));
  Asked sent;
  ASSERT_TRUE(call(redis, sent, {"BLPOP", "nothing", "0"}));
  ASSERT_TRUE(until([&] { return cli("single CLIENT LIST").find("blpop") != std::string::npos; }));
  control("kill single");
  ASSERT_TRUE(until([&] { return !sent.fates.empty(); }));
  EXPECT_THAT(sent.fates, ElementsAre(RedisFate::unknown));
  // Of these each is refused at once, or was never sent.
  std::vector<RedisFate> fates;
  EXPECT_TRUE(until([&] {
    Asked one;
    if (!call(redis, one, {"INCR", "count"})) return true;
    static_cast<void>(until([&] { return !one.fates.empty(); }));
    fates.push_back(one.fates.front());
    return false;
  }));
  EXPECT_THAT(fates, Each(RedisFate::never_sent));
  EXPECT_EQ(ask(redis, {"ECHO", "x"}), "no answer " + std::to_string(kRedisNeverSent));
  control("start single");
  EXPECT_TRUE(comes(redis, {"ECHO", "back"}, {}, "back"));
}

TEST_F(RedisServerTest, AServerThatIsNotThereYetIsWaitedFor) {
  control("kill single");
  Redis& redis = make(options("single"));
  auto early = run(redis.start(100ms));
  control("start single");
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, Errc::unavailable);
  EXPECT_THAT(early.error().message, HasSubstr("Connection refused"));
  EXPECT_TRUE(comes(redis, {"ECHO", "here"}, {}, "here"));
}

TEST_F(RedisServerTest, ANameThatDoesNotExistIsSaid) {
  RedisOptions given = options("single");
  given.servers.front().host = "no-such-host.invalid";
  EXPECT_TRUE(fails(given, "no-such-host.invalid"));
}

// ---- Who may not, and what may not be used.

TEST_F(RedisServerTest, IsRefusedWithoutTheRightPassword) {
  RedisOptions given = options("single");
  given.password = "wrong";
  EXPECT_THAT(refusal(given), AllOf(HasSubstr("refuses the user or the password"), HasSubstr("WRONGPASS")));
  given.user.clear();
  given.password.clear();
  EXPECT_THAT(refusal(given), HasSubstr("asks for a password: name it in REDIS_URL"));
  given.password = "secret";
  EXPECT_EQ(ask(connect(given), {"ACL", "WHOAMI"}), "default");
}

TEST_F(RedisServerTest, AUserWithoutConfigIsTaken) {
  Redis& redis = connect(options("limited"));
  EXPECT_EQ(ask(redis, {"ACL", "WHOAMI"}), "limited");
  EXPECT_EQ(ask(redis, {"CLIENT", "GETNAME"}), "ringline");
}

TEST_F(RedisServerTest, OneThatMayDropKeysIsRefused) {
  cli("single CONFIG SET maxmemory-policy allkeys-lru");
  const std::string why = refusal(options("single"));
  cli("single CONFIG SET maxmemory-policy noeviction");
  EXPECT_THAT(why, AllOf(HasSubstr("maxmemory-policy is allkeys-lru"), HasSubstr("noeviction")));
}

TEST_F(RedisServerTest, FunctionsAreThereAndComeBack) {
  const std::string head = "#!lua name=numbers\n";
  RedisOptions given = options("single");
  given.library = head + "redis.register_function('number', function() return 1 end)";
  Redis& redis = connect(given);
  EXPECT_EQ(ask(redis, {"FCALL", "number", "0"}), "1");
  cli("single FUNCTION FLUSH");
  EXPECT_EQ(ask(redis, {"FCALL", "number", "0"}), "no answer " + std::to_string(kRedisNeverSent));
  EXPECT_TRUE(comes(redis, {"FCALL", "number", "0"}, {}, "1"));
  given.library = head + "redis.register_function('number', function() return 2 end)";
  EXPECT_EQ(ask(connect(given), {"FCALL", "number", "0"}), "2");
  given.library = head + "this is no Lua";
  EXPECT_THAT(refusal(given), HasSubstr("does not take the library of functions"));
  given.library = "no head";
  EXPECT_FALSE(Redis::make(loop(), workers(), given, nullptr));
  cli("single FUNCTION FLUSH");
}

// ---- TLS.

TEST_F(RedisServerTest, SpeaksTls) {
  Redis& redis = connect(options("tls"));
  const std::string large(1024 * 1024, 'x');
  EXPECT_EQ(ask(redis, {"SET", "large", large}), "OK");
  EXPECT_EQ(ask(redis, {"GET", "large"}), large);
  ASSERT_TRUE(redis.subscribe("secret"));
  ASSERT_TRUE(until([&] { return heard_.count("+secret") == 1; }));
  std::vector<Asked> all(1000);
  for (Asked& one : all) ASSERT_TRUE(call(redis, one, {"INCR", "count"}));
  ASSERT_TRUE(until([&] { return !all.back().fates.empty(); }));
  EXPECT_EQ(all.back().reply.integer(), 1000);
  cli("single CLIENT KILL TYPE normal SKIPME yes");
  EXPECT_TRUE(comes(redis, {"ECHO", "back"}, {}, "back"));
}

TEST_F(RedisServerTest, TrustsOnlyTheRightName) {
  RedisOptions given = options("tls");
  given.servers.front().host = "127.0.0.1";
  EXPECT_TRUE(fails(given, "the certificate of 127.0.0.1 is not accepted: IP address mismatch"));
  given = options("tls");
  given.tls_ca.clear();
  EXPECT_TRUE(fails(given, "the certificate of localhost is not accepted"));
  given.tls_ca = "/nowhere";
  auto made = Redis::make(loop(), workers(), given, nullptr);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("/nowhere cannot be used"));
  // TLS to one that speaks none, which waits for more; and the other way round.
  const RedisOptions plain = options("single");
  given = options("tls");
  given.servers.front().port = plain.servers.front().port;
  EXPECT_TRUE(fails(given, "no connection in time"));
  given = plain;
  given.servers.front().port = options("tls").servers.front().port;
  EXPECT_TRUE(fails(given, given.servers.front().text()));  // closed, or reset
}

// ---- Subscriptions.

TEST_F(RedisServerTest, SubscribesToManyChannelsAndLeavesThem) {
  Redis& redis = connect(options("single"));
  constexpr int kChannels = 10'000;
  auto name = [](int i) { return "chat:{" + std::to_string(i) + "}"; };
  for (int i = 0; i < kChannels; ++i) ASSERT_TRUE(redis.subscribe(name(i)));
  ASSERT_TRUE(until([&] { return heard_.told.size() == kChannels; }));
  EXPECT_EQ(redis.health().channels, std::size_t{kChannels});
  EXPECT_EQ(cli("single PUBSUB NUMSUB chat:{9999}"), "chat:{9999}\n1");
  Redis& other = connect(options("single"));
  std::vector<Asked> sends(100);
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(other.publish(sends[static_cast<std::size_t>(i)].call, name(i * 100), std::to_string(i)));
  ASSERT_TRUE(until([&] { return heard_.told.size() == kChannels + 100; }));
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(heard_.told[static_cast<std::size_t>(kChannels + i)], name(i * 100) + "=" + std::to_string(i));
  for (int i = 1; i < kChannels; ++i) redis.unsubscribe(name(i));
  ASSERT_TRUE(until([&] { return cli("single PUBSUB CHANNELS") == "chat:{0}"; }));
  EXPECT_EQ(redis.health().channels, 1U);
}

TEST_F(RedisServerTest, AChannelThatIsLeftAndWantedAgainIsToldOfOnce) {
  Redis& redis = connect(patient("single"));
  ASSERT_TRUE(redis.subscribe("a"));
  redis.unsubscribe("a");
  redis.unsubscribe("a");
  ASSERT_TRUE(redis.subscribe("b"));
  ASSERT_TRUE(redis.subscribe("b"));
  ASSERT_TRUE(until([&] { return !heard_.told.empty(); }));
  EXPECT_EQ(cli("single PUBSUB CHANNELS"), "b");
  // The answers of all three are under way at once: the first confirmation is an old one's.
  heard_.told.clear();
  ASSERT_TRUE(redis.subscribe("a"));
  control("freeze single");
  static_cast<void>(until([] { return false; }, 20ms));
  redis.unsubscribe("a");
  static_cast<void>(until([] { return false; }, 20ms));
  ASSERT_TRUE(redis.subscribe("a"));
  static_cast<void>(until([] { return false; }, 20ms));
  control("thaw single");
  ASSERT_TRUE(until([&] { return !heard_.told.empty(); }));
  EXPECT_EQ(ask(redis, {"PUBLISH", "a", "1"}), "1");
  ASSERT_TRUE(until([&] { return heard_.count("a=1") == 1; }));
  EXPECT_THAT(heard_.told, ElementsAre("+a", "a=1"));
}

TEST_F(RedisServerTest, WhatIsTooLargeOrTooManyIsNotTaken) {
  RedisOptions given = options("single");
  given.bounds.payload_bytes = 1000;
  given.bounds.channels = 2;
  Redis& redis = connect(given);
  EXPECT_TRUE(redis.subscribe("a"));
  EXPECT_TRUE(redis.subscribe("b"));
  EXPECT_FALSE(redis.subscribe("c"));
  EXPECT_FALSE(redis.subscribe(std::string(300, 'x')));
  ASSERT_TRUE(until([&] { return heard_.told.size() == 2; }));
  Asked large;
  EXPECT_FALSE(redis.publish(large.call, "a", std::string(1001, 'x')));
  EXPECT_EQ(ask(redis, {"PUBLISH", "a", std::string(1001, 'x')}), "1");
  EXPECT_EQ(ask(redis, {"PUBLISH", "a", "small"}), "1");
  ASSERT_TRUE(until([&] { return heard_.count("a=small") == 1; }));
  EXPECT_EQ(redis.health().counters.dropped, 1U);
  redis.unsubscribe("a");
  EXPECT_TRUE(redis.subscribe("c"));
  ASSERT_TRUE(until([&] { return heard_.count("+c") == 1; }));
}

}  // namespace
}  // namespace ringline::backend::test
