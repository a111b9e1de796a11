// FirstAnswers: how a user's POST with an Idempotency-Key was answered first, so that the same one again is answered alike and runs nothing.
// One a core, of the users whose home it is.
//
// Kept for 24 h in memory: a restart forgets them, and only a sent message is remembered past it (by its clientId). Earlier than that, the oldest are
// pushed out: a user's by his own newer ones, so that he cannot reach those of others with few; and those of anybody where a core has too many.
// What is pushed out runs again when it is repeated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ringline/base/ids.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

struct FirstAnswer {
  int status = 0;
  std::string body;
  std::string location;
};

class FirstAnswers {
 public:
  static constexpr std::int64_t kKeptMs = 24 * 3600 * 1000;
  static constexpr std::size_t kKeyBytes = 255;  // of an Idempotency-Key
  static constexpr std::size_t kPerUser = 1000;
  static constexpr std::size_t kBytesPerUser = 1024 * 1024;  // an answer above is not kept
  static constexpr std::size_t kMax = 200'000;
  static constexpr std::size_t kBytesMax = 128 * 1024 * 1024;
  static constexpr std::size_t kWaitingMax = 16;  // for one that runs

  enum class Verdict : std::uint8_t {
    run,         // it is the first: exactly one `keep` or `drop` must follow
    kept,        // it was answered with `answer`
    other_body,  // the name was used for something else
    busy,        // too many wait for the one that runs
  };
  struct Claim {
    Verdict verdict = Verdict::run;
    FirstAnswer answer = {};
  };
  using Told = std::move_only_function<void(Claim)>;

  // `name`: path and key. `body`: a hash of what is asked for. While the same one runs, `told` waits for its end.
  void claim(UserId user, const std::string& name, std::uint64_t body, std::int64_t now_ms, Told told);
  void keep(UserId user, const std::string& name, FirstAnswer answer, std::int64_t now_ms);
  // It came to nothing that should be kept: who waited first runs it, the others wait on.
  void drop(UserId user, const std::string& name);

  std::size_t count() const noexcept { return kept_.size(); }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Entry {
    UserId user;
    std::string name;
    std::uint64_t body = 0;
    std::int64_t kept_ms = 0;
    bool running = true;
    FirstAnswer answer;
    std::deque<Told> waiting;
    std::list<Entry*>::iterator place;  // in kept_, once it does not run

    std::size_t bytes() const noexcept;
  };
  struct User {
    std::unordered_map<std::string, Entry> entries;
    std::deque<Entry*> kept;  // oldest first, as in kept_
    std::size_t bytes = 0;
  };
  Entry& running(UserId user, const std::string& name);
  void erase(const Entry& entry);
  void forget_oldest_of(User& user);
  void make_room(UserId user);

  std::unordered_map<UserId, User> users_;
  std::list<Entry*> kept_;  // oldest first
  std::size_t bytes_ = 0;
};

// From any core: the same at the user's home.
base::Task<FirstAnswers::Claim> claim_answer(Shard::Parts& here, UserId user, std::string name, std::uint64_t body);
void keep_answer(Shard::Parts& here, UserId user, std::string name, std::optional<FirstAnswer> answer);  // none: drop

}  // namespace ringline::chat
