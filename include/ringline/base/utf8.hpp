// UTF-8: validity, length in code points, what a text and a name may hold, and a key for "the same regardless of case".
// All but `valid_utf8` take valid UTF-8 only: check at the door.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ringline::base {

// No overlong forms, no surrogates, nothing above U+10FFFF.
bool valid_utf8(std::string_view text) noexcept;
std::size_t count_points(std::string_view text) noexcept;

// `text` without control characters (C0, DEL, C1) other than tab and newline.
std::string sanitize_text(std::string_view text);
// Without white space at both ends (ASCII's, U+00A0, U+2000-200A, line and paragraph separators, U+202F, U+205F, U+3000).
std::string_view trim(std::string_view text) noexcept;
// No line breaks, no control characters, no bidirectional overrides or isolates.
bool is_clean_name(std::string_view name) noexcept;

// Unicode simple case folding (one code point to one), from a table in the tree and not from the C library: keys made by it are stored, and
// must not change with a host's locale or libc. No normalization: "é" as one code point and as two stay different names.
std::string fold_case(std::string_view text);

// The words of a text as search knows them, with a space between two: the same for what is kept and for what is asked. A word is a run of letters and
// digits, case folded, cut to 64 code points. Ideographs, kana and emoji are not written with spaces between words: each is one by itself.
std::string words_of(std::string_view text);

}  // namespace ringline::base
