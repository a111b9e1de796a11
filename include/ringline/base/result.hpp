// Errors as values. Errc is the wire contract's stable list of codes; what went wrong below it (errno, a library's text)
// travels beside it for the log and never reaches a client.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace ringline::base {

enum class Errc : std::uint8_t {
  invalid,          // 400, `fields` says which
  unauthenticated,  // 401, `reason` says why
  forbidden,        // 403
  not_found,        // 404, also for what one may not see
  conflict,         // 409
  too_large,        // 413
  rate_limited,     // 429, with retry_after_ms
  unavailable,      // 503, with retry_after_ms; for a send: outcome unknown, send again with the same clientId
  internal,         // 500
};

// The code's name on the wire, e.g. "rate_limited".
std::string_view name_of(Errc code) noexcept;
// Its HTTP status, e.g. 429.
int http_status(Errc code) noexcept;

// An expected failure. `message` is for people, in English, and safe to show; no strings are built for it on the hot path
// unless the failure is the caller's (then the caller pays).
struct Error {
  Errc code = Errc::internal;
  std::string message;
  std::string field;                 // code invalid: the field's name
  std::string_view reason = {};      // code unauthenticated: a literal such as "token_expired"
  std::uint32_t retry_after_ms = 0;  // codes rate_limited and unavailable
  int sys = 0;                       // errno where there is one, for the log
};

template <class T = void>
using Result = std::expected<T, Error>;

// Shorthands: `return fail(Errc::not_found, "no such room");`
inline std::unexpected<Error> fail(Errc code, std::string message) {
  return std::unexpected(Error{.code = code, .message = std::move(message), .field = {}});
}
inline std::unexpected<Error> fail_field(std::string field, std::string message) {
  return std::unexpected(Error{.code = Errc::invalid, .message = std::move(message), .field = std::move(field)});
}
inline std::unexpected<Error> fail_auth(std::string_view reason, std::string message) {
  return std::unexpected(
      Error{.code = Errc::unauthenticated, .message = std::move(message), .field = {}, .reason = reason});
}
inline std::unexpected<Error> fail_later(Errc code, std::uint32_t retry_after_ms, std::string message) {
  return std::unexpected(
      Error{.code = code, .message = std::move(message), .field = {}, .retry_after_ms = retry_after_ms});
}
inline std::unexpected<Error> fail_sys(int sys, std::string message) {
  return std::unexpected(Error{.code = Errc::internal, .message = std::move(message), .field = {}, .sys = sys});
}

}  // namespace ringline::base
