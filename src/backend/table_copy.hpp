// Tables copied from anywhere into a store, and compared (ringline/backend/copy.hpp).
#pragma once

#include "backend/tables.hpp"
#include "ringline/backend/copy.hpp"

namespace ringline::backend {

struct CopyPlan {
  std::vector<Table> tables;  // those that are referred to first; columns of the source, key of the target
  std::vector<std::string> only_there;
};
// Refused: a table or a column that the target does not have, or has in another form.
Result<CopyPlan> plan_copy(TableSource& from, TableSource& to);

// What a target is before the copy.
enum class Target : std::uint8_t {
  empty,
  begun,  // by a run that was ended; or it is to be replaced, whatever it is
  whole,  // a copy, and nothing has been written to it since
};
// Whether `to` may become a copy of `source`: it is empty, or one already; with `replace` whatever it is. Then the mark `unfinished` is set.
Result<Target> begin_copy(Tables& to, std::int64_t source, bool replace);
Result<void> check_target(Tables& to, std::int64_t source);
// Conflict: a copy into it was not finished, so it is no source.
Result<void> check_whole(Tables& store);
// `highest_id`: of the source.
Result<void> end_copy(Tables& to, std::int64_t source, std::int64_t highest_id);
Result<std::int64_t> store_number(Tables& store);

// `reader`: another connection to the same store as `to`.
Result<void> write_tables(const CopyPlan& plan, TableSource& from, Tables& to, Tables& reader, Target target,
                          Watch& watch, CopyReport& report);
// Fills in what the report says of the end.
Result<void> compare_tables(const CopyPlan& plan, TableSource& from, TableSource& to, Watch& watch, CopyReport& report);

}  // namespace ringline::backend
