// Both places for files under one suite: a folder, and the S3 that S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY name, where they do (scripts/services).
// Everything as the server does it: through a core's client, and with readers and writers of pieces.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "backend/s3_place.hpp"
#include "ringline/backend/blobs.hpp"
#include "ringline/base/random.hpp"
#include "store_support.hpp"

namespace ringline::backend::test {
namespace {

using testing::HasSubstr;

enum class Kind : std::uint8_t { folder, s3 };

std::vector<Kind> kinds() {
  if (::getenv("S3_ENDPOINT") == nullptr) return {Kind::folder};
  return {Kind::folder, Kind::s3};
}

S3Options s3() {
  return {.endpoint = ::getenv("S3_ENDPOINT"),
          .region = "us-east-1",
          .access_key = ::getenv("S3_ACCESS_KEY"),
          .secret_key = ::getenv("S3_SECRET_KEY"),
          .bucket = "ringline-unit-" + std::to_string(::getpid()),
          .path_style = true,
          .make_bucket = true,
          .public_url_base = {}};
}

class BlobPlaces : public testing::TestWithParam<Kind> {
 protected:
  BlobPlaces() {
    if (GetParam() == Kind::s3) {
      place_ = open_s3(*loop_, s3(), metrics_);
      wait_for_bucket();
    } else {
      auto folder = open_folder(*loop_, workers_, directory_.file("blobs"));
      if (!folder) std::abort();
      place_ = std::move(*folder);
    }
    client_ = blobs_client(*loop_, *loop_, *place_);
    // No two tests share a key.
    key_ = "uploads/" + std::to_string(base::random_u64() >> 1);
    final_ = "files/" + std::to_string(base::random_u64() >> 1);
  }
  ~BlobPlaces() override {
    client_.reset();
    place_->cut();
    close();
  }
  void close() {
    base::Scope scope;
    scope.spawn(place_->close());
    loop_.settle(scope);
    loop_.settle(loop_->scope());  // what nobody waits for any more
  }
  void wait_for_bucket() {
    for (int tries = 0; tries < 600; ++tries) {
      auto looked = run(place_->look("files/1"));
      if (!looked && looked.error().code == Errc::not_found) return;
      std::this_thread::sleep_for(50ms);
      for (int turns = 0; turns < 20; ++turns) loop_->turn(false);
    }
    FAIL() << "the bucket was not made";
  }
  template <class T>
  T run(Task<T> task) {
    return loop_.run(std::move(task));
  }

  static Task<Result<void>> put(chat::BlobStore& place, std::string key, std::string bytes, std::size_t piece) {
    auto writer = co_await place.write(key, bytes.size(), "text/plain");
    if (!writer) co_return std::unexpected(writer.error());
    std::span<const std::byte> left = std::as_bytes(std::span(bytes));
    while (!left.empty()) {
      const auto now = left.first(std::min(piece, left.size()));
      auto written = co_await (*writer)->write(now);
      if (!written) co_return written;
      left = left.subspan(now.size());
    }
    auto finished = co_await (*writer)->finish();
    co_return finished;
  }
  static Task<Result<std::string>> get(chat::BlobStore& place, std::string key, std::uint64_t first,
                                       std::uint64_t count) {
    auto reader = co_await place.read(key, first, count);
    if (!reader) co_return std::unexpected(reader.error());
    std::string bytes;
    std::vector<std::byte> piece(10'000);
    for (;;) {
      auto got = co_await (*reader)->read(piece);
      if (!got) co_return std::unexpected(got.error());
      if (*got == 0) co_return bytes;
      bytes.append(reinterpret_cast<const char*>(piece.data()), *got);
    }
  }
  static Task<Result<void>> begin_and_abandon(chat::BlobStore& place, std::string key, std::uint64_t size,
                                              std::string bytes) {
    auto writer = co_await place.write(key, size, "text/plain");
    if (!writer) co_return std::unexpected(writer.error());
    auto written = co_await (*writer)->write(std::as_bytes(std::span(bytes)));
    co_await (*writer)->abandon();
    co_return written;
  }
  static std::string many_bytes(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(base::mix(i / 7));
    return bytes;
  }

  Directory directory_;
  HandLoop loop_;
  loop::Workers workers_{1, "blobs-test", 64};
  base::Metrics metrics_;
  std::unique_ptr<BlobPlace> place_;
  std::unique_ptr<BlobsClient> client_;
  std::string key_, final_;
};

TEST_P(BlobPlaces, WhatIsWrittenIsReadWholeAndInParts) {
  const std::string bytes = many_bytes(300'001);
  auto written = run(put(*place_, key_, bytes, 65'536));
  ASSERT_TRUE(written) << written.error().message;
  auto head = run(client_->look(key_));
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->size, bytes.size());
  EXPECT_EQ(head->first, bytes.substr(0, chat::BlobHead::kFirstBytes));
  EXPECT_EQ(run(get(*place_, key_, 0, bytes.size())).value_or("error"), bytes);
  EXPECT_EQ(run(get(*place_, key_, 100'000, 7)).value_or("error"), bytes.substr(100'000, 7));
  EXPECT_EQ(run(get(*place_, key_, 300'000, 1)).value_or("error"), bytes.substr(300'000));
}

TEST_P(BlobPlaces, OneByteIsEnough) {
  ASSERT_TRUE(run(put(*place_, key_, "x", 10)));
  EXPECT_EQ(run(get(*place_, key_, 0, 1)).value_or("error"), "x");
  EXPECT_EQ(run(client_->sha256(key_)).value_or("error"),
            "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
}

TEST_P(BlobPlaces, ABlobOfSeveralParts) {
  const std::string bytes = many_bytes(base::limits::kPartBytes + 1'000'001);
  auto written = run(put(*place_, key_, bytes, 65'536));
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(run(client_->look(key_))->size, bytes.size());
  const std::uint64_t across = base::limits::kPartBytes - 10;
  EXPECT_EQ(run(get(*place_, key_, across, 20)).value_or("error"), bytes.substr(across, 20));
  EXPECT_TRUE(run(get(*place_, key_, 0, bytes.size())).value_or("error") == bytes);
  auto accepted = run(client_->accept(key_, final_, run(client_->look(key_))->version));
  ASSERT_TRUE(accepted) << accepted.error().message;
  EXPECT_TRUE(run(get(*place_, final_, across, 20)).value_or("error") == bytes.substr(across, 20));
}

TEST_P(BlobPlaces, WhatWasLookedAtIsWhatIsMoved) {
  ASSERT_TRUE(run(put(*place_, key_, "the first", 100)));
  const std::string seen = run(client_->look(key_))->version;
  ASSERT_TRUE(run(put(*place_, key_, "the other", 100)));
  EXPECT_EQ(run(client_->accept(key_, final_, seen)).error().code, Errc::conflict);
  EXPECT_EQ(run(client_->look(final_)).error().code, Errc::not_found);
  auto accepted = run(client_->accept(key_, final_, run(client_->look(key_))->version));
  ASSERT_TRUE(accepted) << accepted.error().message;
  EXPECT_EQ(run(get(*place_, final_, 0, 9)).value_or("error"), "the other");
  EXPECT_EQ(run(client_->look(key_)).error().code, Errc::not_found);
}

TEST_P(BlobPlaces, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(run(client_->look(key_)).error().code, Errc::not_found);
  EXPECT_EQ(run(client_->sha256(key_)).error().code, Errc::not_found);
  EXPECT_EQ(run(get(*place_, key_, 0, 1)).error().code, Errc::not_found);
  EXPECT_EQ(run(client_->accept(key_, final_, "x")).error().code, Errc::conflict);
  EXPECT_TRUE(run(client_->remove(key_)));
}

TEST_P(BlobPlaces, WhatIsRemovedIsGone) {
  ASSERT_TRUE(run(put(*place_, key_, "bytes", 100)));
  ASSERT_TRUE(run(client_->remove(key_)));
  EXPECT_EQ(run(client_->look(key_)).error().code, Errc::not_found);
}

TEST_P(BlobPlaces, WhatIsAbandonedWasNeverThere) {
  EXPECT_TRUE(run(begin_and_abandon(*place_, key_, 1000, "some bytes")));
  EXPECT_TRUE(run(begin_and_abandon(*place_, key_, base::limits::kPartBytes * 2, "some bytes")));
  EXPECT_EQ(run(client_->look(key_)).error().code, Errc::not_found);
}

TEST_P(BlobPlaces, ACoreThatStopsWaitsForNothing) {
  std::optional<Result<chat::BlobHead>> under_way;
  base::Scope scope;
  scope.spawn(HandLoop::keep(client_->look(key_), under_way));
  EXPECT_FALSE(under_way);
  client_->cut();
  ASSERT_TRUE(under_way);
  EXPECT_EQ(under_way->error().code, Errc::unavailable);
  EXPECT_EQ(run(client_->look(key_)).error().code, Errc::unavailable) << "nor for what comes later";
}

INSTANTIATE_TEST_SUITE_P(Places, BlobPlaces, testing::ValuesIn(kinds()),
                         [](const auto& info) { return info.param == Kind::s3 ? "S3" : "Folder"; });

TEST(Folder, WhatWasHalfWrittenGoesAtTheNextStart) {
  Directory directory;
  HandLoop loop;
  loop::Workers workers(1, "blobs-test", 64);
  ASSERT_TRUE(open_folder(*loop, workers, directory.file("blobs")));
  const std::string uploads = directory.file("blobs") + "/uploads/";
  std::ofstream(uploads + "5.1.part") << "half";
  std::ofstream(uploads + "6") << "whole";
  ASSERT_TRUE(open_folder(*loop, workers, directory.file("blobs")));
  EXPECT_FALSE(std::filesystem::exists(uploads + "5.1.part"));
  EXPECT_TRUE(std::filesystem::exists(uploads + "6"));
}

// ---- Links to S3

constexpr std::int64_t kMay24 = 1'369'353'600'000;

S3Options example(bool path_style, std::string public_base = {}) {
  return {.endpoint = "http://s3.local:9000",
          .region = "eu-central-1",
          .access_key = "me",
          .secret_key = "hidden",
          .bucket = "chat",
          .path_style = path_style,
          .public_url_base = std::move(public_base)};
}

TEST(S3Links, AreSignedForTheHostThatClientsUse) {
  const chat::File file{.id = base::FileId{5}, .name = "a.png", .mime_type = "image/png", .size = 7};
  auto url = [&](const S3Options& options) { return s3_links(options)->download(file, kMay24).url; };
  EXPECT_TRUE(url(example(true)).starts_with("http://s3.local:9000/chat/files/5?X-Amz-Algorithm="));
  EXPECT_TRUE(url(example(false)).starts_with("http://chat.s3.local:9000/files/5?X-Amz-Algorithm="));
  EXPECT_TRUE(url(example(true, "https://files.example.org")).starts_with("https://files.example.org/chat/files/5?"));
  EXPECT_TRUE(url(example(true, "http://localhost:80/s3")).starts_with("http://localhost/s3/chat/files/5?"));
  // The bucket may be named by the base: it is in the signed path.
  EXPECT_EQ(url(example(true, "http://localhost/minio/chat")), url(example(true, "http://localhost/minio")));
  // What comes before the signed path changes no signature.
  const std::string plain = url(example(true, "http://localhost"));
  EXPECT_EQ(url(example(true, "http://localhost/minio")), "http://localhost/minio" + plain.substr(16));
  EXPECT_THAT(plain, HasSubstr("&response-content-disposition=inline%3B%20filename%2A%3DUTF-8%27%27a.png&"));
  EXPECT_THAT(plain, testing::Not(HasSubstr("hidden")));
}

TEST(S3Links, ToWriteHoldTheLengthAndTheType) {
  const chat::File file{.id = base::FileId{5}, .name = "a.png", .mime_type = "image/png", .size = 7};
  const chat::Link link = s3_links(example(true))->upload(file, kMay24);
  EXPECT_EQ(link.method, "PUT");
  EXPECT_THAT(link.url, HasSubstr("/chat/uploads/5?"));
  EXPECT_THAT(link.url, HasSubstr("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost"));
  EXPECT_THAT(link.headers, testing::ElementsAre(testing::Pair("Content-Type", "image/png")));
  EXPECT_EQ(link.expires_ms, kMay24 + 3'600'000);
}

}  // namespace
}  // namespace ringline::backend::test
