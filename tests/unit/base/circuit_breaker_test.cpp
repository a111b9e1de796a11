#include "ringline/base/circuit_breaker.hpp"

#include <gtest/gtest.h>

namespace ringline::base {
namespace {

using namespace std::chrono_literals;
using State = CircuitBreaker::State;

constexpr CircuitBreaker::Options kOptions{.failures = 3, .first_pause = 1000ms, .longest_pause = 4000ms};

void open(CircuitBreaker& breaker, std::int64_t now_ms) {
  for (unsigned i = 0; i < kOptions.failures; ++i) breaker.failed(now_ms, 0);
}

TEST(CircuitBreaker, OpensAfterSoManyFailuresInARow) {
  CircuitBreaker breaker(kOptions);
  breaker.failed(0, 0);
  breaker.failed(0, 0);
  breaker.succeeded();
  breaker.failed(0, 0);
  breaker.failed(0, 0);
  EXPECT_TRUE(breaker.closed());
  breaker.failed(0, 0);
  EXPECT_EQ(breaker.state(), State::open);
}

TEST(CircuitBreaker, IsProbedOnceAfterThePause) {
  CircuitBreaker breaker(kOptions);
  open(breaker, 10'000);
  EXPECT_FALSE(breaker.begin_probe(10'700));
  EXPECT_EQ(breaker.retry_after_ms(10'000), 1000U);
  EXPECT_TRUE(breaker.begin_probe(11'300));
  EXPECT_EQ(breaker.state(), State::half_open);
  EXPECT_FALSE(breaker.begin_probe(20'000)) << "one at a time";
  breaker.succeeded();
  EXPECT_TRUE(breaker.closed());
}

TEST(CircuitBreaker, ThePauseGrowsToItsBoundAndStartsAnewAfterASuccess) {
  CircuitBreaker breaker(kOptions);
  open(breaker, 0);
  std::int64_t now_ms = 0;
  for (const std::int64_t pause : {1000, 2000, 4000, 4000}) {
    EXPECT_FALSE(breaker.begin_probe(now_ms + pause * 3 / 4 - 1)) << pause;
    EXPECT_TRUE(breaker.begin_probe(now_ms + pause * 3 / 4)) << pause << ": without jitter a quarter early";
    now_ms += pause * 3 / 4;
    breaker.failed(now_ms, 0);
    EXPECT_EQ(breaker.state(), State::open);
  }
  EXPECT_TRUE(breaker.begin_probe(now_ms + 4000));
  breaker.succeeded();
  open(breaker, now_ms);
  EXPECT_TRUE(breaker.begin_probe(now_ms + 1000));
}

TEST(CircuitBreaker, JitterStaysWithinAQuarterOfThePause) {
  for (const std::uint64_t random : {0ULL, 1ULL, 499ULL, 500ULL, 123'456'789ULL, ~0ULL}) {
    CircuitBreaker breaker(kOptions);
    for (unsigned i = 0; i < kOptions.failures; ++i) breaker.failed(0, random);
    EXPECT_FALSE(breaker.begin_probe(749)) << random;
    EXPECT_TRUE(breaker.begin_probe(1250)) << random;
  }
}

TEST(CircuitBreaker, AnswersOfCallsThatWereUnderWayDoNotCloseIt) {
  CircuitBreaker breaker(kOptions);
  open(breaker, 0);
  breaker.succeeded();
  EXPECT_EQ(breaker.state(), State::open);
  breaker.failed(100, 0);
  EXPECT_TRUE(breaker.begin_probe(1250)) << "and do not make it wait longer";
}

TEST(CircuitBreaker, AtTheStartTheFirstProbeDecides) {
  CircuitBreaker there(kOptions), away(kOptions);
  for (CircuitBreaker* breaker : {&there, &away}) {
    breaker->begin_unknown();
    EXPECT_FALSE(breaker->closed());
    EXPECT_FALSE(breaker->begin_probe(10'000)) << "it is under way";
  }
  there.succeeded();
  EXPECT_TRUE(there.closed());
  away.failed(0, 0);
  EXPECT_EQ(away.state(), State::open);
}

TEST(CircuitBreaker, SaysWhenToComeAgain) {
  CircuitBreaker breaker({.failures = 1, .first_pause = 20'000ms, .longest_pause = 30'000ms});
  breaker.failed(1000, 0);
  EXPECT_EQ(breaker.retry_after_ms(1000), 15'000U);
  EXPECT_EQ(breaker.retry_after_ms(15'900), 1000U);
  EXPECT_EQ(breaker.retry_after_ms(99'000), 1000U);
  EXPECT_EQ(name_of(breaker.state()), "open");
}

}  // namespace
}  // namespace ringline::base
