// RESP2, by hiredis' reader and formatter: the one place that knows hiredis. (Its connections are not used: the asynchronous ones of 0.14 know no time-outs
// and end the process at the first sharded message, and the reader refuses RESP3.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ringline/backend/redis_reply.hpp"

struct redisReader;
struct redisReadTask;

namespace ringline::backend {

// Appends a command as it goes to the server. Words may hold any bytes.
void append_command(std::string& out, std::span<const std::string_view> words);

// Bytes in, replies out. What a reply may take is bounded before it is kept: its bytes, and the elements that its arrays announce.
class ReplyReader {
 public:
  struct Bounds {
    std::size_t bytes;
    std::size_t elements;
  };
  explicit ReplyReader(Bounds bounds);
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  enum class Step : std::uint8_t {
    reply,      // one is there
    need_more,  // all bytes that were fed are taken in
    broken,     // they are no RESP2, or too much: nothing can be read any more; `why` says what
  };
  void feed(std::span<const std::byte> bytes);
  Step next(Reply& reply);
  std::string_view why() const noexcept { return why_; }
  void reset();  // for another connection

 private:
  struct Free {
    void operator()(redisReader* reader) const noexcept;
  };
  template <class Count>  // int, in later versions size_t
  static void* create_array(const redisReadTask* task, Count elements);
  Step fail(std::string why);

  Bounds bounds_;
  std::unique_ptr<redisReader, Free> reader_;
  std::size_t elements_ = 0;  // announced by the reply that is being read
  std::size_t fed_ = 0;       // bytes since the last whole one
  std::string why_;
};

}  // namespace ringline::backend
