// Log lines: always JSON, to the file that is there now, never lost silently.
#include "ringline/base/log.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>
#include <vector>

#include "ringline/base/json.hpp"

namespace ringline::base::log {
namespace {

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "ringline-log-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    settings_.log_file = folder_ / "log";
  }
  void TearDown() override {
    stop();
    std::filesystem::remove_all(folder_);
  }
  std::vector<std::string> lines(const std::string& name = "log") const {
    std::ifstream file(folder_ / name);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

  std::filesystem::path folder_;
  Settings settings_;
};

TEST_F(LogTest, a_line_is_json) {
  ASSERT_TRUE(start(settings_));
  set_core(3);
  info("thing_done", {{"text", "a\"b\n"}, {"count", 5}, {"big", std::uint64_t{1} << 63}, {"ok", true}, {"part", 0.5}});
  stop();
  json::Reader reader;
  const auto all = lines();
  ASSERT_EQ(all.size(), 1U);
  const json::Value* line = reader.parse(all[0]);
  ASSERT_NE(line, nullptr);
  EXPECT_EQ(json::find_string(*line, "time")->size(), 24U);
  EXPECT_EQ(json::find_string(*line, "level"), "info");
  EXPECT_EQ(json::find_string(*line, "event"), "thing_done");
  EXPECT_EQ(json::find_integer(*line, "core"), 3);
  EXPECT_EQ(json::find_string(*line, "text"), "a\"b\n");
  EXPECT_EQ(json::find_integer(*line, "count"), 5);
  EXPECT_EQ(json::find_bool(*line, "ok"), true);
}

TEST_F(LogTest, stays_json_whatever_the_bytes) {
  ASSERT_TRUE(start(settings_));
  const std::string bytes("\xff\xfe\0\x01<script>", 12);
  const std::string long_text = std::string(2047, 'x') + "ü" + std::string(100'000, 'y');
  warn(
      "odd",
      {{"bytes", bytes}, {"nan", std::nan("")}, {"inf", std::numeric_limits<double>::infinity()}, {"long", long_text}});
  stop();
  json::Reader reader;
  const auto all = lines();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_LT(all[0].size(), 4096U);
  const json::Value* line = reader.parse(all[0]);
  ASSERT_NE(line, nullptr) << all[0];
  EXPECT_EQ(json::find_string(*line, "long"), std::string(2047, 'x') + "...");
}

TEST_F(LogTest, shows_its_level_and_above) {
  settings_.log_level = LogLevel::warn;
  ASSERT_TRUE(start(settings_));
  debug("no");
  info("no");
  warn("yes");
  error("yes");
  EXPECT_FALSE(enabled(LogLevel::info));
  stop();
  EXPECT_EQ(lines().size(), 2U);
}

TEST_F(LogTest, writes_to_a_new_file_after_a_rotation) {
  ASSERT_TRUE(start(settings_));
  info("before");
  stop();
  ASSERT_TRUE(start(settings_));
  std::filesystem::rename(folder_ / "log", folder_ / "old");
  reopen();
  info("after");
  stop();
  ASSERT_EQ(lines("old").size(), 1U);
  ASSERT_EQ(lines().size(), 1U);
  EXPECT_NE(lines()[0].find("after"), std::string::npos);
}

TEST_F(LogTest, keeps_the_old_file_when_a_new_one_cannot_be_made) {
  settings_.log_file = folder_ / "sub" / "log";
  std::filesystem::create_directory(folder_ / "sub");
  ASSERT_TRUE(start(settings_));
  std::filesystem::rename(folder_ / "sub", folder_ / "moved");
  reopen();
  info("still_here");
  stop();
  const auto all = lines("moved/log");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_NE(all[0].find("log_reopen_failed"), std::string::npos);
}

TEST_F(LogTest, says_when_its_file_cannot_be_written) {
  settings_.log_file = folder_ / "missing" / "log";
  const auto started = start(settings_);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("LOG_FILE"), std::string::npos);
}

TEST_F(LogTest, a_flood_is_bounded_and_counted) {
  ASSERT_TRUE(start(settings_));
  constexpr int kThreads = 4;
  constexpr int kLines = 20'000;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([] {
        for (int i = 0; i < kLines; ++i) info("flood", {{"i", i}});
      });
  }
  stop();
  json::Reader reader;
  std::int64_t written = 0;
  std::int64_t lost = 0;
  for (const std::string& text : lines()) {
    const json::Value* line = reader.parse(text);
    ASSERT_NE(line, nullptr) << text;
    if (json::find_string(*line, "event") == "log_lines_lost")
      lost += *json::find_integer(*line, "lines");
    else
      ++written;
  }
  EXPECT_EQ(written + lost, kThreads * kLines);
}

}  // namespace
}  // namespace ringline::base::log
