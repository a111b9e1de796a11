// Ports: where the bytes of files are kept, S3 or a folder (backend/blobs.hpp), and the links to them.
//
// A blob is one object under a key. What a client uploads is at upload_key, where he may replace it as long as his link holds; when it is completed it is
// looked at and moved to file_key, of which no link to write is ever given. So what was checked is what is read.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/objects.hpp"

namespace ringline::chat {

inline std::string upload_key(FileId id) { return "uploads/" + id.text(); }
inline std::string file_key(FileId id) { return "files/" + id.text(); }

// What is there under a key.
struct BlobHead {
  static constexpr std::size_t kFirstBytes = 512;
  std::uint64_t size = 0;
  std::string version;  // another one where it was written anew
  std::string first;    // its first bytes, at most kFirstBytes
};

// What a core asks. Answers come on that core; `unavailable` with a time to come again while the place cannot be reached.
class Blobs {
 public:
  virtual ~Blobs() = default;
  virtual base::Task<base::Result<BlobHead>> look(std::string key) = 0;       // not_found
  virtual base::Task<base::Result<std::string>> sha256(std::string key) = 0;  // of all of it, in hex; not_found
  // Moves what `look` saw, and nothing else: `conflict` where it was written anew since.
  virtual base::Task<base::Result<void>> accept(std::string from, std::string to, std::string version) = 0;
  virtual base::Task<base::Result<void>> remove(std::string key) = 0;  // fine if it is not there
};

// Bytes on their way, on the thread of transfers (net/transfers.hpp). One call at a time; what a span names stays until the call is over.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  virtual base::Task<base::Result<std::size_t>> read(std::span<std::byte> into) = 0;  // 0: the end
};
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  virtual base::Task<base::Result<void>> write(std::span<const std::byte> bytes) = 0;
  virtual base::Task<base::Result<void>> finish() = 0;  // it is there, durably
  virtual base::Task<void> abandon() = 0;               // instead of `finish`: nothing is left of it
};

// The place itself, on that thread.
class BlobStore {
 public:
  virtual ~BlobStore() = default;
  virtual base::Task<base::Result<BlobHead>> look(std::string key) = 0;
  virtual base::Task<base::Result<void>> accept(std::string from, std::string to, std::string version) = 0;
  virtual base::Task<base::Result<void>> remove(std::string key) = 0;
  // Bytes [first, first + count) of it. not_found
  virtual base::Task<base::Result<std::unique_ptr<BlobReader>>> read(std::string key, std::uint64_t first,
                                                                     std::uint64_t count) = 0;
  // Exactly `size` bytes follow, at least one. An error with `sys` ENOSPC: there is no room.
  virtual base::Task<base::Result<std::unique_ptr<BlobWriter>>> write(std::string key, std::uint64_t size,
                                                                      std::string mime_type) = 0;
};

// ---- Links

// How a client reaches bytes without showing who he is, until a time.
struct Link {
  std::string method;
  std::string url;                                           // of S3; or without a host: below this server's address
  std::vector<std::pair<std::string, std::string>> headers;  // to be sent as they are
  std::int64_t expires_ms = 0;
};

// Made without asking anybody; the same object for all threads.
class FileLinks {
 public:
  virtual ~FileLinks() = default;
  virtual Link upload(const File& file, std::int64_t wall_ms) const = 0;
  virtual Link download(const File& file, std::int64_t wall_ms) const = 0;
  // Where clients reach the place themselves: they are sent there.
  virtual bool direct() const noexcept = 0;
};

// The file's link as of now; of one that is not there (any more), none.
void add_link(File& file, const FileLinks& links, std::int64_t wall_ms);

// Links to this server's own door for bytes, /api/v1/files/ID/content: signed with a key of its own, made from the secrets that sign tokens.
class SignedLinks final : public FileLinks {
 public:
  // The first secret signs, all verify. `age`: of links to read.
  SignedLinks(const std::vector<std::string>& secrets, std::chrono::milliseconds age);

  Link upload(const File& file, std::int64_t wall_ms) const override;
  Link download(const File& file, std::int64_t wall_ms) const override;
  bool direct() const noexcept override { return false; }
  // Whether these are `expires` and `signature` of a link to this file by this method, which has not expired.
  bool holds(std::string_view method, FileId id, std::string_view expires, std::string_view signature,
             std::int64_t wall_ms) const;

 private:
  Link link(std::string_view method, FileId id, std::int64_t expires_ms) const;
  std::vector<std::string> keys_;
  std::chrono::milliseconds age_;
};

}  // namespace ringline::chat
