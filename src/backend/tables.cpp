// See tables.hpp.
#include "backend/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "ringline/base/ids.hpp"

namespace ringline::backend {

bool is_copied(std::string_view table) noexcept {
  return std::ranges::find(kNotCopied, table, &NotCopied::table) == kNotCopied.end();
}

std::size_t Table::column(std::string_view wanted) const noexcept {
  return static_cast<std::size_t>(std::ranges::find(columns, wanted, &Column::name) - columns.begin());
}

std::string quoted_list(std::span<const std::string> names) {
  std::string list;
  for (const std::string& name : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
  return list;
}

std::string quoted_columns(const Table& table) {
  std::vector<std::string> names;
  for (const Column& column : table.columns) names.push_back(column.name);
  return quoted_list(names);
}

Result<void> run_all(Tables& store, const char* NotCopied::* statement) {
  for (const NotCopied& table : kNotCopied)
    if (const char* sql = table.*statement; sql)
      if (auto done = store.run(sql); !done) return done;
  return {};
}

std::uint64_t next_month(std::uint64_t id) noexcept {
  const std::chrono::sys_time<std::chrono::milliseconds> at(std::chrono::milliseconds(base::made_at_ms(id)));
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(at));
  const std::chrono::sys_days next((date.year() / date.month() + std::chrono::months(1)) / 1);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(next.time_since_epoch()).count();
  return static_cast<std::uint64_t>(ms - base::kIdEpochMs) << (base::kHostBits + base::kCoreBits + base::kCounterBits);
}

Result<std::vector<std::uint64_t>> Tables::messages_by_month() {
  std::vector<std::uint64_t> ids;
  for (std::uint64_t from = 0;; from = next_month(ids.back())) {
    auto id = number(fmt::format("SELECT min(id) FROM messages WHERE id >= {}", from));
    if (!id) return std::unexpected(id.error());
    if (!*id) return ids;
    ids.push_back(static_cast<std::uint64_t>(**id));
  }
}

Result<std::optional<std::int64_t>> Tables::meta(std::string_view name) {
  return number(fmt::format("SELECT value FROM meta WHERE name = '{}'", name));
}

Result<void> Tables::set_meta(std::string_view name, std::int64_t value) {
  return run(fmt::format(
      "INSERT INTO meta (name, value) VALUES ('{}', {}) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name,
      value));
}

Result<void> Tables::drop_meta(std::string_view name) {
  return run(fmt::format("DELETE FROM meta WHERE name = '{}'", name));
}

Result<std::unique_ptr<Tables>> open_tables(const std::string& store) {
  return is_sqlite(store) ? open_sqlite_tables(store.substr(kSqlitePrefix.size())) : open_postgres_tables(store);
}

}  // namespace ringline::backend
