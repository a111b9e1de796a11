// The disk seam on Linux. Invariant: what returns success about durability (sync, preallocate, rename, sync_directory, make_directories) has been
// through fsync.
#include "ringline/loop/disk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>

namespace ringline::loop::disk {
namespace {

constexpr mode_t kFileMode = 0600;  // journals hold people's messages
constexpr mode_t kDirectoryMode = 0700;
constexpr std::size_t kZeroBytes = 1024 * 1024;  // written at once by preallocate: each write costs the core 0.2 ms
constexpr std::size_t kDirectAlignment = 4096;

std::unexpected<base::Error> failed(const char* what, const std::string& name, int sys) {
  return base::fail_sys(sys, std::string("cannot ") + what + (name.empty() ? "" : " ") + name + ": " +
                                 std::generic_category().message(sys));
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

int flags_of(Open how) {
  switch (how) {
    case Open::read:
      return O_RDONLY;
    case Open::read_write:
      return O_RDWR;
    case Open::create:
      return O_RDWR | O_CREAT | O_EXCL;
    case Open::direct:
      return O_RDWR | O_DIRECT;
  }
  return O_RDONLY;
}

}  // namespace

base::Result<Fd> open(const std::string& path, Open how) {
  int fd = ::open(path.c_str(), flags_of(how) | O_CLOEXEC, kFileMode);
  if (fd < 0 && errno == EINVAL && how == Open::direct)
    fd = ::open(path.c_str(), flags_of(Open::read_write) | O_CLOEXEC);
  if (fd < 0) return failed(how == Open::create ? "create" : "open", path, errno);
  return Fd{fd};
}

void close(Fd file) noexcept { ::close(file.value); }

base::Result<std::uint64_t> size(Fd file) {
  struct stat status{};
  if (::fstat(file.value, &status) != 0) return failed("stat", "a file", errno);
  return static_cast<std::uint64_t>(status.st_size);
}

base::Result<std::size_t> read_at(Fd file, std::span<std::byte> out, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::pread(file.value, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", "a file", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

base::Result<void> write_at(Fd file, std::span<const std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put =
        ::pwrite(file.value, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return failed("write", "a file", put < 0 ? errno : EIO);
    done += static_cast<std::size_t>(put);
  }
  return {};
}

base::Result<void> sync(Fd file) {
  if (::fsync(file.value) != 0) return failed("sync", "a file", errno);
  return {};
}

base::Result<void> preallocate(Fd file, std::uint64_t bytes) {
  // Reserves first, so that a full disk is met before anything is written; not every file system can.
  if (const int sys = ::posix_fallocate(file.value, 0, static_cast<off_t>(bytes));
      sys != 0 && sys != EOPNOTSUPP && sys != EINVAL) {
    return failed("reserve", "space for a file", sys);
  }
  alignas(kDirectAlignment) static constexpr std::array<std::byte, kZeroBytes> kZeros{};
  for (std::uint64_t at = 0; at < bytes;) {
    const std::size_t piece = static_cast<std::size_t>(std::min<std::uint64_t>(bytes - at, kZeros.size()));
    if (auto written = write_at(file, std::span(kZeros).first(piece), at); !written) return written;
    at += piece;
  }
  return sync(file);
}

base::Result<void> make_directories(const std::string& path) {
  if (::mkdir(path.c_str(), kDirectoryMode) == 0) return sync_directory(parent_of(path));
  if (errno == ENOENT) {
    if (auto made = make_directories(parent_of(path)); !made) return made;
    if (::mkdir(path.c_str(), kDirectoryMode) == 0) return sync_directory(parent_of(path));
  }
  const int sys = errno;
  std::error_code ignored;
  if (sys == EEXIST && std::filesystem::is_directory(path, ignored)) return {};
  return failed("make directory", path, sys);
}

base::Result<std::vector<std::string>> list(const std::string& directory) {
  std::vector<std::string> names;
  const auto close_directory = [](DIR* open) { ::closedir(open); };
  const std::unique_ptr<DIR, decltype(close_directory)> stream(::opendir(directory.c_str()), close_directory);
  if (!stream && errno == ENOENT) return names;
  if (!stream) return failed("list", directory, errno);
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return failed("list", directory, errno);
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

base::Result<void> rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename", from, errno);
  return sync_directory(parent_of(to));
}

base::Result<void> remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return failed("remove", path, errno);
  return {};
}

base::Result<void> sync_directory(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed("open directory", directory, errno);
  const int sys = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (sys != 0) return failed("sync directory", directory, sys);
  return {};
}

base::Result<std::uint64_t> free_bytes(const std::string& directory) {
  struct statvfs status{};
  if (::statvfs(directory.c_str(), &status) != 0) return failed("ask for free space in", directory, errno);
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

}  // namespace ringline::loop::disk
