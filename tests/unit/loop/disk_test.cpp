// The disk seam on the real file system.
#include "ringline/loop/disk.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "support.hpp"

namespace ringline::loop::test {
namespace {

class Disk : public testing::Test {
 protected:
  Disk() {
    std::string pattern = testing::TempDir() + "/ringline-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~Disk() override { std::filesystem::remove_all(directory_); }
  std::string at(const char* name) const { return directory_ + "/" + name; }
  std::string directory_;
};

TEST_F(Disk, CreatesWritesReads) {
  const auto file = disk::open(at("a"), disk::Open::create);
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(*disk::size(*file), 0U);
  ASSERT_TRUE(disk::write_at(*file, bytes_of("hello"), 3));
  ASSERT_TRUE(disk::sync(*file));
  EXPECT_EQ(*disk::size(*file), 8U);
  std::array<std::byte, 16> into{};
  EXPECT_EQ(*disk::read_at(*file, into, 4), 4U);
  EXPECT_EQ(text_of(std::span(into).first(4)), "ello");
  EXPECT_EQ(*disk::read_at(*file, into, 8), 0U);
  disk::close(*file);
  EXPECT_EQ(disk::open(at("a"), disk::Open::create).error().sys, EEXIST);
  EXPECT_EQ(disk::open(at("b"), disk::Open::read).error().sys, ENOENT);
  const auto reader = disk::open(at("a"), disk::Open::read);
  EXPECT_EQ(disk::write_at(*reader, bytes_of("x"), 0).error().sys, EBADF);
  disk::close(*reader);
}

TEST_F(Disk, PreallocatedIsWrittenNotAHole) {
  const auto file = disk::open(at("a"), disk::Open::create);
  constexpr std::uint64_t kBytes = 700'000;
  ASSERT_TRUE(disk::preallocate(*file, kBytes));
  EXPECT_EQ(*disk::size(*file), kBytes);
  struct stat status{};
  ::fstat(file->value, &status);
  EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, kBytes);
  disk::close(*file);
}

TEST_F(Disk, DirectoriesListsRenamesRemoves) {
  EXPECT_TRUE(disk::list(at("none"))->empty());
  ASSERT_TRUE(disk::make_directories(at("x/y/z")));
  ASSERT_TRUE(disk::make_directories(at("x/y/z")));
  for (const char* name : {"x/y/z/b", "x/y/z/a"}) disk::close(*disk::open(at(name), disk::Open::create));
  ASSERT_TRUE(disk::sync_directory(at("x/y/z")));
  EXPECT_EQ(*disk::list(at("x/y/z")), (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(disk::rename(at("x/y/z/a"), at("x/y/z/c")));
  ASSERT_TRUE(disk::remove(at("x/y/z/b")));
  EXPECT_EQ(*disk::list(at("x/y/z")), (std::vector<std::string>{"c"}));
  EXPECT_EQ(disk::remove(at("x/y/z/b")).error().sys, ENOENT);
  const auto in_the_way = disk::make_directories(at("x/y/z/c"));
  EXPECT_EQ(in_the_way.error().sys, EEXIST);
  EXPECT_NE(in_the_way.error().message.find("x/y/z/c"), std::string::npos);
  EXPECT_GT(*disk::free_bytes(directory_), 0U);
}

}  // namespace
}  // namespace ringline::loop::test
