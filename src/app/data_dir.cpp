// See data_dir.hpp.
#include "app/data_dir.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "ringline/base/random.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::app {

namespace {

constexpr std::size_t kSecretBytes = 48;
constexpr std::size_t kSmallFileBytes = 4096;
constexpr std::string_view kHost = "host";
constexpr std::size_t kHolderBytes = 16;

std::string read_small_file(const std::string& path) {
  std::string text(kSmallFileBytes, '\0');
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  ssize_t got = ::read(file, text.data(), text.size());
  ::close(file);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

base::Result<DataDir> DataDir::open(const std::string& path) {
  if (auto made = loop::disk::make_directories(path); !made)
    return base::fail_sys(made.error().sys, "cannot make DATA_DIR " + path + ": " + std::strerror(made.error().sys) +
                                                "; give --data-dir a directory that this user may write");
  std::string lock_path = path + "/lock";
  int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return base::fail_sys(errno, "cannot write in DATA_DIR " + path + ": " + std::strerror(errno));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    std::string holder = read_small_file(lock_path);
    ::close(lock);
    return base::fail_sys(EWOULDBLOCK, "DATA_DIR " + path + " is in use by process " + holder +
                                           ": stop it, or give this one another --data-dir");
  }
  std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, pid.data(), pid.size(), 0) < 0) {
    int error = errno;
    ::close(lock);
    return base::fail_sys(error, "cannot write in DATA_DIR " + path + ": " + std::strerror(error));
  }
  return DataDir(path, lock);
}

DataDir::DataDir(DataDir&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

DataDir::~DataDir() {
  if (lock_ >= 0) ::close(lock_);
}

base::Result<void> DataDir::write_file(std::string_view name, std::string_view content) const {
  std::string target = file(name);
  std::string draft = target + ".new";
  int out = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (out < 0) return base::fail_sys(errno, "cannot write " + draft + ": " + std::strerror(errno));
  ssize_t written = ::write(out, content.data(), content.size());
  bool synced = written == static_cast<ssize_t>(content.size()) && ::fsync(out) == 0;
  int error = errno;
  ::close(out);
  if (!synced) return base::fail_sys(error, "cannot write " + draft + ": " + std::strerror(error));
  return loop::disk::rename(draft, target);
}

base::Result<void> DataDir::remove_file(std::string_view name) const {
  if (auto removed = loop::disk::remove(file(name)); !removed) return removed;
  return loop::disk::sync_directory(path_);
}

backend::HostNumber DataDir::host_number() const {
  const std::string text = read_small_file(file(kHost));
  backend::HostNumber host{.number = 0, .holder = base::random_token(kHolderBytes), .former = {}};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), host.number);
  if (error == std::errc{} && *end == ' ') host.former = end + 1;
  return host;
}

base::Result<void> DataDir::keep(const backend::HostNumber& host) const {
  return write_file(kHost, std::to_string(host.number) + " " + host.holder + "\n");
}

base::Result<std::vector<std::string>> DataDir::jwt_secrets(const base::Settings& settings) const {
  if (!settings.jwt_secret.empty()) return settings.jwt_secret;
  auto kept = kept_token("jwt-secret");
  if (!kept) return std::unexpected(kept.error());
  return std::vector{*kept};
}

base::Result<std::string> DataDir::kept_token(std::string_view name) const {
  std::string kept = read_small_file(file(name));
  if (!kept.empty()) return kept;
  std::string fresh = base::random_token(kSecretBytes);
  if (auto written = write_file(name, fresh + "\n"); !written) return std::unexpected(written.error());
  return fresh;
}

}  // namespace ringline::app
