// See settings_database.hpp.
#include "settings_database.hpp"

#include <algorithm>
#include <array>

#include "settings_text.hpp"

namespace ringline::base {
namespace {

constexpr auto kParts = std::to_array<DatabaseParts>({
    {"DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"},
    {"DATABASE_URL", "DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "DB_SSL"},
    {"DATABASE_REPLICA_URL", "DB_REPLICA_HOST", "DB_REPLICA_PORT", "DB_REPLICA_USER", "DB_REPLICA_PASSWORD",
     "DB_REPLICA_NAME", "DB_REPLICA_SSL"},
});
constexpr auto kSslModes =
    std::to_array<std::string_view>({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"});

std::string encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kPlain = "-._~";
  std::string out;
  for (char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kPlain.contains(c);
    const auto byte = static_cast<unsigned char>(c);
    if (plain) {
      out += c;
    } else {
      out.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return out;
}

// As libpq's sslmode; empty: it is none.
std::string ssl_mode(const std::string& text) {
  if (const auto on = text_to_switch(text)) return *on ? "require" : "disable";
  return std::ranges::find(kSslModes, text) != kSslModes.end() ? text : std::string();
}

bool are_ports(const std::string& text) {
  const std::vector<std::string> ports = split_list(text);
  return !ports.empty() && std::ranges::all_of(ports, [](const std::string& port) {
    return text_to_number(port).value_or(0) > 0 && *text_to_number(port) <= 65535;
  });
}

}  // namespace

std::span<const DatabaseParts> database_parts() noexcept { return kParts; }

bool is_database_part(std::string_view name) noexcept {
  return std::ranges::any_of(kParts, [name](const DatabaseParts& parts) {
    return name == parts.host || name == parts.port || name == parts.user || name == parts.password ||
           name == parts.name || name == parts.ssl;
  });
}

Result<std::string> join_database_parts(const DatabaseParts& parts,
                                        const std::function<std::optional<std::string>(std::string_view)>& find) {
  const auto ssl = find(parts.ssl);
  if (ssl && ssl_mode(*ssl).empty())
    return fail_field(std::string(parts.ssl), std::string(parts.ssl) +
                                                  " is not right; expected on, off, disable, allow, prefer, require, "
                                                  "verify-ca or verify-full");
  const auto port = find(parts.port);
  if (port && !are_ports(*port))
    return fail_field(std::string(parts.port), std::string(parts.port) +
                                                   " is not right; expected a number from 1 to "
                                                   "65535, or one for each host with commas");
  std::string url =
      "postgresql:///" + encoded(find(parts.name).value_or("")) + "?host=" + encoded(find(parts.host).value_or(""));
  if (port) url += "&port=" + encoded(*port);
  if (const auto user = find(parts.user)) url += "&user=" + encoded(*user);
  if (const auto password = find(parts.password)) url += "&password=" + encoded(*password);
  if (ssl) url += "&sslmode=" + ssl_mode(*ssl);
  return url;
}

}  // namespace ringline::base
