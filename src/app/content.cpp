// See content.hpp.
#include "app/content.hpp"

#include <fmt/format.h>

#include "app/core.hpp"
#include "app/methods.hpp"
#include "app/routes.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/chat/files.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::app {

using base::Errc;
using base::Task;

namespace {

constexpr std::string_view kFiles = "/files/";
constexpr std::string_view kContent = "/content";
// A page that is opened as such can do nothing, whatever it is.
constexpr std::string_view kPolicy = "sandbox; default-src 'none'";

std::string query_value(const net::HttpRequest& question, std::string_view name) {
  for (const auto& [key, value] : question.query)
    if (key == name) return value;
  return {};
}

net::HttpResponse plain(int status) {
  net::HttpResponse answer;
  answer.status = status;
  return answer;
}

// What all answers about a file's bytes say. They never change: another file has another id.
net::HttpResponse about(const chat::File& file, int status) {
  net::HttpResponse answer = plain(status);
  answer.headers.emplace_back("ETag", fmt::format("\"{}\"", file.id.value));
  answer.headers.emplace_back("Accept-Ranges", "bytes");
  answer.headers.emplace_back("Cache-Control", "private, max-age=3600");
  answer.headers.emplace_back("Content-Disposition", chat::disposition_of(file));
  answer.headers.emplace_back("Content-Security-Policy", kPolicy);
  return answer;
}

net::HttpResponse out_of_range(const chat::File& file) {
  net::HttpResponse answer =
      problem({.code = Errc::invalid, .message = "the file has no such bytes", .field = "Range"}, 416);
  answer.headers.emplace_back("Content-Range", fmt::format("bytes */{}", file.size));
  return answer;
}

net::HttpResponse elsewhere(const Core& core, const chat::File& file) {
  net::HttpResponse answer = plain(302);
  answer.headers.emplace_back("Location", core.links().download(file, base::wall_ms()).url);
  answer.headers.emplace_back("Cache-Control", "no-store");
  return answer;
}

net::HttpResponse read_answer(const Core& core, const net::HttpRequest& question, const chat::File& file) {
  if (core.links().direct()) return elsewhere(core, file);
  const std::string etag = fmt::format("\"{}\"", file.id.value);
  if (protocol::names_etag(question.if_none_match, etag)) return about(file, 304);
  const bool whole = !question.if_range.empty() && question.if_range != etag;
  const protocol::ByteRange range = protocol::parse_range(whole ? "" : question.range, file.size);
  if (!range.satisfiable) return out_of_range(file);
  net::HttpResponse answer = about(file, range.partial ? 206 : 200);
  if (range.partial)
    answer.headers.emplace_back("Content-Range",
                                fmt::format("bytes {}-{}/{}", range.first, range.first + range.count - 1, file.size));
  if (question.method == "HEAD") {
    answer.content_type = file.mime_type;
    answer.content_length = range.count;
    return answer;
  }
  answer.transfer = std::make_unique<net::TransferOrder>(net::TransferOrder{.kind = net::TransferOrder::Kind::download,
                                                                            .user = file.owner,
                                                                            .key = chat::file_key(file.id),
                                                                            .mime_type = file.mime_type,
                                                                            .first = range.first,
                                                                            .count = range.count});
  return answer;
}

net::HttpResponse write_answer(const net::HttpRequest& question, const chat::File& file) {
  if (!question.stream_bytes) return problem(base::fail_field("Content-Length", "is needed").error(), 411);
  const std::uint64_t bytes = *question.stream_bytes;
  const std::string right = fmt::format("{} bytes were declared, and {} would come", file.size, bytes);
  if (bytes > file.size) return problem({.code = Errc::too_large, .message = right, .field = {}});
  if (bytes < file.size) return problem(base::fail_field("Content-Length", right).error());
  net::HttpResponse answer = plain(204);
  answer.transfer =
      std::make_unique<net::TransferOrder>(net::TransferOrder{.kind = net::TransferOrder::Kind::upload,
                                                              .user = file.owner,
                                                              .key = chat::upload_key(file.id),
                                                              .mime_type = file.mime_type,
                                                              .count = bytes,
                                                              .expects_continue = question.expects_continue});
  return answer;
}

}  // namespace

std::optional<base::FileId> content_of(std::string_view path) noexcept {
  if (!path.starts_with(kFiles) || !path.ends_with(kContent)) return std::nullopt;
  path.remove_prefix(kFiles.size());
  if (path.size() < kContent.size()) return std::nullopt;
  path.remove_suffix(kContent.size());
  return base::FileId::parse(path);
}

bool streams_body(std::string_view method, std::string_view path) noexcept {
  return method == "PUT" && path.starts_with(kApi) && content_of(path.substr(kApi.size()));
}

bool is_signed(const net::HttpRequest& question) noexcept { return !query_value(question, "signature").empty(); }

Task<net::HttpResponse> answer_content(Core& core, net::HttpRequest question, base::FileId id, chat::UserCard who) {
  const bool writes = question.method == "PUT";
  const bool nobody = !who && !is_signed(question);
  if (!who && !nobody &&
      !core.signed_links().holds(writes ? "PUT" : "GET", id, query_value(question, "expires"),
                                 query_value(question, "signature"), base::wall_ms()))
    co_return problem({.code = Errc::forbidden, .message = "this link has expired, or was changed", .field = {}});
  base::Result<chat::File> file = base::fail(Errc::internal, "not looked at");
  if (writes) {
    file = co_await chat::file_to_write(core.shard().parts(), id, std::move(who));
  } else {
    file = co_await chat::file_to_read(core.shard().parts(), id, std::move(who));
  }
  if (nobody && !(file && file->open))
    co_return problem(base::fail_auth("token_missing", "send Authorization: Bearer, or take a link").error());
  if (!file) co_return problem(file.error());
  co_return writes ? write_answer(question, *file) : read_answer(core, question, *file);
}

}  // namespace ringline::app
