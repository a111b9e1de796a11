// PostgreSQL by its parts, as libpq's tools (PGHOST, …) and container set-ups (DB_HOST, …) name them: they become DATABASE_URL, where that is not given.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ringline/base/result.hpp"

namespace ringline::base {

struct DatabaseParts {
  std::string_view url;  // what they become
  std::string_view host;
  std::string_view port;
  std::string_view user;
  std::string_view password;
  std::string_view name;
  std::string_view ssl;
};
// Those that go before others first.
std::span<const DatabaseParts> database_parts() noexcept;
bool is_database_part(std::string_view name) noexcept;

// The URL. `find` gives the text of a part that is set. Invalid: a part is not right.
Result<std::string> join_database_parts(const DatabaseParts& parts,
                                        const std::function<std::optional<std::string>(std::string_view)>& find);

}  // namespace ringline::base
