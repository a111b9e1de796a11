// See redis_protocol.hpp and redis_reply.hpp.
#include "backend/redis_protocol.hpp"

#include <hiredis.h>

#include <array>
#include <charconv>
#include <vector>

#include "ringline/base/assert.hpp"

namespace ringline::backend {

// ---- Replies.

ReplyView::Type ReplyView::type() const noexcept {
  if (!reply_) return Type::nil;
  switch (reply_->type) {
    case REDIS_REPLY_STRING:
      return Type::string;
    case REDIS_REPLY_STATUS:
      return Type::status;
    case REDIS_REPLY_INTEGER:
      return Type::integer;
    case REDIS_REPLY_ERROR:
      return Type::error;
    case REDIS_REPLY_ARRAY:
      return Type::array;
    default:
      return Type::nil;
  }
}

std::string_view ReplyView::text() const noexcept {
  const Type kind = type();
  if (kind != Type::string && kind != Type::status && kind != Type::error) return {};
  return {reply_->str, reply_->len};
}

std::string_view ReplyView::code() const noexcept {
  return is_error() ? text().substr(0, text().find(' ')) : std::string_view();
}

std::int64_t ReplyView::integer() const noexcept {
  if (type() == Type::integer) return reply_->integer;
  const std::string_view digits = is_error() ? std::string_view() : text();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? number : 0;
}

std::size_t ReplyView::size() const noexcept { return is_array() ? reply_->elements : 0; }

ReplyView ReplyView::operator[](std::size_t index) const noexcept {
  return index < size() ? ReplyView(reply_->element[index]) : ReplyView();
}

void Reply::Free::operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }

// ---- Commands.

void append_command(std::string& out, std::span<const std::string_view> words) {
  ASSERT(!words.empty());
  constexpr std::size_t kFew = 16;
  std::array<const char*, kFew> few_texts;
  std::array<std::size_t, kFew> few_sizes;
  std::vector<const char*> many_texts;
  std::vector<std::size_t> many_sizes;
  const char** texts = few_texts.data();
  std::size_t* sizes = few_sizes.data();
  if (words.size() > kFew) {
    many_texts.resize(words.size());
    many_sizes.resize(words.size());
    texts = many_texts.data();
    sizes = many_sizes.data();
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    texts[i] = words[i].empty() ? "" : words[i].data();
    sizes[i] = words[i].size();
  }
  char* command = nullptr;
  const int size = redisFormatCommandArgv(&command, static_cast<int>(words.size()), texts, sizes);
  ASSERT(size > 0);  // else there is no memory
  out.append(command, static_cast<std::size_t>(size));
  redisFreeCommand(command);
}

// ---- Reading.

namespace {

const redisReplyObjectFunctions& default_functions() {
  static const redisReplyObjectFunctions functions = [] {
    redisReader* reader = redisReaderCreate();
    ASSERT(reader != nullptr);
    const redisReplyObjectFunctions theirs = *reader->fn;
    redisReaderFree(reader);
    return theirs;
  }();
  return functions;
}

}  // namespace

void ReplyReader::Free::operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }

ReplyReader::ReplyReader(Bounds bounds) : bounds_(bounds) { reset(); }

// An array takes memory for all its elements as soon as it is announced. Null makes the reader give up.
template <class Count>
void* ReplyReader::create_array(const redisReadTask* task, Count elements) {
  auto& self = *static_cast<ReplyReader*>(task->privdata);
  const auto count = static_cast<std::size_t>(elements);  // what is negative is too many
  if (count > self.bounds_.elements - self.elements_) return nullptr;
  self.elements_ += count;
  return default_functions().createArray(task, elements);
}

void ReplyReader::reset() {
  static redisReplyObjectFunctions functions = [] {
    redisReplyObjectFunctions ours = default_functions();
    ours.createArray = &ReplyReader::create_array;
    return ours;
  }();
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  ASSERT(reader_ != nullptr);
  reader_->privdata = this;
  elements_ = fed_ = 0;
  why_.clear();
}

void ReplyReader::feed(std::span<const std::byte> bytes) {
  fed_ += bytes.size();
  redisReaderFeed(reader_.get(), reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

ReplyReader::Step ReplyReader::fail(std::string why) {
  if (why_.empty()) why_ = std::move(why);
  return Step::broken;
}

ReplyReader::Step ReplyReader::next(Reply& reply) {
  if (!why_.empty()) return Step::broken;
  void* whole = nullptr;
  if (redisReaderGetReply(reader_.get(), &whole) != REDIS_OK) {
    const bool too_many = reader_->err == REDIS_ERR_OOM;
    return fail(too_many ? "a reply of more than " + std::to_string(bounds_.elements) + " elements"
                         : std::string(reader_->errstr));
  }
  if (!whole && fed_ > bounds_.bytes) return fail("a reply of more than " + std::to_string(bounds_.bytes) + " bytes");
  if (!whole) return Step::need_more;
  reply = Reply(static_cast<redisReply*>(whole));
  elements_ = 0;
  fed_ = reader_->len - reader_->pos;
  return Step::reply;
}

}  // namespace ringline::backend
