// A row as one line: the text format of PostgreSQL's COPY (PostgreSQL, "COPY", "Text Format"), whichever engine the row comes from or goes to. Columns are
// parted by tabs, \N is null, and what a line could not hold is escaped; so two rows are the same where their lines are.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringline::backend::copy_text {

inline constexpr std::string_view kNull = "\\N";

// A cell's text, as it stands in a line.
void append(std::string& line, std::string_view text);

using Cells = std::vector<std::optional<std::string>>;  // none: null
Cells split(std::string_view line);
// The cell at `column` as it stands in the line; empty: there is none.
std::string_view cell_at(std::string_view line, std::size_t column) noexcept;
std::string unescape(std::string_view cell);

}  // namespace ringline::backend::copy_text
