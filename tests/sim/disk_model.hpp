// A disk in memory that does what disks do at a power cut: whatever was not synced is there, gone or torn at a sector, each write for itself, and a
// directory entry that was not synced may be gone too. Everything is drawn from the world's seed.
//
// Rules, on the harsh side of POSIX: a write is certain only after a later sync of that file returned success; a sync that fails has written any part
// of what was waiting and forgets the rest (a second sync succeeds without writing it, as Linux does); creating, removing and renaming is certain only
// after a sync of the directory; a file's sync does not make its name certain.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ringline/loop/disk.hpp"
#include "ringline/loop/ring.hpp"

namespace ringline::sim {

class World;

// A file's bytes; what was never written reads as zeros and takes no memory.
class Content {
 public:
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  std::size_t read(std::uint64_t offset, std::span<std::byte> out) const;
  std::uint64_t size() const noexcept { return size_; }
  void grow(std::uint64_t size) noexcept { size_ = std::max(size_, size); }

 private:
  static constexpr std::size_t kPage = 4096;
  std::map<std::uint64_t, std::array<std::byte, kPage>> pages_;
  std::uint64_t size_ = 0;
};

class Disk {
 public:
  static constexpr std::uint64_t kSector = 512;

  explicit Disk(World& world) : world_(world) {}

  // Faults. A count is of the next calls.
  void fail_syncs(unsigned count, int sys = EIO) { failing_syncs_ = {count, sys}; }
  void fail_writes(unsigned count, int sys = EIO) { failing_writes_ = {count, sys}; }
  void shorten_writes(unsigned count) { short_writes_ = count; }
  // Syncs of files say success and do nothing: a test of durability must fail then.
  void lie(bool on) noexcept { lying_ = on; }
  // How many bytes all files may have; a write above it is cut short or -ENOSPC.
  void set_capacity(std::uint64_t bytes) noexcept { capacity_ = bytes; }
  // Turns bytes of what is certain to others, in memory and on disk: bit rot. False: the file has no such byte.
  bool damage(const std::string& path, std::uint64_t offset, std::size_t bytes);
  // Called before each sync of a file; may let the power go.
  std::function<void(const std::string& path)> on_sync;

  std::uint64_t syncs() const noexcept { return syncs_; }
  std::uint64_t writes() const noexcept { return writes_; }
  std::uint64_t used_bytes() const;

  // The seam. Results are as of system calls: >= 0 or -errno.
  int open(const std::string& path, loop::disk::Open how);
  int close(int fd);
  std::int64_t size(int fd) const;
  std::int64_t read(int fd, std::span<std::byte> out, std::uint64_t offset) const;
  std::int64_t write(int fd, std::span<const std::byte> bytes, std::uint64_t offset);
  int sync(int fd);
  int preallocate(int fd, std::uint64_t bytes);
  int make_directories(const std::string& path);
  std::vector<std::string> list(const std::string& directory) const;
  int rename(const std::string& from, const std::string& to);
  int remove(const std::string& path);
  int sync_directory(const std::string& directory);
  std::uint64_t free_bytes() const;
  unsigned open_files() const noexcept { return static_cast<unsigned>(open_.size()); }
  // A write that was in the kernel when the power went.
  void leave_waiting(int fd, std::span<const std::byte> bytes, std::uint64_t offset);

 private:
  friend class World;
  struct Write {
    std::uint64_t offset;
    std::vector<std::byte> bytes;
  };
  struct File {
    std::string path;  // for people
    Content certain;
    Content seen;
    std::vector<Write> waiting;  // between the two
  };
  using Names = std::map<std::string, std::shared_ptr<File>>;
  struct Renaming {  // creating has no `from`, removing no `to`
    std::string directory;
    std::string from;
    std::string to;
    std::shared_ptr<File> file;
    void apply(Names& names) const;
  };
  struct Handle {
    std::shared_ptr<File> file;
    bool writable;
    bool dead = false;  // opened before the power went
  };
  struct Fault {
    unsigned count = 0;
    int sys = 0;
    bool strikes() noexcept { return count > 0 && count-- > 0; }
  };

  void power_off();
  void power_on() noexcept { on_ = true; }

  const Handle* find(int fd) const;
  void settle(File& file);
  void tear(Content& content, const Write& write);
  void change(Renaming renaming);

  World& world_;
  bool on_ = true;
  bool lying_ = false;
  Fault failing_syncs_;
  Fault failing_writes_;
  unsigned short_writes_ = 0;
  std::uint64_t capacity_ = UINT64_MAX;
  std::uint64_t syncs_ = 0;
  std::uint64_t writes_ = 0;
  int next_fd_ = 1000;
  std::map<int, Handle> open_;
  Names seen_;
  Names certain_;
  std::vector<Renaming> changes_;  // between the two
  std::set<std::string> directories_{".", "/"};
};

}  // namespace ringline::sim
