// What a handler asks of a complete request. Queries are decoded leniently, as browsers write them: WHATWG leaves { } | ^ unescaped there, which a
// strict RFC 3986 reader (Boost.URL) refuses.
#include <algorithm>

#include "protocol/text.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::protocol {

namespace {

int hex_value(char c) noexcept {
  if (is_digit(c)) return c - '0';
  char small = lower(c);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

std::optional<std::string_view> Request::header(std::string_view name) const noexcept {
  auto found = std::ranges::find_if(headers_, [&](const auto& field) { return same_text(field.first, name); });
  if (found == headers_.end()) return std::nullopt;
  return found->second;
}

std::string Request::header_list(std::string_view name) const {
  std::string list;
  for (const auto& [field, value] : headers_) {
    if (!same_text(field, name)) continue;
    if (!list.empty()) list += ", ";
    list += value;
  }
  return list;
}

bool Request::header_has(std::string_view name, std::string_view token) const noexcept {
  for (const auto& [field, value] : headers_) {
    if (!same_text(field, name)) continue;
    std::string_view rest = value;
    while (true) {
      auto comma = rest.find(',');
      if (same_text(trimmed(rest.substr(0, comma)), token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

std::string_view Request::query_text() const noexcept {
  std::string_view text = target;
  auto mark = text.find('?');
  return mark == std::string_view::npos ? std::string_view() : text.substr(mark + 1);
}

std::optional<std::string> Request::query(std::string_view name) const {
  auto decoded = [](std::string_view text) { return percent_decode(text, true).value_or(std::string(text)); };
  std::string_view rest = query_text();
  while (!rest.empty()) {
    auto end = rest.find('&');
    std::string_view pair = rest.substr(0, end);
    auto equals = pair.find('=');
    if (decoded(pair.substr(0, equals)) == name)
      return equals == std::string_view::npos ? std::string() : decoded(pair.substr(equals + 1));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  return std::nullopt;
}

namespace {

// SCHEME://HOST[:PORT] in its parts; the port as text, empty: the scheme's own.
struct Origin {
  std::string_view scheme, host, port;
};
std::optional<Origin> split_origin(std::string_view text) noexcept {
  auto mark = text.find("://");
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  Origin origin{text.substr(0, mark), text.substr(mark + 3), {}};
  if (origin.host.empty() || origin.host.find_first_of("/?#@\\") != std::string_view::npos) return std::nullopt;
  auto colon = origin.host.rfind(':');
  auto bracket = origin.host.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    origin.port = origin.host.substr(colon + 1);
    origin.host = origin.host.substr(0, colon);
  }
  if (origin.port == (same_text(origin.scheme, "https") ? "443" : "80")) origin.port = {};
  return origin;
}

bool is_loopback(std::string_view host) noexcept {
  return same_text(host, "localhost") || host == "127.0.0.1" || host == "[::1]";
}

bool matches(const Origin& origin, std::string_view pattern) noexcept {
  while (pattern.ends_with('/')) pattern.remove_suffix(1);
  auto wanted = split_origin(pattern);
  if (!wanted || !same_text(wanted->scheme, origin.scheme) || wanted->port != origin.port) return false;
  if (!wanted->host.starts_with("*.")) return same_text(wanted->host, origin.host);
  std::string_view tail = wanted->host.substr(1);  // ".example.org": what stands before it is one label or more
  return origin.host.size() > tail.size() && same_text(origin.host.substr(origin.host.size() - tail.size()), tail);
}

}  // namespace

bool origin_allowed(std::string_view origin, std::string_view host, std::span<const std::string> patterns,
                    bool production) noexcept {
  auto parts = split_origin(origin);
  if (!patterns.empty())
    return std::ranges::any_of(
        patterns, [&](std::string_view pattern) { return pattern == "*" || (parts && matches(*parts, pattern)); });
  if (!parts) return false;  // "null", or rubbish
  if (!production && is_loopback(parts->host)) return true;
  // The same host and port. The scheme is not compared: behind a proxy that ends TLS the server does not know its own.
  std::string_view authority = origin.substr(origin.find("://") + 3);
  if (same_text(authority, host)) return true;
  std::string own_text = std::string(parts->scheme) + "://" + std::string(host);
  auto own = split_origin(own_text);
  return own && same_text(own->host, parts->host) && own->port == parts->port;
}

}  // namespace ringline::protocol
