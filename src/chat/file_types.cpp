// See file_types.hpp.
#include "chat/file_types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ringline/base/limits.hpp"
#include "ringline/chat/files.hpp"

namespace ringline::chat {

namespace {

struct Beginning {
  std::string_view mime_type;
  std::size_t at;
  std::string_view bytes;
};
// One of a type's rows must fit. Browsers show these by themselves, but for the last two.
constexpr auto kBeginnings = std::to_array<Beginning>({
    {"image/png", 0, "\x89PNG\r\n\x1a\n"},
    {"image/jpeg", 0, "\xff\xd8\xff"},
    {"image/gif", 0, "GIF8"},
    {"image/webp", 8, "WEBP"},
    {"image/avif", 4, "ftyp"},
    {"image/bmp", 0, "BM"},
    {"video/mp4", 4, "ftyp"},
    {"video/webm", 0, "\x1a\x45\xdf\xa3"},
    {"video/ogg", 0, "OggS"},
    {"audio/mp4", 4, "ftyp"},
    {"audio/webm", 0, "\x1a\x45\xdf\xa3"},
    {"audio/ogg", 0, "OggS"},
    {"audio/wav", 8, "WAVE"},
    {"audio/x-wav", 8, "WAVE"},
    {"audio/flac", 0, "fLaC"},
    {"audio/mpeg", 0, "ID3"},
    {"audio/mpeg", 0, "\xff\xfb"},
    {"audio/mpeg", 0, "\xff\xfa"},
    {"audio/mpeg", 0, "\xff\xf3"},
    {"audio/mpeg", 0, "\xff\xf2"},
    {"application/pdf", 0, "%PDF-"},
    {"application/zip", 0, "PK"},
});

// Without parameters, in lower case.
std::string bare(std::string_view mime_type) {
  std::string type(mime_type.substr(0, mime_type.find(';')));
  while (type.ends_with(' ')) type.pop_back();
  for (char& c : type)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return type;
}

bool is_alnum(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool is_name_char(char c) noexcept { return is_alnum(c) || std::string_view("!#$&-^_.+").contains(c); }

bool is_name(std::string_view text) noexcept {
  return !text.empty() && is_alnum(text.front()) && std::ranges::all_of(text, is_name_char);
}

bool is_shown(std::string_view type) noexcept {
  return !type.starts_with("application/") &&
         std::ranges::find(kBeginnings, type, &Beginning::mime_type) != kBeginnings.end();
}

}  // namespace

// RFC 6838, 4.2; of parameters only what is printable.
bool is_mime_type(std::string_view text) noexcept {
  if (text.size() > base::limits::kMimeTypeBytes) return false;
  const std::size_t end = std::min(text.find(';'), text.size());
  std::string_view type = text.substr(0, end);
  while (type.ends_with(' ')) type.remove_suffix(1);
  const std::size_t slash = type.find('/');
  if (slash == std::string_view::npos || !is_name(type.substr(0, slash)) || !is_name(type.substr(slash + 1)))
    return false;
  return std::ranges::all_of(text.substr(end), [](char c) { return c >= ' ' && c <= '~'; });
}

bool fits_type(std::string_view mime_type, std::string_view first_bytes) noexcept {
  const std::string type = bare(mime_type);
  if (type.starts_with("text/")) return !first_bytes.contains('\0');
  bool known = false;
  for (const Beginning& row : kBeginnings) {
    if (row.mime_type != type) continue;
    known = true;
    if (first_bytes.size() >= row.at && first_bytes.substr(row.at).starts_with(row.bytes)) return true;
  }
  return !known;
}

bool is_picture(std::string_view mime_type) noexcept {
  const std::string type = bare(mime_type);
  return type.starts_with("image/") && is_shown(type);
}

// RFC 6266, with the name as RFC 8187 writes it.
std::string disposition_of(const File& file) {
  std::string text = is_shown(bare(file.mime_type)) ? "inline" : "attachment";
  text += "; filename*=UTF-8''";
  for (const char c : file.name) {
    if (is_alnum(c) || std::string_view("!#$&+-.^_`|~").contains(c)) {
      text.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(text), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

}  // namespace ringline::chat
