// The browser client's files, compiled into the binary.
//
// They are bytes of the program: every view stays valid for its whole life and nothing is read from a disk. The paths are those of the
// URLs; `/` is the page. What gzip makes smaller is compressed once, when the program starts. No file has an inline script or style, so a policy of `default-src 'self'; connect-src 'self'` suffices.
#pragma once

#include <span>
#include <string_view>

namespace ringline::web {

struct Asset {
  std::string_view path;
  std::string_view content_type;
  std::string_view bytes;
  std::string_view etag;  // strong, in its quotes: a hash of the bytes
  std::string_view cache_control;
  std::string_view gzip = {};       // the bytes compressed; empty: they do not become smaller
  std::string_view gzip_etag = {};  // another representation has another strong tag
};

// Null where there is no such file. `path` is that of the request's target, without its query.
const Asset* find_asset(std::string_view path) noexcept;

std::span<const Asset> all_assets() noexcept;  // sorted by path

}  // namespace ringline::web
