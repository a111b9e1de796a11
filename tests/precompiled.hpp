// Precompiled for the tests: see src/base/pch/precompiled.hpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../src/base/pch/precompiled.hpp"
