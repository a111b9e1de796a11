// IdMap: beside std::map, whatever is done to both.
#include "ringline/base/id_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>

namespace ringline::base {
namespace {

// What a map holds here: an entry that knows its id.
template <class T>
struct Named {
  UserId of;
  T value{};
  UserId id() const noexcept { return of; }
};
using Map = IdMap<UserId, Named<std::string>>;

std::map<std::uint64_t, std::string> contents(const Map& map) {
  std::map<std::uint64_t, std::string> found;
  for (const auto& [id, value] : map) EXPECT_TRUE(found.emplace(id.value, value).second);
  return found;
}

TEST(IdMap, holds_what_was_put_in) {
  Map map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.find(UserId{1}), nullptr);
  EXPECT_FALSE(map.erase(UserId{1}));
  map.fetch(UserId{1});  // what is not there, as little as what is, changes nothing
  EXPECT_TRUE(map.emplace(UserId{1}, UserId{1}, "one").second);
  EXPECT_FALSE(map.emplace(UserId{1}, UserId{1}, "another").second);
  map.fetch(UserId{1});
  EXPECT_EQ(map.find(UserId{1})->value, "one");
  EXPECT_EQ(map.emplace(UserId{2}, UserId{2}).first.value, "");
  EXPECT_EQ(map.find(UserId{3}), nullptr);
  EXPECT_TRUE(map.contains(UserId{2}));
  EXPECT_EQ(map.size(), 2U);
  EXPECT_TRUE(map.erase(UserId{1}));
  EXPECT_FALSE(map.contains(UserId{1}));
  EXPECT_EQ(map.size(), 1U);
}

TEST(IdMap, is_what_std_map_is_after_any_calls) {
  std::mt19937_64 random(7);
  Map map;
  std::map<std::uint64_t, std::string> model;
  for (int step = 0; step < 200'000; ++step) {
    const std::uint64_t id = 1 + random() % 500;
    if (random() % 2 == 0) {
      map.emplace(UserId{id}, UserId{id}).first.value = model[id] = std::to_string(step);
    } else {
      ASSERT_EQ(map.erase(UserId{id}), model.erase(id) > 0);
    }
    const std::uint64_t other = 1 + random() % 500;
    const auto found = model.find(other);
    const auto* entry = map.find(UserId{other});
    ASSERT_EQ(entry != nullptr, found != model.end());
    if (entry) ASSERT_EQ(entry->value, found->second);
    ASSERT_EQ(map.size(), model.size());
    if (step % 1000 == 0) ASSERT_EQ(contents(map), model);
  }
}

TEST(IdMap, erase_if_takes_all_of_them) {
  for (std::uint64_t count = 0; count < 200; ++count) {
    Map map;
    std::map<std::uint64_t, std::string> model;
    for (std::uint64_t id = 1; id <= count; ++id) map.emplace(UserId{id}, UserId{id}, model[id] = std::to_string(id));
    erase_if(map, [](const auto& entry) { return entry.of.value % 3 != 0; });
    std::erase_if(model, [](const auto& entry) { return entry.first % 3 != 0; });
    EXPECT_EQ(contents(map), model);
  }
}

TEST(IdMap, entries_stay_where_they_are) {
  IdMap<UserId, Named<std::unique_ptr<int>>> map;
  map.reserve(3);
  const auto* first = &map.emplace(UserId{1}, UserId{1}, std::make_unique<int>(1)).first;
  for (std::uint64_t id = 2; id < 1000; ++id) map.emplace(UserId{id}, UserId{id});
  for (std::uint64_t id = 2; id < 1000; id += 2) map.erase(UserId{id});
  EXPECT_EQ(map.find(UserId{1}), first);
  EXPECT_TRUE(std::ranges::any_of(map, [](const auto& entry) { return entry.value && *entry.value == 1; }));
}

}  // namespace
}  // namespace ringline::base
