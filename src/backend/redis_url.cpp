// REDIS_URL: see redis.hpp. Read by hand: a URL's authority is one host, and here are lists of them.
#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "ringline/backend/redis.hpp"

namespace ringline::backend {

using base::Errc;
using base::Result;

namespace {

constexpr std::uint16_t kPort = 6379;
constexpr std::uint16_t kSentinelPort = 26379;
constexpr unsigned kDatabaseMax = 9999;
constexpr std::string_view kForms =
    "redis://USER:PASSWORD@HOST:PORT/DATABASE or redis+sentinel://HOST:PORT,HOST:PORT/NAME";

std::unexpected<base::Error> refuse(std::string_view why) {
  return base::fail(Errc::invalid, fmt::format("REDIS_URL cannot be read: {}; expected {}", why, kForms));
}

int hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// %XX. None: a % without two digits.
std::optional<std::string> decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex(text[i + 1]), low = hex(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    plain += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return plain;
}

// What stands before the first `at`, and what behind it; of a text without one: all, and nothing.
std::pair<std::string_view, std::string_view> cut(std::string_view text, char at) noexcept {
  const std::size_t place = text.find(at);
  if (place == text.npos) return {text, {}};
  return {text.substr(0, place), text.substr(place + 1)};
}

Result<void> read_user(std::string_view text, RedisOptions& options) {
  const std::size_t colon = text.find(':');
  // Without a colon it is a user alone, which is nobody without a password.
  auto user = decoded(text.substr(0, colon));
  auto password = decoded(colon == text.npos ? std::string_view() : text.substr(colon + 1));
  if (!user || !password) return refuse("a % in the user or password is not followed by two hexadecimal digits");
  if (password->empty()) return refuse("there is a user and no password");
  options.user = std::move(*user);
  options.password = std::move(*password);
  return {};
}

Result<RedisEndpoint> read_server(std::string_view text, std::uint16_t default_port) {
  RedisEndpoint server{.host = {}, .port = default_port};
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == text.npos) return refuse("a [ has no ]");
    server.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) return refuse("there is something behind a ]");
  } else {
    server.host = text.substr(0, text.find(':'));
    port = text.substr(server.host.size());
  }
  if (server.host.empty()) return refuse("a host is missing");
  if (port.empty()) return server;
  port.remove_prefix(1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), server.port);
  if (error != std::errc() || end != port.data() + port.size() || server.port == 0)
    return refuse("a port is not a number from 1 to 65535");
  return server;
}

Result<void> read_database(std::string_view text, RedisOptions& options) {
  if (text.empty()) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), options.database);
  if (error != std::errc() || end != text.data() + text.size() || options.database > kDatabaseMax)
    return refuse("the database is not a number");
  return {};
}

Result<void> read_query(std::string_view query, RedisOptions& options) {
  while (!query.empty()) {
    const auto [pair, rest] = cut(query, '&');
    query = rest;
    const auto [name, value] = cut(pair, '=');
    auto text = decoded(value);
    if (!text) return refuse("a % is not followed by two hexadecimal digits");
    if (name == "sentinel_user") {
      options.sentinel_user = std::move(*text);
    } else if (name == "sentinel_password") {
      options.sentinel_password = std::move(*text);
    } else {
      return refuse("behind the ? only sentinel_user and sentinel_password are known");
    }
  }
  return {};
}

}  // namespace

std::string RedisEndpoint::text() const {
  const bool ipv6 = host.find(':') != host.npos;
  return ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<RedisOptions> read_redis_url(std::string_view url) {
  RedisOptions options;
  const std::size_t colons = url.find("://");
  if (colons == url.npos) return refuse("there is no ://");
  const std::string_view scheme = url.substr(0, colons);
  options.tls = scheme.starts_with("rediss");
  const bool sentinel = scheme.ends_with("+sentinel");
  if (scheme != "redis" && scheme != "rediss" && scheme != "redis+sentinel" && scheme != "rediss+sentinel")
    return refuse("it begins with none of redis, rediss, redis+sentinel, rediss+sentinel");
  const auto [place, query] = cut(url.substr(colons + 3), '?');
  auto [authority, path] = cut(place, '/');
  if (const std::size_t at = authority.rfind('@'); at != authority.npos) {
    if (auto read = read_user(authority.substr(0, at), options); !read) return std::unexpected(read.error());
    authority.remove_prefix(at + 1);
  }
  for (std::string_view list = authority; options.servers.empty() || !list.empty();) {
    const auto [one, rest] = cut(list, ',');
    auto server = read_server(one, sentinel ? kSentinelPort : kPort);
    if (!server) return std::unexpected(server.error());
    options.servers.push_back(std::move(*server));
    list = rest;
  }
  if (sentinel) {
    const auto [name, rest] = cut(path, '/');
    auto master = decoded(name);
    if (!master || master->empty()) return refuse("the name that the sentinels know the master by is missing");
    options.master = std::move(*master);
    path = rest;
  }
  if (auto read = read_database(path, options); !read) return std::unexpected(read.error());
  if (!query.empty() && !sentinel) return refuse("there is a ? where nothing is to be said");
  if (auto read = read_query(query, options); !read) return std::unexpected(read.error());
  return options;
}

Result<RedisOptions> redis_options(const base::Settings& settings) {
  Result<RedisOptions> options;
  if (settings.redis_url.empty()) {
    options->servers.push_back({.host = settings.redis_host, .port = settings.redis_port});
  } else {
    options = read_redis_url(settings.redis_url);
    if (!options) return options;
  }
  if (options->password.empty()) options->password = settings.redis_password;
  options->tls = options->tls || settings.redis_tls;
  options->tls_ca = settings.redis_tls_ca;
  options->tls_certificate = settings.redis_tls_cert;
  options->tls_key = settings.redis_tls_key;
  return options;
}

}  // namespace ringline::backend
