// Files through the ring: write_sync and every way in which it fails. Journals depend on it being told.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ringline/loop/disk.hpp"
#include "support.hpp"

namespace ringline::loop::test {
namespace {

class RingFile : public testing::Test {
 protected:
  RingFile() {
    std::string pattern = testing::TempDir() + "/ringline-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    file_ = *disk::open(directory_ + "/file", disk::Open::create);
  }
  ~RingFile() override {
    if (file_) disk::close(file_);
    std::filesystem::remove_all(directory_);
  }
  std::string content() const {
    std::ifstream in(directory_ + "/file", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::unique_ptr<Ring> ring_ = open_ring();
  std::string directory_;
  Fd file_;
};

TEST_F(RingFile, WriteSyncIsOneCompletion) {
  Recorder write;
  const std::string text(10'000, 'j');
  ring_->write_sync(write.op, file_, bytes_of(text), 0);
  EXPECT_EQ(ring_->in_kernel(), 1U);
  ASSERT_TRUE(run_until(*ring_, [&] { return write.done(); }));
  EXPECT_EQ(write.results, std::vector{10'000});
  EXPECT_EQ(ring_->in_kernel(), 0U);
  EXPECT_EQ(content(), text);
}

TEST_F(RingFile, ManyWriteSyncsFillTheQueueWithoutTearingALink) {
  auto ring = open_ring(0, 0, 3);  // three rounded up to four: pairs meet the queue's end
  std::vector<std::unique_ptr<Recorder>> writes;
  for (unsigned i = 0; i < 50; ++i) {
    writes.push_back(std::make_unique<Recorder>());
    if (i % 3 == 0)
      ring->write(writes.back()->op, file_, bytes_of("ab"), i * 2);
    else
      ring->write_sync(writes.back()->op, file_, bytes_of("cd"), i * 2);
  }
  ASSERT_TRUE(run_until(*ring, [&] { return ring->in_kernel() == 0; }));
  for (const auto& write : writes) EXPECT_EQ(write->results, std::vector{2});
}

TEST_F(RingFile, AWrongDescriptorIsToldOnce) {
  Recorder write;
  ring_->write_sync(write.op, {19'999}, bytes_of("x"), 0);
  ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
  EXPECT_EQ(write.results, std::vector{-EBADF});
}

TEST_F(RingFile, AFullDeviceIsTold) {
  const Fd full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
  Recorder write;
  ring_->write_sync(write.op, full, bytes_of("x"), 0);
  ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
  EXPECT_EQ(write.results, std::vector{-ENOSPC});
  disk::close(full);
}

TEST_F(RingFile, AFileThatCannotBeSyncedIsTold) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  Recorder write;
  ring_->write_sync(write.op, {pipe[1]}, bytes_of("written, but"), 0);
  ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
  EXPECT_EQ(write.results, std::vector{-EINVAL});
  for (const int fd : pipe) ::close(fd);
}

TEST_F(RingFile, AShortWriteIsAnErrorAndNotSynced) {
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{.rlim_cur = 6000, .rlim_max = old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string text(4096, 's');
  Recorder short_one;
  Recorder refused;
  ring_->write_sync(short_one.op, file_, bytes_of(text), 4096);  // 1904 fit
  ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
  ring_->write_sync(refused.op, file_, bytes_of(text), 8192);  // nothing fits
  ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
  // With one entry left in a queue of four: the link must not be torn between two submissions, else the short write looks synced.
  auto ring = open_ring(0, 0, 4);
  ring->enter(false, 0);
  Recorder one;
  Recorder whole;
  Recorder at_the_end;
  ring->write(one.op, file_, bytes_of("1"), 0);
  ring->write_sync(whole.op, file_, bytes_of("2"), 0);
  ring->write_sync(at_the_end.op, file_, bytes_of(text), 4096);
  ASSERT_TRUE(run_until(*ring, [&] { return ring->in_kernel() == 0; }));
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(short_one.results, std::vector{-EIO});
  EXPECT_EQ(refused.results, std::vector{-EFBIG});
  EXPECT_EQ(whole.results, std::vector{1});
  EXPECT_EQ(at_the_end.results, std::vector{-EIO});
}

TEST_F(RingFile, CancelOfAWriteSyncStillCompletesOnce) {
  for (int i = 0; i < 200; ++i) {
    Recorder write;
    ring_->write_sync(write.op, file_, bytes_of("cancelled or not"), 0);
    if (i % 2 == 0) ring_->enter(false, 0);
    ring_->cancel(write.op);
    ASSERT_TRUE(run_until(*ring_, [&] { return ring_->in_kernel() == 0; }));
    ASSERT_EQ(write.results.size(), 1U);
    EXPECT_TRUE(write.last() == 16 || write.last() == -EIO || write.last() == -ECANCELED) << write.last();
  }
}

TEST_F(RingFile, Reads) {
  ASSERT_TRUE(disk::write_at(file_, bytes_of("0123456789"), 0));
  std::array<std::byte, 8> into{};
  Recorder read;
  ring_->read(read.op, file_, into, 6);
  ASSERT_TRUE(run_until(*ring_, [&] { return read.done(); }));
  EXPECT_EQ(read.last(), 4);
  EXPECT_EQ(text_of(std::span(into).first(4)), "6789");
}

}  // namespace
}  // namespace ringline::loop::test
