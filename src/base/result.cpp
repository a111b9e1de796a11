// Names and HTTP statuses of the error codes, as the wire contract has them.
#include "ringline/base/result.hpp"

#include "ringline/base/assert.hpp"

namespace ringline::base {
namespace {

struct Row {
  std::string_view name;
  int status;
};

Row row_of(Errc code) noexcept {
  switch (code) {
    case Errc::invalid:
      return {"invalid", 400};
    case Errc::unauthenticated:
      return {"unauthenticated", 401};
    case Errc::forbidden:
      return {"forbidden", 403};
    case Errc::not_found:
      return {"not_found", 404};
    case Errc::conflict:
      return {"conflict", 409};
    case Errc::too_large:
      return {"too_large", 413};
    case Errc::rate_limited:
      return {"rate_limited", 429};
    case Errc::unavailable:
      return {"unavailable", 503};
    case Errc::internal:
      return {"internal", 500};
  }
  ASSERT(false);  // not of the list
  return {};
}

}  // namespace

std::string_view name_of(Errc code) noexcept { return row_of(code).name; }
int http_status(Errc code) noexcept { return row_of(code).status; }

}  // namespace ringline::base
