// Texts of settings: numbers, switches, lists, addresses. No settings in here, so that each rule is tested by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringline::base {

std::optional<std::uint64_t> text_to_number(std::string_view text) noexcept;  // decimal digits only
std::optional<bool> text_to_switch(std::string_view text) noexcept;           // on/off, true/false, yes/no, 1/0
std::string duration_to_text(std::chrono::milliseconds duration);             // as parse_duration takes it
std::string size_to_text(std::uint64_t size);                                 // as parse_size takes it

std::string_view strip(std::string_view text) noexcept;        // without blanks at both ends
std::vector<std::string> split_list(std::string_view text);    // at commas and newlines, without empty parts
std::string join_list(const std::vector<std::string>& parts);  // with commas
std::string upper_name(std::string_view name);                 // data-dir -> DATA_DIR
std::string flag_name(std::string_view name);                  // DATA_DIR -> data-dir, RINGLINE_ENV -> env

bool is_cidr(std::string_view text);               // 10.0.0.0/8, ::1
bool is_origin(std::string_view text);             // https://*.example.org:8443, http://localhost, *
bool is_http_url(std::string_view text) noexcept;  // http(s)://HOST[:PORT][/PATH]

// Steps to turn one word into the other: insert, delete, replace.
std::size_t edit_distance(std::string_view from, std::string_view to);

}  // namespace ringline::base
