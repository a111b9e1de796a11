// RapidJSON's reader with both of its arenas (values, stacks) kept between parses: a text of usual size allocates nothing.
#include "ringline/base/json.hpp"

#include <rapidjson/error/error.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "ringline/base/clock.hpp"

namespace ringline::base::json {
namespace {

using Arena = rapidjson::MemoryPoolAllocator<>;
using Document = rapidjson::GenericDocument<rapidjson::UTF8<>, Arena, Arena>;

constexpr std::size_t kValueArenaBytes = 64 * 1024;
constexpr std::size_t kStackArenaBytes = 32 * 1024;
constexpr std::size_t kStackBytes = 4 * 1024;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::size_t kTextBytesKept = 64 * 1024;
constexpr std::size_t kEscapeBytes = 6;                  // backslash, u, four digits
constexpr double kExactIntegerMax = 9007199254740992.0;  // 2^53

enum class Half : std::uint8_t { none, first, second };

// Which half of a surrogate pair the escape at `at` stands for.
Half half_at(std::string_view text, std::size_t at) noexcept {
  if (at + 3 >= text.size() || text[at + 1] != 'u' || (text[at + 2] | 0x20) != 'd') return Half::none;
  const char digit = static_cast<char>(text[at + 3] | 0x20);
  if (digit == '8' || digit == '9' || digit == 'a' || digit == 'b') return Half::first;
  return digit >= 'c' && digit <= 'f' ? Half::second : Half::none;
}

// What RapidJSON 1.1.0 does not say of a text.
struct Scan {
  ParseError error = ParseError::none;
  bool has_exponent = false;  // of a number, perhaps
};

constexpr std::uint64_t kEachByte = 0x0101010101010101;
constexpr std::uint64_t kTopBits = 0x80 * kEachByte;

// Whether one of eight bytes is a quote, a backslash or a control character. (A borrow can only come from a byte that is one.)
bool has_escape(std::uint64_t bytes) noexcept {
  const std::uint64_t quote = bytes ^ ('"' * kEachByte);
  const std::uint64_t backslash = bytes ^ ('\\' * kEachByte);
  const std::uint64_t found =
      ((bytes - 0x20 * kEachByte) & ~bytes) | ((quote - kEachByte) & ~quote) | ((backslash - kEachByte) & ~backslash);
  return (found & kTopBits) != 0;
}

// How many bytes of `text` from `at` on can be passed over in a string: whole words without a quote, a backslash or a control character.
std::size_t plain_words(std::string_view text, std::size_t at) noexcept {
  std::size_t end = at;
  for (std::uint64_t word; end + sizeof(word) <= text.size(); end += sizeof(word)) {
    std::memcpy(&word, text.data() + end, sizeof(word));
    if (has_escape(word)) break;
  }
  return end - at;
}

bool is_ascii(std::string_view text) noexcept {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

// Before the parser sees the text: brackets outside of strings no deeper than kDepthMax; no NUL, which the parser takes for the end; and no second half
// of a surrogate pair without the first, of which the parser makes bytes that are no UTF-8.
Scan scan(std::string_view text) noexcept {
  Scan found;
  if (!text.empty() && static_cast<unsigned char>(text.front()) >= 0x80) return {.error = ParseError::encoding};
  int depth = 0;
  bool in_string = false;
  std::size_t pair_at = std::string_view::npos;  // where a second half may stand
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\0') return {.error = ParseError::syntax};
    if (in_string) {
      if (c == '\\') {
        const Half half = half_at(text, i);
        if (half == Half::second && i != pair_at) return {.error = ParseError::encoding};
        if (half == Half::first) pair_at = i + kEscapeBytes;
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
      i += plain_words(text, i + 1);
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthMax) return {.error = ParseError::depth};
    } else if (c == '}' || c == ']') {
      --depth;
    } else if ((c == 'e' || c == 'E') && i > 0 && text[i - 1] >= '0' && text[i - 1] <= '9') {
      found.has_exponent = true;
    }
  }
  return found;
}

bool is_encoding(rapidjson::ParseErrorCode code) noexcept {
  return code == rapidjson::kParseErrorStringInvalidEncoding ||
         code == rapidjson::kParseErrorStringUnicodeSurrogateInvalid;
}

// RapidJSON 1.1.0 refuses 1e309, but reads 9e308 as infinity, which no writer can put into JSON again.
bool is_finite(const Value& value) noexcept {
  if (value.IsArray())
    return std::all_of(value.Begin(), value.End(), [](const Value& item) { return is_finite(item); });
  if (value.IsObject())
    return std::all_of(value.MemberBegin(), value.MemberEnd(),
                       [](const auto& member) { return is_finite(member.value); });
  return !value.IsDouble() || std::isfinite(value.GetDouble());
}

}  // namespace

struct Reader::Impl {
  alignas(std::max_align_t) std::array<char, kValueArenaBytes> value_bytes;
  alignas(std::max_align_t) std::array<char, kStackArenaBytes> stack_bytes;
  Arena values{value_bytes.data(), value_bytes.size()};
  Arena stacks{stack_bytes.data(), stack_bytes.size()};
  Document document{&values, kStackBytes, &stacks};
  std::string text;  // the values' strings lie in it
};

Reader::Reader() : impl_(std::make_unique<Impl>()) {}
Reader::~Reader() = default;

const Value* Reader::parse(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  impl_->document.SetNull();
  impl_->values.Clear();
  impl_->stacks.Clear();  // the document's own stack is empty between parses, so nothing points in here
  const Scan found = scan(text);
  error_ = found.error;
  if (error_ != ParseError::none) return nullptr;
  if (impl_->text.capacity() > kTextBytesKept && text.size() <= kTextBytesKept) impl_->text = {};
  impl_->text.assign(text);
  // Of ASCII nothing is to be validated, which would look at each byte once more.
  if (is_ascii(text)) {
    impl_->document.ParseInsitu(impl_->text.data());
  } else {
    impl_->document.ParseInsitu<rapidjson::kParseValidateEncodingFlag>(impl_->text.data());
  }
  if (!impl_->document.HasParseError()) {
    if (!found.has_exponent || is_finite(impl_->document)) return &impl_->document;
    error_ = ParseError::syntax;
    return nullptr;
  }
  error_ = is_encoding(impl_->document.GetParseError()) ? ParseError::encoding : ParseError::syntax;
  return nullptr;
}

const Value* find(const Value& object, std::string_view name) noexcept {
  if (!object.IsObject()) return nullptr;
  for (const auto& member : object.GetObject())
    if (view(member.name) == name) return member.value.IsNull() ? nullptr : &member.value;
  return nullptr;
}

std::optional<std::string_view> find_string(const Value& object, std::string_view name) noexcept {
  const Value* value = find(object, name);
  if (!value || !value->IsString()) return std::nullopt;
  return view(*value);
}

std::optional<std::int64_t> find_integer(const Value& object, std::string_view name) noexcept {
  const Value* value = find(object, name);
  if (!value) return std::nullopt;
  if (value->IsInt64()) return value->GetInt64();
  if (!value->IsDouble()) return std::nullopt;
  const double number = value->GetDouble();  // JSON knows no integers: 5.0 and 5e2 are some
  if (std::abs(number) > kExactIntegerMax || std::trunc(number) != number) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::optional<bool> find_bool(const Value& object, std::string_view name) noexcept {
  const Value* value = find(object, name);
  if (!value || !value->IsBool()) return std::nullopt;
  return value->GetBool();
}

namespace {

constexpr std::size_t kIdDigitsMax = 20;
bool has_escape(std::string_view text) noexcept {
  std::uint64_t bytes = 0;
  if (text.size() < sizeof bytes)
    return std::ranges::any_of(text,
                               [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' '; });
  for (std::size_t at = 0; at + sizeof bytes < text.size(); at += sizeof bytes) {
    std::memcpy(&bytes, text.data() + at, sizeof bytes);
    if (has_escape(bytes)) return true;
  }
  std::memcpy(&bytes, text.data() + text.size() - sizeof bytes, sizeof bytes);
  return has_escape(bytes);
}

}  // namespace

void CopyingWriter::copy_string(std::string_view text) {
  if (has_escape(text)) {
    String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
    return;
  }
  Prefix(rapidjson::kStringType);
  char* at = os_->Push(text.size() + 2);
  *at = '"';
  text.copy(at + 1, text.size());
  at[text.size() + 1] = '"';
}

void CopyingWriter::copy_raw(std::string_view json) {
  Prefix(rapidjson::kObjectType);
  json.copy(os_->Push(json.size()), json.size());
}

void CopyingWriter::write_id(std::uint64_t id) {
  Prefix(rapidjson::kStringType);
  char* at = os_->Push(kIdDigitsMax + 2);
  *at = '"';
  char* end = std::to_chars(at + 1, at + 1 + kIdDigitsMax, id).ptr;
  *end++ = '"';
  os_->Pop(static_cast<std::size_t>(at + kIdDigitsMax + 2 - end));
}

void CopyingWriter::write_time(std::int64_t wall_ms) {
  Prefix(rapidjson::kStringType);
  char* at = os_->Push(kRfc3339Bytes + 2);
  *at = '"';
  put_rfc3339(at + 1, wall_ms);
  at[kRfc3339Bytes + 1] = '"';
}

void write_error(Writer& out, const Error& error) {
  out.begin_object().key("code").string(name_of(error.code)).key("message").string(error.message);
  if (error.code == Errc::rate_limited || error.code == Errc::unavailable)
    out.key("retryAfterMs").unsigned_integer(error.retry_after_ms);
  if (!error.field.empty()) out.key("fields").begin_object().key(error.field).string(error.message).end_object();
  if (!error.reason.empty()) out.key("reason").string(error.reason);
  out.end_object();
}

}  // namespace ringline::base::json
