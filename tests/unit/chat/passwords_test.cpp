// Password hashes: ours, older ones, and what is none.
#include "ringline/chat/passwords.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace ringline::chat {
namespace {

constexpr unsigned kCost = 4;

TEST(Passwords, AreCheckedAgainstTheirHash) {
  std::string hash = hash_password("correct horse", kCost);
  EXPECT_EQ(hash.size(), 60U);
  EXPECT_EQ(hash.substr(0, 7), "$2b$04$");
  EXPECT_NE(hash, hash_password("correct horse", kCost));
  auto right = check_password(hash, "correct horse", kCost);
  EXPECT_TRUE(right.ok);
  EXPECT_FALSE(right.needs_rehash);
  EXPECT_FALSE(check_password(hash, "correct Horse", kCost).ok);
  EXPECT_FALSE(check_password(hash, "", kCost).ok);
  EXPECT_FALSE(check_password(hash, std::string("correct horse\0", 14), kCost).ok);
}

TEST(Passwords, UpToTheirLongest) {
  std::string longest(72, 'x');
  std::string hash = hash_password(longest, kCost);
  EXPECT_TRUE(check_password(hash, longest, kCost).ok);
  EXPECT_FALSE(check_password(hash, longest + "y", kCost).ok);
  EXPECT_FALSE(check_password(hash, longest.substr(1), kCost).ok);
}

// OpenBSD's and Openwall's test vectors.
TEST(Passwords, OlderBcryptIsTakenAndHashedAgain) {
  for (const char* hash : {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                           "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                           "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}) {
    auto check = check_password(hash, "U*U", kCost);
    EXPECT_TRUE(check.ok) << hash;
    EXPECT_TRUE(check.needs_rehash) << hash;
    EXPECT_FALSE(check_password(hash, "U*", kCost).ok);
  }
  EXPECT_FALSE(check_password("$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", 5).needs_rehash);
  EXPECT_TRUE(check_password("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", 5).needs_rehash);
}

TEST(Passwords, AHashIsToldFromAPassword) {
  const std::string sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  for (const std::string& hash : {hash_password("x", kCost), sha256, "sha256:salt:" + sha256, "sha256::" + sha256})
    EXPECT_TRUE(is_password_hash(hash)) << hash;
  for (const std::string& text :
       {std::string(), std::string("word"), sha256.substr(1), sha256 + "0", "sha256:" + sha256,
        std::string("sha256:salt:"), "g" + sha256.substr(1), std::string("$2b$04$short")})
    EXPECT_FALSE(is_password_hash(text)) << text;
}

// printf 'abc' | sha256sum; printf 'saltabc' | sha256sum; printf 's:xabc' | sha256sum
TEST(Passwords, Sha256IsTakenAndHashedAgain) {
  for (const char* text : {"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                           "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
                           "sha256:salt:3681099918be28c95b81e27e7e5c2e4c6a6dea566d2d10e7f49139ebb779eb6f",
                           "sha256:s:x:a2ee844e4cfabf1d854b2fe9c3d93077917ba22076e57641249a7be782c91761"}) {
    auto check = check_password(text, "abc", kCost);
    EXPECT_TRUE(check.ok) << text;
    EXPECT_TRUE(check.needs_rehash);
    EXPECT_FALSE(check_password(text, "abd", kCost).ok);
  }
}

TEST(Passwords, WhatIsNoHashIsNoAndTakesAsLong) {
  using Clock = std::chrono::steady_clock;
  constexpr unsigned kSlow = 10;
  std::string hash = hash_password("abcdefgh", kSlow);
  auto time = [&](std::string_view stored) {
    auto begun = Clock::now();
    EXPECT_FALSE(check_password(stored, "wrong", kSlow).ok);
    return Clock::now() - begun;
  };
  auto wrong = time(hash);
  for (std::string_view stored : {"", "$2b$10$short", "sha256:", "sha256:salt:00", "plain", "$y$j9T$x$y",
                                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"})
    EXPECT_GT(time(stored), wrong / 4) << stored;
}

}  // namespace
}  // namespace ringline::chat
