// See hashed_file.hpp.
#include "backend/hashed_file.hpp"

#include <openssl/evp.h>

#include <array>
#include <filesystem>
#include <vector>

#include "ringline/base/assert.hpp"

namespace ringline::backend {

using base::Result;
namespace disk = loop::disk;

namespace {

constexpr std::size_t kPieceBytes = 1024 * 1024;

std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }

base::Error named(base::Error error, const std::string& path) {
  if (!error.message.contains(path)) error.message += " (" + path + ")";
  return error;
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const noexcept { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  ASSERT(context_);
  const int begun = EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  ASSERT(begun == 1);
}

void Sha256::add(std::span<const std::byte> bytes) noexcept {
  const int added = EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  ASSERT(added == 1);
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const int ended = EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
  ASSERT(ended == 1);
  std::string hex;
  for (unsigned i = 0; i < size; ++i)
    hex.append({"0123456789abcdef"[digest[i] >> 4], "0123456789abcdef"[digest[i] & 15]});
  return hex;
}

std::string Sha256::of(std::string_view text) {
  Sha256 sum;
  sum.add(bytes_of(text));
  return sum.hex();
}

OpenFile::~OpenFile() {
  if (file_) disk::close(file_);
}

Result<HashedFile> HashedFile::create(const std::string& path) {
  const std::string above = std::filesystem::path(path).parent_path().string();
  if (auto made = disk::make_directories(above); !made) return std::unexpected(made.error());
  auto file = disk::open(path, disk::Open::create);
  if (!file) return std::unexpected(file.error());
  return HashedFile(*file, path);
}

Result<void> HashedFile::write(std::string_view bytes) {
  waiting_ += bytes;
  return waiting_.size() >= kPieceBytes ? flush() : Result<void>();
}

Result<void> HashedFile::flush() {
  sum_.add(bytes_of(waiting_));
  auto written = disk::write_at(file_.get(), bytes_of(waiting_), written_);
  if (!written) return std::unexpected(named(written.error(), path_));
  written_ += waiting_.size();
  waiting_.clear();
  return {};
}

Result<FileSum> HashedFile::finish() {
  auto done = flush();
  if (done) done = disk::sync(file_.get());
  if (done) done = disk::sync_directory(std::filesystem::path(path_).parent_path().string());
  if (!done) return std::unexpected(named(done.error(), path_));
  return FileSum{.bytes = written_, .sha256 = sum_.hex()};
}

namespace {

// Piece by piece to `take`.
template <class Take>
Result<void> read_all(const std::string& path, Watch& watch, Take take) {
  auto opened = disk::open(path, disk::Open::read);
  if (!opened) return std::unexpected(opened.error());
  const OpenFile file(*opened);
  std::vector<std::byte> piece(kPieceBytes);
  for (std::uint64_t at = 0;;) {
    auto got = disk::read_at(file.get(), piece, at);
    if (!got) return std::unexpected(named(got.error(), path));
    if (*got == 0) return {};
    if (auto taken = take(std::span<const std::byte>(piece).first(*got)); !taken) return taken;
    at += *got;
    watch.advance(*got);
  }
}

}  // namespace

Result<FileSum> sum_of(const std::string& path, Watch& watch) {
  Sha256 sum;
  std::uint64_t bytes = 0;
  auto read = read_all(path, watch, [&](std::span<const std::byte> piece) -> Result<void> {
    sum.add(piece);
    bytes += piece.size();
    return {};
  });
  if (!read) return std::unexpected(read.error());
  return FileSum{.bytes = bytes, .sha256 = sum.hex()};
}

Result<FileSum> copy_file(const std::string& from, const std::string& to, Watch& watch) {
  std::optional<HashedFile> out;  // made when `from` is open: what is not there leaves nothing
  const auto put = [&](std::string_view bytes) -> Result<void> {
    if (!out) {
      auto made = HashedFile::create(to);
      if (!made) return std::unexpected(made.error());
      out.emplace(std::move(*made));
    }
    return out->write(bytes);
  };
  auto copied = read_all(from, watch, [&](std::span<const std::byte> piece) {
    return put({reinterpret_cast<const char*>(piece.data()), piece.size()});
  });
  if (copied && !out) copied = put({});  // an empty one
  if (!copied) return std::unexpected(copied.error());
  return out->finish();
}

}  // namespace ringline::backend
