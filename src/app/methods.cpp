// See methods.hpp.
#include "app/methods.hpp"

#include <algorithm>

#include "app/content.hpp"
#include "app/core.hpp"
#include "app/routes.hpp"
#include "ringline/web/assets.hpp"

namespace ringline::app {

namespace {

constexpr std::string_view kAuthDoors[] = {"/auth/register", "/auth/login", "/auth/guest", "/auth/refresh",
                                           "/auth/logout"};
constexpr std::string_view kReads = "GET, HEAD, OPTIONS";
constexpr std::string_view kAll = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
constexpr std::string_view kPreflightSeconds = "600";

std::string methods_of_api(std::string_view path) {
  if (std::ranges::find(kAuthDoors, path) != std::end(kAuthDoors)) return "POST, OPTIONS";
  if (content_of(path)) return "GET, HEAD, PUT, OPTIONS";
  return match_route("OPTIONS", path).allow;
}

}  // namespace

std::string allowed_methods(const Core& core, Door door, const net::HttpRequest& question) {
  std::string_view path = question.path;
  bool for_people = door == Door::everybody;
  if (for_people && path.starts_with(std::string(kApi) + "/")) return methods_of_api(path.substr(kApi.size()));
  bool known = path == "/health" || path == "/livez" || path == "/readyz" || path == "/api/socket/stats" ||
               (for_people && web::find_asset(path));
  // ADMIN_PORT's; without one, the public port's for this machine only.
  if (path == "/metrics") known = !for_people || (!core.settings().admin_port && question.from_loopback);
  return known ? std::string(kReads) : std::string();
}

bool takes(std::string_view allowed, std::string_view method) noexcept {
  while (!allowed.empty()) {
    auto comma = std::min(allowed.find(", "), allowed.size());
    if (allowed.substr(0, comma) == method) return true;
    allowed.remove_prefix(std::min(comma + 2, allowed.size()));
  }
  return false;
}

net::HttpResponse not_there() {
  return problem({.code = base::Errc::not_found, .message = "there is nothing here", .field = {}});
}

net::HttpResponse wrong_method(std::string allowed) {
  net::HttpResponse answer =
      problem({.code = base::Errc::invalid, .message = "this path takes " + allowed, .field = {}}, 405);
  answer.headers.emplace_back("Allow", std::move(allowed));
  return answer;
}

// A preflight (Fetch standard, CORS protocol) is answered for paths that are not there too: the browser then shows its page the 404 of the request
// itself, and not a failure without a reason. One of an origin that is not allowed gets no permission, which is how it is refused.
net::HttpResponse answer_options(const Core& core, Door door, const net::HttpRequest& question, bool origin_allowed) {
  bool preflight = !question.origin.empty() && !question.access_control_request_method.empty();
  std::string allowed = question.path == "*" ? std::string(kAll) : allowed_methods(core, door, question);
  if (allowed.empty() && !preflight) return not_there();
  if (allowed.empty()) allowed = kAll;
  net::HttpResponse answer;
  answer.status = 204;
  if (preflight && origin_allowed) {
    answer.headers.emplace_back("Access-Control-Allow-Methods", allowed);
    const std::string& wanted = question.access_control_request_headers;
    answer.headers.emplace_back("Access-Control-Allow-Headers",
                                wanted.empty() ? "Authorization, Content-Type, Idempotency-Key" : wanted);
    answer.headers.emplace_back("Access-Control-Max-Age", std::string(kPreflightSeconds));
    answer.headers.emplace_back("Vary", "Access-Control-Request-Headers");
  }
  answer.headers.emplace_back("Allow", std::move(allowed));
  return answer;
}

}  // namespace ringline::app
