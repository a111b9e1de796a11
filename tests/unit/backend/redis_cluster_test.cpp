// Redis with more than one server: a master that sentinels watch over, and a cluster; failover, slots that move, servers that go and come back.
#include "backend/redis_topology.hpp"
#include "redis_support.hpp"

namespace ringline::backend::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// ---- Sentinel.

class RedisSentinelTest : public RedisFixture {
 protected:
  // "main-1" or "main-2", as the first sentinel has it.
  static std::string master() {
    const std::string place = cli("sentinel-1 SENTINEL GET-MASTER-ADDR-BY-NAME main");
    return place.ends_with(control("port main-1")) ? "main-1" : "main-2";
  }
  // All sentinels name one master, and know that the other follows it: else one of them may undo what comes next.
  bool well() {
    return until([] {
      const std::string place = cli("sentinel-1 SENTINEL GET-MASTER-ADDR-BY-NAME main");
      for (const char* sentinel : {"sentinel-1 ", "sentinel-2 ", "sentinel-3 "}) {
        if (cli(std::string(sentinel) + "SENTINEL GET-MASTER-ADDR-BY-NAME main") != place) return false;
        if (!cli(std::string(sentinel) + "SENTINEL CKQUORUM main").starts_with("OK 3")) return false;
        const std::string replica = cli(std::string(sentinel) + "SENTINEL REPLICAS main");
        if (replica.find("role-reported\nslave") == replica.npos) return false;
        if (replica.find("master-link-status\nok") == replica.npos) return false;
      }
      return true;
    });
  }
};

// Under load: what was not done is not there, and nothing twice. (What the old master takes while it is demoted is lost.)
TEST_F(RedisSentinelTest, FollowsTheMasterThatSentinelsChoose) {
  ASSERT_TRUE(well());
  Redis& redis = connect(options("sentinel"));
  EXPECT_FALSE(redis.is_cluster());
  EXPECT_EQ(ask(redis, {"DEL", "load"}), "0");
  ASSERT_TRUE(redis.subscribe("global"));
  ASSERT_TRUE(until([&] { return heard_.count("+global") == 1; }));
  Load load(redis, "load");
  ASSERT_TRUE(writes(load, 1000));
  const std::string before = master();
  ASSERT_TRUE(until([] { return cli("sentinel-1 SENTINEL FAILOVER main") == "OK"; }));
  ASSERT_TRUE(until([&] {
    load.pump();
    return master() != before && redis.health().counters.losses > 0 && redis.health().connected;
  }));
  EXPECT_TRUE(writes(load, 1000));
  load.stop();
  ASSERT_TRUE(until([&] { return load.idle(); }));
  load.check(cli(master() + " LRANGE load 0 -1"), true);
  EXPECT_TRUE(comes(redis, {"DEL", "load"}, {}, "1"));
  ASSERT_TRUE(until([&] { return heard_.count("+global") >= 2; }));
  EXPECT_GE(heard_.count("lost"), 1);
  EXPECT_EQ(cli(master() + " PUBSUB CHANNELS global"), "global");
}

TEST_F(RedisSentinelTest, TheDeathOfAMasterIsSurvived) {
  ASSERT_TRUE(well());
  RedisOptions given = options("sentinel");
  given.library = R"(#!lua name=numbers
redis.register_function('number', function() return 1 end)
redis.register_function('slow', function(keys)
  redis.call('RPUSH', keys[1], 'slow')
  for i = 1, 1e12 do end
end))";
  Redis& redis = connect(given);
  ASSERT_TRUE(redis.subscribe("global"));
  ASSERT_TRUE(until([&] { return heard_.count("+global") == 1; }));
  const std::string dead = master();
  // One is being done when it dies, one waits behind it there: of neither anything is known.
  Asked slow, behind;
  ASSERT_TRUE(call(redis, slow, {"FCALL", "slow", "1", "done"}));
  ASSERT_TRUE(call(redis, behind, {"RPUSH", "done", "behind"}));
  static_cast<void>(until([] { return false; }, 50ms));
  control("kill " + dead);
  EXPECT_TRUE(until([&] { return !redis.health().connected && !slow.fates.empty() && !behind.fates.empty(); }));
  EXPECT_THAT(slow.fates, ElementsAre(RedisFate::unknown));
  EXPECT_THAT(behind.fates, ElementsAre(RedisFate::unknown));
  EXPECT_TRUE(comes(redis, {"FCALL", "number", "0"}, {}, "1"));
  EXPECT_TRUE(until([&] { return heard_.count("+global") >= 2; }));
  EXPECT_NE(master(), dead);
  control("start " + dead);
  EXPECT_TRUE(well());
  EXPECT_TRUE(comes(redis, {"FCALL", "number", "0"}, {}, "1"));
}

TEST_F(RedisSentinelTest, OneSentinelMayBeAway) {
  control("freeze sentinel-1");
  Redis& redis = connect(options("sentinel"));
  const std::string answer = ask(redis, {"ECHO", "here"});
  control("thaw sentinel-1");
  EXPECT_EQ(answer, "here");
  EXPECT_TRUE(well());
}

TEST_F(RedisSentinelTest, WhatIsNamedWronglyIsSaid) {
  ASSERT_TRUE(well());
  RedisOptions given = options("sentinel");
  given.master = "nobody";
  EXPECT_TRUE(fails(given, "no sentinel names the master of nobody"));
  given = options("sentinel");
  given.sentinel_password = "wrong";
  EXPECT_THAT(refusal(given), HasSubstr("refuses the user or the password"));
  given = options("sentinel");
  given.master.clear();
  given.servers.resize(1);
  EXPECT_THAT(refusal(given), HasSubstr("is a sentinel: write redis+sentinel://"));
  const std::string replica = master() == "main-1" ? "main-2" : "main-1";
  given.servers.front().port = static_cast<std::uint16_t>(std::stoul(control("port " + replica)));
  EXPECT_TRUE(fails(given, "is not a master but a replica"));
}

// ---- Cluster.

class RedisClusterTest : public RedisFixture {
 protected:
  void SetUp() override {
    RedisFixture::SetUp();
    if (IsSkipped()) return;
    for (const char* node : {"cluster-1", "cluster-2", "cluster-3"})
      ids_.push_back(cli(std::string(node) + " CLUSTER MYID"));
  }
  void TearDown() override {
    for (std::size_t node = 0; node < ids_.size(); ++node) cli(name(node) + " FLUSHALL");
  }
  static std::string name(std::size_t node) { return "cluster-" + std::to_string(node + 1); }
  // Slots as scripts/services gives them.
  static std::size_t node_of(std::string_view key) { return std::min<std::size_t>(slot_of(key) / 5461U, 2); }
  static std::string key_on(std::size_t node, int number = 0) {
    for (int i = 0;; ++i)
      if (std::string key = "{" + std::to_string(i) + "}"; node_of(key) == node && number-- == 0) return key;
  }

  void begin_move(std::uint16_t slot, std::size_t from, std::size_t to) {
    const std::string set = " CLUSTER SETSLOT " + std::to_string(slot);
    EXPECT_EQ(cli(name(to) + set + " IMPORTING " + ids_[from]), "OK");
    EXPECT_EQ(cli(name(from) + set + " MIGRATING " + ids_[to]), "OK");
  }
  void move_key(const std::string& key, std::size_t from, std::size_t to) {
    EXPECT_EQ(
        cli(name(from) + " MIGRATE 127.0.0.1 " + control("port " + name(to)) + " '" + key + "' 0 5000 AUTH secret"),
        "OK");
  }
  void end_move(std::uint16_t slot, std::size_t to) {
    const std::string set = " CLUSTER SETSLOT " + std::to_string(slot) + " NODE " + ids_[to];
    EXPECT_EQ(cli(name(to) + set), "OK");
    for (std::size_t node = 0; node < ids_.size(); ++node)
      if (node != to) EXPECT_EQ(cli(name(node) + set), "OK");
  }

  std::vector<std::string> ids_;
};

TEST_F(RedisClusterTest, KeysAndChannelsGoToTheirServers) {
  RedisOptions given = options("cluster");
  given.servers.resize(1);  // the others are found
  Redis& redis = connect(given);
  EXPECT_TRUE(redis.is_cluster());
  for (std::size_t node = 0; node < 3; ++node) {
    const std::string key = key_on(node);
    EXPECT_EQ(ask(redis, {"SET", key, std::to_string(node)}, key), "OK");
    EXPECT_EQ(cli(name(node) + " GET '" + key + "'"), std::to_string(node));
    ASSERT_TRUE(redis.subscribe("chat:" + key));
  }
  ASSERT_TRUE(until([&] { return heard_.told.size() == 3; }));
  Redis& other = connect(given);
  for (std::size_t node = 0; node < 3; ++node) {
    Asked asked;
    ASSERT_TRUE(other.publish(asked.call, "chat:" + key_on(node), "hello"));
    ASSERT_TRUE(until([&] { return heard_.count("chat:" + key_on(node) + "=hello") == 1 && !asked.fates.empty(); }));
    EXPECT_EQ(asked.reply.integer(), 1);
  }
  EXPECT_TRUE(redis.health().connected);
  EXPECT_EQ(redis.health().counters.redirects, 0U);
  EXPECT_EQ(ask(redis, {"PING"}), "PONG");
}

TEST_F(RedisClusterTest, ASlotIsFollowedWhileItMovesAndAfter) {
  Redis& redis = connect(options("cluster"));
  const std::string key = key_on(0);
  const std::uint16_t slot = slot_of(key);
  const std::string channel = "chat:" + key, fresh = "fresh" + key;
  EXPECT_EQ(ask(redis, {"SET", key, "old"}, key), "OK");
  ASSERT_TRUE(redis.subscribe(channel));
  ASSERT_TRUE(until([&] { return heard_.count("+" + channel) == 1; }));
  begin_move(slot, 0, 1);
  EXPECT_EQ(ask(redis, {"GET", key}, key), "old");
  EXPECT_EQ(ask(redis, {"SET", fresh, "new"}, key), "OK");
  EXPECT_EQ(redis.health().counters.redirects, 1U);
  move_key(key, 0, 1);
  EXPECT_EQ(ask(redis, {"GET", key}, key), "old");
  EXPECT_EQ(redis.health().counters.redirects, 2U);
  end_move(slot, 1);
  EXPECT_TRUE(comes(redis, {"GET", key}, key, "old"));
  EXPECT_EQ(cli(name(1) + " GET '" + fresh + "'"), "new");
  ASSERT_TRUE(until([&] { return heard_.count("+" + channel) >= 2; }));
  EXPECT_EQ(cli(name(1) + " PUBSUB SHARDCHANNELS"), channel);
  Asked asked;
  ASSERT_TRUE(redis.publish(asked.call, channel, "moved"));
  ASSERT_TRUE(until([&] { return heard_.count(channel + "=moved") == 1; }));
  // And back.
  begin_move(slot, 1, 0);
  move_key(key, 1, 0);
  move_key(fresh, 1, 0);
  end_move(slot, 0);
  EXPECT_TRUE(comes(redis, {"GET", fresh}, key, "new"));
  ASSERT_TRUE(until([&] { return cli(name(0) + " PUBSUB SHARDCHANNELS") == channel; }));
}

TEST_F(RedisClusterTest, ASlotMovesUnderLoad) {
  Redis& redis = connect(options("cluster"));
  const std::string key = key_on(0);
  Load load(redis, key);
  for (const std::size_t from : {0U, 1U}) {
    EXPECT_TRUE(writes(load, 200));
    begin_move(slot_of(key), from, 1 - from);
    EXPECT_TRUE(writes(load, 200));
    move_key(key, from, 1 - from);
    EXPECT_TRUE(writes(load, 200));
    end_move(slot_of(key), 1 - from);
  }
  EXPECT_TRUE(writes(load, 200));
  load.stop();
  ASSERT_TRUE(until([&] { return load.idle(); }));
  EXPECT_EQ(load.count(RedisFate::unknown), 0U);
  EXPECT_GE(redis.health().counters.redirects, 200U);
  load.check(cli(name(0) + " LRANGE '" + key + "' 0 -1"), false);
}

TEST_F(RedisClusterTest, EachServerCanBeAsked) {
  Redis& redis = connect(options("cluster"));
  auto answers = run(redis.ask_all({"CLUSTER", "MYID"}, 10s));
  ASSERT_TRUE(answers) << answers.error().message;
  std::vector<std::string> found;
  for (const Reply& answer : *answers) found.emplace_back(answer.text());
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(ids_));
  control("kill cluster-3");
  answers = run(redis.ask_all({"CLUSTER", "MYID"}, 10s));
  control("start cluster-3");
  EXPECT_FALSE(answers);
  EXPECT_TRUE(comes(redis, {"SET", key_on(2), "1"}, key_on(2), "OK"));
}

TEST_F(RedisClusterTest, OneServerAwayIsOnlyItsSlotsAway) {
  Redis& redis = connect(options("cluster"));
  const std::string lost = key_on(2), kept = key_on(0);
  EXPECT_EQ(ask(redis, {"SET", lost, "1"}, lost), "OK");
  ASSERT_TRUE(redis.subscribe("chat:" + lost));
  ASSERT_TRUE(until([&] { return heard_.told.size() == 1; }));
  control("kill cluster-3");
  EXPECT_TRUE(comes(redis, {"INCR", lost}, lost, "no answer " + std::to_string(kRedisNeverSent)));
  EXPECT_EQ(ask(redis, {"SET", kept, "1"}, kept), "OK");
  EXPECT_FALSE(redis.health().connected);
  EXPECT_NE(redis.health().why, "");
  control("start cluster-3");
  EXPECT_TRUE(comes(redis, {"SET", lost, "2"}, lost, "OK"));
  EXPECT_TRUE(until([&] { return heard_.count("+chat:" + lost) >= 2 && redis.health().connected; }));
  EXPECT_GE(heard_.count("lost"), 1);
}

TEST_F(RedisClusterTest, FunctionsAreOnEachServer) {
  RedisOptions given = options("cluster");
  given.library =
      "#!lua name=numbers\nredis.register_function('set', function(keys) return redis.call('INCR', keys[1]) end)";
  Redis& redis = connect(given);
  for (std::size_t node = 0; node < 3; ++node)
    EXPECT_EQ(ask(redis, {"FCALL", "set", "1", key_on(node)}, key_on(node)), "1");
  for (std::size_t node = 0; node < 3; ++node) cli(name(node) + " FUNCTION FLUSH");
}

TEST_F(RedisClusterTest, HasOneDatabase) {
  RedisOptions given = options("cluster");
  given.database = 1;
  EXPECT_THAT(refusal(given), HasSubstr("a Redis Cluster has database 0 only"));
}

}  // namespace
}  // namespace ringline::backend::test
