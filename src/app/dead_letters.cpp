// See dead_letters.hpp.
#include "app/dead_letters.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <functional>

#include "app/boot.hpp"
#include "ringline/base/clock.hpp"

namespace ringline::app {

namespace {

using Action = base::DeadLetterCommand::Action;
using backend::DeadLetter;

constexpr std::size_t kPage = 500;
constexpr std::size_t kShownBytes = 200;  // of a body

std::string what(const DeadLetter& letter) {
  const chat::Event& event = letter.event;
  const std::string_view kind = chat::name_of(event.kind);
  return fmt::format("room {} seq {} {} by {} at {}", event.room.value, event.seq, kind.empty() ? "(unknown)" : kind,
                     event.actor.value, base::rfc3339(event.at_ms));
}

// Calls `take` with each that is asked for, page by page: one that `take` removes is passed all the same.
base::Result<std::size_t> for_each(backend::Database& database, const base::DeadLetterCommand& command,
                                   const std::function<base::Result<void>(const DeadLetter&)>& take) {
  chat::Event after;
  if (command.room != 0) after = {.room = base::RoomId{command.room - 1}, .seq = INT64_MAX};
  std::size_t count = 0;
  for (;;) {
    auto page = database.dead_letters(after, kPage);
    if (!page) return std::unexpected(page.error());
    for (const DeadLetter& letter : *page) {
      after = letter.event;
      if (command.room != 0 && letter.event.room.value != command.room) return count;
      if (command.seq != 0 && letter.event.seq != command.seq) continue;
      if (auto taken = take(letter); !taken) return std::unexpected(taken.error());
      ++count;
    }
    if (page->size() < kPage) return count;
  }
}

base::Result<bool> list(backend::Database& database, const base::DeadLetterCommand& command) {
  auto count = for_each(database, command, [](const DeadLetter& letter) -> base::Result<void> {
    std::string_view body = letter.event.body.view();
    const bool whole = body.size() <= kShownBytes;
    fmt::print("{}\n  refused {}: {}\n  {}{}\n", what(letter), base::rfc3339(letter.refused_ms), letter.reason,
               body.substr(0, kShownBytes), whole ? "" : "…");
    return {};
  });
  if (!count) return std::unexpected(count.error());
  if (*count == 0) fmt::print("There are no dead letters.\n");
  return true;
}

base::Result<bool> retry(backend::Database& database, const base::DeadLetterCommand& command) {
  std::size_t refused = 0;
  auto count = for_each(database, command, [&](const DeadLetter& letter) -> base::Result<void> {
    auto reason = database.retry_dead_letter(letter.event);
    if (!reason) return std::unexpected(reason.error());
    if (!reason->empty()) ++refused;
    fmt::print("{}: {}\n", what(letter), reason->empty() ? "done" : "refused: " + *reason);
    return {};
  });
  if (!count) return std::unexpected(count.error());
  fmt::print("{} tried, {} done, {} still refused\n", *count, *count - refused, refused);
  return refused == 0;
}

base::Result<bool> drop(backend::Database& database, const base::DeadLetterCommand& command) {
  auto count =
      for_each(database, command, [&](const DeadLetter& letter) { return database.drop_dead_letter(letter.event); });
  if (!count) return std::unexpected(count.error());
  fmt::print("{} dropped\n", *count);
  return true;
}

// That is there: a server may hold it.
base::Result<std::unique_ptr<backend::Database>> open_database(const base::Settings& settings) {
  const std::string file = sqlite_file(settings);
  if (file.empty()) return backend::open_postgres(settings.database_url, {.connections = 1});
  if (!std::filesystem::exists(file)) return base::fail(base::Errc::not_found, "there is no database " + file);
  return backend::open_sqlite(file, {.readers = 1});
}

base::Result<bool> act(backend::Database& database, const base::DeadLetterCommand& command) {
  switch (command.action) {
    case Action::list:
      return list(database, command);
    case Action::retry:
      return retry(database, command);
    case Action::drop:
      return drop(database, command);
  }
  return false;
}

}  // namespace

int run_dead_letters(const base::Settings& settings) {
  auto database = open_database(settings);
  auto done = database ? act(**database, settings.dead_letters) : std::unexpected(database.error());
  if (!done) std::fprintf(stderr, "ringline: %s\n", done.error().message.c_str());
  return done && *done && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace ringline::app
