// Responses, appended to a buffer.
#include <array>
#include <chrono>

#include <fmt/format.h>

#include "ringline/base/assert.hpp"
#include "ringline/protocol/http.hpp"

namespace ringline::protocol {

namespace {

struct Reason {
  int status;
  std::string_view phrase;
};
constexpr auto kReasons = std::to_array<Reason>({
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
});

bool has_line_break(std::string_view text) noexcept { return text.find_first_of("\r\n") != std::string_view::npos; }

void append_field(std::string& out, std::string_view name, std::string_view value) {
  ASSERT(!has_line_break(name) &&
         !has_line_break(value));  // a value made from a client's text would split the response
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::string_view reason_phrase(int status) noexcept {
  for (const Reason& reason : kReasons)
    if (reason.status == status) return reason.phrase;
  return "Unknown";
}

void append_response(std::string& out, const ResponseHead& head, std::string_view body) {
  ASSERT(head.status >= 200 && head.status <= 599);
  bool bodiless = head.status == 204 || head.status == 304;
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", head.status, reason_phrase(head.status));
  if (!head.date.empty()) append_field(out, "Date", head.date);
  if (!head.content_type.empty() && !bodiless) append_field(out, "Content-Type", head.content_type);
  if (!bodiless)
    fmt::format_to(std::back_inserter(out), "Content-Length: {}\r\n", head.content_length.value_or(body.size()));
  for (const auto& [name, value] : head.headers) append_field(out, name, value);
  append_field(out, "Connection", head.keep_alive ? "keep-alive" : "close");
  out.append("\r\n");
  if (!bodiless && !head.head_only) out.append(body);
}

void append_http_date(std::string& out, std::int64_t wall_ms) {
  static constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  using namespace std::chrono;
  sys_seconds at = floor<seconds>(sys_time<milliseconds>(milliseconds(wall_ms)));
  sys_days day = floor<days>(at);
  year_month_day date(day);
  hh_mm_ss time(at - day);
  fmt::format_to(std::back_inserter(out), "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[weekday(day).c_encoding()],
                 static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
                 static_cast<int>(date.year()), time.hours().count(), time.minutes().count(), time.seconds().count());
}

}  // namespace ringline::protocol
