// Links that are signed by the server itself, and what a file's first bytes say.
#include <gtest/gtest.h>

#include "chat/file_types.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/files.hpp"

namespace ringline::chat {
namespace {

constexpr std::int64_t kNow = 1'800'000'000'000;

struct Parts {
  std::string expires;
  std::string signature;
};
Parts parts_of(const Link& link) {
  auto after = [&](std::string_view name) {
    const std::size_t begin = link.url.find(name) + name.size();
    return link.url.substr(begin, link.url.find('&', begin) - begin);
  };
  return {after("expires="), after("signature=")};
}

TEST(SignedLinks, HoldForTheirFileAndMethodUntilTheirTime) {
  const SignedLinks links({"one"}, std::chrono::minutes(10));
  const File file{.id = FileId{77}, .mime_type = "image/png"};
  const Link read = links.download(file, kNow);
  EXPECT_TRUE(read.url.starts_with("/api/v1/files/77/content?expires=1800000600&signature=")) << read.url;
  EXPECT_EQ(read.expires_ms, kNow + 600'000);
  const auto [expires, signature] = parts_of(read);
  EXPECT_TRUE(links.holds("GET", file.id, expires, signature, kNow));
  EXPECT_TRUE(links.holds("GET", file.id, expires, signature, kNow + 599'999));
  EXPECT_FALSE(links.holds("GET", file.id, expires, signature, kNow + 600'000)) << "expired";
  EXPECT_FALSE(links.holds("PUT", file.id, expires, signature, kNow)) << "another method";
  EXPECT_FALSE(links.holds("GET", FileId{78}, expires, signature, kNow)) << "another file";
  EXPECT_FALSE(links.holds("GET", file.id, "1800000601", signature, kNow)) << "a later end";
  for (std::size_t i = 0; i < signature.size(); ++i) {
    std::string altered = signature;
    altered[i] = altered[i] == '0' ? '1' : '0';
    EXPECT_FALSE(links.holds("GET", file.id, expires, altered, kNow));
    EXPECT_FALSE(links.holds("GET", file.id, expires, signature.substr(0, i), kNow));
  }
  for (const char* odd : {"", "x", "-1", "1800000600 ", "99999999999999999999"})
    EXPECT_FALSE(links.holds("GET", file.id, odd, signature, kNow)) << odd;
}

TEST(SignedLinks, TheFirstSecretSignsAndAllVerify) {
  const SignedLinks before({"old"}, std::chrono::minutes(10)), now({"new", "old"}, std::chrono::minutes(10));
  const File file{.id = FileId{5}, .mime_type = "image/png"};
  const auto [expires, signature] = parts_of(before.upload(file, kNow));
  EXPECT_TRUE(now.holds("PUT", file.id, expires, signature, kNow));
  const auto [later, other] = parts_of(now.upload(file, kNow));
  EXPECT_FALSE(before.holds("PUT", file.id, later, other, kNow));
}

TEST(SignedLinks, OnlyAFileThatIsThereGetsOne) {
  const SignedLinks links({"one"}, std::chrono::minutes(10));
  File file{.id = FileId{77}, .mime_type = "image/png"};
  add_link(file, links, kNow);
  EXPECT_EQ(file.url, "");
  file.state = FileState::ready;
  add_link(file, links, kNow);
  EXPECT_NE(file.url, "");
}

TEST(FileTypes, AreMediaTypes) {
  for (const char* good : {"image/png", "application/vnd.oasis.opendocument.text", "audio/webm;codecs=opus",
                           "text/plain; charset=utf-8", "IMAGE/PNG"})
    EXPECT_TRUE(is_mime_type(good)) << good;
  for (const char* bad : {"", "image", "image/", "/png", "image/png/x", "image png", "image/p ng", "text/plain\r\nX: y",
                          "image/png;\x01", "\xc3\xbc/x"})
    EXPECT_FALSE(is_mime_type(bad)) << bad;
  EXPECT_FALSE(is_mime_type("image/" + std::string(200, 'x')));
}

TEST(FileTypes, AreHeldAgainstTheFirstBytes) {
  EXPECT_TRUE(fits_type("image/png", "\x89PNG\r\n\x1a\nIHDR"));
  EXPECT_TRUE(fits_type("IMAGE/PNG", "\x89PNG\r\n\x1a\nIHDR"));
  EXPECT_FALSE(fits_type("image/png", "<html>"));
  EXPECT_FALSE(fits_type("image/png", "\x89PNG"));
  EXPECT_TRUE(fits_type("image/webp", "RIFF....WEBPVP8 "));
  EXPECT_FALSE(fits_type("image/webp", "RIFF"));
  EXPECT_TRUE(fits_type("audio/webm;codecs=opus", "\x1a\x45\xdf\xa3..."));
  EXPECT_TRUE(fits_type("audio/mpeg", "ID3."));
  EXPECT_TRUE(fits_type("audio/mpeg", "\xff\xfb\x90"));
  EXPECT_TRUE(fits_type("text/plain", "anything"));
  EXPECT_FALSE(fits_type("text/plain", std::string_view("with a \0 byte", 13)));
  EXPECT_TRUE(fits_type("application/x-unknown", "anything"));
}

TEST(FileTypes, OnlyWhatBrowsersShowByThemselvesIsShown) {
  auto of = [](std::string name, std::string type) {
    return disposition_of({.id = FileId{1}, .name = std::move(name), .mime_type = std::move(type)});
  };
  EXPECT_EQ(of("a.png", "image/png"), "inline; filename*=UTF-8''a.png");
  EXPECT_EQ(of("a b\"ü.html", "text/html"), "attachment; filename*=UTF-8''a%20b%22%C3%BC.html");
  EXPECT_TRUE(of("x", "image/svg+xml").starts_with("attachment"));
  EXPECT_TRUE(of("x", "application/pdf").starts_with("attachment"));
  EXPECT_TRUE(of("x", "audio/webm;codecs=opus").starts_with("inline"));
}

}  // namespace
}  // namespace ringline::chat
