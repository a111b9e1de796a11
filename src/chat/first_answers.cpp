// See first_answers.hpp.
//
// Whoever is told may come back with another claim before the call returns, so telling is the last thing that each function does.
#include "ringline/chat/first_answers.hpp"

#include <utility>

#include "chat/parts.hpp"

namespace ringline::chat {

std::size_t FirstAnswers::Entry::bytes() const noexcept {
  // The name stands twice: here and as the map's key.
  return sizeof(Entry) + 2 * name.size() + answer.body.size() + answer.location.size();
}

void FirstAnswers::claim(UserId user, const std::string& name, std::uint64_t body, std::int64_t now_ms, Told told) {
  while (!kept_.empty() && now_ms - kept_.front()->kept_ms >= kKeptMs) forget_oldest_of(users_[kept_.front()->user]);
  auto [found, first] = users_[user].entries.try_emplace(name);
  Entry& entry = found->second;
  if (first) {
    entry.user = user;
    entry.name = name;
    entry.body = body;
    return told({.verdict = Verdict::run});
  }
  if (entry.body != body) return told({.verdict = Verdict::other_body});
  if (!entry.running) return told({.verdict = Verdict::kept, .answer = entry.answer});
  if (entry.waiting.size() >= kWaitingMax) return told({.verdict = Verdict::busy});
  entry.waiting.push_back(std::move(told));
}

FirstAnswers::Entry& FirstAnswers::running(UserId user, const std::string& name) {
  auto of_user = users_.find(user);
  ASSERT(of_user != users_.end());
  auto found = of_user->second.entries.find(name);
  ASSERT(found != of_user->second.entries.end() && found->second.running);
  return found->second;
}

void FirstAnswers::keep(UserId user, const std::string& name, FirstAnswer answer, std::int64_t now_ms) {
  Entry& entry = running(user, name);
  std::deque<Told> waiting = std::exchange(entry.waiting, {});
  entry.running = false;
  entry.kept_ms = now_ms;
  entry.answer = answer;
  if (entry.bytes() > kBytesPerUser) {
    erase(entry);
  } else {
    User& of_user = users_[user];
    of_user.kept.push_back(&entry);
    of_user.bytes += entry.bytes();
    bytes_ += entry.bytes();
    entry.place = kept_.insert(kept_.end(), &entry);
    make_room(user);
  }
  for (Told& told : waiting) told({.verdict = Verdict::kept, .answer = answer});
}

void FirstAnswers::drop(UserId user, const std::string& name) {
  Entry& entry = running(user, name);
  if (entry.waiting.empty()) return erase(entry);
  Told next = std::move(entry.waiting.front());
  entry.waiting.pop_front();
  next({.verdict = Verdict::run});
}

void FirstAnswers::make_room(UserId user) {
  User& of_user = users_[user];
  while (of_user.kept.size() > kPerUser || of_user.bytes > kBytesPerUser) forget_oldest_of(of_user);
  while (kept_.size() > kMax || bytes_ > kBytesMax) forget_oldest_of(users_[kept_.front()->user]);
}

// The oldest of all is the oldest of its user too.
void FirstAnswers::forget_oldest_of(User& user) {
  ASSERT(!user.kept.empty());
  Entry& entry = *user.kept.front();
  user.kept.pop_front();
  kept_.erase(entry.place);
  user.bytes -= entry.bytes();
  bytes_ -= entry.bytes();
  erase(entry);
}

void FirstAnswers::erase(const Entry& entry) {
  auto of_user = users_.find(entry.user);
  of_user->second.entries.erase(std::string(entry.name));  // a copy: the name goes with the entry
  if (of_user->second.entries.empty()) users_.erase(of_user);
}

Task<FirstAnswers::Claim> claim_answer(Parts& here, UserId user, std::string name, std::uint64_t body) {
  using Claim = FirstAnswers::Claim;
  auto asking = ask<Claim>(
      here, here.home(user), [user, name = std::move(name), body](Parts& there, Answer<Claim> answer) mutable {
        there.first_answers.claim(user, name, body, there.now_ms(),
                                  [&there, answer](Claim claim) { answer(there, std::move(claim)); });
      });
  Claim claim = co_await asking;
  co_return claim;
}

void keep_answer(Parts& here, UserId user, std::string name, std::optional<FirstAnswer> answer) {
  here.on(here.home(user), [user, name = std::move(name), answer = std::move(answer)](Parts& there) mutable {
    if (answer) return there.first_answers.keep(user, name, std::move(*answer), there.now_ms());
    there.first_answers.drop(user, name);
  });
}

}  // namespace ringline::chat
