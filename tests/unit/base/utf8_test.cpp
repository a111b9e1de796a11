// UTF-8: every wrong form, and what may stand in texts and names.
#include "ringline/base/utf8.hpp"

#include <gtest/gtest.h>

namespace ringline::base {
namespace {

TEST(Utf8, takes_every_right_form) {
  for (const char* text : {"", "plain ascii that is longer than eight", "é", "€", "😀",
                           "\u07ff\u0800\ud7ff\ue000\uffff", "\U0010ffff", "12345678é"})
    EXPECT_TRUE(valid_utf8(text)) << text;
  EXPECT_TRUE(valid_utf8(std::string_view("a\0b", 3)));
}

TEST(Utf8, refuses_every_wrong_form) {
  for (const char* text : {"\x80",
                           "\xbf",
                           "\xc0\x80",
                           "\xc1\xbf",
                           "\xc3",
                           "\xc3(",
                           "\xe0\x80\x80",
                           "\xe0\x9f\xbf",
                           "\xed\xa0\x80",
                           "\xed\xbf\xbf",
                           "\xe2\x82",
                           "\xe2(\x80",
                           "\xf0\x80\x80\x80",
                           "\xf0\x8f\xbf\xbf",
                           "\xf0\x9f\x98",
                           "\xf4\x90\x80\x80",
                           "\xf5\x80\x80\x80",
                           "\xff",
                           "\xfe",
                           "12345678\xff",
                           "1234567\xc3"})
    EXPECT_FALSE(valid_utf8(text)) << text;
}

TEST(Utf8, every_cut_of_a_code_point_is_wrong) {
  const std::string text = "aé€😀";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const bool whole = size == 0 || size == 1 || size == 3 || size == 6 || size == 10;
    EXPECT_EQ(valid_utf8(text.substr(0, size)), whole) << size;
  }
}

TEST(Utf8, counts_code_points) {
  EXPECT_EQ(count_points(""), 0U);
  EXPECT_EQ(count_points("aé€😀"), 4U);
  EXPECT_EQ(count_points("e\u0301"), 2U);
}

TEST(Utf8, texts_lose_control_characters_but_tab_and_newline) {
  EXPECT_EQ(sanitize_text(std::string_view("a\0b\x01\x1f\x7f\r\n\tc", 11)), "ab\n\tc");
  EXPECT_EQ(sanitize_text("a\u0080\u009f\u00a0b"), "a\u00a0b");
  EXPECT_EQ(sanitize_text("<script>alert('ü')</script>"), "<script>alert('ü')</script>");
  EXPECT_EQ(sanitize_text("\u202eabc"), "\u202eabc");
}

TEST(Utf8, trims_every_kind_of_space) {
  EXPECT_EQ(trim(" \t\n a b \u00a0\u2003\u3000"), "a b");
  EXPECT_EQ(trim(" \u2028\u205f "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("é"), "é");
}

TEST(Utf8, names_are_one_line_in_one_direction) {
  for (const char* name : {"Anna", "Ærø 😀", "שלום", "a\u00a0b", ""}) EXPECT_TRUE(is_clean_name(name)) << name;
  for (const char* name : {"a\nb", "a\tb", "a\rb", "a\u0085b", "a\u2028b", "a\u2029b", "a\u202eb", "a\u202ab",
                           "a\u2066b", "a\u2069b", "a\x7f", "\x01"})
    EXPECT_FALSE(is_clean_name(name)) << name;
}

TEST(Utf8, names_fold_regardless_of_case) {
  EXPECT_EQ(fold_case("ANNA"), fold_case("anna"));
  EXPECT_EQ(fold_case("ÆRØ"), fold_case("ærø"));
  EXPECT_EQ(fold_case("ΣΊΣΥΦΟΣ"), fold_case("σίσυφος"));
  EXPECT_EQ(fold_case("МИР Ё"), fold_case("мир ё"));
  EXPECT_EQ(fold_case("ŁÓDŹ"), fold_case("łódź"));
  EXPECT_EQ(fold_case("Ա"), fold_case("ա"));
  EXPECT_EQ(fold_case("\u212a"), "k");  // the Kelvin sign
  EXPECT_EQ(fold_case("Ａ"), "ａ");
  EXPECT_EQ(fold_case("𐐀"), "𐐨");
  EXPECT_EQ(fold_case("日本 [@`{ ß÷×"), "日本 [@`{ ß÷×");
  EXPECT_NE(fold_case("e"), fold_case("é"));
}

TEST(Utf8, folding_twice_changes_nothing) {
  std::string all;
  for (const char* text : {"ÀÞŸĀŽǅΑΩϴЀЯԱႠẞἈᾼΩℲⅯⰀꙀꟅＡ"}) all += text;
  EXPECT_EQ(fold_case(fold_case(all)), fold_case(all));
}

TEST(Words, are_runs_of_letters_and_digits_case_folded) {
  EXPECT_EQ(words_of(""), "");
  EXPECT_EQ(words_of(" .,!?\n\t-_@#"), "");
  EXPECT_EQ(words_of("Don't STOP, e2e_test@example.org!"), "don t stop e2e test example org");
  EXPECT_EQ(words_of("ÄPFEL „Straße“ ΣΊΣΥΦΟΣ\u00a0Ёлка…"), "äpfel straße σίσυφοσ ёлка");
  EXPECT_EQ(words_of("a\u200bb\u2014c\u3000d\uff0ce"), "a b c d e");
}

TEST(Words, ideographs_kana_and_emoji_are_one_each) {
  EXPECT_EQ(words_of("水を飲むx2。ok😀😀"), "水 を 飲 む x2 ok 😀 😀");
  EXPECT_EQ(words_of("한국어 텍스트"), "한국어 텍스트");
}

TEST(Words, a_long_one_is_cut) {
  const std::string long_word(200, 'A');
  EXPECT_EQ(words_of(long_word + " b"), std::string(64, 'a') + " b");
}

}  // namespace
}  // namespace ringline::base
