// The files of this folder as constants. Not generated: #embed reads them.
//
// The twist: ccache's direct mode does not know #embed and would give back an object with old files in it. The word __TIME__ in this
// comment makes ccache look at the preprocessed text instead, where the bytes stand. (Ninja knows: clang names them in the depfile.)
// The compressed forms are made before main, so that no chat core stops for it and nothing is written afterwards.
// Invariant: the table is sorted by path, and every file that another one refers to is in it (tests/unit/web/assets_test.cpp).
#include "ringline/web/assets.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "ringline/base/assert.hpp"

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"  // #embed, which clang 19 has in C++ too

namespace ringline::web {
namespace {

// #embed gives numbers up to 255, which do not fit a char; here they become text.
template <std::size_t kSize>
consteval std::array<char, kSize> text(const unsigned char (&raw)[kSize]) {
  return std::bit_cast<std::array<char, kSize>>(raw);
}

constexpr unsigned char kIndexHtmlRaw[] = {
#embed "index.html"
};
constexpr unsigned char kAppCssRaw[] = {
#embed "app.css"
};
constexpr unsigned char kFaviconSvgRaw[] = {
#embed "favicon.svg"
};
constexpr unsigned char kBackoffJsRaw[] = {
#embed "js/backoff.js"
};
constexpr unsigned char kClientJsRaw[] = {
#embed "js/client.js"
};
constexpr unsigned char kConnectionJsRaw[] = {
#embed "js/connection.js"
};
constexpr unsigned char kEmitterJsRaw[] = {
#embed "js/emitter.js"
};
constexpr unsigned char kErrorsJsRaw[] = {
#embed "js/errors.js"
};
constexpr unsigned char kLimitsJsRaw[] = {
#embed "js/limits.js"
};
constexpr unsigned char kLinkJsRaw[] = {
#embed "js/link.js"
};
constexpr unsigned char kMainJsRaw[] = {
#embed "js/main.js"
};
constexpr unsigned char kOutboxJsRaw[] = {
#embed "js/outbox.js"
};
constexpr unsigned char kRoomJsRaw[] = {
#embed "js/room.js"
};
constexpr unsigned char kSessionJsRaw[] = {
#embed "js/session.js"
};
constexpr unsigned char kStoreJsRaw[] = {
#embed "js/store.js"
};
constexpr unsigned char kTimeJsRaw[] = {
#embed "js/time.js"
};
constexpr unsigned char kViewComposerJsRaw[] = {
#embed "js/view/composer.js"
};
constexpr unsigned char kViewDomJsRaw[] = {
#embed "js/view/dom.js"
};
constexpr unsigned char kViewMembersJsRaw[] = {
#embed "js/view/members.js"
};
constexpr unsigned char kViewStatusJsRaw[] = {
#embed "js/view/status.js"
};
constexpr unsigned char kViewTimelineJsRaw[] = {
#embed "js/view/timeline.js"
};
constexpr unsigned char kViewWelcomeJsRaw[] = {
#embed "js/view/welcome.js"
};
constexpr unsigned char kWordsJsRaw[] = {
#embed "js/words.js"
};
constexpr unsigned char kManifestWebmanifestRaw[] = {
#embed "manifest.webmanifest"
};

constexpr auto kIndexHtml = text(kIndexHtmlRaw);
constexpr auto kAppCss = text(kAppCssRaw);
constexpr auto kFaviconSvg = text(kFaviconSvgRaw);
constexpr auto kBackoffJs = text(kBackoffJsRaw);
constexpr auto kClientJs = text(kClientJsRaw);
constexpr auto kConnectionJs = text(kConnectionJsRaw);
constexpr auto kEmitterJs = text(kEmitterJsRaw);
constexpr auto kErrorsJs = text(kErrorsJsRaw);
constexpr auto kLimitsJs = text(kLimitsJsRaw);
constexpr auto kLinkJs = text(kLinkJsRaw);
constexpr auto kMainJs = text(kMainJsRaw);
constexpr auto kOutboxJs = text(kOutboxJsRaw);
constexpr auto kRoomJs = text(kRoomJsRaw);
constexpr auto kSessionJs = text(kSessionJsRaw);
constexpr auto kStoreJs = text(kStoreJsRaw);
constexpr auto kTimeJs = text(kTimeJsRaw);
constexpr auto kViewComposerJs = text(kViewComposerJsRaw);
constexpr auto kViewDomJs = text(kViewDomJsRaw);
constexpr auto kViewMembersJs = text(kViewMembersJsRaw);
constexpr auto kViewStatusJs = text(kViewStatusJsRaw);
constexpr auto kViewTimelineJs = text(kViewTimelineJsRaw);
constexpr auto kViewWelcomeJs = text(kViewWelcomeJsRaw);
constexpr auto kWordsJs = text(kWordsJsRaw);
constexpr auto kManifestWebmanifest = text(kManifestWebmanifestRaw);

#pragma clang diagnostic pop

constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325;
constexpr std::uint64_t kFnvPrime = 0x100000001b3;
constexpr std::size_t kHexDigits = 16;

using Etag = std::array<char, kHexDigits + 2>;

// FNV-1a: it tells versions of our own files apart; nobody else chooses the bytes.
template <std::size_t kSize>
consteval Etag etag_of(const std::array<char, kSize>& bytes) {
  std::uint64_t hash = kFnvBasis;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * kFnvPrime;
  Etag etag{};
  etag.front() = etag.back() = '"';
  for (std::size_t digit = 0; digit < kHexDigits; digit++) {
    etag[kHexDigits - digit] = "0123456789abcdef"[hash & 0xf];
    hash >>= 4;
  }
  return etag;
}

template <const auto& kBytes>
constexpr Etag kEtag = etag_of(kBytes);

constexpr std::string_view kHtml = "text/html; charset=utf-8";
constexpr std::string_view kCss = "text/css; charset=utf-8";
constexpr std::string_view kJs = "text/javascript; charset=utf-8";
constexpr std::string_view kSvg = "image/svg+xml";
constexpr std::string_view kManifest = "application/manifest+json";

// Names stay the same from release to release, and modules of two releases do not mix: always ask, mostly to hear 304.
constexpr std::string_view kAsk = "no-cache";
constexpr std::string_view kDay = "public, max-age=86400";

template <const auto& kBytes>
consteval Asset asset(std::string_view path, std::string_view content_type, std::string_view cache_control = kAsk) {
  const Etag& etag = kEtag<kBytes>;
  return {path, content_type, {kBytes.data(), kBytes.size()}, {etag.data(), etag.size()}, cache_control};
}

constexpr auto kAssets = std::to_array<Asset>({
    asset<kIndexHtml>("/", kHtml),
    asset<kAppCss>("/app.css", kCss),
    asset<kFaviconSvg>("/favicon.svg", kSvg, kDay),
    asset<kBackoffJs>("/js/backoff.js", kJs),
    asset<kClientJs>("/js/client.js", kJs),
    asset<kConnectionJs>("/js/connection.js", kJs),
    asset<kEmitterJs>("/js/emitter.js", kJs),
    asset<kErrorsJs>("/js/errors.js", kJs),
    asset<kLimitsJs>("/js/limits.js", kJs),
    asset<kLinkJs>("/js/link.js", kJs),
    asset<kMainJs>("/js/main.js", kJs),
    asset<kOutboxJs>("/js/outbox.js", kJs),
    asset<kRoomJs>("/js/room.js", kJs),
    asset<kSessionJs>("/js/session.js", kJs),
    asset<kStoreJs>("/js/store.js", kJs),
    asset<kTimeJs>("/js/time.js", kJs),
    asset<kViewComposerJs>("/js/view/composer.js", kJs),
    asset<kViewDomJs>("/js/view/dom.js", kJs),
    asset<kViewMembersJs>("/js/view/members.js", kJs),
    asset<kViewStatusJs>("/js/view/status.js", kJs),
    asset<kViewTimelineJs>("/js/view/timeline.js", kJs),
    asset<kViewWelcomeJs>("/js/view/welcome.js", kJs),
    asset<kWordsJs>("/js/words.js", kJs),
    asset<kManifestWebmanifest>("/manifest.webmanifest", kManifest, kDay),
});
static_assert(std::ranges::is_sorted(kAssets, {}, &Asset::path));

constexpr int kGzipWindow =
    15 + 16;  // zlib's way to ask for gzip's header; it has neither a name nor a time, so equal bytes stay equal
constexpr int kGzipMemory = 9;

std::string gzip_of(std::string_view bytes) {
  z_stream stream{};
  int made = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzipWindow, kGzipMemory, Z_DEFAULT_STRATEGY);
  ASSERT(made == Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int ended = deflate(&stream, Z_FINISH);
  ASSERT(ended == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

// The table with the compressed forms, which it owns.
class Table {
 public:
  Table() : assets_(kAssets) {
    for (std::size_t index = 0; index < assets_.size(); index++) {
      Asset& asset = assets_[index];
      std::string smaller = gzip_of(asset.bytes);
      if (smaller.size() >= asset.bytes.size()) continue;
      bytes_[index] = std::move(smaller);
      etags_[index] = std::string(asset.etag.substr(0, asset.etag.size() - 1)) + "-gzip\"";
      asset.gzip = bytes_[index];
      asset.gzip_etag = etags_[index];
    }
  }
  const auto& assets() const noexcept { return assets_; }

 private:
  std::array<Asset, kAssets.size()> assets_;
  std::array<std::string, kAssets.size()> bytes_;
  std::array<std::string, kAssets.size()> etags_;
};

const Table kTable;

}  // namespace

const Asset* find_asset(std::string_view path) noexcept {
  const auto* found = std::ranges::lower_bound(kTable.assets(), path, {}, &Asset::path);
  return found != kTable.assets().end() && found->path == path ? found : nullptr;
}

std::span<const Asset> all_assets() noexcept { return kTable.assets(); }

}  // namespace ringline::web
