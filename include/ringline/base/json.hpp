// RapidJSON behind a small door: the flags that input from outside needs, a depth bound before parsing, an arena that is reused, and `value == 1`
// taken away (in C++20 it recurses for ever in RapidJSON 1.1.0). Not with RAPIDJSON_SSE2: 1.1.0 then takes 0x1a to 0x1f for text in strings that it reads
// or writes.
#pragma once

#define RAPIDJSON_HAS_STDSTRING 1
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "ringline/base/ids.hpp"
#include "ringline/base/result.hpp"

namespace rapidjson {
// Found before the members of the same form.
template <class T>
  requires std::is_arithmetic_v<T>
void operator==(const Value& value, T number) = delete;
template <class T>
  requires std::is_arithmetic_v<T>
void operator!=(const Value& value, T number) = delete;
}  // namespace rapidjson

namespace ringline::base::json {

using Value = rapidjson::Value;

inline constexpr int kDepthMax = 32;  // deeper input is `invalid`: readers and writers recurse

// Why a text was not taken.
enum class ParseError : std::uint8_t { none, syntax, depth, encoding };

// A parser with an arena of its own. The value lives until the next parse or the reader's end. One per core or per thread; not re-entrant.
class Reader {
 public:
  Reader();
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Null on error; `error()` then says which.
  const Value* parse(std::string_view text);
  ParseError error() const noexcept { return error_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  ParseError error_ = ParseError::none;
};

// Reads of an object's members. A member that is missing or null is "none".
const Value* find(const Value& object, std::string_view name) noexcept;
std::optional<std::string_view> find_string(const Value& object, std::string_view name) noexcept;
std::optional<std::int64_t> find_integer(const Value& object, std::string_view name) noexcept;
std::optional<bool> find_bool(const Value& object, std::string_view name) noexcept;
inline std::string_view view(const Value& string) noexcept { return {string.GetString(), string.GetStringLength()}; }

// RapidJSON's writer goes over strings and raw text byte by byte. What holds nothing to escape is copied as a whole here, and ids and times are written
// where they are to stand.
class CopyingWriter : public rapidjson::Writer<rapidjson::StringBuffer> {
 public:
  using rapidjson::Writer<rapidjson::StringBuffer>::Writer;
  void copy_string(std::string_view text);
  void copy_raw(std::string_view json);
  void write_id(std::uint64_t id);
  void write_time(std::int64_t wall_ms);
};

// Appends JSON to a buffer that is kept between uses. `raw` takes text that is JSON already.
class Writer {
 public:
  void clear() {
    buffer_.Clear();
    writer_.Reset(buffer_);
  }
  void forget() {  // what is written, and the memory for it
    clear();
    buffer_.ShrinkToFit();
  }
  std::string_view view() const noexcept { return {buffer_.GetString(), buffer_.GetSize()}; }

  Writer& begin_object() { return writer_.StartObject(), *this; }
  Writer& end_object() { return writer_.EndObject(), *this; }
  Writer& begin_array() { return writer_.StartArray(), *this; }
  Writer& end_array() { return writer_.EndArray(), *this; }
  Writer& key(std::string_view name) { return writer_.copy_string(name), *this; }
  Writer& string(std::string_view text) { return writer_.copy_string(text), *this; }
  Writer& integer(std::int64_t number) { return writer_.Int64(number), *this; }
  Writer& unsigned_integer(std::uint64_t number) { return writer_.Uint64(number), *this; }
  Writer& number(double value) { return writer_.Double(value), *this; }
  Writer& boolean(bool value) { return writer_.Bool(value), *this; }
  Writer& null() { return writer_.Null(), *this; }
  Writer& raw(std::string_view json) { return writer_.copy_raw(json), *this; }
  Writer& value(const Value& any) { return any.Accept(writer_), *this; }
  template <class Tag>
  Writer& id(Id<Tag> id) {
    return id ? (writer_.write_id(id.value), *this) : null();
  }
  Writer& time(std::int64_t wall_ms) {  // RFC 3339; null for 0
    return wall_ms == 0 ? null() : (writer_.write_time(wall_ms), *this);
  }

 private:
  rapidjson::StringBuffer buffer_;
  CopyingWriter writer_{buffer_};
};

// The body of a failed command: {"code":…,"message":…,"retryAfterMs"?,"fields"?,"reason"?}.
void write_error(Writer& out, const Error& error);

}  // namespace ringline::base::json
