// Metrics: the text a scraper reads. Its names are a golden file: to change one, change tests/golden/metrics.txt too.
#include "ringline/base/metrics.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace ringline::base {
namespace {

std::string text_of(std::size_t cores) {
  std::vector<Metrics> all(cores);
  for (std::size_t i = 0; i < cores; ++i) {
    all[i].connections = 10 + i;
    all[i].messages = 100;
    all[i].commit_seconds.record(1500);
  }
  return render_prometheus(all, 12.5);
}

// What `promtool check metrics` looks at, with the form of each line.
TEST(Metrics, keep_the_rules_of_prometheus) {
  const std::regex sample(R"(^([a-z][a-z0-9_]*)(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? (-?[0-9.e+-]+)$)");
  std::map<std::string, std::string> types;
  std::map<std::string, bool> helps;
  std::istringstream lines(text_of(2));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string mark, kind, name, rest;
    if (line.starts_with("# ")) {
      words >> mark >> kind >> name >> rest;
      if (kind == "HELP")
        helps[name] = !rest.empty();
      else
        EXPECT_TRUE(types.emplace(name, rest).second) << "twice: " << name;
      continue;
    }
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    name = std::regex_replace(match[1].str(), std::regex("_(bucket|sum|count)$"), "");
    ASSERT_TRUE(types.contains(name)) << line;
  }
  for (const auto& [name, type] : types) {
    EXPECT_TRUE(helps[name]) << name;
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << name;
    EXPECT_TRUE(name.starts_with("ringline_") || name.starts_with("process_")) << name;
    EXPECT_FALSE(std::regex_search(
        name, std::regex("_(ms|milliseconds|us|ns|kb|mb|minutes|hours|counter|gauge|histogram)(_|$)")))
        << name;
  }
}

TEST(Metrics, names_are_as_published) {
  const char* golden = std::getenv("RINGLINE_GOLDEN");
  ASSERT_NE(golden, nullptr) << "run by meson test";
  std::ifstream file(std::string(golden) + "/metrics.txt");
  const std::string expected((std::istreambuf_iterator<char>(file)), {});
  std::string names;
  std::istringstream lines(text_of(1));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("# TYPE ")) names += line.substr(7) + "\n";
  EXPECT_EQ(names, expected);
}

TEST(Metrics, add_up_over_cores) {
  const std::string text = text_of(3);
  EXPECT_NE(text.find("\nringline_connections 33\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_core_connections{core=\"2\"} 12\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_messages_total 300\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_journal_commit_seconds_count 3\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_journal_commit_seconds_bucket{le=\"1e-06\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_journal_commit_seconds_bucket{le=\"2e-06\"} 3\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_journal_commit_seconds_bucket{le=\"+Inf\"} 3\n"), std::string::npos);
  EXPECT_NE(text.find("\nringline_uptime_seconds 12.5\n"), std::string::npos);
}

double value_of(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST(Metrics, know_the_process) {
  const std::string text = text_of(1);
  EXPECT_GT(value_of(text, "process_cpu_seconds_total"), 0);
  EXPECT_GT(value_of(text, "process_resident_memory_bytes"), 1e6);
  EXPECT_GE(value_of(text, "process_open_fds"), 3);
  EXPECT_GE(value_of(text, "process_max_fds"), value_of(text, "process_open_fds"));
  EXPECT_GT(value_of(text, "process_start_time_seconds"), 1e9);
}

TEST(Histogram, puts_a_duration_into_the_first_bucket_that_holds_it) {
  const auto bucket_of = [](std::int64_t ns) {
    Histogram histogram;
    histogram.record(ns);
    for (std::size_t i = 0; i < Histogram::kBuckets; ++i)
      if (histogram.buckets.at(i) == 1) return i;
    return Histogram::kBuckets;
  };
  EXPECT_EQ(bucket_of(-5), 0U);
  EXPECT_EQ(bucket_of(0), 0U);
  EXPECT_EQ(bucket_of(1000), 0U);
  EXPECT_EQ(bucket_of(1001), 1U);
  EXPECT_EQ(bucket_of(2000), 1U);
  EXPECT_EQ(bucket_of(2001), 2U);
  EXPECT_EQ(bucket_of(16'777'216'000), 24U);
  EXPECT_EQ(bucket_of(16'777'216'001), 25U);
  EXPECT_EQ(bucket_of(3'600'000'000'000), 25U);
}

}  // namespace
}  // namespace ringline::base
