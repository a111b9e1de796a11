// The HTTP doors of one core: REST below /api/v1, the page's assets, health, metrics, statistics.
#pragma once

#include "app/routes.hpp"
#include "ringline/base/task.hpp"

namespace ringline::app {

class Core;

base::Task<net::HttpResponse> answer_http(Core& core, net::HttpRequest question);

}  // namespace ringline::app
