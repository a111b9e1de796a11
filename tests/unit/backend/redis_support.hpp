// What the tests of Redis share: a loop, clients on it, and the servers that `scripts/services` has started (RINGLINE_TEST_REDIS is its control; without it
// they are skipped). A test leaves the servers as it found them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "ringline/backend/redis.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::backend::test {

using namespace std::chrono_literals;
using base::Errc;
using base::Result;
using base::Task;

// What the servers' control says: all of its output, without the last line end.
inline std::string control(const std::string& words) {
  const std::string command = std::string(::getenv("RINGLINE_TEST_REDIS")) + " " + words;
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string said;
  std::array<char, 4096> piece{};
  for (std::size_t count = 0; (count = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;)
    said.append(piece.data(), count);
  EXPECT_EQ(::pclose(pipe), 0) << words << ": " << said;
  while (said.ends_with('\n')) said.pop_back();
  return said;
}
inline std::string cli(const std::string& words) { return control("cli " + words); }

// All that a listener is told, in order: "+CHANNEL" of one that is subscribed to, "CHANNEL=PAYLOAD", "lost".
struct Heard final : RedisListener {
  std::vector<std::string> told;
  void on_message(std::string_view channel, std::string_view payload) override {
    told.push_back(std::string(channel) + "=" + std::string(payload));
  }
  void on_subscribed(std::string_view channel) override { told.push_back("+" + std::string(channel)); }
  void on_lost() override { told.emplace_back("lost"); }
  long count(std::string_view what) const { return std::ranges::count(told, what); }
};

// A call that remembers what became of it.
struct Asked {
  Asked() = default;
  ~Asked() { call.abandon(); }
  std::vector<RedisFate> fates;
  Reply reply;
  void on_answer(RedisFate fate, Reply answer) {
    fates.push_back(fate);
    reply = std::move(answer);
  }
  RedisCallOf<Asked, &Asked::on_answer> call{*this};
};

// Writes numbers into a list without a pause, a few at once, and remembers what became of each.
class Load {
 public:
  Load(Redis& redis, std::string key) : redis_(redis), key_(std::move(key)) {
    for (std::size_t i = 0; i < kAtOnce; ++i) writers_.push_back(std::make_unique<Writer>(*this));
  }
  ~Load() {
    for (const auto& writer : writers_) writer->call.abandon();
  }
  // Those that were refused begin again.
  void pump() {
    for (const auto& writer : writers_)
      if (!writer->call.waiting()) writer->write();
  }
  void stop() { stopped_ = true; }
  bool idle() const {
    return std::ranges::none_of(writers_, [](const auto& writer) { return writer->call.waiting(); });
  }
  std::size_t count(RedisFate fate) const {
    return static_cast<std::size_t>(std::ranges::count(fates_, std::optional(fate)));
  }
  // `list`: what is in it, a number a line. Whatever is said to be done is there, and what is said not to be is not; nothing is there twice.
  // `lossy`: the server may have lost what it had answered.
  void check(const std::string& list, bool lossy) const {
    std::vector<unsigned> times(fates_.size());
    std::istringstream lines(list);
    for (std::string line; std::getline(lines, line);) ++times.at(std::stoul(line));
    for (std::size_t i = 0; i < fates_.size(); ++i) {
      ASSERT_TRUE(fates_[i]) << i;
      ASSERT_LE(times[i], 1U) << i;
      if (*fates_[i] == RedisFate::answered && !lossy) ASSERT_EQ(times[i], 1U) << i;
      if (*fates_[i] == RedisFate::never_sent) ASSERT_EQ(times[i], 0U) << i;
    }
  }

 private:
  static constexpr std::size_t kAtOnce = 50;
  struct Writer {
    explicit Writer(Load& owner) : load(owner) {}
    Load& load;
    std::size_t number = 0;
    void write() {
      const std::string text = std::to_string(load.fates_.size());
      const std::array<std::string_view, 3> words{"RPUSH", load.key_, text};
      if (load.stopped_ || !load.redis_.call(call, load.key_, words, 10s)) return;
      number = load.fates_.size();
      load.fates_.emplace_back();
    }
    void on_answer(RedisFate fate, Reply reply) {
      EXPECT_FALSE(fate == RedisFate::answered && reply.is_error()) << reply.text();
      load.fates_[number] = fate;
      if (fate == RedisFate::answered) write();
    }
    RedisCallOf<Writer, &Writer::on_answer> call{*this};
  };

  Redis& redis_;
  std::string key_;
  std::vector<std::optional<RedisFate>> fates_;
  std::vector<std::unique_ptr<Writer>> writers_;
  bool stopped_ = false;
};

class RedisFixture : public testing::Test {
 protected:
  RedisFixture() : mailboxes_(1), loop_(0, mailboxes_, open_ring()), workers_(1, "names", 64) {
    loop::Loop* const peers[] = {&loop_};
    loop_.set_peers(peers);
  }
  ~RedisFixture() override {
    for (const auto& client : clients_) run(done(client->close()));
    beat_.disarm();
  }
  void SetUp() override {
    if (::getenv("RINGLINE_TEST_REDIS") == nullptr) GTEST_SKIP() << "no RINGLINE_TEST_REDIS";
  }

  // Turns the loop until it is so.
  template <class So>
  [[nodiscard]] bool until(So so, std::chrono::milliseconds time = 20s) {
    const std::int64_t deadline = base::monotonic_ms() + time.count();
    while (!so()) {
      if (base::monotonic_ms() > deadline) return false;
      loop_.timers().arm(beat_, base::monotonic_ms() + 5);
      loop_.turn(true);
    }
    return true;
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> answer;
    base::Scope scope;
    scope.spawn(keep(std::move(task), answer));
    if (!until([&] { return scope.running() == 0; }, 60s)) {
      ADD_FAILURE() << "a task does not end";
      std::abort();
    }
    return std::move(*answer);
  }

  // Of a URL of the control's.
  static RedisOptions options(const char* which) {
    auto read = read_redis_url(control(std::string("url ") + which));
    EXPECT_TRUE(read) << read.error().message;
    read->times.connect = 500ms;  // so that nothing here takes long
    read->times.ping = 200ms;
    read->times.silence = 600ms;
    read->times.backoff_max = 200ms;
    if (read->tls) read->tls_ca = control("folder") + "/ca.crt";
    return *read;
  }
  // Likewise, of one who does not mind that nothing is answered.
  static RedisOptions patient(const char* which) {
    RedisOptions given = options(which);
    given.times.silence = 30s;
    return given;
  }
  // One that was not started.
  Redis& make(RedisOptions given) {
    auto made = Redis::make(loop_, workers_, std::move(given), &heard_);
    EXPECT_TRUE(made) << made.error().message;
    clients_.push_back(std::move(*made));
    return *clients_.back();
  }
  Redis& connect(RedisOptions given) {
    Redis& client = make(std::move(given));
    auto started = run(client.start(20s));
    EXPECT_TRUE(started) << started.error().message;
    return client;
  }
  // Why it cannot be started, which waiting would not help.
  std::string refusal(RedisOptions given) {
    auto started = run(make(std::move(given)).start(20s));
    if (started) return "it could be started";
    EXPECT_EQ(started.error().code, Errc::invalid);
    return started.error().message;
  }
  // Whether that is why it cannot be reached, which it goes on trying.
  [[nodiscard]] bool fails(RedisOptions given, const std::string& why) {
    Redis& client = make(std::move(given));
    auto started = run(client.start(1ms));
    EXPECT_FALSE(started);
    const bool said = until([&] { return client.health().why.find(why) != std::string::npos; });
    EXPECT_TRUE(said) << client.health().why;
    return said && !client.health().connected;
  }

  // What a command is answered: its text, its number, "(nil)", "(N)" of an array; of what is not answered the error's.
  std::string ask(Redis& client, std::vector<std::string> words, std::string key = {},
                  std::chrono::milliseconds timeout = 10s) {
    auto answer = run(client.ask(std::move(key), std::move(words), timeout));
    if (!answer) return "no answer " + std::to_string(answer.error().sys);
    switch (answer->type()) {
      case ReplyView::Type::nil:
        return "(nil)";
      case ReplyView::Type::integer:
        return std::to_string(answer->integer());
      case ReplyView::Type::array:
        return "(" + std::to_string(answer->size()) + ")";
      case ReplyView::Type::string:
      case ReplyView::Type::status:
      case ReplyView::Type::error:
        return std::string(answer->text());
    }
    return {};
  }
  // Asked again and again until that is the answer.
  [[nodiscard]] bool comes(Redis& client, std::vector<std::string> words, const std::string& key,
                           const std::string& wanted) {
    const std::int64_t deadline = base::monotonic_ms() + 20'000;
    while (base::monotonic_ms() < deadline) {
      if (ask(client, words, key) == wanted) return true;
      static_cast<void>(until([] { return false; }, 10ms));
    }
    return false;
  }
  // Until so many more are answered.
  [[nodiscard]] bool writes(Load& load, std::size_t more) {
    const std::size_t before = load.count(RedisFate::answered);
    return until([&] {
      load.pump();
      return load.count(RedisFate::answered) >= before + more;
    });
  }
  static bool call(Redis& client, Asked& asked, std::vector<std::string_view> words, std::string_view key = {},
                   std::chrono::milliseconds timeout = 10s) {
    return client.call(asked.call, key, words, timeout);
  }

  loop::Loop& loop() noexcept { return loop_; }
  loop::Workers& workers() noexcept { return workers_; }

  Heard heard_;

 private:
  static std::unique_ptr<loop::Ring> open_ring() {
    auto ring = loop::Ring::open({.entries = 256, .receive_buffers = 64, .receive_buffer_bytes = 4096});
    if (!ring) {
      ADD_FAILURE() << ring.error().message;
      std::abort();
    }
    return std::move(*ring);
  }
  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>& answer) {
    T got = co_await std::move(task);
    answer.emplace(std::move(got));
  }
  static Task<bool> done(Task<void> task) {
    co_await std::move(task);
    co_return true;
  }
  void on_beat() {}

  loop::Mailboxes mailboxes_;
  loop::Loop loop_;
  loop::Workers workers_;
  loop::TimerOf<RedisFixture, &RedisFixture::on_beat> beat_{*this};
  std::vector<std::unique_ptr<Redis>> clients_;
};

}  // namespace ringline::backend::test
