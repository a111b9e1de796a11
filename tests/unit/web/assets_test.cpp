// The embedded client: everything that its files refer to is there, and nothing in them needs a weaker content policy.
#include "ringline/web/assets.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <regex>
#include <set>
#include <string>

namespace ringline::web {
namespace {

// What `name` means inside the file at `base`: "/js/view/a.js" + "../b.js" is "/js/b.js".
std::string resolve(std::string_view base, std::string name) {
  if (name.starts_with('/')) return name;
  std::string folder(base.substr(0, base.rfind('/')));
  while (name.starts_with("../")) {
    folder.resize(folder.rfind('/'));
    name.erase(0, 3);
  }
  if (name.starts_with("./")) name.erase(0, 2);
  return folder + "/" + name;
}

std::set<std::string> references(const Asset& asset, const char* pattern) {
  const std::string text(asset.bytes);
  const std::regex regex(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match) {
    found.insert(resolve(asset.path, (*match)[1].str()));
  }
  return found;
}

TEST(WebAssets, RootIsThePage) {
  const Asset* page = find_asset("/");
  ASSERT_NE(page, nullptr);
  EXPECT_EQ(page->content_type, "text/html; charset=utf-8");
  EXPECT_TRUE(page->bytes.starts_with("<!doctype html>"));
  EXPECT_EQ(page->cache_control, "no-cache");
}

TEST(WebAssets, UnknownPathsAreNull) {
  for (const char* path : {"", "/index.html", "/js", "/js/", "/js/main.js/", "/../assets.cpp", "//", "/~"}) {
    EXPECT_EQ(find_asset(path), nullptr) << path;
  }
}

TEST(WebAssets, EachIsFoundAndWhole) {
  std::set<std::string_view> etags;
  for (const Asset& asset : all_assets()) {
    EXPECT_EQ(find_asset(asset.path), &asset);
    EXPECT_FALSE(asset.bytes.empty()) << asset.path;
    EXPECT_EQ(asset.bytes.back(), '\n') << asset.path;
    EXPECT_TRUE(std::regex_match(std::string(asset.etag), std::regex("\"[0-9a-f]{16}\""))) << asset.etag;
    EXPECT_TRUE(etags.insert(asset.etag).second) << asset.path;
  }
}

TEST(WebAssets, EtagIsFnv1aOfTheBytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : find_asset("/")->bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  EXPECT_EQ(std::stoull(std::string(find_asset("/")->etag.substr(1, 16)), nullptr, 16), hash);
}

std::string unzipped(std::string_view bytes) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(1024 * 1024, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  inflateEnd(&stream);
  return out;
}

TEST(WebAssets, CompressedFormsAreTheSameBytes) {
  std::size_t plain = 0;
  std::size_t compressed = 0;
  for (const Asset& asset : all_assets()) {
    plain += asset.bytes.size();
    compressed += asset.gzip.empty() ? asset.bytes.size() : asset.gzip.size();
    EXPECT_EQ(asset.gzip.empty(), asset.gzip_etag.empty()) << asset.path;
    if (asset.gzip.empty()) continue;
    EXPECT_EQ(unzipped(asset.gzip), asset.bytes) << asset.path;
    EXPECT_LT(asset.gzip.size(), asset.bytes.size()) << asset.path;
    EXPECT_NE(asset.gzip_etag, asset.etag) << asset.path;
    EXPECT_TRUE(std::regex_match(std::string(asset.gzip_etag), std::regex("\"[0-9a-f]{16}-gzip\""))) << asset.gzip_etag;
  }
  EXPECT_FALSE(find_asset("/")->gzip.empty());
  EXPECT_LT(compressed, plain / 2);
}

TEST(WebAssets, WhatIsReferredToIsThere) {
  std::size_t count = 0;
  for (const Asset& asset : all_assets()) {
    const bool script = asset.path.ends_with(".js");
    const char* pattern = script ? R"re(\bfrom '([^']+)')re" : R"re((?:src|href)="([^"#]+)")re";
    for (const std::string& path : references(asset, pattern)) {
      EXPECT_NE(find_asset(path), nullptr) << asset.path << " refers to " << path;
      count++;
    }
  }
  EXPECT_GT(count, 20U);
}

TEST(WebAssets, NothingInline) {
  const std::string page(find_asset("/")->bytes);
  EXPECT_FALSE(std::regex_search(page, std::regex("<style|\\sstyle=|\\son[a-z]+=")));
  EXPECT_FALSE(std::regex_search(page, std::regex("<script[^>]*>[^<]")));
  for (const Asset& asset : all_assets()) {
    EXPECT_EQ(asset.bytes.find("innerHTML"), std::string_view::npos) << asset.path;
    EXPECT_EQ(asset.bytes.find("insertAdjacentHTML"), std::string_view::npos) << asset.path;
  }
}

}  // namespace
}  // namespace ringline::web
