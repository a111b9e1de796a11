// What an operator may set: by flag, environment, file, in that order (names in the wire contract, "For operators"). One struct, checked at
// start, passed down by reference; no globals.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ringline/base/limits.hpp"
#include "ringline/base/result.hpp"

namespace ringline::base {

enum class Durability : std::uint8_t { strict, relaxed };
enum class LogLevel : std::uint8_t { debug, info, warn, error };
// done: --help or --version was answered
enum class RunMode : std::uint8_t {
  serve,
  check_config,
  dump_journal,
  dead_letters,
  migrate_store,
  import_files,
  backup,
  restore,
  done,
};

// Of the command dead-letters.
struct DeadLetterCommand {
  enum class Action : std::uint8_t { list, retry, drop } action = Action::list;
  std::uint64_t room = 0;  // 0: of all rooms
  std::uint64_t seq = 0;   // 0: of all events
};

// Of the commands that move all data: migrate-store, import, backup, restore.
struct DataCommand {
  std::string from;  // migrate-store: stores as DATABASE_URL names them; empty: as its --help says
  std::string to;
  std::string path;            // import: where the files are; backup and restore: the backup
  bool force = false;          // restore: over what is there
  bool nothing_since = false;  // restore: the server has not run since the backup was made
};

struct Settings {
  RunMode mode = RunMode::serve;
  DeadLetterCommand dead_letters;
  DataCommand data_command;
  bool production = false;  // RINGLINE_ENV=production: refuses default secrets, other origins, plain cookies

  // Listening.
  std::string host = "0.0.0.0";
  std::uint16_t port = 3080;  // 0: any free one, printed and written to DATA_DIR/port
  std::string admin_host = "127.0.0.1";
  std::optional<std::uint16_t> admin_port;  // unset: /metrics is served on `port` to loopback peers only
  unsigned cores = 0;                       // 0: as many as the process may use
  bool pin = true;                          // pin each core's thread
  std::vector<std::string> trust_proxy;     // addresses or CIDR blocks whose X-Forwarded-For counts
  unsigned trust_proxy_hops = 0;  // or so many proxies in front: the n-th address from the right is the client's
  std::vector<std::string> client_origin;  // unset: same origin, and any localhost port outside production
  std::chrono::milliseconds drain_time = limits::kDrainTime;

  // Data.
  std::string data_dir = "ringline-data";
  std::string database_url;          // empty: SQLite in data_dir
  std::string database_replica_url;  // empty: all is read where it is written
  std::string redis_url;             // empty, and redis_host too: one host
  std::string redis_host;            // instead of the URL
  std::uint16_t redis_port = 6379;
  std::string redis_password;  // where the URL has none
  bool redis_tls = false;
  std::string redis_tls_ca;  // files
  std::string redis_tls_cert;
  std::string redis_tls_key;
  unsigned ack_replicas = 0;  // of Redis, that have a message before it is acked
  bool several_hosts() const noexcept { return !redis_url.empty() || !redis_host.empty(); }
  Durability durability = Durability::strict;

  // Files: in S3 where a bucket is named, else in data_dir.
  std::string s3_endpoint;  // http(s)://HOST[:PORT]; empty: AWS, by the region
  std::string s3_region = "us-east-1";
  std::string s3_access_key;
  std::string s3_secret_key;
  std::string s3_bucket;
  bool s3_path_style = false;      // the bucket in the path, not in the host's name
  std::string s3_public_url_base;  // where clients reach it; empty: at the endpoint
  std::chrono::milliseconds s3_timeout = limits::kS3Timeout;
  bool use_minio = false;  // an S3 of one's own: path style, the bucket is made where it is missing
  std::uint64_t file_bytes = limits::kFileBytes;
  std::uint64_t avatar_bytes = limits::kAvatarBytes;
  std::chrono::milliseconds guest_file_ttl = limits::kGuestFileAge;
  std::chrono::milliseconds file_link_age = limits::kFileLinkAge;
  std::uint64_t journal_segment_bytes = limits::kJournalSegmentBytes;

  // People.
  std::vector<std::string> jwt_secret;  // first signs, all verify; empty: made and kept in data_dir
  std::chrono::milliseconds access_token_age = std::chrono::minutes(15);
  std::chrono::milliseconds session_ttl = std::chrono::hours(24);
  unsigned bcrypt_cost = 12;
  bool allow_guests = true;
  bool socketio_recovery = false;
  std::chrono::milliseconds guest_ttl = std::chrono::hours(24 * 30);
  bool create_on_join = true;

  // Limits; 0 turns a rate limit off.
  unsigned rate_limit_messages = 10;
  std::chrono::milliseconds rate_limit_window = std::chrono::seconds(10);
  unsigned rate_limit_guests = 20;      // new guests an address in 60 s
  unsigned rate_limit_api_writes = 60;  // REST calls in 60 s a user or address
  unsigned rate_limit_api_reads = 600;
  std::size_t text_points = limits::kTextPoints;
  std::size_t frame_bytes = limits::kFrameBytes;
  std::size_t send_queue_bytes = limits::kSendQueueBytes;
  std::chrono::milliseconds flush_wait = limits::kFlushWait;
  unsigned connections_per_user = limits::kConnectionsPerUser;
  unsigned connections_max = 0;  // of the process; 0: as many as the descriptor limit carries
  std::chrono::milliseconds ping_interval = limits::kPingInterval;
  std::chrono::milliseconds ping_timeout = limits::kPingTimeout;
  std::chrono::milliseconds connect_timeout = limits::kConnectTimeout;

  // Log.
  LogLevel log_level = LogLevel::info;
  std::string log_file;  // empty: standard error
};

// Reads flags, environment and file. --help and --version are answered on standard output (mode done). An error names the setting, where
// it came from, what is wrong with it and what would be right.
Result<Settings> load_settings(int argc, const char* const* argv, const char* const* environment);

// "1500ms", "10s", "5m", "2h", "30" (seconds).  "64K", "1M", "2G", "512".
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) noexcept;
std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;

}  // namespace ringline::base
