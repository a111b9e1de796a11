// JSON: what is taken, what is refused and why, what is written.
#include "ringline/base/json.hpp"

#include <gtest/gtest.h>

#include <string>

namespace ringline::base::json {
namespace {

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

template <class T>
concept ComparesWith = requires(const Value& value, T other) { value == other; };
template <class T>
concept DiffersFrom = requires(const Value& value, T other) { value != other; };
static_assert(!ComparesWith<int> && !ComparesWith<bool> && !ComparesWith<double> && !ComparesWith<std::uint64_t>);
static_assert(!DiffersFrom<int> && !DiffersFrom<bool> && !DiffersFrom<double>);

TEST(JsonReader, reads_members) {
  Reader reader;
  const Value* value =
      reader.parse(R"({"s":"grüß","i":-5,"b":true,"n":null,"d":1.5,"w":2e2,"big":9223372036854775808})");
  ASSERT_NE(value, nullptr);
  EXPECT_EQ(find_string(*value, "s"), "grüß");
  EXPECT_EQ(find_integer(*value, "i"), -5);
  EXPECT_EQ(find_integer(*value, "w"), 200);
  EXPECT_EQ(find_bool(*value, "b"), true);
  EXPECT_EQ(find(*value, "n"), nullptr);
  EXPECT_EQ(find(*value, "missing"), nullptr);
  EXPECT_FALSE(find_integer(*value, "d"));
  EXPECT_FALSE(find_integer(*value, "big"));
  EXPECT_FALSE(find_integer(*value, "s"));
  EXPECT_FALSE(find_string(*value, "i"));
  EXPECT_FALSE(find_bool(*value, "i"));
}

TEST(JsonReader, what_is_no_object_has_no_members) {
  Reader reader;
  for (const char* text : {"1", "[]", "null", "\"x\"", "true"}) {
    const Value* value = reader.parse(text);
    ASSERT_NE(value, nullptr) << text;
    EXPECT_EQ(find(*value, "x"), nullptr);
  }
}

TEST(JsonReader, names_with_a_nul_are_told_apart) {
  Reader reader;
  const Value* value = reader.parse(R"({"a\u0000b":1})");
  ASSERT_NE(value, nullptr);
  EXPECT_EQ(find(*value, "a"), nullptr);
  EXPECT_NE(find(*value, std::string_view("a\0b", 3)), nullptr);
}

TEST(JsonReader, refuses_what_is_no_json) {
  Reader reader;
  for (const char* text : {"",    " ",   "{",   "}",       "{\"a\"}", "[1,]", "{\"a\":1,}", "nul",   "'a'",     "01",
                           "1 2", "{}x", "\"a", "\"\\x\"", "\"\t\"",  "NaN",  "Infinity",   "1e999", "// c\n1", "]["}) {
    EXPECT_EQ(reader.parse(text), nullptr) << text;
    EXPECT_EQ(reader.error(), ParseError::syntax) << text;
  }
  EXPECT_EQ(reader.parse(std::string_view("1\0002", 3)), nullptr);
  EXPECT_EQ(reader.error(), ParseError::syntax);
}

// RapidJSON reads some of these as infinity, which cannot be written as JSON again: a command that goes to another core is.
TEST(JsonReader, refuses_numbers_that_are_too_large) {
  Reader reader;
  for (const char* text : {"9e308", "-9e308", "[1,{\"a\":9e308}]", "90.0e307", "1.8E+308", "0.0000009e315"}) {
    EXPECT_EQ(reader.parse(text), nullptr) << text;
    EXPECT_EQ(reader.error(), ParseError::syntax) << text;
  }
  for (const char* text : {"1.7e308", "-1.7E308", "1e-400", "\"9e308\"", "[1e3,true,false]"})
    EXPECT_NE(reader.parse(text), nullptr) << text;
}

TEST(JsonReader, every_cut_is_refused) {
  const std::string text = R"({"id":7,"cmd":"send_message","data":{"text":"a\"\u00e9ü","list":[1,2.5,true,null]}})";
  Reader reader;
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_EQ(reader.parse(text.substr(0, size)), nullptr) << size;
  EXPECT_NE(reader.parse(text), nullptr);
}

TEST(JsonReader, takes_no_more_depth_than_said) {
  Reader reader;
  EXPECT_NE(reader.parse(nested(kDepthMax)), nullptr);
  EXPECT_EQ(reader.parse(nested(kDepthMax + 1)), nullptr);
  EXPECT_EQ(reader.error(), ParseError::depth);
  EXPECT_EQ(reader.parse(std::string(200'000, '[')), nullptr);
  EXPECT_EQ(reader.error(), ParseError::depth);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(reader.parse(objects), nullptr);
  EXPECT_EQ(reader.error(), ParseError::depth);
}

TEST(JsonReader, brackets_in_strings_have_no_depth) {
  Reader reader;
  const std::string text = "\"" + std::string(100, '[') + "\\\"" + std::string(100, '{') + "\\\\\"";
  EXPECT_NE(reader.parse(text), nullptr);
  EXPECT_EQ(reader.parse("\"\\\\\"" + std::string(100, '[')), nullptr);
  EXPECT_EQ(reader.error(), ParseError::depth);
}

TEST(JsonReader, takes_a_byte_order_mark_whole_or_not_at_all) {
  Reader reader;
  for (const char* text : {"\xef"
                           "20",
                           "\xbb"
                           "20",
                           "\xbf"
                           "20",
                           "\xef\xbb"
                           "20",
                           "\xbb\xbf"
                           "20"}) {
    EXPECT_EQ(reader.parse(text), nullptr);
    EXPECT_EQ(reader.error(), ParseError::encoding);
  }
  EXPECT_NE(reader.parse("\xef\xbb\xbf"
                         "20"),
            nullptr);
}

// RapidJSON takes a second half alone, and makes bytes of it that are no UTF-8: they would reach every member of a room.
TEST(JsonReader, refuses_half_a_surrogate_pair) {
  Reader reader;
  for (const char* text :
       {R"("\udc4b")", R"("\uD83D")", R"("\ud83dx\udc4b")", R"("\ud83d\\udc4b\udc4b")", R"("\uDC4B\uD83D")",
        R"("\ud83d\udc4b\udc4b")", R"("\ud83d\ud83d\udc4b")", R"({"\udfff":1})"}) {
    EXPECT_EQ(reader.parse(text), nullptr) << text;
    EXPECT_EQ(reader.error(), ParseError::encoding) << text;
  }
  for (const char* text : {R"("\ud83d\udc4b\uD83D\uDC4B")", R"("\\udc4b")", R"("\ud7ff\ue000")"})
    EXPECT_NE(reader.parse(text), nullptr) << text;
}

TEST(JsonReader, refuses_what_is_no_utf8) {
  Reader reader;
  for (const char* bytes : {"\xff", "\xc0\xaf", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"}) {
    EXPECT_EQ(reader.parse(std::string("{\"a\":\"") + bytes + "\"}"), nullptr);
    EXPECT_EQ(reader.error(), ParseError::encoding);
  }
  EXPECT_EQ(reader.parse(R"("\ud800")"), nullptr);  // half of a pair
  EXPECT_EQ(reader.error(), ParseError::encoding);
  EXPECT_NE(reader.parse(R"("\ud83d\ude00")"), nullptr);
}

// The scan before the parser takes eight bytes of a string at once.
TEST(JsonReader, finds_what_is_special_wherever_it_stands) {
  Reader reader;
  const auto text_of = [&](const std::string& string) -> std::optional<std::string> {
    const Value* value = reader.parse("[\"" + string + "\"]");
    return value ? std::optional(std::string(view((*value)[0]))) : std::nullopt;
  };
  for (std::size_t before = 0; before < 40; ++before) {
    for (std::size_t after : {std::size_t{0}, std::size_t{1}, std::size_t{9}, std::size_t{33}}) {
      const std::string head(before, 'a'), tail(after, 'z');
      EXPECT_EQ(text_of(head + tail), head + tail);
      EXPECT_EQ(text_of(head + "\\\"" + tail), head + "\"" + tail);
      EXPECT_EQ(text_of(head + "\\ud83d\\ude00" + tail), head + "\xf0\x9f\x98\x80" + tail);
      EXPECT_EQ(text_of(head + "\xc3\xa9" + tail), head + "\xc3\xa9" + tail);
      EXPECT_EQ(text_of(head + "\xc3" + tail), std::nullopt);
      for (char control = 1; control < ' '; ++control)
        EXPECT_EQ(text_of(head + control + tail), std::nullopt) << "control character " << int{control};
      EXPECT_EQ(text_of(head + std::string(1, '\0') + tail), std::nullopt);
      EXPECT_EQ(text_of(head + "\\ude00" + tail), std::nullopt) << "half a pair";
      EXPECT_EQ(text_of(head + "\"" + tail + "x"), std::nullopt) << "behind the string";
    }
  }
}

TEST(JsonReader, goes_on_after_errors_and_large_texts) {
  Reader reader;
  for (int round = 0; round < 50; ++round) {
    std::string large = "[";
    for (int i = 0; i < 5000; ++i) large += "\"some text of a length that is copied\",";
    large += "1]";
    const Value* value = reader.parse(large);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(value->Size(), 5001U);
    EXPECT_EQ(reader.parse(large.substr(0, large.size() / 2)), nullptr);
    value = reader.parse("{\"a\":1}");
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(reader.error(), ParseError::none);
    EXPECT_EQ(find_integer(*value, "a"), 1);
  }
}

TEST(JsonWriter, writes_what_the_contract_says) {
  Writer out;
  out.begin_object()
      .key("id")
      .id(UserId{42})
      .key("none")
      .id(UserId{})
      .key("at")
      .time(0)
      .key("then")
      .time(1'769'903'999'123);
  out.key("text").string("<script>\"\\\n\x01ü").key("list").begin_array().integer(-1).unsigned_integer(1).number(0.5);
  out.boolean(false).null().raw("{\"x\":1}").end_array().end_object();
  EXPECT_EQ(out.view(),
            R"({"id":"42","none":null,"at":null,"then":"2026-01-31T23:59:59.123Z","text":"<script>\"\\\n\u0001ü",)"
            R"("list":[-1,1,0.5,false,null,{"x":1}]})");
  out.clear();
  EXPECT_EQ(out.view(), "");
}

// As RapidJSON does it, which has no short way for what is clean.
TEST(JsonWriter, escapes_what_has_to_be_wherever_it_stands) {
  for (std::size_t size = 0; size <= 18; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(size, 'x');
        text[at] = static_cast<char>(byte);
        rapidjson::StringBuffer wanted;
        rapidjson::Writer<rapidjson::StringBuffer>(wanted).String(text);
        Writer out;
        out.string(text);
        ASSERT_EQ(out.view(), std::string_view(wanted.GetString(), wanted.GetSize()))
            << "byte " << byte << " at " << at;
      }
    }
  }
  Writer out;
  out.begin_array().string("").string({}).raw("[]").end_array();
  EXPECT_EQ(out.view(), R"(["","",[]])");
}

TEST(JsonWriter, writes_ids_of_any_size) {
  Writer out;
  out.begin_array().id(UserId{1}).id(UserId{INT64_MAX}).id(UserId{UINT64_MAX}).end_array();
  EXPECT_EQ(out.view(), R"(["1","9223372036854775807","18446744073709551615"])");
}

TEST(JsonWriter, copies_a_value) {
  Reader reader;
  Writer out;
  const std::string text = R"({"a":[1,"b",null,{"c":true}]})";
  out.value(*reader.parse(text));
  EXPECT_EQ(out.view(), text);
}

std::string body_of(const Result<>& failed) {
  Writer out;
  write_error(out, failed.error());
  return std::string(out.view());
}

TEST(JsonWriter, writes_errors) {
  EXPECT_EQ(body_of(fail(Errc::not_found, "no such room")), R"({"code":"not_found","message":"no such room"})");
  EXPECT_EQ(body_of(fail_field("text", "too long")),
            R"({"code":"invalid","message":"too long","fields":{"text":"too long"}})");
  EXPECT_EQ(body_of(fail_auth("token_expired", "expired")),
            R"({"code":"unauthenticated","message":"expired","reason":"token_expired"})");
  EXPECT_EQ(body_of(fail_later(Errc::rate_limited, 1500, "slow down")),
            R"({"code":"rate_limited","message":"slow down","retryAfterMs":1500})");
}

}  // namespace
}  // namespace ringline::base::json
