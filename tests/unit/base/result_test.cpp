// The stable codes, and the end of a failed ASSERT.
#include "ringline/base/result.hpp"

#include <gtest/gtest.h>

#include "ringline/base/assert.hpp"
#include "ringline/base/version.hpp"

namespace ringline::base {
namespace {

TEST(Errc, names_and_statuses_are_the_contract_s) {
  EXPECT_EQ(name_of(Errc::invalid), "invalid");
  EXPECT_EQ(http_status(Errc::invalid), 400);
  EXPECT_EQ(name_of(Errc::unauthenticated), "unauthenticated");
  EXPECT_EQ(http_status(Errc::unauthenticated), 401);
  EXPECT_EQ(name_of(Errc::forbidden), "forbidden");
  EXPECT_EQ(http_status(Errc::forbidden), 403);
  EXPECT_EQ(name_of(Errc::not_found), "not_found");
  EXPECT_EQ(http_status(Errc::not_found), 404);
  EXPECT_EQ(name_of(Errc::conflict), "conflict");
  EXPECT_EQ(http_status(Errc::conflict), 409);
  EXPECT_EQ(name_of(Errc::too_large), "too_large");
  EXPECT_EQ(http_status(Errc::too_large), 413);
  EXPECT_EQ(name_of(Errc::rate_limited), "rate_limited");
  EXPECT_EQ(http_status(Errc::rate_limited), 429);
  EXPECT_EQ(name_of(Errc::unavailable), "unavailable");
  EXPECT_EQ(http_status(Errc::unavailable), 503);
  EXPECT_EQ(name_of(Errc::internal), "internal");
  EXPECT_EQ(http_status(Errc::internal), 500);
}

TEST(AssertDeathTest, names_the_expression_and_the_place) {
  ASSERT(1 + 1 == 2);
  EXPECT_DEATH(assertion_failed("one == two", "file.cpp", 7), "assertion failed: one == two \\(file.cpp:7\\)");
}

TEST(Version, is_known) {
  EXPECT_FALSE(version().empty());
  EXPECT_FALSE(compiler().empty());
}

}  // namespace
}  // namespace ringline::base
