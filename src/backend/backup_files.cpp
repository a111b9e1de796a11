// Files into a backup and out of it, and the journal of a server at work.
//
// A segment of the journal is written while it is copied. What recovery needs is a front part of it: every batch up to some, none behind. So pieces are read from the
// end to the front, and newer segments before older ones: whatever was there when a later batch was seen is there when the earlier ones are read. The
// last piece with anything in it is read twice, and of the second time only what the first had is kept.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "backend/hashed_file.hpp"
#include "ringline/backend/backup.hpp"
#include "ringline/backend/journal_format.hpp"

namespace ringline::backend {

using base::Result;
namespace disk = loop::disk;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kPieceBytes = 1024 * 1024;
constexpr std::size_t kBlock = journal::kBlockBytes;

// For reading past the page cache.
class Piece {
 public:
  Piece() : bytes_(static_cast<std::byte*>(std::aligned_alloc(kBlock, kPieceBytes))) {
    if (!bytes_) std::abort();
  }
  std::span<std::byte> all() const noexcept { return {bytes_.get(), kPieceBytes}; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
};

// Bytes up to the end of the last block that is not all zeros.
std::size_t used_of(std::span<const std::byte> bytes) noexcept {
  static constexpr std::array<std::byte, kBlock> kZeros{};
  std::size_t used = bytes.size();
  while (used > 0) {
    const std::size_t block = (used - 1) / kBlock * kBlock;
    if (std::memcmp(bytes.data() + block, kZeros.data(), used - block) != 0) break;
    used = block;
  }
  return used;
}

// The front part of a segment, from the end to the front. Empty: nothing was written to it yet.
Result<std::string> read_segment(loop::Fd file, Watch& watch) {
  auto size = disk::size(file);
  if (!size) return std::unexpected(size.error());
  const Piece piece;
  std::string content;
  bool any = false;
  const std::uint64_t pieces = (*size + kPieceBytes - 1) / kPieceBytes;
  for (std::uint64_t at = pieces * kPieceBytes; at > 0;) {
    at -= kPieceBytes;
    auto got = disk::read_at(file, piece.all(), at);
    if (!got) return std::unexpected(got.error());
    watch.advance(*got);
    std::size_t keep = *got;
    if (!any) {
      keep = used_of(std::span<const std::byte>(piece.all()).first(*got));
      if (keep == 0) continue;
      any = true;
      content.resize(at + keep);
      if (auto again = disk::read_at(file, piece.all(), at); !again) return std::unexpected(again.error());
    }
    std::memcpy(content.data() + at, piece.all().data(), keep);
  }
  return content;
}

Result<void> copy_segment(const std::string& from, const std::string& dir, const std::string& path, Watch& watch,
                          Manifest& manifest) {
  auto opened = disk::open(from, disk::Open::direct);
  if (!opened && opened.error().sys == ENOENT) return {};  // the store has it
  if (!opened) return std::unexpected(opened.error());
  const OpenFile file(*opened);
  auto content = read_segment(file.get(), watch);
  if (!content) return std::unexpected(content.error());
  if (content->empty()) return {};
  auto out = HashedFile::create(dir + "/" + path);
  if (!out) return std::unexpected(out.error());
  if (auto written = out->write(*content); !written) return written;
  auto sum = out->finish();
  if (!sum) return std::unexpected(sum.error());
  manifest.files.push_back({path, sum->bytes, sum->sha256});
  return {};
}

// Newest first.
std::vector<std::string> segments_of(const std::vector<std::string>& names) {
  std::vector<std::string> segments;
  for (const std::string& name : names)
    if (journal::segment_number(name)) segments.push_back(name);
  std::ranges::reverse(segments);  // they came by name, which is by number
  return segments;
}

}  // namespace

Result<void> backup_journal(const std::string& data_dir, const std::string& dir, Watch& watch, Manifest& manifest) {
  const std::string above = journal::journal_directory(data_dir);
  auto cores = disk::list(above);
  if (!cores) return std::unexpected(cores.error());
  std::uint64_t total = 0;
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  for (const std::string& core : *cores) {
    if (!core.starts_with(journal::kCorePrefix)) continue;
    auto names = disk::list(above + "/" + core);
    if (!names) return std::unexpected(names.error());
    all.emplace_back(core, segments_of(*names));
    for (const std::string& name : all.back().second) {
      std::error_code gone;
      const std::uintmax_t bytes = fs::file_size(above + "/" + core + "/" + name, gone);
      if (!gone) total += bytes;
    }
  }
  watch.begin("journal, bytes", total);
  const std::string below = above.substr(data_dir.size() + 1);
  for (const auto& [core, names] : all)
    for (const std::string& name : names) {
      const std::string path = core + "/" + name;
      auto copied =
          copy_segment(above + "/" + path, dir, std::string(kBackupData) + below + "/" + path, watch, manifest);
      if (!copied) return copied;
    }
  return {};
}

Result<void> backup_folder(const std::string& folder, const Skip& skip, const std::string& dir, Watch& watch,
                           Manifest& manifest) {
  std::error_code error;
  if (!fs::exists(folder, error)) return {};
  std::vector<std::string> paths;
  std::uint64_t total = 0;
  fs::recursive_directory_iterator entries(folder, fs::directory_options::follow_directory_symlink, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    const std::string path = entries->path().lexically_relative(folder).string();
    std::error_code gone;
    if (skip(path)) {
      entries.disable_recursion_pending();
    } else if (entries->is_regular_file(gone)) {
      paths.push_back(path);
      const std::uintmax_t bytes = entries->file_size(gone);
      if (!gone) total += bytes;
    }
  }
  if (error) return base::fail_sys(error.value(), "cannot list all of " + folder + ": " + error.message());
  watch.begin("files, bytes", total);
  for (const std::string& path : paths) {
    const std::string kept = std::string(kBackupData) + path;
    auto sum = copy_file(folder + "/" + path, dir + "/" + kept, watch);
    if (!sum && sum.error().sys == ENOENT) continue;
    if (!sum) return std::unexpected(sum.error());
    manifest.files.push_back({kept, sum->bytes, sum->sha256});
  }
  return {};
}

Result<void> verify_backup(const std::string& dir, const Manifest& manifest, Watch& watch) {
  std::uint64_t total = 0;
  for (const BackupFile& file : manifest.files) total += file.bytes;
  watch.begin("checking the backup, bytes", total);
  for (const BackupFile& file : manifest.files) {
    auto sum = sum_of(dir + "/" + file.path, watch);
    if (!sum) return std::unexpected(sum.error());
    if (sum->bytes != file.bytes || sum->sha256 != file.sha256)
      return base::fail(base::Errc::invalid, "the backup is damaged: " + dir + "/" + file.path +
                                                 " is not what the manifest says; nothing was restored");
  }
  return {};
}

Result<void> restore_files(const std::string& dir, const Manifest& manifest, const std::string& data_dir,
                           Watch& watch) {
  std::uint64_t total = 0;
  for (const BackupFile& file : manifest.files)
    if (file.path.starts_with(kBackupData)) total += file.bytes;
  watch.begin("files, bytes", total);
  for (const BackupFile& file : manifest.files) {
    if (!file.path.starts_with(kBackupData)) continue;
    const std::string to = data_dir + "/" + file.path.substr(kBackupData.size());
    const std::string draft = to + ".new";
    std::error_code ignored;
    fs::remove(draft, ignored);  // of a run that was ended
    auto sum = copy_file(dir + "/" + file.path, draft, watch);
    if (!sum) return std::unexpected(sum.error());
    if (sum->sha256 != file.sha256)
      return base::fail(base::Errc::invalid, "the backup changed while it was restored: " + file.path);
    if (auto moved = disk::rename(draft, to); !moved) return moved;
  }
  return {};
}

}  // namespace ringline::backend
