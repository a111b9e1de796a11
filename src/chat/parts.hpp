// What the files of `chat` share: the parts of one shard, calls between shards, and the call of a command.
// Inside chat, `Parts&` is "this core".
#pragma once

#include <coroutine>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "chat/abroad.hpp"
#include "chat/delivery.hpp"
#include "chat/file_purge.hpp"
#include "chat/guest_purge.hpp"
#include "chat/ingest.hpp"
#include "chat/marks.hpp"
#include "chat/member_lists.hpp"
#include "chat/missed.hpp"
#include "chat/people.hpp"
#include "chat/recovery.hpp"
#include "chat/rooms.hpp"
#include "chat/sequencer.hpp"
#include "chat/stats.hpp"
#include "chat/streams.hpp"
#include "ringline/chat/first_answers.hpp"
#include "ringline/chat/seen_keys.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

using Parts = Shard::Parts;
using base::Errc;
using base::Error;
using base::Result;
using base::Task;
using base::json::Value;
using base::json::Writer;

// Rooms by a name that was asked for lately, as it was written. Only a hint: the room may have another name by now.
class RoomNames {
 public:
  static constexpr std::size_t kNamesMax = 1024;  // of a core; then all are forgotten

  RoomId find(const std::string& name) const noexcept {
    auto found = names_.find(name);
    return found == names_.end() ? RoomId{} : found->second;
  }
  void keep(const std::string& name, RoomId room) {
    if (names_.size() >= kNamesMax) names_.clear();
    names_[name] = room;
  }

 private:
  std::unordered_map<std::string, RoomId> names_;
};

struct Shard::Parts {
  Parts(Shard& shard, ShardOptions options);

  Shard& shard;
  ShardOptions o;
  base::IdMaker ids;
  base::json::Reader reader;   // of a call's data; what it parsed lives until the next call
  base::json::Reader scratch;  // of anything else, within one function
  Writer body;                 // of event bodies and replies; filled and used within one function
  base::ChunkPool chunks;
  RoomNames room_names;
  SeenKeys seen;
  FirstAnswers first_answers;
  Delivery delivery;
  Missed missed;
  Recovery recovery;
  MemberLists member_lists;
  Marks marks;
  Rooms rooms;
  Sequencer sequencer;
  Streams streams;
  Ingest ingest;
  People people;
  Abroad abroad;
  GuestPurge guest_purge;
  FilePurge file_purge;
  Stats stats;
  std::vector<ConnectionId> stats_watchers;
  using BySecond = std::map<std::int64_t, std::deque<ConnectionId>>;
  BySecond expiries;  // access tokens, by the second (wall clock) in which they end
  BySecond ending;    // likewise, those that were told

  unsigned home(RoomId room) const noexcept { return base::home_core(room, o.cores); }
  unsigned home(UserId user) const noexcept { return base::home_core(user, o.cores); }
  std::uint64_t next_id() noexcept { return ids.next(base_wall_ms()); }
  std::int64_t now_ms() const noexcept { return o.around.now_ms(); }
  static std::int64_t base_wall_ms() noexcept;

  // Runs f(Parts&) on a core: at once here, by mail elsewhere.
  template <class Function>
  void on(unsigned core, Function function) {
    if (core == o.core) return function(*this);
    o.around.post(core, [function = std::move(function)](Shard& there) mutable { function(there.parts()); });
  }
};

// ---- Asking another core: `auto rows = co_await ask<R>(here, core, [](Parts& there, Answer<R> answer) { answer(there, …); });`
// The callable runs on `core` and sees to it that `answer` is called there exactly once, then or later.

template <class R>
struct Asked {
  std::optional<R> value;
  std::coroutine_handle<> waiting;
  void complete(R result) {
    value.emplace(std::move(result));
    if (waiting) waiting.resume();
  }
};

template <class R>
class Answer {
 public:
  Answer(unsigned origin, Asked<R>& asked) noexcept : origin_(origin), asked_(&asked) {}
  void operator()(Parts& here, R value) const {
    here.on(origin_, [asked = asked_, value = std::move(value)](Parts&) mutable { asked->complete(std::move(value)); });
  }

 private:
  unsigned origin_;
  Asked<R>* asked_;  // in the waiting frame, which cannot go before it is answered
};

template <class R, class Function>
class Ask {
 public:
  Ask(Parts& here, unsigned core, Function function) : here_(here), core_(core), function_(std::move(function)) {}
  Ask(const Ask&) = delete;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiting) {
    here_.on(core_, [function = std::move(function_), answer = Answer<R>(here_.o.core, asked_)](Parts& there) mutable {
      function(there, answer);
    });
    if (asked_.value) return false;  // answered at once
    asked_.waiting = waiting;
    return true;
  }
  R await_resume() { return std::move(*asked_.value); }

 private:
  Parts& here_;
  unsigned core_;
  Function function_;
  Asked<R> asked_;
};

template <class R, class Function>
Ask<R, Function> ask(Parts& here, unsigned core, Function function) {
  return Ask<R, Function>(here, core, std::move(function));
}

}  // namespace ringline::chat

#include "chat/sequencer_inline.hpp"  // IWYU pragma: keep
