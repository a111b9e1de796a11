// The disk seam on the simulated disk.
#include <system_error>

#include "world.hpp"

namespace ringline::loop::disk {
namespace {

sim::Disk& model() { return sim::World::current().disk(); }

std::unexpected<base::Error> failed(const char* what, std::int64_t result) {
  const int sys = static_cast<int>(-result);
  return base::fail_sys(sys, std::string("cannot ") + what + ": " + std::generic_category().message(sys));
}

base::Result<void> outcome(const char* what, std::int64_t result) {
  if (result < 0) return failed(what, result);
  return {};
}

}  // namespace

base::Result<Fd> open(const std::string& path, Open how) {
  const int fd = model().open(path, how);
  if (fd < 0) return failed("open", fd);
  return Fd{fd};
}

void close(Fd file) noexcept { model().close(file.value); }

base::Result<std::uint64_t> size(Fd file) {
  const std::int64_t result = model().size(file.value);
  if (result < 0) return failed("stat", result);
  return static_cast<std::uint64_t>(result);
}

base::Result<std::size_t> read_at(Fd file, std::span<std::byte> out, std::uint64_t offset) {
  const std::int64_t result = model().read(file.value, out, offset);
  if (result < 0) return failed("read", result);
  return static_cast<std::size_t>(result);
}

base::Result<void> write_at(Fd file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const std::int64_t result = model().write(file.value, bytes, offset);
    if (result < 0) return failed("write", result);
    bytes = bytes.subspan(static_cast<std::size_t>(result));
    offset += static_cast<std::uint64_t>(result);
  }
  return {};
}

base::Result<void> sync(Fd file) { return outcome("sync", model().sync(file.value)); }
base::Result<void> preallocate(Fd file, std::uint64_t bytes) {
  return outcome("reserve", model().preallocate(file.value, bytes));
}
base::Result<void> make_directories(const std::string& path) {
  return outcome("make directory", model().make_directories(path));
}
base::Result<std::vector<std::string>> list(const std::string& directory) { return model().list(directory); }
base::Result<void> rename(const std::string& from, const std::string& to) {
  return outcome("rename", model().rename(from, to));
}
base::Result<void> remove(const std::string& path) { return outcome("remove", model().remove(path)); }
base::Result<void> sync_directory(const std::string& directory) {
  return outcome("sync directory", model().sync_directory(directory));
}
base::Result<std::uint64_t> free_bytes(const std::string& /*directory*/) { return model().free_bytes(); }

}  // namespace ringline::loop::disk
