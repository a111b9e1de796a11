// Many rows on their way to PostgreSQL at once: as arrays, a column each, for `unnest`; or as what COPY reads.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "backend/postgres_connection.hpp"

namespace ringline::backend {

// A column as an array's text (PostgreSQL, "Array Input and Output Syntax").
class ArrayColumn {
 public:
  void add(std::int64_t number) { next() += std::to_string(number); }
  void add(std::uint64_t number) { add(static_cast<std::int64_t>(number)); }
  template <class Tag>
  void add(base::Id<Tag> id) {
    add(id.value);
  }
  void add(std::string_view text) {
    next() += '"';
    for (char c : text) {
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
    }
    text_ += '"';
  }
  template <class Value>
  void add(const std::optional<Value>& value) {
    if (value) {
      add(*value);
    } else {
      next() += "NULL";
    }
  }
  bool empty() const noexcept { return text_.empty(); }
  SqlValue take() {
    std::string whole = "{" + std::exchange(text_, {}) + "}";
    return whole;
  }

 private:
  std::string& next() {
    if (!text_.empty()) text_ += ',';
    return text_;
  }
  std::string text_;
};

// Rows of one table.
template <std::size_t columns>
class ArrayTable {
 public:
  template <class... Values>
  void add(const Values&... values) {
    static_assert(sizeof...(values) == columns);
    std::size_t column = 0;
    (columns_[column++].add(values), ...);
  }
  void queue(PostgresConnection& c, const char* sql) {
    if (columns_[0].empty()) return;
    SqlValues values;
    for (ArrayColumn& column : columns_) values.push_back(column.take());
    c.queue(sql, std::move(values));
  }
  bool empty() const noexcept { return columns_[0].empty(); }

 private:
  std::array<ArrayColumn, columns> columns_;
};

// Rows as COPY … (FORMAT binary) reads them (PostgreSQL, "COPY", "Binary Format"): numbers go into columns of type bigint.
template <std::size_t columns>
class CopyRows {
 public:
  template <class... Values>
  void add(const Values&... values) {
    static_assert(sizeof...(values) == columns);
    if (bytes_.empty()) bytes_.append(kHead);
    put(static_cast<std::int16_t>(columns));
    (field(values), ...);
  }
  bool empty() const noexcept { return bytes_.empty(); }
  std::string take() {
    put(std::int16_t{-1});
    return std::exchange(bytes_, {});
  }

 private:
  static constexpr std::string_view kHead{"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19};

  void put(std::signed_integral auto number) {
    const auto big = std::byteswap(number);
    static_assert(std::endian::native == std::endian::little);
    char bytes[sizeof big];
    std::memcpy(bytes, &big, sizeof big);
    bytes_.append(bytes, sizeof big);
  }
  void field(std::int64_t number) {
    put(std::int32_t{sizeof number});
    put(number);
  }
  void field(std::uint64_t number) { field(static_cast<std::int64_t>(number)); }
  template <class Tag>
  void field(base::Id<Tag> id) {
    field(id.value);
  }
  void field(std::string_view text) {
    put(static_cast<std::int32_t>(text.size()));
    bytes_ += text;
  }
  template <class Value>
  void field(const std::optional<Value>& value) {
    if (value) {
      field(*value);
    } else {
      put(std::int32_t{-1});
    }
  }
  std::string bytes_;
};

}  // namespace ringline::backend
