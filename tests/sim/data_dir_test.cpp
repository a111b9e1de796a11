// DATA_DIR on the disk that forgets: what its calls say is done is so after a power cut. Its lock is a real file, in a real folder of the same name.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

#include "app/data_dir.hpp"
#include "ringline/loop/disk.hpp"
#include "world.hpp"

namespace ringline::app {
namespace {

namespace disk = loop::disk;

constexpr std::uint64_t kRounds = 50;
const std::string kMark = "relaxed";

struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "ringline-data-XXXXXX").string();
  Folder() { path = ::mkdtemp(path.data()); }
  ~Folder() { std::filesystem::remove_all(path); }
};

bool is_there(const std::string& folder) {
  const auto names = disk::list(folder);
  return names && std::ranges::find(*names, kMark) != names->end();
}

TEST(DataDir, AFileThatWasRemovedStaysAway) {
  const Folder folder;
  for (std::uint64_t seed = 1; seed <= kRounds; ++seed) {
    sim::World world(seed);
    const auto data = DataDir::open(folder.path);
    ASSERT_TRUE(data) << data.error().message;
    const auto made = disk::open(data->file(kMark), disk::Open::create);
    ASSERT_TRUE(made);
    disk::close(*made);
    ASSERT_TRUE(disk::sync_directory(folder.path));
    ASSERT_TRUE(is_there(folder.path));
    ASSERT_TRUE(data->remove_file(kMark));
    world.crash();
    world.reboot();
    EXPECT_FALSE(is_there(folder.path)) << "it is back in the round of seed " << seed;
  }
}

}  // namespace
}  // namespace ringline::app
