// What a file says it is, and what its first bytes say.
#pragma once

#include <string>
#include <string_view>

namespace ringline::chat {

// TYPE/SUBTYPE, with parameters or without, of characters that a header may carry.
bool is_mime_type(std::string_view text) noexcept;
// Whether browsers show it by themselves, as a picture.
bool is_picture(std::string_view mime_type) noexcept;
// False: it is declared as one of the types that are known by their first bytes, and does not begin as that; or as text, and holds zero bytes.
bool fits_type(std::string_view mime_type, std::string_view first_bytes) noexcept;

}  // namespace ringline::chat
