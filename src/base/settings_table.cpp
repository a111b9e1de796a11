// One row a setting: to add one, add a field to Settings and a row here.
#include "settings_table.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include "ringline/base/ids.hpp"
#include "settings_text.hpp"

namespace ringline::base {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr std::uint64_t kAnyNumber = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kTextPointsMax = 50'000;  // its event must fit a journal record
constexpr std::uint64_t kFrameBytesMax = 256 * 1024;
constexpr std::uint64_t kSegmentBytesMin = 2 * limits::kJournalBatchBytes;
constexpr std::uint64_t kSegmentBytesMax = 4ULL * 1024 * 1024 * 1024;
constexpr std::uint64_t kQueueBytesMin = 64 * 1024;
constexpr std::uint64_t kQueueBytesMax = 64 * 1024 * 1024;
constexpr unsigned kBcryptCostMin = 4;
constexpr unsigned kBcryptCostMax = 16;  // about a second a password
constexpr unsigned kProxyHopsMax = 16;
constexpr std::uint64_t kFileBytesMax = 5ULL * 1024 * 1024 * 1024;  // of one object that S3 copies

constexpr std::int64_t ms(milliseconds duration) { return duration.count(); }

struct Door {
  std::string (*apply)(Settings&, std::string_view);
  std::string (*show)(const Settings&);
};

template <auto kMember>
constexpr Door kText{[](Settings& s, std::string_view text) {
                       s.*kMember = std::string(text);
                       return std::string();
                     },
                     [](const Settings& s) { return s.*kMember; }};

// Without a slash at its end.
template <auto kMember>
constexpr Door kUrl{[](Settings& s, std::string_view text) {
                      while (text.ends_with('/')) text.remove_suffix(1);
                      if (!is_http_url(text)) return std::string("an address such as https://s3.example.org");
                      s.*kMember = std::string(text);
                      return std::string();
                    },
                    [](const Settings& s) { return s.*kMember; }};

template <auto kMember, std::uint64_t kMin, std::uint64_t kMax>
constexpr Door kNumber{[](Settings& s, std::string_view text) {
                         const auto number = text_to_number(text);
                         if (!number || *number < kMin || *number > kMax)
                           return kMax == kAnyNumber
                                      ? "a number from " + std::to_string(kMin) + " on"
                                      : "a number from " + std::to_string(kMin) + " to " + std::to_string(kMax);
                         s.*kMember = static_cast<std::remove_cvref_t<decltype(s.*kMember)>>(*number);
                         return std::string();
                       },
                       [](const Settings& s) { return std::to_string(s.*kMember); }};

template <auto kMember, std::int64_t kMinMs, std::int64_t kMaxMs>
constexpr Door kDuration{[](Settings& s, std::string_view text) {
                           const auto duration = parse_duration(text);
                           if (!duration || duration->count() < kMinMs || duration->count() > kMaxMs)
                             return "a duration such as 30, 1500ms, 10s, 5m or 2h, from " +
                                    duration_to_text(milliseconds(kMinMs)) + " to " +
                                    duration_to_text(milliseconds(kMaxMs));
                           s.*kMember = *duration;
                           return std::string();
                         },
                         [](const Settings& s) { return duration_to_text(s.*kMember); }};

template <auto kMember, std::uint64_t kMin, std::uint64_t kMax>
constexpr Door kSize{[](Settings& s, std::string_view text) {
                       const auto size = parse_size(text);
                       if (!size || *size < kMin || *size > kMax)
                         return "a size such as 512, 64K, 1M or 2G, from " + size_to_text(kMin) + " to " +
                                size_to_text(kMax);
                       s.*kMember = *size;
                       return std::string();
                     },
                     [](const Settings& s) { return size_to_text(s.*kMember); }};

template <auto kMember>
constexpr Door kSwitch{[](Settings& s, std::string_view text) {
                         const auto on = text_to_switch(text);
                         if (!on) return std::string("on or off");
                         s.*kMember = *on;
                         return std::string();
                       },
                       [](const Settings& s) { return std::string(s.*kMember ? "on" : "off"); }};

template <auto kMember>
constexpr Door kAddress{[](Settings& s, std::string_view text) {
                          const std::string address(text == "localhost" ? "127.0.0.1" : text);
                          std::array<unsigned char, sizeof(in6_addr)> bytes{};
                          if (::inet_pton(AF_INET, address.c_str(), bytes.data()) != 1 &&
                              ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1)
                            return std::string("an IPv4 or IPv6 address, such as 0.0.0.0, 127.0.0.1 or ::");
                          s.*kMember = address;
                          return std::string();
                        },
                        [](const Settings& s) { return s.*kMember; }};

std::string set_environment(Settings& s, std::string_view text) {
  if (text != "production" && text != "development") return "production or development";
  s.production = text == "production";
  return {};
}
std::string show_environment(const Settings& s) { return s.production ? "production" : "development"; }

std::string set_admin_port(Settings& s, std::string_view text) {
  const auto port = text_to_number(text);
  if (!port || *port > std::numeric_limits<std::uint16_t>::max()) return "a number from 0 to 65535";
  s.admin_port = static_cast<std::uint16_t>(*port);
  return {};
}
std::string show_admin_port(const Settings& s) { return s.admin_port ? std::to_string(*s.admin_port) : ""; }

std::string set_trust_proxy(Settings& s, std::string_view text) {
  s.trust_proxy.clear();
  s.trust_proxy_hops = 0;
  if (const auto hops = text_to_number(text); hops && *hops <= kProxyHopsMax) {
    s.trust_proxy_hops = static_cast<unsigned>(*hops);
    return {};
  }
  if (const auto all = text_to_switch(text)) {
    if (*all) s.trust_proxy = {"0.0.0.0/0", "::/0"};
    return {};
  }
  s.trust_proxy = split_list(text);
  if (std::ranges::all_of(s.trust_proxy, is_cidr)) return {};
  return "true, false, the number of proxies in front, or a comma list of addresses and blocks such as 10.0.0.0/8";
}
std::string show_trust_proxy(const Settings& s) {
  return s.trust_proxy_hops > 0 ? std::to_string(s.trust_proxy_hops) : join_list(s.trust_proxy);
}

std::string set_client_origin(Settings& s, std::string_view text) {
  s.client_origin = split_list(text);
  if (std::ranges::all_of(s.client_origin, is_origin)) return {};
  return "a comma list of origins such as https://chat.example.org, https://*.example.org, or *";
}
std::string show_client_origin(const Settings& s) { return join_list(s.client_origin); }

// What follows `sqlite:` is a path, also in the URL form with empty host.
std::string set_database(Settings& s, std::string_view text) {
  constexpr std::string_view kSqlite = "sqlite:";
  if (text.starts_with("postgresql://") || text.starts_with("postgres://")) {
    s.database_url = text;
    return {};
  }
  if (!text.starts_with(kSqlite)) return "sqlite:, sqlite:PATH or postgresql://USER@HOST/DATABASE";
  std::string_view path = text.substr(kSqlite.size());
  if (path.starts_with("///")) path.remove_prefix(2);
  s.database_url = path.empty() ? std::string() : std::string(kSqlite).append(path);
  return {};
}
std::string show_database(const Settings& s) { return s.database_url; }

std::string set_replica(Settings& s, std::string_view text) {
  if (!text.starts_with("postgresql://") && !text.starts_with("postgres://")) return "postgresql://USER@HOST/DATABASE";
  s.database_replica_url = text;
  return {};
}
std::string show_replica(const Settings& s) { return s.database_replica_url; }

std::string set_durability(Settings& s, std::string_view text) {
  if (text != "strict" && text != "relaxed") return "strict or relaxed";
  s.durability = text == "strict" ? Durability::strict : Durability::relaxed;
  return {};
}
std::string show_durability(const Settings& s) { return s.durability == Durability::strict ? "strict" : "relaxed"; }

std::string set_jwt_secret(Settings& s, std::string_view text) {
  s.jwt_secret = split_list(text);
  return {};
}
std::string show_jwt_secret(const Settings& s) { return join_list(s.jwt_secret); }

constexpr std::array<std::string_view, 4> kLevelNames{"debug", "info", "warn", "error"};

std::string set_log_level(Settings& s, std::string_view text) {
  const auto* found = std::ranges::find(kLevelNames, text);
  if (found == kLevelNames.end()) return "debug, info, warn or error";
  s.log_level = static_cast<LogLevel>(found - kLevelNames.begin());
  return {};
}
std::string show_log_level(const Settings& s) {
  return std::string(kLevelNames.at(static_cast<std::size_t>(s.log_level)));
}

constexpr SettingRow row(std::string_view group, std::string_view name, std::string_view hint, Door door,
                         std::string_view help, Secrecy secrecy = Secrecy::none) {
  return {group, name, hint, help, secrecy, door.apply, door.show};
}

constexpr std::string_view kNet = "Listening";
constexpr std::string_view kData = "Data";
constexpr std::string_view kFiles = "Files";
constexpr std::string_view kPeople = "People";
constexpr std::string_view kLimit = "Limits";
constexpr std::string_view kLog = "Log";
using S = Settings;

// clang-format off
constexpr auto kRows = std::to_array<SettingRow>({
    row(kNet, "HOST", "ADDRESS", kAddress<&S::host>, "Address to listen on"),
    row(kNet, "PORT", "NUMBER", kNumber<&S::port, 0, 65535>, "Port to listen on; 0 takes a free one, written to DATA_DIR/port"),
    row(kNet, "ADMIN_HOST", "ADDRESS", kAddress<&S::admin_host>, "Address of the admin listener"),
    row(kNet, "ADMIN_PORT", "NUMBER", {set_admin_port, show_admin_port}, "Port of the admin listener; unset: /metrics is on PORT, for this host only"),
    row(kNet, "CORES", "NUMBER", kNumber<&S::cores, 0, kCoresMax>, "Threads that serve, each with as many descriptors as the limit says; 0: one for each processor this process may use"),
    row(kNet, "PIN_CORES", "on|off", kSwitch<&S::pin>, "Bind each core's thread to its core"),
    row(kNet, "TRUST_PROXY", "WHO", {set_trust_proxy, show_trust_proxy}, "Whose X-Forwarded-For counts: true, number of proxies, or addresses"),
    row(kNet, "CLIENT_ORIGIN", "LIST", {set_client_origin, show_client_origin}, "Origins of web pages that may connect; unset: our own"),
    row(kNet, "CONNECTIONS_MAX", "NUMBER", kNumber<&S::connections_max, 0, kAnyNumber>, "Open connections; 0: as many as the descriptor limit carries"),
    row(kNet, "DRAIN_TIME", "DURATION", kDuration<&S::drain_time, ms(0ms), ms(600s)>, "From SIGTERM to the end"),
    row(kNet, "RINGLINE_ENV", "NAME", {set_environment, show_environment}, "production refuses weak secrets and pages of other origins"),
    row(kData, "DATA_DIR", "PATH", kText<&S::data_dir>, "Folder for all data"),
    row(kData, "DATABASE_URL", "URL", {set_database, show_database}, "sqlite:PATH or postgresql://USER:PASSWORD@HOST/DATABASE; unset: SQLite in DATA_DIR. Also by PGHOST, PGPORT, … or DB_HOST, DB_PORT, …", Secrecy::masked),
    row(kData, "DATABASE_REPLICA_URL", "URL", {set_replica, show_replica}, "Servers that follow it: history and search are read there", Secrecy::masked),
    row(kData, "REDIS_URL", "URL", kText<&S::redis_url>, "Joins several hosts: redis://HOST:PORT (of a cluster several, with commas), rediss:// with TLS, redis+sentinel://HOST:PORT/NAME; unset: one host", Secrecy::masked),
    row(kData, "REDIS_HOST", "NAME", kText<&S::redis_host>, "Instead of REDIS_URL: the host"),
    row(kData, "REDIS_PORT", "NUMBER", kNumber<&S::redis_port, 1, 65535>, "Instead of REDIS_URL: the port"),
    row(kData, "REDIS_PASSWORD", "TEXT", kText<&S::redis_password>, "For a REDIS_URL without one, or with REDIS_HOST", Secrecy::by_file),
    row(kData, "REDIS_TLS", "on|off", kSwitch<&S::redis_tls>, "Encrypt, as rediss:// does"),
    row(kData, "REDIS_TLS_CA", "PATH", kText<&S::redis_tls_ca>, "Who signs Redis' certificate; unset: whom the system trusts"),
    row(kData, "REDIS_TLS_CERT", "PATH", kText<&S::redis_tls_cert>, "Our certificate, for a Redis that asks for one"),
    row(kData, "REDIS_TLS_KEY", "PATH", kText<&S::redis_tls_key>, "Its key; unset: it is in the same file"),
    row(kData, "ACK_REPLICAS", "NUMBER", kNumber<&S::ack_replicas, 0, 16>, "Replicas of Redis that have a message before it is acked; one that they have not in time is acked as pending"),
    row(kData, "DURABILITY", "MODE", {set_durability, show_durability}, "strict: synced before it is acked; relaxed: a crash may lose the last messages"),
    row(kData, "JOURNAL_SEGMENT", "SIZE", kSize<&S::journal_segment_bytes, kSegmentBytesMin, kSegmentBytesMax>, "Size of a journal file"),
    row(kFiles, "S3_ENDPOINT", "URL", kUrl<&S::s3_endpoint>, "http(s)://HOST[:PORT] of an S3; unset: AWS in S3_REGION"),
    row(kFiles, "S3_REGION", "NAME", kText<&S::s3_region>, "Region that requests are signed for"),
    row(kFiles, "S3_ACCESS_KEY", "TEXT", kText<&S::s3_access_key>, "Who the server is to S3"),
    row(kFiles, "S3_SECRET_KEY", "TEXT", kText<&S::s3_secret_key>, "With S3_ACCESS_KEY", Secrecy::by_file),
    row(kFiles, "S3_BUCKET", "NAME", kText<&S::s3_bucket>, "Bucket for the files; unset: they are in DATA_DIR"),
    row(kFiles, "S3_USE_PATH_STYLE", "on|off", kSwitch<&S::s3_path_style>, "HOST/BUCKET/KEY instead of BUCKET.HOST/KEY"),
    row(kFiles, "S3_PUBLIC_URL_BASE", "URL", kUrl<&S::s3_public_url_base>, "Where clients reach S3; a path in it is to be stripped by the proxy; unset: at S3_ENDPOINT"),
    row(kFiles, "S3_TIMEOUT", "DURATION", kDuration<&S::s3_timeout, ms(100ms), ms(300s)>, "Longest that S3 may say nothing"),
    row(kFiles, "USE_MINIO", "on|off", kSwitch<&S::use_minio>, "An S3 of one's own, at http://127.0.0.1:9000 unless S3_ENDPOINT says where: path style, and the bucket is made"),
    row(kFiles, "FILE_MAX", "SIZE", kSize<&S::file_bytes, 1, kFileBytesMax>, "Largest file"),
    row(kFiles, "AVATAR_MAX", "SIZE", kSize<&S::avatar_bytes, 1, kFileBytesMax>, "Largest file that may be an avatar"),
    row(kFiles, "GUEST_FILE_TTL", "DURATION", kDuration<&S::guest_file_ttl, ms(1s), ms(8760h)>, "Life of a guest's file"),
    row(kFiles, "FILE_LINK_AGE", "DURATION", kDuration<&S::file_link_age, ms(1s), ms(168h)>, "Life of a link to read a file"),
    row(kPeople, "JWT_SECRET", "LIST", {set_jwt_secret, show_jwt_secret}, "The first signs, all verify; unset: made and kept in DATA_DIR. With REDIS_URL it has to be set", Secrecy::by_file),
    row(kPeople, "ACCESS_TOKEN_AGE", "DURATION", kDuration<&S::access_token_age, ms(10s), ms(24h)>, "Life of an access token"),
    row(kPeople, "SESSION_TTL", "DURATION", kDuration<&S::session_ttl, ms(60s), ms(8760h)>, "Life of a session that is not used"),
    row(kPeople, "BCRYPT_COST", "NUMBER", kNumber<&S::bcrypt_cost, kBcryptCostMin, kBcryptCostMax>, "Work to hash a password; one more doubles it"),
    row(kPeople, "ALLOW_GUESTS", "on|off", kSwitch<&S::allow_guests>, "Let people in without an account"),
    row(kPeople, "SOCKETIO_RECOVERY", "on|off", kSwitch<&S::socketio_recovery>, "Socket.IO's connection state recovery; auth.resume does more"),
    row(kPeople, "GUEST_TTL", "DURATION", kDuration<&S::guest_ttl, ms(24h), ms(87600h)>, "Life of a guest who is not seen and has written nothing"),
    row(kPeople, "CREATE_ON_JOIN", "on|off", kSwitch<&S::create_on_join>, "Joining a room that is not there makes it"),
    row(kLimit, "RATE_LIMIT_MESSAGES", "NUMBER", kNumber<&S::rate_limit_messages, 0, kAnyNumber>, "Messages of a user in RATE_LIMIT_WINDOW; 0: no limit"),
    row(kLimit, "RATE_LIMIT_WINDOW", "DURATION", kDuration<&S::rate_limit_window, ms(100ms), ms(24h)>, "Window of RATE_LIMIT_MESSAGES"),
    row(kLimit, "RATE_LIMIT_GUESTS", "NUMBER", kNumber<&S::rate_limit_guests, 0, kAnyNumber>, "New guests from an address in 60 s; 0: no limit"),
    row(kLimit, "RATE_LIMIT_API_WRITES", "NUMBER", kNumber<&S::rate_limit_api_writes, 0, kAnyNumber>, "Changing REST calls in 60 s; 0: no limit"),
    row(kLimit, "RATE_LIMIT_API_READS", "NUMBER", kNumber<&S::rate_limit_api_reads, 0, kAnyNumber>, "Reading REST calls in 60 s; 0: no limit"),
    row(kLimit, "TEXT_MAX", "NUMBER", kNumber<&S::text_points, 1, kTextPointsMax>, "Characters of a message"),
    row(kLimit, "FRAME_MAX", "SIZE", kSize<&S::frame_bytes, 1024, kFrameBytesMax>, "A frame on /ws"),
    row(kLimit, "SEND_QUEUE", "SIZE", kSize<&S::send_queue_bytes, kQueueBytesMin, kQueueBytesMax>, "Bytes queued for a connection before it is fed from the log"),
    row(kLimit, "FLUSH_WAIT", "DURATION", kDuration<&S::flush_wait, 0, ms(1s)>, "Longest that messages of a busy room wait to be sent together; 0: never"),
    row(kLimit, "CONNECTIONS_PER_USER", "NUMBER", kNumber<&S::connections_per_user, 1, 10'000>, "Connections of a user"),
    row(kLimit, "PING_INTERVAL", "DURATION", kDuration<&S::ping_interval, ms(100ms), ms(1h)>, "Between two pings"),
    row(kLimit, "PING_TIMEOUT", "DURATION", kDuration<&S::ping_timeout, ms(100ms), ms(1h)>, "For the answer to a ping"),
    row(kLimit, "CONNECT_TIMEOUT", "DURATION", kDuration<&S::connect_timeout, ms(100ms), ms(1h)>, "From the upgrade to the sign-in"),
    row(kLog, "LOG_LEVEL", "LEVEL", {set_log_level, show_log_level}, "debug, info, warn or error"),
    row(kLog, "LOG_FILE", "PATH", kText<&S::log_file>, "Opened again on SIGHUP; unset: standard error"),
});

constexpr auto kLater = std::to_array<LaterName>({
    {"WEBRTC_STUN", "calls", false}, {"WEBRTC_TURN_URLS", "calls", false}, {"WEBRTC_TURN_SECRET", "calls", false},
    {"WEBRTC_TURN_USERNAME", "calls", false}, {"WEBRTC_TURN_CREDENTIAL", "calls", false}, {"WEBRTC_TURN_TTL", "calls", false},
    {"CALL_RING_TIMEOUT", "calls", false}, {"CALL_RECONNECT_GRACE", "calls", false}, {"SOCKETIO_RECOVERY", "Socket.IO recovery", false},
});

struct Renamed {
  std::string_view old_name;
  std::string_view new_name;
};
constexpr auto kRenamed = std::to_array<Renamed>({
    {"MARIADB_HOST", "DB_HOST"}, {"MARIADB_PORT", "DB_PORT"}, {"MARIADB_DB", "DB_NAME"}, {"MARIADB_USER", "DB_USER"},
    {"MARIADB_PASSWORD", "DB_PASSWORD"}, {"MARIADB_SSL", "DB_SSL"}, {"MARIADB_HOST_BACKUP", "DB_REPLICA_HOST"},
    {"MARIADB_PORT_BACKUP", "DB_REPLICA_PORT"}, {"MARIADB_DB_BACKUP", "DB_REPLICA_NAME"},
    {"MARIADB_USER_BACKUP", "DB_REPLICA_USER"}, {"MARIADB_PASSWORD_BACKUP", "DB_REPLICA_PASSWORD"},
    {"MARIADB_SSL_BACKUP", "DB_REPLICA_SSL"}, {"MONGO_ROOT_USER", "DB_USER"}, {"MONGO_ROOT_PASSWORD", "DB_PASSWORD"},
});
// clang-format on

}  // namespace

std::span<const SettingRow> setting_rows() noexcept { return kRows; }

const SettingRow* find_row(std::string_view name) noexcept {
  const auto* found = std::ranges::find(kRows, name, &SettingRow::name);
  return found == kRows.end() ? nullptr : found;
}

const LaterName* find_later(std::string_view name) noexcept {
  const auto* found = std::ranges::find(kLater, name, &LaterName::name);
  return found == kLater.end() ? nullptr : found;
}

std::string_view renamed(std::string_view name) noexcept {
  const auto* found = std::ranges::find(kRenamed, name, &Renamed::old_name);
  return found == kRenamed.end() ? std::string_view() : found->new_name;
}

std::string_view nearest_name(std::string_view wrong) noexcept {
  std::string_view nearest;
  std::size_t least = std::max<std::size_t>(2, wrong.size() / 3) + 1;
  const auto look = [&](std::string_view name) {
    const std::size_t steps = edit_distance(wrong, name);
    if (steps >= least) return;
    least = steps;
    nearest = name;
  };
  for (const SettingRow& known : kRows) look(known.name);
  for (const LaterName& known : kLater) look(known.name);
  return nearest;
}

}  // namespace ringline::base
