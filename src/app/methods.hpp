// Which methods a path takes, and the answers that follow from it: 404, 405, OPTIONS, and what a browser asks before it crosses origins.
#pragma once

#include <string>
#include <string_view>

#include "ringline/net/server.hpp"

namespace ringline::app {

class Core;
enum class Door : std::uint8_t;

inline constexpr std::string_view kApi = "/api/v1";

// For the Allow header, with HEAD for each GET and OPTIONS for all; empty: there is nothing at that path.
std::string allowed_methods(const Core& core, Door door, const net::HttpRequest& question);
bool takes(std::string_view allowed, std::string_view method) noexcept;

net::HttpResponse not_there();
net::HttpResponse wrong_method(std::string allowed);  // not empty
net::HttpResponse answer_options(const Core& core, Door door, const net::HttpRequest& question, bool origin_allowed);

}  // namespace ringline::app
