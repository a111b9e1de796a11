// The files of an older chat, row by row, and what may stand in a row (ringline/backend/import.hpp).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ringline/base/json.hpp"

namespace ringline::backend {

// Where a row is; its text is in the file that was read.
struct JsonRow {
  std::string_view text;  // JSON
  // JSON, with its quotes: the name under which it, or the list that it is in, stands in an object. Empty: there is none.
  std::string_view key;
  bool in_list = false;
  std::size_t number = 0;  // in the file, from 1
  std::size_t line = 0;    // likewise
};

// Cuts a file into rows without looking into them. A list or an object under the name `wrapper` is taken for the file itself; other lists in an object are
// rows too.
class JsonRows {
 public:
  JsonRows(std::string_view text, std::string_view wrapper);

  // None: that was all, or something else than a row came (then `error` says what, and where).
  std::optional<JsonRow> next();
  const std::string& error() const noexcept { return error_; }

 private:
  struct Level {
    char end;              // ']' or '}'
    std::string_view key;  // of the list's rows
    bool first = true;
  };
  bool open(std::string_view key);
  std::optional<std::string_view> take_key();
  std::optional<std::string_view> take_value();
  std::optional<std::string_view> take_string();
  bool skip_to(char wanted);
  void skip_blanks() noexcept;
  void move_to(std::size_t end) noexcept;
  std::nullopt_t fail(std::string_view what);

  std::string_view text_;
  std::string wrapper_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t rows_ = 0;
  std::vector<Level> levels_;
  bool begun_ = false;
  std::string error_;
};

// The members of a row by any of the names that they go by. Those that are never asked for are counted at the end.
class JsonFields {
 public:
  explicit JsonFields(const base::json::Value& object) : object_(object) {}

  // The first that is there and not null.
  const base::json::Value* any(std::initializer_list<std::string_view> names);
  std::string text(std::initializer_list<std::string_view> names);  // also of a number; clean of control characters
  bool flag(std::initializer_list<std::string_view> names);         // true, 1, "true"
  // None: there is no such member. 0: it is no time.
  std::optional<std::int64_t> time_ms(std::initializer_list<std::string_view> names);

  void count_others(std::map<std::string, std::uint64_t>& counts, std::string_view file) const;

 private:
  const base::json::Value& object_;
  std::vector<std::string_view> asked_;
};

// A text, a number, or {"$oid": …}. Empty: none of these.
std::string json_text(const base::json::Value& value);
// RFC 3339, also without a zone (UTC) or a time; milliseconds, or seconds, since 1970, as number or text; {"$date": …}. 0: none of these.
std::int64_t json_time(const base::json::Value& value);

}  // namespace ringline::backend
