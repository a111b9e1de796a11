// Kept answers: who runs, who waits, who is refused, and the bounds.
#include "ringline/chat/first_answers.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ringline::chat {
namespace {

using Verdict = FirstAnswers::Verdict;

constexpr std::int64_t kNow = 1'000'000;
const UserId kAnn{1};
const UserId kBob{2};

// What `claim` told: "" while it waits.
struct Told {
  std::string text;
  FirstAnswers::Told hears() {
    return [this](FirstAnswers::Claim claim) {
      switch (claim.verdict) {
        case Verdict::run:
          text = "run";
          break;
        case Verdict::kept:
          text = std::to_string(claim.answer.status) + " " + claim.answer.body + " " + claim.answer.location;
          break;
        case Verdict::other_body:
          text = "other body";
          break;
        case Verdict::busy:
          text = "busy";
          break;
      }
    };
  }
};
std::string claim(FirstAnswers& answers, UserId user, const std::string& name, std::uint64_t body = 7,
                  std::int64_t now = kNow) {
  Told told;
  answers.claim(user, name, body, now, told.hears());
  return told.text;
}
FirstAnswer answer(std::string body) { return {.status = 201, .body = std::move(body), .location = "/x"}; }

TEST(FirstAnswers, TheSameIsAnsweredAlike) {
  FirstAnswers answers;
  EXPECT_EQ(claim(answers, kAnn, "a"), "run");
  answers.keep(kAnn, "a", answer("one"), kNow);
  EXPECT_EQ(claim(answers, kAnn, "a"), "201 one /x");
  EXPECT_EQ(claim(answers, kAnn, "a"), "201 one /x");
  EXPECT_EQ(claim(answers, kAnn, "a", 8), "other body");
  EXPECT_EQ(claim(answers, kAnn, "b"), "run") << "another key";
  EXPECT_EQ(claim(answers, kBob, "a", 8), "run") << "another user";
  EXPECT_EQ(answers.count(), 1U);
}

TEST(FirstAnswers, TheSecondWaitsForTheFirst) {
  FirstAnswers answers;
  Told second, third, other;
  EXPECT_EQ(claim(answers, kAnn, "a"), "run");
  answers.claim(kAnn, "a", 7, kNow, second.hears());
  answers.claim(kAnn, "a", 7, kNow, third.hears());
  answers.claim(kAnn, "a", 8, kNow, other.hears());
  EXPECT_EQ(second.text, "");
  EXPECT_EQ(other.text, "other body") << "not waited for";
  answers.keep(kAnn, "a", answer("one"), kNow);
  EXPECT_EQ(second.text, "201 one /x");
  EXPECT_EQ(third.text, "201 one /x");
}

TEST(FirstAnswers, WhatIsDroppedIsRunByTheNext) {
  FirstAnswers answers;
  Told second, third;
  EXPECT_EQ(claim(answers, kAnn, "a"), "run");
  answers.claim(kAnn, "a", 7, kNow, second.hears());
  answers.claim(kAnn, "a", 7, kNow, third.hears());
  answers.drop(kAnn, "a");
  EXPECT_EQ(second.text, "run");
  EXPECT_EQ(third.text, "");
  answers.keep(kAnn, "a", answer("two"), kNow);
  EXPECT_EQ(third.text, "201 two /x");
  EXPECT_EQ(claim(answers, kAnn, "b"), "run");
  answers.drop(kAnn, "b");
  EXPECT_EQ(claim(answers, kAnn, "b", 9), "run") << "nothing is left of it";
  answers.drop(kAnn, "b");
}

TEST(FirstAnswers, WhoIsToldMayComeBackAtOnce) {
  FirstAnswers answers;
  std::string again;
  EXPECT_EQ(claim(answers, kAnn, "a"), "run");
  for (int i = 0; i < 3; ++i)
    answers.claim(kAnn, "a", 7, kNow, [&](const FirstAnswers::Claim&) {
      for (int more = 0; more < 100; ++more) claim(answers, kAnn, "more " + std::to_string(more));
      again = claim(answers, kAnn, "a");
    });
  answers.keep(kAnn, "a", answer("one"), kNow);
  EXPECT_EQ(again, "201 one /x");
}

TEST(FirstAnswers, FewWait) {
  FirstAnswers answers;
  std::vector<Told> waiting(FirstAnswers::kWaitingMax);
  EXPECT_EQ(claim(answers, kAnn, "a"), "run");
  for (Told& one : waiting) answers.claim(kAnn, "a", 7, kNow, one.hears());
  EXPECT_EQ(claim(answers, kAnn, "a"), "busy");
  answers.keep(kAnn, "a", answer("one"), kNow);
  for (Told& one : waiting) EXPECT_EQ(one.text, "201 one /x");
}

TEST(FirstAnswers, ADayOnly) {
  FirstAnswers answers;
  claim(answers, kAnn, "a");
  answers.keep(kAnn, "a", answer("one"), kNow);
  EXPECT_EQ(claim(answers, kAnn, "a", 7, kNow + FirstAnswers::kKeptMs - 1), "201 one /x");
  EXPECT_EQ(claim(answers, kAnn, "a", 7, kNow + FirstAnswers::kKeptMs), "run");
  EXPECT_EQ(answers.count(), 0U);
  EXPECT_EQ(answers.bytes(), 0U);
}

TEST(FirstAnswers, AUserPushesOutHisOwn) {
  FirstAnswers answers;
  claim(answers, kBob, "b");
  answers.keep(kBob, "b", answer("Bob's"), kNow);
  for (std::size_t i = 0; i <= FirstAnswers::kPerUser; ++i) {
    claim(answers, kAnn, std::to_string(i));
    answers.keep(kAnn, std::to_string(i), answer(""), kNow);
  }
  EXPECT_EQ(answers.count(), FirstAnswers::kPerUser + 1);
  EXPECT_EQ(claim(answers, kAnn, "0"), "run");
  EXPECT_EQ(claim(answers, kAnn, "1"), "201  /x");
  EXPECT_EQ(claim(answers, kBob, "b"), "201 Bob's /x");

  std::string half(FirstAnswers::kBytesPerUser / 2, 'x');
  for (const char* name : {"large 1", "large 2"}) {
    claim(answers, kAnn, name);
    answers.keep(kAnn, name, answer(half), kNow);
  }
  EXPECT_EQ(claim(answers, kAnn, "large 1"), "run");
  EXPECT_NE(claim(answers, kAnn, "large 2"), "run");
  EXPECT_LT(answers.bytes(), FirstAnswers::kBytesPerUser + 1000);
}

TEST(FirstAnswers, WhatIsTooLargeIsTheSameForThoseWhoWaitAndNotKept) {
  FirstAnswers answers;
  Told second;
  claim(answers, kAnn, "a");
  answers.claim(kAnn, "a", 7, kNow, second.hears());
  answers.keep(kAnn, "a", answer(std::string(FirstAnswers::kBytesPerUser, 'x')), kNow);
  EXPECT_GT(second.text.size(), FirstAnswers::kBytesPerUser);
  EXPECT_EQ(claim(answers, kAnn, "a"), "run");
  EXPECT_EQ(answers.bytes(), 0U);
}

TEST(FirstAnswers, ACoreIsBounded) {
  FirstAnswers answers;
  std::string large(FirstAnswers::kBytesPerUser - 1000, 'x');
  for (std::uint64_t user = 1; user <= 200; ++user) {
    claim(answers, UserId{user}, "a");
    answers.keep(UserId{user}, "a", answer(large), kNow);
    EXPECT_LE(answers.bytes(), FirstAnswers::kBytesMax);
  }
  EXPECT_EQ(claim(answers, UserId{1}, "a"), "run");
  EXPECT_NE(claim(answers, UserId{200}, "a"), "run");
  EXPECT_GT(answers.count(), 100U);
}

}  // namespace
}  // namespace ringline::chat
