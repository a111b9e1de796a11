// The small rules for texts that an operator writes.
#include "settings_text.hpp"

#include <gtest/gtest.h>

#include "ringline/base/settings.hpp"

namespace ringline::base {
namespace {

using namespace std::chrono_literals;

TEST(SettingsText, durations) {
  EXPECT_EQ(parse_duration("30"), 30s);
  EXPECT_EQ(parse_duration("1500ms"), 1500ms);
  EXPECT_EQ(parse_duration("10s"), 10s);
  EXPECT_EQ(parse_duration("5m"), 5min);
  EXPECT_EQ(parse_duration("2h"), 2h);
  EXPECT_EQ(parse_duration("0"), 0s);
  for (const char* text : {"", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999", "9223372036854775807h", "1S"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(SettingsText, sizes) {
  EXPECT_EQ(parse_size("512"), 512U);
  EXPECT_EQ(parse_size("64K"), 65536U);
  EXPECT_EQ(parse_size("1M"), 1048576U);
  EXPECT_EQ(parse_size("2G"), 2147483648U);
  for (const char* text : {"", "K", "-1", "1.5M", "1 K", "1KB", "1k", "18446744073709551615G"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(SettingsText, are_shown_as_they_are_read) {
  EXPECT_EQ(duration_to_text(1500ms), "1500ms");
  EXPECT_EQ(duration_to_text(90s), "90s");
  EXPECT_EQ(duration_to_text(24h), "24h");
  EXPECT_EQ(duration_to_text(0ms), "0");
  EXPECT_EQ(size_to_text(65536), "64K");
  EXPECT_EQ(size_to_text(1000), "1000");
}

TEST(SettingsText, lists) {
  EXPECT_EQ(split_list(" a, b ,,c\n d\n"), (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_TRUE(split_list(" , ").empty());
  EXPECT_EQ(join_list({"a", "b"}), "a,b");
}

TEST(SettingsText, addresses_and_blocks) {
  for (const char* text : {"10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8", "0.0.0.0/0", "::/0"})
    EXPECT_TRUE(is_cidr(text)) << text;
  for (const char* text : {"", "10.0.0.0/33", "10.0.0", "::/129", "a.example", "10.0.0.0/", "10.0.0.0/x"})
    EXPECT_FALSE(is_cidr(text)) << text;
}

TEST(SettingsText, origins) {
  for (const char* text :
       {"*", "https://chat.example.org", "https://*.example.org", "http://localhost:5173", "http://[::1]:80"})
    EXPECT_TRUE(is_origin(text)) << text;
  for (const char* text : {"", "example.org", "ftp://x", "https://", "https://a/b", "https://a b", "https://*"})
    EXPECT_FALSE(is_origin(text)) << text;
}

TEST(SettingsText, names_of_flags) {
  EXPECT_EQ(flag_name("DATA_DIR"), "data-dir");
  EXPECT_EQ(flag_name("RINGLINE_ENV"), "env");
  EXPECT_EQ(upper_name("data-dir"), "DATA_DIR");
}

TEST(SettingsText, distance_of_words) {
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("PROT", "PORT"), 2U);
  EXPECT_EQ(edit_distance("PORT", "PORT"), 0U);
  EXPECT_EQ(edit_distance("LOGLEVEL", "LOG_LEVEL"), 1U);
}

}  // namespace
}  // namespace ringline::base
