// The HTTP doors of one core: REST below /api/v1, the page's assets, health, metrics, statistics.
#pragma once

#include <cstdint>

#include "app/routes.hpp"
#include "ringline/base/task.hpp"

namespace ringline::app {

class Core;
enum class Door : std::uint8_t;

base::Task<net::HttpResponse> answer_http(Core& core, Door door, net::HttpRequest question);

}  // namespace ringline::app
