// Where settings come from. Each source becomes a list of (name, text, where it stood); the first source that has a name wins; only then are texts judged, so
// that one rule and one message serve flags, environment and file alike.
#include "ringline/base/settings.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

#include "ringline/base/log.hpp"
#include "settings_database.hpp"
#include "settings_flags.hpp"
#include "settings_table.hpp"
#include "settings_text.hpp"

namespace ringline::base {
namespace {

constexpr std::size_t kFileBytesMax = 256 * 1024;  // of a settings file or a secret
constexpr std::size_t kSecretBytesMin = 32;        // HS256 asks for a key as long as its hash (RFC 7518, 3.2)
constexpr std::string_view kFileSuffix = "_FILE";

struct Given {
  std::string text;
  std::string from;  // "--port", "environment", "ringline.conf:12"
};
using GivenByName = std::map<std::string, Given, std::less<>>;

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Errc::invalid, "cannot read " + path + ": " + std::strerror(errno));
  std::string bytes(kFileBytesMax + 1, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (file.bad() || (file.fail() && !file.eof())) return fail(Errc::invalid, "cannot read " + path);
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  if (bytes.size() > kFileBytesMax) return fail(Errc::invalid, path + " is larger than " + size_to_text(kFileBytesMax));
  return bytes;
}

bool is_known(std::string_view name) noexcept {
  return find_row(name) != nullptr || find_later(name) != nullptr || is_database_part(name);
}

// The setting whose value NAME_FILE says where to read; empty if `name` is not of that kind.
std::string_view stem_of(std::string_view name) noexcept {
  if (is_known(name) || !name.ends_with(kFileSuffix)) return {};
  const std::string_view stem = name.substr(0, name.size() - kFileSuffix.size());
  return is_known(stem) || !renamed(stem).empty() ? stem : std::string_view();
}

// One source. Old names are kept aside until all its new ones are known: those go before.
class Source {
 public:
  // False: no setting has that name.
  Result<bool> take(std::string_view name, std::string_view text, std::string from) {
    if (const std::string_view stem = stem_of(name); !stem.empty()) {
      auto content = read_file(std::string(text));
      if (!content)
        return fail_field(std::string(name), std::string(name) + " (" + from + "): " + content.error().message);
      return take(stem, strip(*content), from.append(", ").append(name));
    }
    if (!renamed(name).empty()) {
      old_.push_back({std::string(name), Given{std::string(text), std::move(from)}});
      return true;
    }
    if (!is_known(name)) return false;
    const auto [at, fresh] = given_.try_emplace(std::string(name), Given{std::string(text), from});
    if (fresh) return true;
    return fail_field(std::string(name), std::string(name) + " is set twice: " + at->second.from + " and " + from);
  }

  void merge_into(GivenByName& all) {
    for (auto& [name, given] : old_) {
      const std::string_view now = renamed(name);
      log::warn("setting_renamed", {{"old", name}, {"new", now}, {"from", given.from}});
      given_.try_emplace(std::string(now), Given{std::move(given.text), given.from + ", " + name});
    }
    all.merge(given_);
  }

 private:
  GivenByName given_;
  std::vector<std::pair<std::string, Given>> old_;
};

Result<void> add_flags(const Flags& flags, GivenByName& all) {
  Source source;
  for (const FlagValue& value : flags.values) {
    const auto taken = source.take(value.name, value.text, value.flag);
    if (!taken) return std::unexpected(taken.error());
  }
  source.merge_into(all);
  return {};
}

// A variable that is empty counts as not set: that is how container set-ups leave one out.
Result<std::string> add_environment(const char* const* environment, GivenByName& all) {
  Source source;
  std::string config_path;
  for (; environment && *environment; ++environment) {
    const std::string_view entry(*environment);
    const std::size_t equals = std::min(entry.find('='), entry.size());
    const std::string_view name = entry.substr(0, equals);
    const std::string_view text = entry.substr(std::min(equals + 1, entry.size()));
    if (text.empty()) continue;
    if (name == "RINGLINE_CONFIG") config_path = text;
    const auto taken = source.take(name, text, "environment");
    if (!taken) return std::unexpected(taken.error());
  }
  source.merge_into(all);
  return config_path;
}

std::string_view unquote(std::string_view text) noexcept {
  const bool quoted = text.size() >= 2 && text.front() == text.back() && (text.front() == '"' || text.front() == '\'');
  return quoted ? text.substr(1, text.size() - 2) : text;
}

Result<void> add_file(const std::string& path, GivenByName& all) {
  const auto bytes = read_file(path);
  if (!bytes) return fail_field("config", "--config: " + bytes.error().message);
  std::istringstream lines(*bytes);
  std::string line;
  Source source;
  for (unsigned number = 1; std::getline(lines, line); ++number) {
    const std::string_view text = strip(line);
    const std::string place = path + ":" + std::to_string(number);
    if (text.empty() || text.front() == '#' || text.front() == ';') continue;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) return fail_field("config", place + ": a line is NAME = value");
    const std::string name = upper_name(strip(text.substr(0, equals)));
    const auto taken = source.take(name, unquote(strip(text.substr(equals + 1))), place);
    if (!taken) return std::unexpected(taken.error());
    if (*taken) continue;
    const std::string_view near = nearest_name(name);
    return fail_field(name, place + ": there is no setting " + name +
                                (near.empty() ? std::string() : "; did you mean " + std::string(near) + "?"));
  }
  source.merge_into(all);
  return {};
}

// The URL goes before its parts. (libpq takes what a URL leaves open from PGUSER and the others itself, where they are in the environment.)
Result<void> apply_database_parts(GivenByName& all) {
  for (const DatabaseParts& parts : database_parts()) {
    const auto host = all.find(parts.host);
    if (host == all.end()) continue;
    if (all.contains(parts.url)) {
      log::warn("setting_without_effect",
                {{"name", parts.host}, {"from", host->second.from}, {"goes_before", parts.url}});
      continue;
    }
    auto url = join_database_parts(parts, [&all](std::string_view name) -> std::optional<std::string> {
      const auto found = all.find(name);
      return found == all.end() ? std::nullopt : std::optional(found->second.text);
    });
    if (!url) return std::unexpected(url.error());
    std::string from = host->second.from;
    all.try_emplace(std::string(parts.url), Given{std::move(*url), from.append(", ").append(parts.host)});
  }
  return {};
}

Result<void> apply_later(const GivenByName& all) {
  for (const auto& [name, given] : all) {
    const LaterName* later = find_later(name);
    if (!later) continue;
    if (later->refused)
      return fail_field(name, name + " (" + given.from + "): " + std::string(later->part) +
                                  " is not built yet; take the setting away, and data stays in DATA_DIR");
    log::warn("setting_without_effect", {{"name", name}, {"from", given.from}, {"not_built_yet", later->part}});
  }
  return {};
}

Result<void> apply_rows(const GivenByName& all, Settings& settings) {
  for (const SettingRow& row : setting_rows()) {
    const auto found = all.find(row.name);
    if (found == all.end()) continue;
    const std::string right = row.apply(settings, found->second.text);
    if (right.empty()) continue;
    const std::string shown = row.secrecy != Secrecy::none ? "the value" : "\"" + found->second.text + "\"";
    return fail_field(std::string(row.name), std::string(row.name) + " (" + found->second.from + "): " + shown +
                                                 " is not right; expected " + right);
  }
  return {};
}

void complete_s3(Settings& settings) {
  if (!settings.use_minio) return;
  settings.s3_path_style = true;
  if (settings.s3_endpoint.empty()) settings.s3_endpoint = "http://127.0.0.1:9000";
  if (settings.s3_bucket.empty()) settings.s3_bucket = "ringline";
}

Result<void> check_s3(const Settings& settings) {
  if (settings.s3_bucket.empty()) {
    if (settings.s3_endpoint.empty() && settings.s3_public_url_base.empty()) return {};
    return fail_field("S3_BUCKET", "S3_BUCKET: name it too, or take S3_ENDPOINT and S3_PUBLIC_URL_BASE away");
  }
  if (settings.s3_access_key.empty() || settings.s3_secret_key.empty())
    return fail_field("S3_ACCESS_KEY", "S3_ACCESS_KEY and S3_SECRET_KEY: set both together with S3_BUCKET");
  if (settings.s3_region.empty())
    return fail_field("S3_REGION", "S3_REGION: a region is needed; us-east-1 is the usual");
  const std::string_view endpoint = settings.s3_endpoint;
  const std::size_t host = std::min(endpoint.find("://") + 3, endpoint.size());
  if (!endpoint.empty() && endpoint.find('/', host) != std::string_view::npos)
    return fail_field("S3_ENDPOINT", "S3_ENDPOINT: without a path; S3_PUBLIC_URL_BASE may have one");
  return {};
}

// Redis joins hosts that share all else.
Result<void> check_redis(const Settings& settings) {
  if (!settings.several_hosts() && settings.ack_replicas > 0)
    return fail_field("ACK_REPLICAS", "ACK_REPLICAS: name a Redis with REDIS_URL; without it there are no replicas");
  if (!settings.several_hosts()) return {};
  if (!settings.redis_url.empty() && !settings.redis_host.empty())
    return fail_field("REDIS_HOST", "REDIS_HOST: REDIS_URL names the host already; take one of them away");
  if (settings.jwt_secret.empty())
    return fail_field("JWT_SECRET",
                      "JWT_SECRET: set it together with REDIS_URL, the same on every host; the one made here would be "
                      "this host's only");
  if (!settings.database_url.starts_with("postgres"))
    return fail_field("DATABASE_URL",
                      "DATABASE_URL: name a PostgreSQL together with REDIS_URL, the same on every host; or take "
                      "REDIS_URL away, and this host stands alone");
  if (settings.s3_bucket.empty() && settings.mode == RunMode::serve)
    log::warn("setting_missing",
              {{"name", "S3_BUCKET"}, {"why", "other hosts have not the files of this one's DATA_DIR"}});
  return {};
}

// What no single value can say.
Result<void> check_together(const Settings& settings) {
  if (auto s3 = check_s3(settings); !s3) return s3;
  if (auto redis = check_redis(settings); !redis) return redis;
  if (!settings.database_replica_url.empty() && !settings.database_url.starts_with("postgres"))
    return fail_field("DATABASE_REPLICA_URL",
                      "DATABASE_REPLICA_URL: a replica follows a PostgreSQL: set DATABASE_URL, or take it away");
  if (settings.data_dir.empty()) return fail_field("DATA_DIR", "DATA_DIR: a folder is needed");
  for (const std::string& secret : settings.jwt_secret) {
    if (secret.size() >= kSecretBytesMin) continue;
    if (settings.production)
      return fail_field("JWT_SECRET",
                        "JWT_SECRET: each must have at least 32 characters; `openssl rand -base64 32` makes one");
    log::warn("weak_secret", {{"name", "JWT_SECRET"}, {"bytes", secret.size()}, {"bytes_min", kSecretBytesMin}});
  }
  return {};
}

void print(const Settings& settings, const GivenByName& all) {
  for (const SettingRow& row : setting_rows()) {
    const auto found = all.find(row.name);
    const std::string value = row.show(settings);
    const std::string shown = row.secrecy != Secrecy::none && !value.empty() ? "(set)" : value;
    std::printf("%s = %s  # %s\n", row.name.data(), shown.c_str(),
                found == all.end() ? "default" : found->second.from.c_str());
  }
}

}  // namespace

Result<Settings> load_settings(int argc, const char* const* argv, const char* const* environment) {
  const auto flags = read_flags(argc, argv);
  if (!flags) return std::unexpected(flags.error());
  Settings settings;
  settings.mode = flags->mode;
  settings.dead_letters = flags->dead_letters;
  settings.data_command = flags->data_command;
  if (settings.mode == RunMode::done) return settings;

  GivenByName all;
  if (const auto added = add_flags(*flags, all); !added) return std::unexpected(added.error());
  const auto config_path = add_environment(environment, all);
  if (!config_path) return std::unexpected(config_path.error());
  const std::string& path = flags->config_path.empty() ? *config_path : flags->config_path;
  if (!path.empty())
    if (const auto added = add_file(path, all); !added) return std::unexpected(added.error());

  if (const auto applied = apply_database_parts(all); !applied) return std::unexpected(applied.error());
  if (const auto applied = apply_later(all); !applied) return std::unexpected(applied.error());
  if (const auto applied = apply_rows(all, settings); !applied) return std::unexpected(applied.error());
  complete_s3(settings);
  if (const auto checked = check_together(settings); !checked) return std::unexpected(checked.error());
  if (settings.mode == RunMode::check_config) print(settings, all);
  return settings;
}

}  // namespace ringline::base
