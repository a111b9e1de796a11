// Files written, copied and read with their SHA-256 (FIPS 180-4).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "ringline/backend/copy.hpp"
#include "ringline/loop/disk.hpp"

struct evp_md_ctx_st;

namespace ringline::backend {

class Sha256 {
 public:
  Sha256();
  void add(std::span<const std::byte> bytes) noexcept;
  std::string hex();  // once
  static std::string of(std::string_view text);

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const noexcept;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// Closes what it holds.
class OpenFile {
 public:
  explicit OpenFile(loop::Fd file) noexcept : file_(file) {}
  OpenFile(OpenFile&& other) noexcept : file_(std::exchange(other.file_, loop::Fd{})) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();
  loop::Fd get() const noexcept { return file_; }

 private:
  loop::Fd file_;
};

struct FileSum {
  std::uint64_t bytes = 0;
  std::string sha256;
};

// A new file, written front to back. Folders above it are made.
class HashedFile {
 public:
  static base::Result<HashedFile> create(const std::string& path);
  base::Result<void> write(std::string_view bytes);
  base::Result<FileSum> finish();  // synced

 private:
  HashedFile(loop::Fd file, std::string path) : file_(file), path_(std::move(path)) {}
  base::Result<void> flush();
  OpenFile file_;
  std::string path_;
  std::string waiting_;
  std::uint64_t written_ = 0;
  Sha256 sum_;
};

// Steps of the watch are bytes. `sys` of the error is ENOENT where `path` is not there.
base::Result<FileSum> sum_of(const std::string& path, Watch& watch);
base::Result<FileSum> copy_file(const std::string& from, const std::string& to, Watch& watch);

}  // namespace ringline::backend
