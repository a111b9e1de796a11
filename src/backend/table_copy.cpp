// See table_copy.hpp.
#include "backend/table_copy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <variant>

#include "backend/copy_text.hpp"
#include "ringline/base/random.hpp"

namespace ringline::backend {

namespace {

constexpr std::size_t kBatchRows = 10'000;  // written by one transaction
constexpr std::size_t kBatchBytes = 4 * 1024 * 1024;

using Key = std::vector<std::variant<std::int64_t, std::string>>;

// A stream, one row of it at a time.
class Cursor {
 public:
  static Result<Cursor> open(TableSource& source, const Table& table) {
    auto stream = source.read(table);
    if (!stream) return std::unexpected(stream.error());
    Cursor cursor(table, std::move(*stream));
    if (auto moved = cursor.advance(); !moved) return std::unexpected(moved.error());
    return cursor;
  }

  bool ended() const noexcept { return ended_; }
  const std::string& line() const noexcept { return line_; }
  const Key& key() const noexcept { return key_; }

  Result<void> advance() {
    auto more = stream_->next(line_);
    if (!more) return std::unexpected(more.error());
    ended_ = !*more;
    if (ended_) return {};
    std::swap(key_, last_key_);
    read_key();
    if (!last_key_.empty() && key_ <= last_key_)
      return base::fail(base::Errc::internal,
                        "the rows of " + table_->name + " do not come in the order of their keys");
    return {};
  }

 private:
  Cursor(const Table& table, std::unique_ptr<RowStream> stream) : table_(&table), stream_(std::move(stream)) {
    for (const std::string& name : table.order) columns_.push_back(table.column(name));
  }

  void read_key() {
    key_.resize(columns_.size());
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string_view cell = copy_text::cell_at(line_, columns_[i]);
      if (table_->columns[columns_[i]].kind == ColumnKind::number) {
        std::int64_t number = 0;
        std::from_chars(cell.data(), cell.data() + cell.size(), number);
        key_[i] = number;
      } else {
        key_[i] = copy_text::unescape(cell);
      }
    }
  }

  const Table* table_;
  std::unique_ptr<RowStream> stream_;
  std::vector<std::size_t> columns_;
  std::string line_;
  Key key_;
  Key last_key_;
  bool ended_ = false;
};

enum class Found : std::uint8_t { same, missing, different, extra };

// Walks both sides; `take` gets each row with what was found of it: the source's, or one that the target alone has.
using Take = std::function<Result<void>(Found, const std::string& line)>;
Result<void> merge(TableSource& from, TableSource& to, const Table& table, const Take& take) {
  auto left = Cursor::open(from, table);
  if (!left) return std::unexpected(left.error());
  auto right = Cursor::open(to, table);
  if (!right) return std::unexpected(right.error());
  while (!left->ended() || !right->ended()) {
    const bool has_left = !left->ended() && (right->ended() || left->key() <= right->key());
    const bool has_right = !right->ended() && (left->ended() || right->key() <= left->key());
    const bool both = has_left && has_right;
    const Found found = !both                           ? has_left ? Found::missing : Found::extra
                        : left->line() == right->line() ? Found::same
                                                        : Found::different;
    if (auto taken = take(found, has_left ? left->line() : right->line()); !taken) return taken;
    if (has_left)
      if (auto moved = left->advance(); !moved) return moved;
    if (has_right)
      if (auto moved = right->advance(); !moved) return moved;
  }
  return {};
}

std::string name_of_row(const Table& table, std::string_view line) {
  std::string name;
  for (const std::string& key : table.key)
    name += fmt::format("{}{} {}", name.empty() ? "" : ", ", key, copy_text::cell_at(line, table.column(key)));
  return name;
}

// Rows on their way into a table, a transaction for many. Where the store refuses one of them they are done again one by one, to find which.
class Batch {
 public:
  Batch(Tables& to, const Table& table, TableReport& counts, CopyReport& report)
      : to_(to), table_(table), counts_(counts), report_(report) {}

  Result<void> insert(const std::string& line) { return add(inserts_, line); }
  Result<void> put(const std::string& line) { return add(puts_, line); }
  Result<void> remove(const std::string& line) { return add(removes_, line); }

  Result<void> flush() {
    auto done = write_all();
    if (!done && done.error().code == base::Errc::conflict) done = write_singly();
    inserts_.clear();
    puts_.clear();
    removes_.clear();
    bytes_ = 0;
    return done;
  }

 private:
  Result<void> add(std::vector<std::string>& rows, const std::string& line) {
    rows.push_back(line);
    bytes_ += line.size();
    const bool full = inserts_.size() + puts_.size() + removes_.size() >= kBatchRows || bytes_ >= kBatchBytes;
    return full ? flush() : Result<void>();
  }

  Result<void> write_all() {
    if (inserts_.empty() && puts_.empty() && removes_.empty()) return {};
    auto done = to_.run("BEGIN");
    if (!done) return done;
    for (const std::string& line : puts_)  // first: a name that such a row had may be a new row's
      if (done) done = to_.put(table_, line);
    if (done && !inserts_.empty()) done = to_.insert(table_, inserts_);
    for (const std::string& line : removes_)
      if (done) done = to_.remove(table_, line);
    if (done) done = to_.run("COMMIT");
    if (done) {
      counts_.written += inserts_.size() + puts_.size();
      counts_.removed += removes_.size();
    } else {
      (void)to_.run("ROLLBACK");  // what it says would hide what went wrong
    }
    return done;
  }

  Result<void> write_singly() {
    auto done = to_.run("BEGIN");
    for (const auto* rows : {&puts_, &inserts_})
      for (const std::string& line : *rows)
        if (done) done = write_one(line, &Tables::put, counts_.written);
    for (const std::string& line : removes_)
      if (done) done = write_one(line, &Tables::remove, counts_.removed);
    if (done) done = to_.run("COMMIT");
    if (!done) (void)to_.run("ROLLBACK");
    return done;
  }

  Result<void> write_one(const std::string& line, Result<void> (Tables::*write)(const Table&, const std::string&),
                         std::uint64_t& count) {
    if (auto marked = to_.run("SAVEPOINT one"); !marked) return marked;
    auto written = (to_.*write)(table_, line);
    if (written) {
      ++count;
    } else if (written.error().code == base::Errc::conflict) {
      ++report_.refused_rows;
      if (report_.refused.size() < CopyReport::kNamedMax)
        report_.refused.push_back({table_.name, name_of_row(table_, line), written.error().message});
      written = to_.run("ROLLBACK TO SAVEPOINT one");
    }
    return written ? to_.run("RELEASE SAVEPOINT one") : written;
  }

  Tables& to_;
  const Table& table_;
  TableReport& counts_;
  CopyReport& report_;
  std::vector<std::string> inserts_, puts_, removes_;
  std::size_t bytes_ = 0;
};

// Answers how many rows the target has too many.
Result<std::uint64_t> write_table(const Table& table, TableSource& from, Tables& to, Tables& reader, Watch& watch,
                                  CopyReport& report, TableReport& counts) {
  auto total = from.count(table);
  if (!total) return std::unexpected(total.error());
  watch.begin(table.name, *total);
  std::uint64_t extra = 0;
  Batch batch(to, table, counts, report);
  auto done = merge(from, reader, table, [&](Found found, const std::string& line) -> Result<void> {
    if (found == Found::extra) ++extra;
    if (found != Found::extra) watch.advance(1);
    if (found == Found::missing) return batch.insert(line);
    if (found == Found::different) return batch.put(line);
    return {};
  });
  if (done) done = batch.flush();
  if (!done) return std::unexpected(done.error());
  return extra;
}

Result<void> remove_extra(const Table& table, TableSource& from, Tables& to, Tables& reader, Watch& watch,
                          CopyReport& report, TableReport& counts) {
  auto total = from.count(table);
  if (!total) return std::unexpected(total.error());
  watch.begin("surplus rows of " + table.name, *total);
  Batch batch(to, table, counts, report);
  auto done = merge(from, reader, table, [&](Found found, const std::string& line) -> Result<void> {
    if (found == Found::extra) return batch.remove(line);
    watch.advance(1);
    return {};
  });
  return done ? batch.flush() : done;
}

// The source's columns must all be the target's; those that the target has besides keep their defaults.
Result<Table> match(const Table& from, const Table& to, bool source_sorts) {
  Table table = from;
  table.key = to.key;
  if (source_sorts) table.order = to.key;
  table.refers_to = to.refers_to;
  for (const Column& column : from.columns) {
    const std::size_t there = to.column(column.name);
    if (there == to.columns.size())
      return base::fail(
          base::Errc::invalid,
          fmt::format("the target's table {} has no column {}: is it of an older Ringline?", from.name, column.name));
    const Column& other = to.columns[there];
    if (column.kind != other.kind || (column.kind == ColumnKind::other && column.type != other.type))
      return base::fail(base::Errc::invalid, fmt::format("column {} of table {} is {} here and {} there", column.name,
                                                         from.name, column.type, other.type));
  }
  for (const auto* names : {&table.key, &table.order})
    if (names->empty() ||
        std::ranges::any_of(*names, [&](const auto& name) { return table.column(name) == table.columns.size(); }))
      return base::fail(base::Errc::invalid, fmt::format("table {} has no primary key in common", from.name));
  return table;
}

// Those that are referred to first. Tables that refer to each other in a ring stay as they are: the store says what it refuses.
std::vector<Table> by_reference(std::vector<Table> tables) {
  std::vector<Table> sorted;
  while (!tables.empty()) {
    const auto waits = [&](const Table& table) {
      return std::ranges::any_of(table.refers_to, [&](const std::string& name) {
        return name != table.name && std::ranges::find(tables, name, &Table::name) != tables.end();
      });
    };
    auto next = std::ranges::find_if_not(tables, waits);
    if (next == tables.end()) next = tables.begin();
    sorted.push_back(std::move(*next));
    tables.erase(next);
  }
  return sorted;
}

Result<bool> is_empty(Tables& store) {
  for (const char* sql :
       {"SELECT value FROM meta WHERE name = 'highest_id'", "SELECT min(id) FROM users", "SELECT min(id) FROM messages",
        "SELECT max(id) - 1 FROM rooms"}) {  // the lobby is always there
    auto number = store.number(sql);
    if (!number) return std::unexpected(number.error());
    if (number->value_or(0) != 0) return false;
  }
  return true;
}

// None: it may not be written to.
Result<std::optional<Target>> state_of(Tables& to, std::int64_t source) {
  auto unfinished = to.meta(kUnfinished);
  if (!unfinished) return std::unexpected(unfinished.error());
  auto copied = to.meta(kCopiedFrom);
  if (!copied) return std::unexpected(copied.error());
  if (*unfinished == source) return Target::begun;
  if (!*unfinished && *copied == source) return Target::whole;
  auto empty = is_empty(to);
  if (!empty) return std::unexpected(empty.error());
  return *empty && !*unfinished ? std::optional(Target::empty) : std::nullopt;
}

std::unexpected<base::Error> not_empty() {
  return base::fail(base::Errc::conflict,
                    "the target is not empty, and what it holds is no copy of this source that nothing has written to "
                    "since: give an empty database");
}

}  // namespace

bool CopyReport::same() const noexcept {
  return refused_rows == 0 && std::ranges::all_of(tables, [](const TableReport& table) {
           return table.missing == 0 && table.extra == 0 && table.different == 0;
         });
}

Result<CopyPlan> plan_copy(TableSource& from, TableSource& to) {
  auto have = from.describe();
  if (!have) return std::unexpected(have.error());
  auto want = to.describe();
  if (!want) return std::unexpected(want.error());
  CopyPlan plan;
  for (const Table& table : *have) {
    if (!is_copied(table.name)) continue;
    const auto there = std::ranges::find(*want, table.name, &Table::name);
    if (there == want->end())
      return base::fail(base::Errc::invalid, "the target has no table " + table.name + ": is it of an older Ringline?");
    auto matched = match(table, *there, from.sorts());
    if (!matched) return std::unexpected(matched.error());
    for (const Column& column : there->columns)
      if (matched->column(column.name) == matched->columns.size())
        plan.only_there.push_back(fmt::format("column {} of table {}", column.name, table.name));
    plan.tables.push_back(std::move(*matched));
  }
  for (const Table& table : *want)
    if (is_copied(table.name) && std::ranges::find(*have, table.name, &Table::name) == have->end())
      plan.only_there.push_back("table " + table.name);
  plan.tables = by_reference(std::move(plan.tables));
  return plan;
}

Result<void> check_target(Tables& to, std::int64_t source) {
  auto state = state_of(to, source);
  if (!state) return std::unexpected(state.error());
  return *state ? Result<void>() : not_empty();
}

Result<void> check_whole(Tables& store) {
  auto unfinished = store.meta(kUnfinished);
  if (!unfinished) return std::unexpected(unfinished.error());
  if (!*unfinished) return {};
  return base::fail(base::Errc::conflict, "the store is half of a copy that was not finished: finish it first");
}

Result<Target> begin_copy(Tables& to, std::int64_t source, bool replace) {
  auto state = state_of(to, source);
  if (!state) return std::unexpected(state.error());
  if (!*state && !replace) return not_empty();
  if (auto marked = to.set_meta(kUnfinished, source); !marked) return std::unexpected(marked.error());
  return state->value_or(Target::begun);
}

Result<void> end_copy(Tables& to, std::int64_t source, std::int64_t highest_id) {
  auto have = to.meta(kHighestId);
  if (!have) return std::unexpected(have.error());
  auto done = to.run("BEGIN");
  if (done && have->value_or(0) < highest_id) done = to.set_meta(kHighestId, highest_id);
  if (done) done = to.set_meta(kCopiedFrom, source);
  if (done) done = to.drop_meta(kUnfinished);
  return done ? to.run("COMMIT") : done;
}

Result<std::int64_t> store_number(Tables& store) {
  auto number = store.meta(kStoreNumber);
  if (!number) return std::unexpected(number.error());
  if (*number) return **number;
  const auto made = static_cast<std::int64_t>(base::random_u64() >> 1 | 1);
  if (auto kept = store.set_meta(kStoreNumber, made); !kept) return std::unexpected(kept.error());
  return made;
}

namespace {

// From the last table to the first: rows that refer to others go before those.
Result<void> remove_all_extra(const CopyPlan& plan, TableSource& from, Tables& to, Tables& reader, Watch& watch,
                              CopyReport& report) {
  for (std::size_t i = plan.tables.size(); i-- > 0;)
    if (auto done = remove_extra(plan.tables[i], from, to, reader, watch, report, report.tables[i]); !done) return done;
  return {};
}

}  // namespace

Result<void> write_tables(const CopyPlan& plan, TableSource& from, Tables& to, Tables& reader, Target target,
                          Watch& watch, CopyReport& report) {
  report.only_there = plan.only_there;
  report.tables.resize(plan.tables.size());
  for (std::size_t i = 0; i < plan.tables.size(); ++i) report.tables[i].table = plan.tables[i].name;
  if (target != Target::empty)  // first: a name that is free at the source may be taken by such a row
    if (auto done = remove_all_extra(plan, from, to, reader, watch, report); !done) return done;
  auto months = from.messages_by_month();
  if (!months) return std::unexpected(months.error());
  if (auto made = to.make_room_for(*months); !made) return made;
  std::uint64_t extra = 0;
  for (std::size_t i = 0; i < plan.tables.size(); ++i) {
    auto written = write_table(plan.tables[i], from, to, reader, watch, report, report.tables[i]);
    if (!written) return std::unexpected(written.error());
    extra += *written;
  }
  if (extra > 0)
    if (auto done = remove_all_extra(plan, from, to, reader, watch, report); !done) return done;
  const auto unchanged = [](const TableReport& table) { return table.written == 0 && table.removed == 0; };
  if (target == Target::whole && std::ranges::all_of(report.tables, unchanged)) return {};
  return to.make_again();
}

Result<void> compare_tables(const CopyPlan& plan, TableSource& from, TableSource& to, Watch& watch,
                            CopyReport& report) {
  for (std::size_t i = 0; i < plan.tables.size(); ++i) {
    const Table& table = plan.tables[i];
    TableReport& counts = report.tables[i];
    auto total = from.count(table);
    if (!total) return std::unexpected(total.error());
    watch.begin("comparing " + table.name, *total);
    auto done = merge(from, to, table, [&](Found found, const std::string&) -> Result<void> {
      counts.from += found == Found::extra ? 0 : 1;
      counts.to += found == Found::missing ? 0 : 1;
      counts.missing += found == Found::missing ? 1 : 0;
      counts.extra += found == Found::extra ? 1 : 0;
      counts.different += found == Found::different ? 1 : 0;
      watch.advance(found == Found::extra ? 0 : 1);
      return {};
    });
    if (!done) return done;
  }
  return {};
}

}  // namespace ringline::backend
