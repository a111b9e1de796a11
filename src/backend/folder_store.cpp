// Blobs in a folder. See ringline/backend/blobs.hpp.
//
// A blob is the file DIR/KEY. One that is being written is DIR/uploads/ID.N.part and gets its name when it is synced, so nobody reads half of one; those
// that a crash left behind are removed at the start. Each is in a folder of its own kind only: keys are made here (chat::upload_key), not by clients.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <coroutine>
#include <mutex>
#include <optional>

#include "ringline/backend/blobs.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/log.hpp"
#include "ringline/loop/disk.hpp"

namespace ringline::backend {

using base::Errc;
using base::Result;
using base::Task;
namespace disk = loop::disk;

namespace {

constexpr std::string_view kPart = ".part";
constexpr std::uint32_t kRetryMs = 1000;

std::unexpected<base::Error> nothing_there() { return base::fail(Errc::not_found, "there is nothing"); }

// What a client is told of a disk that fails; ENOSPC and the like go up as they are.
std::unexpected<base::Error> failed(std::string_view what, int sys) {
  base::log::error("folder_failed", {{"what", what}, {"sys", sys}});
  base::Error error = base::fail_later(Errc::unavailable, kRetryMs, "files cannot be kept right now").error();
  error.sys = sys == EDQUOT || sys == EFBIG ? ENOSPC : sys;
  return std::unexpected(error);
}

// Awaits one operation of the ring: `start(op)` gives it to the kernel.
template <class Start>
class RingCall {
 public:
  explicit RingCall(Start start) : start_(std::move(start)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    start_(op_);
  }
  int await_resume() const noexcept { return result_; }

 private:
  void on_done(loop::Completion completion) {
    result_ = completion.result;
    waiting_.resume();
  }
  Start start_;
  std::coroutine_handle<> waiting_;
  int result_ = 0;
  loop::OpOf<RingCall, &RingCall::on_done> op_{*this};
};

class FolderReader final : public chat::BlobReader {
 public:
  FolderReader(loop::Loop& loop, loop::Fd file, std::uint64_t first, std::uint64_t count)
      : loop_(loop), file_(file), at_(first), end_(first + count) {}
  ~FolderReader() override { disk::close(file_); }

  Task<Result<std::size_t>> read(std::span<std::byte> into) override {
    const std::span<std::byte> wanted = into.first(std::min<std::uint64_t>(into.size(), end_ - at_));
    if (wanted.empty()) co_return std::size_t{0};
    RingCall reading([this, wanted](loop::Op& op) { loop_.ring().read(op, file_, wanted, at_); });
    const int got = co_await reading;
    if (got < 0) co_return failed("read", -got);
    if (got == 0) co_return failed("read: it ended too early", EIO);
    at_ += static_cast<std::size_t>(got);
    co_return static_cast<std::size_t>(got);
  }

 private:
  loop::Loop& loop_;
  loop::Fd file_;
  std::uint64_t at_;
  std::uint64_t end_;
};

class FolderStore final : public BlobPlace {
 public:
  FolderStore(loop::Loop& loop, loop::Workers& workers, std::string path)
      : loop_(loop), workers_(workers), path_(std::move(path)) {}

  void cut() override {}
  Task<void> close() override { co_return; }
  const base::CircuitBreaker* breaker() const noexcept override { return nullptr; }

  Task<Result<chat::BlobHead>> look(std::string key) override;
  Task<Result<void>> accept(std::string from, std::string to, std::string version) override;
  Task<Result<void>> remove(std::string key) override;
  Task<Result<std::unique_ptr<chat::BlobReader>>> read(std::string key, std::uint64_t first,
                                                       std::uint64_t count) override;
  Task<Result<std::unique_ptr<chat::BlobWriter>>> write(std::string key, std::uint64_t size,
                                                        std::string mime_type) override;

 private:
  friend class FolderWriter;
  // Runs `job` on a worker; what it returns.
  template <class T, class Job>
  Task<Result<T>> blocking(Job job) {
    std::optional<Result<T>> answer;
    auto running = workers_.run(loop_, [&answer, job = std::move(job)] { answer.emplace(job()); });
    auto done = co_await running;
    if (!done) co_return std::unexpected(done.error());
    co_return std::move(*answer);
  }

  loop::Loop& loop_;
  loop::Workers& workers_;
  const std::string path_;
  std::mutex names_;  // a file does not get another one's name between the look at it and the move of it
  std::uint64_t parts_ = 0;
};

class FolderWriter final : public chat::BlobWriter {
 public:
  FolderWriter(FolderStore& store, loop::Fd file, std::string part, std::string name, std::uint64_t size)
      : store_(store), file_(file), part_(std::move(part)), name_(std::move(name)), size_(size) {}
  ~FolderWriter() override {
    if (file_) disk::close(file_);
  }

  // The last bytes are synced with all that went before them.
  Task<Result<void>> write(std::span<const std::byte> bytes) override {
    ASSERT(bytes.size() <= size_ - at_);
    while (!bytes.empty()) {
      const bool last = at_ + bytes.size() == size_;
      RingCall writing([this, bytes, last](loop::Op& op) {
        loop::Ring& ring = store_.loop_.ring();
        last ? ring.write_sync(op, file_, bytes, at_) : ring.write(op, file_, bytes, at_);
      });
      const int put = co_await writing;
      if (put <= 0) co_return failed("write", put < 0 ? -put : EIO);
      at_ += static_cast<std::size_t>(put);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    co_return Result<void>();
  }

  Task<Result<void>> finish() override {
    ASSERT(at_ == size_);
    disk::close(std::exchange(file_, loop::Fd{}));
    auto job = [&names = store_.names_, part = part_, name = name_]() -> Result<void> {
      std::lock_guard guard(names);
      if (auto named = disk::rename(part, name); !named) return failed("rename", named.error().sys);
      return {};
    };
    auto named = co_await store_.blocking<void>(std::move(job));
    co_return named;
  }

  Task<void> abandon() override {
    if (file_) disk::close(std::exchange(file_, loop::Fd{}));
    auto removed = co_await store_.blocking<void>([part = part_] { return disk::remove(part); });
    if (!removed) base::log::warn("part_not_removed", {{"file", part_}});
  }

 private:
  FolderStore& store_;
  loop::Fd file_;
  const std::string part_;
  const std::string name_;
  const std::uint64_t size_;
  std::uint64_t at_ = 0;
};

// A file that was written anew has another inode, or another time.
std::string version_of(const struct stat& status) {
  return fmt::format("{}-{}.{}-{}", status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size);
}

Result<loop::Fd> open_to_read(const std::string& path) {
  auto file = disk::open(path, disk::Open::read);
  if (!file) return file.error().sys == ENOENT ? nothing_there() : failed("open", file.error().sys);
  return *file;
}

Result<chat::BlobHead> look_at(const std::string& path) {
  auto file = open_to_read(path);
  if (!file) return std::unexpected(file.error());
  struct stat status{};
  chat::BlobHead head{.first = std::string(chat::BlobHead::kFirstBytes, '\0')};
  auto got = disk::read_at(*file, std::as_writable_bytes(std::span(head.first)), 0);
  const bool known = ::fstat(file->value, &status) == 0;
  disk::close(*file);
  if (!got || !known) return failed("read", got ? errno : got.error().sys);
  head.first.resize(*got);
  head.size = static_cast<std::uint64_t>(status.st_size);
  head.version = version_of(status);
  return head;
}

Result<void> move_if(const std::string& from, const std::string& to, const std::string& version) {
  struct stat status{};
  if (::stat(from.c_str(), &status) != 0 || version_of(status) != version)
    return base::fail(Errc::conflict, "it was written anew meanwhile: complete it again");
  if (auto moved = disk::rename(from, to); !moved) return failed("rename", moved.error().sys);
  return {};
}

Result<void> remove_file(const std::string& path) {
  auto removed = disk::remove(path);
  if (!removed && removed.error().sys != ENOENT) return failed("remove", removed.error().sys);
  return {};
}

Result<loop::Fd> create(const std::string& folder, const std::string& part, std::uint64_t size) {
  auto free = disk::free_bytes(folder);
  if (!free) return failed("statvfs", free.error().sys);
  if (*free < size + base::limits::kFolderFreeBytes) return failed("no room", ENOSPC);
  auto file = disk::open(part, disk::Open::create);
  if (!file) return failed("create", file.error().sys);
  return *file;
}

Task<Result<chat::BlobHead>> FolderStore::look(std::string key) {
  auto looked = co_await blocking<chat::BlobHead>([path = path_ + "/" + key] { return look_at(path); });
  co_return looked;
}

Task<Result<void>> FolderStore::accept(std::string from, std::string to, std::string version) {
  auto job = [this, from = path_ + "/" + from, to = path_ + "/" + to, version = std::move(version)] {
    std::lock_guard guard(names_);
    return move_if(from, to, version);
  };
  auto moved = co_await blocking<void>(std::move(job));
  co_return moved;
}

Task<Result<void>> FolderStore::remove(std::string key) {
  auto removed = co_await blocking<void>([path = path_ + "/" + key] { return remove_file(path); });
  co_return removed;
}

Task<Result<std::unique_ptr<chat::BlobReader>>> FolderStore::read(std::string key, std::uint64_t first,
                                                                  std::uint64_t count) {
  auto opened = co_await blocking<loop::Fd>([path = path_ + "/" + key] { return open_to_read(path); });
  if (!opened) co_return std::unexpected(opened.error());
  co_return std::make_unique<FolderReader>(loop_, *opened, first, count);
}

Task<Result<std::unique_ptr<chat::BlobWriter>>> FolderStore::write(std::string key, std::uint64_t size,
                                                                   std::string /*mime_type*/) {
  ASSERT(size > 0);
  const std::string name = path_ + "/" + key;
  const std::string part = fmt::format("{}.{}{}", name, ++parts_, kPart);
  auto created = co_await blocking<loop::Fd>([this, part, size] { return create(path_, part, size); });
  if (!created) co_return std::unexpected(created.error());
  co_return std::make_unique<FolderWriter>(*this, *created, part, name, size);
}

}  // namespace

Result<std::unique_ptr<BlobPlace>> open_folder(loop::Loop& loop, loop::Workers& workers, std::string path) {
  for (const char* kind : {"/uploads", "/files"})
    if (auto made = disk::make_directories(path + kind); !made) return std::unexpected(made.error());
  auto names = disk::list(path + "/uploads");
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names)
    if (name.ends_with(kPart))
      if (auto removed = disk::remove(path + "/uploads/" + name); !removed) return std::unexpected(removed.error());
  return std::make_unique<FolderStore>(loop, workers, std::move(path));
}

}  // namespace ringline::backend
