// See http_client.hpp.
#include "backend/http_client.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "ringline/base/assert.hpp"
#include "ringline/base/limits.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr long kConnectionsKept = 32;
constexpr long kBufferOfLibcurl = 16 * 1024;  // of each exchange, each way
constexpr std::size_t kHeadersMax = 64;
constexpr std::size_t kHeaderBytesMax = 8 * 1024;
constexpr std::chrono::milliseconds kClosingStep{1};
constexpr std::uint32_t kRetryMs = 1000;

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode done = curl_easy_setopt(easy, option, value);
  ASSERT(done == CURLE_OK);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

}  // namespace

// ---- The client

struct HttpClient::Watched {
  Watched(HttpClient& client, curl_socket_t of)
      : watch(client.loop_.ring(), [&client, of](unsigned events) {
          int mask = 0;
          if ((events & (POLLIN | POLLHUP)) != 0) mask |= CURL_CSELECT_IN;
          if ((events & POLLOUT) != 0) mask |= CURL_CSELECT_OUT;
          if ((events & POLLERR) != 0) mask |= CURL_CSELECT_ERR;
          client.act(of, mask);
        }) {}
  bool dropped = false;  // it is here only until the kernel has let go
  loop::FdWatch watch;
};

HttpClient::HttpClient(loop::Loop& loop) : loop_(loop) {
  static const CURLcode kReady = curl_global_init(CURL_GLOBAL_DEFAULT);
  ASSERT(kReady == CURLE_OK);
  multi_ = curl_multi_init();
  ASSERT(multi_ != nullptr);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &HttpClient::on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &HttpClient::on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kConnectionsKept);
}

HttpClient::~HttpClient() { ASSERT(multi_ == nullptr && watched_.empty()); }

void HttpClient::cut() {
  cut_ = true;
  for (HttpExchange* exchange : exchanges_) exchange->done(CURLE_ABORTED_BY_CALLBACK);
}

Task<void> HttpClient::close() {
  cut();
  while (!exchanges_.empty()) co_await loop_.sleep(kClosingStep);
  timer_.disarm();
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, static_cast<curl_socket_callback>(nullptr));
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, static_cast<curl_multi_timer_callback>(nullptr));
  std::vector<Watched*> all;
  for (const auto& [watched, owner] : watched_) all.push_back(watched);
  for (Watched* watched : all) drop(*watched);
  while (!watched_.empty()) co_await loop_.sleep(kClosingStep);
  curl_multi_cleanup(multi_);
  multi_ = nullptr;
}

int HttpClient::on_socket(CURL*, curl_socket_t socket, int what, void* self, void* assigned) {
  auto& client = *static_cast<HttpClient*>(self);
  auto* watched = static_cast<Watched*>(assigned);
  if (what == CURL_POLL_REMOVE) {
    if (watched) client.drop(*watched);
    curl_multi_assign(client.multi_, socket, nullptr);
    return 0;
  }
  if (!watched) {
    auto made = std::make_unique<Watched>(client, socket);
    watched = made.get();
    client.watched_.emplace(watched, std::move(made));
    curl_multi_assign(client.multi_, socket, watched);
  }
  unsigned events = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= POLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= POLLOUT;
  watched->watch.watch(loop::Fd{socket}, events);
  return 0;
}

// It may be what is telling at the moment: the watch goes when it has.
void HttpClient::drop(Watched& watched) {
  if (std::exchange(watched.dropped, true)) return;
  watched.watch.close([this, gone = &watched] { watched_.erase(gone); });
}

int HttpClient::on_timer(CURLM*, long timeout_ms, void* self) {
  auto& client = *static_cast<HttpClient*>(self);
  if (timeout_ms < 0) {
    client.timer_.disarm();
  } else {
    client.loop_.timers().arm(client.timer_, client.loop_.now_ms() + timeout_ms);
  }
  return 0;
}

void HttpClient::act(curl_socket_t socket, int events) {
  int running = 0;
  const CURLMcode done = curl_multi_socket_action(multi_, socket, events, &running);
  ASSERT(done == CURLM_OK);
  collect();
}

void HttpClient::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* exchange = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
    static_cast<HttpExchange*>(exchange)->done(message->data.result);
  }
}

// ---- An exchange

// Suspends until something happens to it, or nothing has for its time.
class HttpExchange::Change {
 public:
  explicit Change(HttpExchange& exchange) noexcept : exchange_(exchange) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    ASSERT(exchange_.waiting_ == nullptr);
    exchange_.waiting_ = this;
    waiting_ = waiting;
    loop::Loop& loop = exchange_.client_.loop_;
    loop.timers().arm(timer_, loop.now_ms() + exchange_.out_.timeout.count());
  }
  bool await_resume() const noexcept { return in_time_; }
  // From within libcurl: resumed later.
  void tell() {
    timer_.disarm();
    exchange_.waiting_ = nullptr;
    in_time_ = true;
    exchange_.client_.loop_.resume(waiting_);
  }

 private:
  void on_due() {
    exchange_.waiting_ = nullptr;
    waiting_.resume();
  }
  HttpExchange& exchange_;
  std::coroutine_handle<> waiting_;
  bool in_time_ = false;
  loop::TimerOf<Change, &Change::on_due> timer_{*this};
};

HttpExchange::HttpExchange(HttpClient& client, HttpOut out)
    : client_(client), out_(std::move(out)), easy_(curl_easy_init()), why_(CURL_ERROR_SIZE, '\0') {
  ASSERT(easy_ != nullptr);
  set_up();
  set_method();
  client_.exchanges_.insert(this);
  if (client_.cut_) {
    result_ = CURLE_ABORTED_BY_CALLBACK;
    return;
  }
  const CURLMcode added = curl_multi_add_handle(client_.multi_, easy_);  // begins with the timer
  ASSERT(added == CURLM_OK);
}

HttpExchange::~HttpExchange() {
  ASSERT(waiting_ == nullptr);
  curl_multi_remove_handle(client_.multi_, easy_);
  curl_easy_cleanup(easy_);
  curl_slist_free_all(header_list_);
  client_.exchanges_.erase(this);
}

void HttpExchange::set_up() {
  set(easy_, CURLOPT_URL, out_.url.c_str());
  set(easy_, CURLOPT_PRIVATE, this);
  set(easy_, CURLOPT_NOSIGNAL, 1L);
  set(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy_, CURLOPT_PATH_AS_IS, 1L);
  set(easy_, CURLOPT_PROXY, "");
  set(easy_, CURLOPT_ERRORBUFFER, why_.data());
  set(easy_, CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(std::min(base::limits::kS3ConnectTimeout, out_.timeout).count()));
  set(easy_, CURLOPT_BUFFERSIZE, kBufferOfLibcurl);
  set(easy_, CURLOPT_UPLOAD_BUFFERSIZE, kBufferOfLibcurl);
  set(easy_, CURLOPT_WRITEFUNCTION, &HttpExchange::on_write);
  set(easy_, CURLOPT_WRITEDATA, this);
  set(easy_, CURLOPT_READFUNCTION, &HttpExchange::on_read);
  set(easy_, CURLOPT_READDATA, this);
  set(easy_, CURLOPT_HEADERFUNCTION, &HttpExchange::on_header);
  set(easy_, CURLOPT_HEADERDATA, this);
}

void HttpExchange::set_method() {
  for (const auto& [name, value] : out_.headers)
    header_list_ = curl_slist_append(header_list_, (name + ": " + value).c_str());
  header_list_ = curl_slist_append(header_list_, "Expect:");  // nothing is waited for before the body
  set(easy_, CURLOPT_HTTPHEADER, header_list_);
  if (out_.method == "HEAD") return set(easy_, CURLOPT_NOBODY, 1L);
  set(easy_, CURLOPT_CUSTOMREQUEST, out_.method.c_str());
  if (out_.method != "PUT" && out_.method != "POST") return;
  set(easy_, CURLOPT_UPLOAD, 1L);
  const std::uint64_t bytes = out_.stream_bytes.value_or(out_.body.size());
  set(easy_, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(bytes));
  if (out_.stream_bytes) {
    // On a connection that the server has closed meanwhile, what was streamed could not be sent again.
    set(easy_, CURLOPT_FRESH_CONNECT, 1L);
  } else {
    pending_ = std::as_bytes(std::span(out_.body));
    set(easy_, CURLOPT_SEEKFUNCTION, &HttpExchange::on_seek);
    set(easy_, CURLOPT_SEEKDATA, this);
  }
}

void HttpExchange::notify() {
  if (waiting_) waiting_->tell();
}

void HttpExchange::done(CURLcode result) {
  result_ = result;
  notify();
}

Task<bool> HttpExchange::changed() {
  Change change(*this);
  const bool in_time = co_await change;
  co_return in_time;
}

std::size_t HttpExchange::on_read(char* to, std::size_t size, std::size_t count, void* self) {
  auto& exchange = *static_cast<HttpExchange*>(self);
  if (exchange.pending_.empty()) {
    exchange.sending_paused_ = true;
    return CURL_READFUNC_PAUSE;
  }
  const std::size_t taken = std::min(size * count, exchange.pending_.size());
  std::memcpy(to, exchange.pending_.data(), taken);
  exchange.pending_ = exchange.pending_.subspan(taken);
  exchange.notify();
  return taken;
}

int HttpExchange::on_seek(void* self, curl_off_t offset, int origin) {
  auto& exchange = *static_cast<HttpExchange*>(self);
  if (origin != SEEK_SET || offset < 0 || static_cast<std::size_t>(offset) > exchange.out_.body.size())
    return CURL_SEEKFUNC_FAIL;
  exchange.pending_ = std::as_bytes(std::span(exchange.out_.body)).subspan(static_cast<std::size_t>(offset));
  return CURL_SEEKFUNC_OK;
}

std::size_t HttpExchange::on_write(char* from, std::size_t size, std::size_t count, void* self) {
  auto& exchange = *static_cast<HttpExchange*>(self);
  const std::size_t bytes = size * count;
  if (exchange.input_.size() - exchange.input_at_ + bytes > kBufferBytes) {
    exchange.receiving_paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  exchange.input_.erase(0, std::exchange(exchange.input_at_, 0));
  exchange.input_.append(from, bytes);
  exchange.notify();
  return bytes;
}

// A head that is only passing (100 Continue) is forgotten with the next status line.
std::size_t HttpExchange::on_header(char* line, std::size_t size, std::size_t count, void* self) {
  auto& exchange = *static_cast<HttpExchange*>(self);
  std::string_view text(line, size * count);
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) {
    long status = 0;
    curl_easy_getinfo(exchange.easy_, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200) exchange.status_ = static_cast<int>(status);
    exchange.notify();
  } else if (text.starts_with("HTTP/")) {
    exchange.headers_.clear();
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    const std::size_t value = std::min(text.find_first_not_of(" \t", colon + 1), text.size());
    if (exchange.headers_.size() >= kHeadersMax || text.size() > kHeaderBytesMax) return 0;  // it fails
    exchange.headers_.emplace_back(lower(text.substr(0, colon)), text.substr(value));
  }
  return size * count;
}

std::string_view HttpExchange::header(std::string_view lower_name) const noexcept {
  for (const auto& [name, value] : headers_)
    if (name == lower_name) return value;
  return {};
}

// libcurl may call back at once, with what it kept.
void HttpExchange::go_on() {
  if (result_ || (!sending_paused_ && !receiving_paused_)) return;
  if (sending_paused_ && pending_.empty() && !receiving_paused_) return;
  const bool keeps_sending_paused = sending_paused_ && pending_.empty();
  sending_paused_ = keeps_sending_paused;
  receiving_paused_ = false;
  curl_easy_pause(easy_, keeps_sending_paused ? CURLPAUSE_SEND : CURLPAUSE_CONT);
}

base::Error HttpExchange::failure() const {
  std::string why = result_ ? why_.c_str() : "no answer in time";
  if (why.empty()) why = curl_easy_strerror(*result_);
  return base::fail_later(Errc::unavailable, kRetryMs, std::move(why)).error();
}

Task<Result<bool>> HttpExchange::write(std::span<const std::byte> bytes) {
  ASSERT(out_.stream_bytes && pending_.empty());
  pending_ = bytes;
  go_on();
  bool in_time = true;
  while (!pending_.empty() && !result_ && status_ == 0 && in_time) in_time = co_await changed();
  const bool taken = pending_.empty();
  pending_ = {};
  if (taken) co_return true;
  if (status_ != 0) co_return false;
  co_return std::unexpected(failure());
}

Task<Result<int>> HttpExchange::status() {
  bool in_time = true;
  while (status_ == 0 && !result_ && in_time) in_time = co_await changed();
  if (status_ == 0) co_return std::unexpected(failure());
  co_return status_;
}

Task<Result<std::size_t>> HttpExchange::read(std::span<std::byte> into) {
  bool in_time = true;
  while (input_at_ == input_.size() && !result_ && in_time) {
    go_on();
    if (input_at_ == input_.size() && !result_) in_time = co_await changed();
  }
  const std::size_t taken = std::min(into.size(), input_.size() - input_at_);
  if (taken > 0) {
    std::memcpy(into.data(), input_.data() + input_at_, taken);
    input_at_ += taken;
    if (input_.size() - input_at_ <= kBufferBytes / 2) go_on();
    co_return taken;
  }
  if (!result_ || *result_ != CURLE_OK) co_return std::unexpected(failure());
  co_return std::size_t{0};
}

Task<Result<std::string>> HttpExchange::read_all(std::size_t bytes_max) {
  std::string all;
  std::array<std::byte, 4096> piece;
  for (;;) {
    auto got = co_await read(piece);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return all;
    all.append(reinterpret_cast<const char*>(piece.data()), *got);
    if (all.size() > bytes_max) co_return base::fail(Errc::internal, "the answer is too long");
  }
}

}  // namespace ringline::backend
