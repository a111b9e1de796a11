#include "disk_model.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "ringline/base/assert.hpp"
#include "world.hpp"

namespace ringline::sim {
namespace {

using loop::disk::Open;

std::string plain(const std::string& path) {
  std::string text = std::filesystem::path(path).lexically_normal().string();
  if (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

// Content.

void Content::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  grow(offset + bytes.size());
  while (!bytes.empty()) {
    const std::size_t at = offset % kPage;
    const std::size_t piece = std::min(kPage - at, bytes.size());
    std::memcpy(pages_[offset / kPage].data() + at, bytes.data(), piece);
    offset += piece;
    bytes = bytes.subspan(piece);
  }
}

std::size_t Content::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size_) return 0;
  const std::size_t whole = std::min<std::uint64_t>(out.size(), size_ - offset);
  for (std::size_t done = 0; done < whole;) {
    const std::size_t at = (offset + done) % kPage;
    const std::size_t piece = std::min(kPage - at, whole - done);
    const auto page = pages_.find((offset + done) / kPage);
    if (page == pages_.end()) {
      std::memset(out.data() + done, 0, piece);
    } else {
      std::memcpy(out.data() + done, page->second.data() + at, piece);
    }
    done += piece;
  }
  return whole;
}

// Files.

const Disk::Handle* Disk::find(int fd) const {
  const auto found = open_.find(fd);
  return found == open_.end() ? nullptr : &found->second;
}

int Disk::open(const std::string& path, Open how) {
  if (!on_) return -EIO;
  const std::string name = plain(path);
  const auto found = seen_.find(name);
  if (how == Open::create) {
    if (found != seen_.end() || directories_.contains(name)) return -EEXIST;
    if (!directories_.contains(parent_of(name))) return -ENOENT;
    auto file = std::make_shared<File>();
    file->path = name;
    change({.directory = parent_of(name), .from = {}, .to = name, .file = file});
    open_[next_fd_] = {.file = file, .writable = true};
    return next_fd_++;
  }
  if (found == seen_.end()) return -ENOENT;
  open_[next_fd_] = {.file = found->second, .writable = how != Open::read};
  return next_fd_++;
}

int Disk::close(int fd) { return open_.erase(fd) == 1 ? 0 : -EBADF; }

std::int64_t Disk::size(int fd) const {
  const Handle* handle = find(fd);
  if (handle == nullptr) return -EBADF;
  return handle->dead || !on_ ? -EIO : static_cast<std::int64_t>(handle->file->seen.size());
}

std::int64_t Disk::read(int fd, std::span<std::byte> out, std::uint64_t offset) const {
  const Handle* handle = find(fd);
  if (handle == nullptr) return -EBADF;
  if (handle->dead || !on_) return -EIO;
  return static_cast<std::int64_t>(handle->file->seen.read(offset, out));
}

std::int64_t Disk::write(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  const Handle* handle = find(fd);
  if (handle == nullptr || !handle->writable) return -EBADF;
  if (handle->dead || !on_) return -EIO;
  if (failing_writes_.strikes()) return -failing_writes_.sys;
  File& file = *handle->file;
  std::size_t fits = bytes.size();
  if (short_writes_ > 0 && fits > 1) {
    --short_writes_;
    fits = 1 + world_.draw(fits - 1);
  }
  // Only what makes the file longer needs room.
  const std::uint64_t end_max = file.seen.size() + free_bytes();
  if (offset + fits > end_max && end_max >= file.seen.size()) fits = end_max > offset ? end_max - offset : 0;
  if (fits == 0 && !bytes.empty()) return -ENOSPC;
  ++writes_;
  file.waiting.push_back(
      {.offset = offset, .bytes = {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(fits)}});
  file.seen.write(offset, file.waiting.back().bytes);
  return static_cast<std::int64_t>(fits);
}

int Disk::sync(int fd) {
  const Handle* handle = find(fd);
  if (handle == nullptr) return -EBADF;
  if (handle->dead || !on_) return -EIO;
  File& file = *handle->file;
  if (on_sync) on_sync(file.path);
  if (!on_) return -EIO;
  ++syncs_;
  if (lying_) return 0;
  if (failing_syncs_.strikes()) {
    for (const Write& write : file.waiting) {
      if (world_.chance(50)) file.certain.write(write.offset, write.bytes);
    }
    file.waiting.clear();
    return -failing_syncs_.sys;
  }
  settle(file);
  return 0;
}

void Disk::settle(File& file) {
  for (const Write& write : file.waiting) file.certain.write(write.offset, write.bytes);
  file.certain.grow(file.seen.size());
  file.waiting.clear();
}

int Disk::preallocate(int fd, std::uint64_t bytes) {
  const Handle* handle = find(fd);
  if (handle == nullptr || !handle->writable) return -EBADF;
  if (handle->dead || !on_) return -EIO;
  File& file = *handle->file;
  if (bytes > file.seen.size() && bytes - file.seen.size() > free_bytes()) return -ENOSPC;
  file.seen.grow(bytes);
  return sync(fd);
}

bool Disk::damage(const std::string& path, std::uint64_t offset, std::size_t bytes) {
  const auto found = seen_.find(plain(path));
  if (found == seen_.end() || offset + bytes > found->second->seen.size()) return false;
  std::vector<std::byte> piece(bytes);
  found->second->seen.read(offset, piece);
  for (std::byte& byte : piece) byte ^= static_cast<std::byte>(1 + world_.draw(255));
  found->second->seen.write(offset, piece);
  found->second->certain.write(offset, piece);
  return true;
}

// Names.

void Disk::Renaming::apply(Names& names) const {
  if (!from.empty()) names.erase(from);
  if (!to.empty()) names[to] = file;
}

void Disk::change(Renaming renaming) {
  renaming.apply(seen_);
  changes_.push_back(std::move(renaming));
}

int Disk::make_directories(const std::string& path) {
  if (!on_) return -EIO;
  for (std::string name = plain(path); directories_.insert(name).second; name = parent_of(name)) {
    if (seen_.contains(name)) {
      directories_.erase(name);
      return -EEXIST;
    }
  }
  return 0;
}

std::vector<std::string> Disk::list(const std::string& directory) const {
  const std::string parent = plain(directory);
  std::vector<std::string> names;
  for (const auto& [name, file] : seen_) {
    if (parent_of(name) == parent) names.push_back(std::filesystem::path(name).filename().string());
  }
  for (const std::string& name : directories_) {
    if (name != parent && name != "." && parent_of(name) == parent)
      names.push_back(std::filesystem::path(name).filename().string());
  }
  std::ranges::sort(names);
  return names;
}

int Disk::rename(const std::string& from, const std::string& to) {
  if (!on_) return -EIO;
  const auto found = seen_.find(plain(from));
  if (found == seen_.end()) return -ENOENT;
  const std::string directory = parent_of(plain(from));
  ASSERT(directory == parent_of(plain(to)));
  const std::shared_ptr<File> file = found->second;
  file->path = plain(to);
  change({.directory = directory, .from = plain(from), .to = plain(to), .file = file});
  return sync_directory(directory);
}

int Disk::remove(const std::string& path) {
  if (!on_) return -EIO;
  const std::string name = plain(path);
  if (!seen_.contains(name)) return -ENOENT;
  change({.directory = parent_of(name), .from = name, .to = {}, .file = {}});
  return 0;
}

int Disk::sync_directory(const std::string& directory) {
  if (!on_) return -EIO;
  const std::string name = plain(directory);
  if (!directories_.contains(name)) return -ENOENT;
  for (const Renaming& renaming : changes_) {
    if (renaming.directory == name) renaming.apply(certain_);
  }
  std::erase_if(changes_, [&](const Renaming& renaming) { return renaming.directory == name; });
  return 0;
}

std::uint64_t Disk::used_bytes() const {
  std::uint64_t used = 0;
  for (const auto& [name, file] : seen_) used += file->seen.size();
  return used;
}

std::uint64_t Disk::free_bytes() const {
  const std::uint64_t used = used_bytes();
  return used < capacity_ ? capacity_ - used : 0;
}

// The cut.

void Disk::leave_waiting(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  const Handle* handle = find(fd);
  if (handle == nullptr || handle->dead || !handle->writable) return;
  handle->file->waiting.push_back({.offset = offset, .bytes = {bytes.begin(), bytes.end()}});
}

void Disk::tear(Content& content, const Write& write) {
  const std::uint64_t end = write.offset + write.bytes.size();
  const std::uint64_t cut = write.offset / kSector + world_.draw(end / kSector - write.offset / kSector + 1);
  enum : std::uint8_t { head, tail, any } kept = static_cast<decltype(kept)>(world_.draw(3));
  for (std::uint64_t at = write.offset; at < end;) {
    const std::uint64_t sector = at / kSector;
    const std::uint64_t next = std::min(end, (sector + 1) * kSector);
    const bool keep = kept == any ? world_.chance(50) : (sector < cut) == (kept == head);
    if (keep) content.write(at, std::span(write.bytes).subspan(at - write.offset, next - at));
    at = next;
  }
}

void Disk::power_off() {
  on_ = false;
  for (auto& [fd, handle] : open_) handle.dead = true;
  for (const Renaming& renaming : changes_) {
    if (world_.chance(50)) renaming.apply(certain_);
  }
  changes_.clear();
  seen_ = certain_;
  for (const auto& [name, file] : certain_) {
    for (const Write& write : file->waiting) {
      switch (world_.draw(3)) {
        case 0:
          file->certain.write(write.offset, write.bytes);
          break;
        case 1:
          tear(file->certain, write);
          break;
        default:  // gone
          break;
      }
    }
    // The new length may be there without what was written.
    if (world_.chance(25)) file->certain.grow(file->seen.size());
    file->waiting.clear();
    file->seen = file->certain;
  }
}

}  // namespace ringline::sim
