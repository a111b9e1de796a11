// An HTTP client on a loop: libcurl's multi interface, with our ring to say which sockets are ready (loop/fd_watch.hpp).
//
// Lifetimes: an exchange is one request and its answer, made and destroyed by a coroutine, never from within libcurl: what libcurl calls only notes what
// it was told and has the coroutine resumed in the loop's mail. The client is closed before it is destroyed, which waits
// for its exchanges to go and for the kernel to let go of its sockets. One coroutine at a time waits on an exchange.
//
// Bounds: of a body that comes, kBufferBytes are kept, then libcurl is told to pause; of one that goes, nothing is copied but what libcurl's own buffer
// takes. Every wait ends after the request's time without a byte. Redirects are not followed, and no proxy is used: neither is what S3 needs.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/loop/fd_watch.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

using base::Result;
using base::Task;

struct HttpOut {
  std::string method;
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;                           // sent as a whole; or
  std::optional<std::uint64_t> stream_bytes;  // so many follow by `write`
  std::chrono::milliseconds timeout{};        // without a byte either way
};

class HttpExchange;

class HttpClient {
 public:
  explicit HttpClient(loop::Loop& loop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  // Every exchange has failed, also those to come.
  void cut();
  // Cuts, and waits for those who had an exchange to let go of it.
  Task<void> close();

 private:
  friend class HttpExchange;
  struct Watched;
  static int on_socket(CURL* easy, curl_socket_t socket, int what, void* self, void* watched);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);
  void on_due() { act(CURL_SOCKET_TIMEOUT, 0); }
  void act(curl_socket_t socket, int events);
  void collect();
  void drop(Watched& watched);

  loop::Loop& loop_;
  CURLM* multi_ = nullptr;
  std::unordered_map<Watched*, std::unique_ptr<Watched>> watched_;
  std::unordered_set<HttpExchange*> exchanges_;
  bool cut_ = false;
  loop::TimerOf<HttpClient, &HttpClient::on_due> timer_{*this};
};

class HttpExchange {
 public:
  static constexpr std::size_t kBufferBytes = 64 * 1024;

  HttpExchange(HttpClient& client, HttpOut out);
  ~HttpExchange();
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  // The next bytes of the body, which stay the caller's until this is over. False: the server answered before it had all; `status` says what.
  Task<Result<bool>> write(std::span<const std::byte> bytes);
  // The answer's status, once its head is there.
  Task<Result<int>> status();
  std::string_view header(std::string_view lower_name) const noexcept;  // after `status`; empty: none
  // The next bytes of the answer's body; 0: that was all.
  Task<Result<std::size_t>> read(std::span<std::byte> into);
  // All of it. An error where it is more than `bytes_max`.
  Task<Result<std::string>> read_all(std::size_t bytes_max);

 private:
  friend class HttpClient;
  class Change;
  static std::size_t on_read(char* to, std::size_t size, std::size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);
  static std::size_t on_write(char* from, std::size_t size, std::size_t count, void* self);
  static std::size_t on_header(char* line, std::size_t size, std::size_t count, void* self);
  void set_up();
  void set_method();
  void notify();
  void done(CURLcode result);
  void go_on();  // where libcurl was told to pause
  Task<bool> changed();
  base::Error failure() const;

  HttpClient& client_;
  HttpOut out_;
  CURL* easy_;
  curl_slist* header_list_ = nullptr;
  std::string why_;                     // libcurl's text for a failure
  std::span<const std::byte> pending_;  // to be sent
  std::string input_;                   // came and was not read
  std::size_t input_at_ = 0;
  std::vector<std::pair<std::string, std::string>> headers_;
  int status_ = 0;  // 0: the head is not there
  std::optional<CURLcode> result_;
  bool sending_paused_ = false;
  bool receiving_paused_ = false;
  Change* waiting_ = nullptr;
};

}  // namespace ringline::backend
