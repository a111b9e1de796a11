// SQL as the store's queries write it: one text for both engines, in what SQLite and PostgreSQL have in common.
//
// Parameters are ?1, ?2, … (and there is no other ?); truth values are 0 and 1; a statement's rows are all there when it has run. Texts must be literals:
// SQLite keeps what it made of one under its address.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ringline/base/ids.hpp"
#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/event.hpp"
#include "ringline/chat/store.hpp"

namespace ringline::backend {

using base::Result;
using base::Task;

// Error::sys of a `conflict`, where a constraint was what refused a statement. The numbers are SQLite's.
inline constexpr int kNoReference = 787;  // a foreign key: what a row refers to is not there
inline constexpr int kNotUnique = 2067;
// Error::sys of an `unavailable`: a replica lacks what the answer must have seen, or what was stored is to be taken in again.
inline constexpr int kBehind = 2;
// Error::sys of an `internal`: the database lacks events before the first that was given to it.
inline constexpr int kEventsMissing = 3;

// ---- Parameters.
using SqlValue = std::variant<std::monostate, std::int64_t, std::string>;
using SqlValues = std::vector<SqlValue>;

inline SqlValue sql_value(std::integral auto number) { return static_cast<std::int64_t>(number); }
template <class Tag>
SqlValue sql_value(base::Id<Tag> id) {
  return static_cast<std::int64_t>(id.value);
}
inline SqlValue sql_value(std::string_view text) { return std::string(text); }
inline SqlValue sql_value(std::string text) { return text; }
inline SqlValue sql_value(const char* text) { return std::string(text); }
template <class Value>
SqlValue sql_value(const std::optional<Value>& value) {
  return value ? sql_value(*value) : SqlValue();
}

// ---- Rows.
class Rows {
  struct Cell {
    std::int64_t number = 0;
    std::size_t at = 0;
    std::size_t size = 0;
  };

 public:
  class Row {
   public:
    // Null reads as 0 and as empty.
    std::int64_t integer(unsigned column) const noexcept { return rows_->cells_[first_ + column].number; }
    std::uint64_t number(unsigned column) const noexcept { return static_cast<std::uint64_t>(integer(column)); }
    bool flag(unsigned column) const noexcept { return integer(column) != 0; }
    std::string_view text(unsigned column) const noexcept {  // as long as the rows are there
      const Cell& cell = rows_->cells_[first_ + column];
      return std::string_view(rows_->bytes_).substr(cell.at, cell.size);
    }

   private:
    friend class Rows;
    Row(const Rows& rows, std::size_t first) noexcept : rows_(&rows), first_(first) {}
    const Rows* rows_;
    std::size_t first_;
  };

  struct Iterator {
    const Rows* rows;
    std::size_t index;
    Row operator*() const noexcept { return (*rows)[index]; }
    Iterator& operator++() noexcept { return ++index, *this; }
    bool operator==(const Iterator&) const = default;
  };

  std::size_t size() const noexcept { return columns_ == 0 ? 0 : cells_.size() / columns_; }
  bool empty() const noexcept { return cells_.empty(); }
  Row operator[](std::size_t index) const noexcept { return {*this, index * columns_}; }
  Row front() const noexcept { return (*this)[0]; }
  Iterator begin() const noexcept { return {this, 0}; }
  Iterator end() const noexcept { return {this, size()}; }

  std::uint64_t changed = 0;  // rows that the statement inserted, updated or deleted

  // For engines: cell by cell, row by row.
  explicit Rows(unsigned columns = 0) noexcept : columns_(columns) {}
  void add_null() { cells_.push_back({}); }
  void add_number(std::int64_t number) { cells_.push_back({.number = number}); }
  void add_text(std::string_view text) {
    cells_.push_back({.at = bytes_.size(), .size = text.size()});
    bytes_ += text;
  }

 private:
  unsigned columns_;
  std::vector<Cell> cells_;
  std::string bytes_;
};

// What becomes of a room whose next event is not there. At work it is an error: the batch is tried again. At start-up a journal may have lost it for good
// (and named it): what is behind is taken, in a new epoch of the room, so that no client resumes over the hole. Where other hosts may have it, what does not
// follow is left to them.
enum class Gaps : std::uint8_t { refuse, new_epoch, leave };

// A connection to the database, in a transaction of somebody else's. A statement that fails may leave it so that nothing but its end is possible: the
// error goes up, and the transaction is taken back.
class Sql {
 public:
  virtual ~Sql() = default;

  template <class... Values>
  Task<Result<Rows>> query(const char* sql, const Values&... values) {
    SqlValues bound;
    bound.reserve(sizeof...(values));
    (bound.push_back(sql_value(values)), ...);
    return execute(sql, std::move(bound));
  }
  virtual Task<Result<Rows>> execute(const char* sql, SqlValues values) = 0;
  // As chat::Store::ingest. `events` stay until it is done.
  virtual Task<Result<void>> ingest(const std::vector<chat::Event>& events, Gaps gaps) = 0;
  // As chat::Store::set_marks.
  virtual Task<Result<void>> set_marks(const std::vector<chat::ReadMark>& marks) = 0;
  // `links`: for the files in messages.
  virtual Task<Result<chat::SearchPage>> search(const chat::SearchQuery& query, const chat::FileLinks* links) = 0;
  // A replica, which may not have the last of what was committed,
  virtual bool may_lag() const noexcept { return false; }
  // or a server that took over without it.
  virtual bool may_lack() const noexcept { return false; }

  // Ids that this transaction writes: no id that was kept here once is ever made again.
  template <class Tag>
  void note(base::Id<Tag> id) noexcept {
    if (id.value > newest_id_) newest_id_ = id.value;
  }

 protected:
  std::uint64_t newest_id_ = 0;
};

}  // namespace ringline::backend
