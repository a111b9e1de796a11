// See transfers.hpp.
#include "ringline/net/transfers.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "net/arrivals.hpp"
#include "net/line.hpp"
#include "ringline/base/clock.hpp"
#include "ringline/base/json.hpp"
#include "ringline/base/log.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::net {

using base::Errc;
using base::Result;
using base::Task;

namespace {

constexpr std::chrono::milliseconds kLinger{2000};
constexpr std::uint32_t kBusyMs = 2000;

std::string answer_head(const TransferOrder& order, int status, std::string_view type, std::uint64_t length,
                        const std::vector<std::pair<std::string, std::string>>& more = {}) {
  std::vector<protocol::Header> headers(order.headers.begin(), order.headers.end());
  for (const auto& [name, value] : more) headers.emplace_back(name, value);
  std::string date, head;
  protocol::append_http_date(date, base::wall_ms());
  protocol::append_response(head,
                            {.status = status,
                             .content_type = type,
                             .date = date,
                             .headers = headers,
                             .keep_alive = false,
                             .content_length = length},
                            {});
  return head;
}

// A status of its own for a client that is too slow, and for a disk without room.
int status_of(const base::Error& error) {
  if (error.sys == ETIMEDOUT) return 408;
  if (error.sys == ENOSPC) return 507;
  return base::http_status(error.code);
}

std::string problem(const TransferOrder& order, const base::Error& error) {
  const int status = status_of(error);
  std::vector<std::pair<std::string, std::string>> more;
  if (error.retry_after_ms != 0) more.emplace_back("Retry-After", std::to_string((error.retry_after_ms + 999) / 1000));
  base::json::Writer out;
  out.begin_object().key("type").string("about:blank").key("title").string(base::name_of(error.code));
  out.key("status").integer(status).key("detail").string(error.message).key("code").string(base::name_of(error.code));
  if (error.retry_after_ms != 0) out.key("retryAfterMs").unsigned_integer(error.retry_after_ms);
  out.end_object();
  TransferOrder plain{.headers = order.headers};
  // Of the file, not of an error.
  std::erase_if(plain.headers, [](const auto& header) {
    return header.first == "ETag" || header.first == "Content-Range" || header.first == "Content-Disposition" ||
           header.first == "Cache-Control";
  });
  more.emplace_back("Cache-Control", "no-store");
  return answer_head(plain, status, "application/problem+json", out.view().size(), more) + std::string(out.view());
}

}  // namespace

Transfers::Transfers(loop::Loop& loop, chat::BlobStore& store, HandOverPorts& ports, base::Metrics& metrics,
                     TransferLimits limits)
    : loop_(loop), store_(store), metrics_(metrics), limits_(limits), ports_(ports) {
  arrivals_ = std::make_unique<Arrivals>(loop.ring(), ports.transfers_.at, [this](loop::Fd socket, Gift gift) {
    loop_.scope().spawn(run(*this, socket, std::move(gift.order), std::move(gift.input)));
  });
  ports.transfers_.receiver = arrivals_.get();
  ports.transfers_.loop = &loop;
}

Transfers::~Transfers() {
  ASSERT(idle());
  ports_.transfers_.receiver = nullptr;
}

void Transfers::stop() { arrivals_->stop(); }
bool Transfers::idle() const noexcept { return arrivals_->idle() && lines_.empty(); }

void Transfers::cut() {
  for (Line* line : lines_) line->cut();
}

Task<void> Transfers::run(Transfers& self, loop::Fd socket, std::unique_ptr<TransferOrder> order, std::string input) {
  Line line(self.loop_, socket);
  self.lines_.insert(&line);
  self.metrics_.transfers = self.lines_.size();
  std::size_t& of_user = self.of_user_[order->user];
  ++of_user;
  co_await self.serve(line, *order, std::move(input));
  co_await self.hang_up(line);
  if (auto found = self.of_user_.find(order->user); --found->second == 0) self.of_user_.erase(found);
  self.lines_.erase(&line);
  self.metrics_.transfers = self.lines_.size();
  line.close();
}

Task<void> Transfers::serve(Line& line, const TransferOrder& order, std::string input) {
  const bool is_upload = order.kind == TransferOrder::Kind::upload;
  if (lines_.size() > limits_.at_once || of_user_[order.user] > limits_.of_user) {
    const bool own = lines_.size() <= limits_.at_once;
    base::Error busy = base::fail_later(own ? Errc::rate_limited : Errc::unavailable, kBusyMs,
                                        own ? "too many of your files are on their way; wait for some"
                                            : "too many files are on their way; try again")
                           .error();
    co_await refuse(line, order, std::move(busy));
    co_return;
  }
  if (is_upload) {
    co_await upload(line, order, std::move(input));
  } else {
    co_await download(line, order);
  }
}

Task<void> Transfers::refuse(Line& line, const TransferOrder& order, base::Error error) {
  ++metrics_.transfers_failed;
  const std::string answer = problem(order, error);
  const int sent = co_await line.send(answer, limits_.stall);
  if (sent == 0) line.end_sending();
}

// Waits for the client to go, and throws away what it still sends: a close at once would reset what is under way to it.
Task<void> Transfers::hang_up(Line& line) {
  std::vector<std::byte> thrown_away(base::limits::kTransferBytes);
  const std::int64_t until_ms = loop_.now_ms() + kLinger.count();
  while (loop_.now_ms() < until_ms) {
    const int got = co_await line.receive(thrown_away, std::chrono::milliseconds(until_ms - loop_.now_ms()));
    if (got <= 0) co_return;
  }
}

Task<void> Transfers::upload(Line& line, const TransferOrder& order, std::string input) {
  auto writer = co_await store_.write(order.key, order.count, order.mime_type);
  if (!writer) {
    co_await refuse(line, order, writer.error());
    co_return;
  }
  const bool whole = co_await take_body(line, order, **writer, std::move(input));
  if (!whole) {
    co_await (*writer)->abandon();
    co_return;
  }
  auto finished = co_await (*writer)->finish();
  if (!finished) {
    co_await (*writer)->abandon();
    co_await refuse(line, order, finished.error());
    co_return;
  }
  ++metrics_.file_uploads;
  const std::string answer = answer_head(order, order.status, {}, 0);
  const int sent = co_await line.send(answer, limits_.stall);
  if (sent == 0) line.end_sending();
}

// False: it is over, and the client knows or is gone.
Task<bool> Transfers::take_body(Line& line, const TransferOrder& order, chat::BlobWriter& writer, std::string input) {
  if (order.expects_continue && input.empty()) {
    const int sent = co_await line.send(protocol::kContinue, limits_.stall);
    if (sent != 0) co_return false;
  }
  std::vector<std::byte> buffer(base::limits::kTransferBytes);
  const std::int64_t began_ms = loop_.now_ms();
  std::uint64_t left = order.count;
  std::span<const std::byte> piece = std::as_bytes(std::span(input));  // what the core has read already
  for (;;) {
    piece = piece.first(std::min<std::uint64_t>(piece.size(), left));  // what follows the body is no request of ours
    left -= piece.size();
    metrics_.file_upload_bytes += piece.size();
    Result<void> written;
    if (!piece.empty()) written = co_await writer.write(piece);
    if (!written) {
      co_await refuse(line, order, written.error());
      co_return false;
    }
    if (left == 0) co_return true;
    const int got = co_await line.receive(std::span(buffer), limits_.stall);
    const std::int64_t past_ms = loop_.now_ms() - began_ms;
    const bool slow = past_ms > limits_.stall.count() &&
                      (order.count - left) * 1000 < limits_.pace * static_cast<std::uint64_t>(past_ms);
    if (got == -ETIMEDOUT || (got > 0 && slow)) {
      base::Error late{.code = Errc::invalid, .message = "the upload is too slow", .field = {}, .sys = ETIMEDOUT};
      co_await refuse(line, order, std::move(late));
      co_return false;
    }
    if (got <= 0) co_return false;
    piece = std::span(buffer).first(static_cast<std::size_t>(got));
    std::string().swap(input);  // it may be much larger than a piece
  }
}

Task<void> Transfers::download(Line& line, const TransferOrder& order) {
  auto reader = co_await store_.read(order.key, order.first, order.count);
  if (!reader) {
    co_await refuse(line, order, reader.error());
    co_return;
  }
  const std::string head = answer_head(order, order.status, order.mime_type, order.count);
  int sent = co_await line.send(head, limits_.stall);
  std::vector<std::byte> buffer(base::limits::kTransferBytes);
  for (std::uint64_t left = order.count; left > 0 && sent == 0;) {
    auto got = co_await (*reader)->read(buffer);
    // The head has gone: all that can be said is that the connection ends too early.
    if (!got || *got == 0) {
      line.cut();
      ++metrics_.transfers_failed;
      base::log::warn("download_failed", {{"key", order.key}, {"why", got ? "it ended" : got.error().message}});
      co_return;
    }
    left -= *got;
    metrics_.file_download_bytes += *got;
    sent = co_await line.send({reinterpret_cast<const char*>(buffer.data()), *got}, limits_.stall);
  }
  if (sent != 0) co_return;
  ++metrics_.file_downloads;
  line.end_sending();
}

}  // namespace ringline::net
