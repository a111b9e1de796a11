// See routes.hpp.
#include "app/routes.hpp"

#include <algorithm>
#include <array>

#include "ringline/base/json.hpp"

namespace ringline::app {

namespace {

constexpr auto kRoutes = std::to_array<Route>({
    {"POST", "/rooms", "create_room", 201, "rooms/"},
    {"GET", "/rooms", "list_rooms", 200, ""},
    {"GET", "/rooms/search", "search_rooms", 200, ""},
    {"GET", "/rooms/{roomId}", "get_room", 200, ""},
    {"POST", "/rooms/{roomId}/join", "join_room", 200, ""},
    {"POST", "/rooms/{roomId}/leave", "leave_room", 200, ""},
    {"GET", "/rooms/{roomId}/members", "list_members", 200, ""},
    {"GET", "/rooms/{roomId}/messages", "get_history", 200, ""},
    {"POST", "/rooms/{roomId}/messages", "send_message", 201, ""},
    {"PUT", "/rooms/{roomId}/read", "mark_read", 200, ""},
    {"GET", "/users/{userId}", "get_user", 200, ""},
    {"PUT", "/users/me/avatar", "set_avatar", 200, ""},
    {"POST", "/files", "create_upload", 201, "files/"},
    {"GET", "/files", "list_files", 200, ""},
    {"GET", "/files/{fileId}", "get_file", 200, ""},
    {"DELETE", "/files/{fileId}", "delete_file", 204, ""},
    {"POST", "/files/{fileId}/complete", "complete_upload", 200, ""},
    {"GET", "/search/messages", "search_messages", 200, ""},
});

// Query parameters that are numbers in the data, and those with another name there.
constexpr auto kNumbers = std::to_array<std::string_view>({"after", "around", "before", "limit"});

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    auto end = std::min(path.find('/'), path.size());
    parts.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

bool fits(const Route& route, const std::vector<std::string_view>& path,
          std::vector<std::pair<std::string_view, std::string>>& parameters) {
  auto pattern = segments(route.pattern);
  if (pattern.size() != path.size()) return false;
  parameters.clear();
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (pattern[i].starts_with('{')) {
      if (path[i].empty()) return false;
      parameters.emplace_back(pattern[i].substr(1, pattern[i].size() - 2), std::string(path[i]));
    } else if (pattern[i] != path[i]) {
      return false;
    }
  }
  return true;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 15 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

RouteMatch match_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  if (!path.starts_with('/')) return match;
  if (method == "HEAD") method = "GET";
  auto parts = segments(path);
  std::vector<std::pair<std::string_view, std::string>> parameters;
  for (const Route& route : kRoutes) {
    if (!fits(route, parts, parameters)) continue;
    if (route.method == method) {
      match.route = &route;
      match.parameters = std::move(parameters);
      return match;
    }
    if (match.allow.contains(route.method)) continue;  // two patterns fit, as of /rooms/search
    match.allow += route.method == "GET" ? "GET, HEAD" : route.method;
    match.allow += ", ";
  }
  if (!match.allow.empty()) match.allow += "OPTIONS";
  return match;
}

base::Result<std::string> command_data(const net::HttpRequest& question, const RouteMatch& match) {
  base::json::Writer out;
  out.begin_object();
  base::json::Reader reader;
  if (!question.body.empty()) {
    const base::json::Value* body = reader.parse(question.body);
    if (!body || !body->IsObject()) return base::fail_field("body", "must be a JSON object");
    for (const auto& member : body->GetObject()) out.key(base::json::view(member.name)).value(member.value);
  }
  for (const auto& [name, value] : question.query) {
    if (std::ranges::find(kNumbers, name) != kNumbers.end()) {
      if (!is_number(value)) return base::fail_field(name, "must be a number");
      out.key(name).raw(value);
    } else {
      out.key(name == "q" ? "query" : name).string(value);
    }
  }
  for (const auto& [name, value] : match.parameters) out.key(name).string(value);
  if (match.route->command == "send_message" && !question.idempotency_key.empty())
    out.key("clientId").string(question.idempotency_key);
  out.end_object();
  return std::string(out.view());
}

net::HttpResponse problem(const base::Error& error, int status) {
  net::HttpResponse answer;
  answer.status = status != 0 ? status : base::http_status(error.code);
  answer.content_type = "application/problem+json";
  base::json::Writer out;
  out.begin_object().key("type").string("about:blank").key("title").string(base::name_of(error.code));
  out.key("status").integer(answer.status).key("detail").string(error.message);
  out.key("code").string(base::name_of(error.code));
  if (!error.field.empty()) out.key("fields").begin_object().key(error.field).string(error.message).end_object();
  if (!error.reason.empty()) out.key("reason").string(error.reason);
  if (error.retry_after_ms != 0) {
    out.key("retryAfterMs").unsigned_integer(error.retry_after_ms);
    answer.headers.emplace_back("Retry-After", std::to_string((error.retry_after_ms + 999) / 1000));
  }
  out.end_object();
  answer.body = out.view();
  if (error.code == base::Errc::unauthenticated) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  return answer;
}

}  // namespace ringline::app
