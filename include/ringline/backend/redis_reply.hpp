// What Redis answers (RESP2): a view of an answer or a part of it, and the owner of a whole one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

struct redisReply;  // hiredis'

namespace ringline::backend {

class ReplyView {
 public:
  enum class Type : std::uint8_t { nil, string, status, integer, error, array };

  ReplyView() noexcept = default;  // nil
  explicit ReplyView(const redisReply* reply) noexcept : reply_(reply) {}

  Type type() const noexcept;
  bool is_nil() const noexcept { return type() == Type::nil; }
  bool is_error() const noexcept { return type() == Type::error; }
  bool is_array() const noexcept { return type() == Type::array; }
  // Of a string, a status or an error; of anything else empty.
  std::string_view text() const noexcept;
  // An error's first word ("MOVED", "WRONGTYPE"); of anything else empty.
  std::string_view code() const noexcept;
  // Of an integer, or of a string that is one; of anything else 0.
  std::int64_t integer() const noexcept;
  // Of an array: its elements. Nil stands beyond its end, and in place of what is no array: answers of unexpected form are read without harm.
  std::size_t size() const noexcept;
  ReplyView operator[](std::size_t index) const noexcept;

 private:
  const redisReply* reply_ = nullptr;
};

class Reply : public ReplyView {
 public:
  Reply() noexcept = default;  // nil
  explicit Reply(redisReply* reply) noexcept : ReplyView(reply), owned_(reply) {}
  Reply(Reply&& other) noexcept : ReplyView(std::exchange<ReplyView>(other, {})), owned_(std::move(other.owned_)) {}
  Reply& operator=(Reply&& other) noexcept {
    static_cast<ReplyView&>(*this) = std::exchange<ReplyView>(other, {});
    owned_ = std::move(other.owned_);
    return *this;
  }

 private:
  struct Free {
    void operator()(redisReply* reply) const noexcept;
  };
  std::unique_ptr<redisReply, Free> owned_;
};

}  // namespace ringline::backend
