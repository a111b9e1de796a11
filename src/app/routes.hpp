// The REST twins of commands: which command a method and path mean, and the command's data from path, query and body.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/net/server.hpp"

namespace ringline::app {

struct Route {
  std::string_view method;
  std::string_view pattern;  // below /api/v1; {name} takes one path segment into the data
  std::string_view command;
  int status;                 // on success
  std::string_view location;  // 201: below /api/v1/, followed by the made object's id; empty: none
};

struct RouteMatch {
  const Route* route = nullptr;  // null: nothing of that path
  std::vector<std::pair<std::string_view, std::string>> parameters;
  std::string allow;  // route null and allow set: the path is there, with these methods only
};
// HEAD is matched as GET.
RouteMatch match_route(std::string_view method, std::string_view path);

// The command's data as JSON: the body's members, then query and path parameters.
base::Result<std::string> command_data(const net::HttpRequest& question, const RouteMatch& match);

// A problem of RFC 9457 with the contract's code, and with its status unless one is given.
net::HttpResponse problem(const base::Error& error, int status = 0);

}  // namespace ringline::app
