// See ringline/backend/copy.hpp: a store into a store.
#include "backend/table_copy.hpp"

namespace ringline::backend {

namespace {

struct Sides {
  std::unique_ptr<Tables> from;
  std::unique_ptr<Tables> to;
};

Result<Sides> open_both(const std::string& from, const std::string& to) {
  auto source = open_tables(from);
  if (!source) return std::unexpected(source.error());
  auto target = open_tables(to);
  if (!target) return std::unexpected(target.error());
  return Sides{.from = std::move(*source), .to = std::move(*target)};
}

}  // namespace

Result<void> check_copy_target(const std::string& from, const std::string& to) {
  auto sides = open_both(from, to);
  if (!sides) return std::unexpected(sides.error());
  if (auto whole = check_whole(*sides->from); !whole) return whole;
  auto number = store_number(*sides->from);
  if (!number) return std::unexpected(number.error());
  auto target_number = sides->to->meta(kStoreNumber);
  if (target_number && *target_number == *number)
    return base::fail(base::Errc::invalid, "both sides are the same store");
  return check_target(*sides->to, *number);
}

Result<CopyReport> copy_store(const std::string& from, const std::string& to, Watch& watch) {
  auto sides = open_both(from, to);
  if (!sides) return std::unexpected(sides.error());
  auto reader = open_tables(to);
  if (!reader) return std::unexpected(reader.error());
  auto number = store_number(*sides->from);
  if (!number) return std::unexpected(number.error());
  auto highest = sides->from->meta(kHighestId);
  if (!highest) return std::unexpected(highest.error());
  auto plan = plan_copy(*sides->from, *sides->to);
  if (!plan) return std::unexpected(plan.error());
  auto target = begin_copy(*sides->to, *number, false);
  if (!target) return std::unexpected(target.error());
  CopyReport report;
  if (auto done = write_tables(*plan, *sides->from, *sides->to, **reader, *target, watch, report); !done)
    return std::unexpected(done.error());
  if (auto done = compare_tables(*plan, *sides->from, **reader, watch, report); !done)
    return std::unexpected(done.error());
  if (!report.same()) return report;
  if (auto done = end_copy(*sides->to, *number, highest->value_or(0)); !done) return std::unexpected(done.error());
  return report;
}

}  // namespace ringline::backend
