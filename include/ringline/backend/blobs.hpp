// Where the bytes of files are kept: S3, or a folder. Both are chat's BlobStore on the loop of the thread of transfers; each core has a client of it.
//
// S3: libcurl's multi interface, signed by sigv4.hpp. What is asked may be asked again after a failure, unless bytes were streamed; behind a circuit
// breaker. Bytes go straight through: an upload above limits::kPartBytes is one of S3's multipart uploads, and each part is sent while it comes.
// Folder: files below it, written beside their place and moved there when they are synced; reads and writes on the ring, all else on workers.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "ringline/base/circuit_breaker.hpp"
#include "ringline/base/limits.hpp"
#include "ringline/base/metrics.hpp"
#include "ringline/base/result.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/workers.hpp"

namespace ringline::backend {

// Made, used and destroyed on its loop's thread.
class BlobPlace : public chat::BlobStore {
 public:
  // What waits for it, now or later, fails at once: it is about to be closed.
  virtual void cut() = 0;
  // Before it is destroyed, when nothing is under way.
  virtual base::Task<void> close() = 0;
  // From any thread, as long as it is there. Null: there is nothing to break.
  virtual const base::CircuitBreaker* breaker() const noexcept = 0;
};

struct S3Options {
  std::string endpoint;  // http(s)://HOST[:PORT]; empty: AWS
  std::string region;
  std::string access_key;
  std::string secret_key;
  std::string bucket;
  bool path_style = false;
  bool make_bucket = false;     // where it is missing
  std::string public_url_base;  // http(s)://HOST[:PORT][/PREFIX]; empty: the endpoint
  std::chrono::milliseconds link_age = base::limits::kFileLinkAge;
  std::chrono::milliseconds timeout = base::limits::kS3Timeout;
};

std::unique_ptr<chat::FileLinks> s3_links(const S3Options& options);
// Counts into `metrics`. Nothing is asked before its loop runs.
std::unique_ptr<BlobPlace> open_s3(loop::Loop& loop, const S3Options& options, base::Metrics& metrics);

// Makes the folder where it is missing, and removes what was left half written. Blocks.
base::Result<std::unique_ptr<BlobPlace>> open_folder(loop::Loop& loop, loop::Workers& workers, std::string path);

// A core's side.
class BlobsClient : public chat::Blobs {
 public:
  // Whoever waits gets his error at once, and so do those to come: the core stops.
  virtual void cut() = 0;
};
// `place` lives on the thread of `there`. The client goes before its own loop does, `there` after all clients.
std::unique_ptr<BlobsClient> blobs_client(loop::Loop& here, loop::Loop& there, BlobPlace& place);

}  // namespace ringline::backend
