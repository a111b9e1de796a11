// See redis_connection.hpp.
#include "backend/redis_connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "backend/redis_topology.hpp"
#include "ringline/base/assert.hpp"
#include "ringline/base/random.hpp"

namespace ringline::backend {

using base::Errc;

namespace {

constexpr std::size_t kPlacesMin = 64;
constexpr std::size_t kHeldKeptBytes = 64 * 1024;

// What a worker finds. Shared by its waiter, who may have given up, and the worker.
struct LookUp {
  std::optional<Result<std::vector<loop::Address>>> found;
  Wakeup* waiting = nullptr;
};

}  // namespace

base::Error redis_away(std::string message) {
  constexpr std::uint32_t kRetryMs = 1000;
  return {.code = Errc::unavailable, .message = std::move(message), .field = {}, .retry_after_ms = kRetryMs};
}

std::int64_t redis_pause_ms(const RedisTimes& times, unsigned failures) {
  const unsigned doublings = std::min(failures - 1, 16U);
  const std::int64_t most_ms = std::min(times.backoff_min.count() << doublings, times.backoff_max.count());
  const auto spread = static_cast<std::uint64_t>(most_ms / 2 + 1);
  return most_ms - most_ms / 2 + static_cast<std::int64_t>(base::random_u64() % spread);
}

// ---- A call.

void RedisCall::abandon() noexcept {
  if (!connection_) return;
  connection_->leave(*this);
  command_ = {};
}

void RedisCall::on_deadline() {
  ASSERT(connection_ != nullptr);
  RedisCounters& counters = connection_->context_.counters;
  if (!direct_) {
    ++counters.timeouts;
    ++counters.failures;
  }
  connection_->leave(*this);
  finish(RedisFate::unknown, {});
}

// It may be gone, or under way again, when the handler returns.
void RedisCall::finish(RedisFate fate, Reply reply) {
  ASSERT(connection_ == nullptr);
  deadline_.disarm();
  command_ = {};
  handler_(*this, fate, std::move(reply));
}

// ---- The queue.

std::uint64_t RedisConnection::Queue::push(Place place) {
  if (count == ring.size()) {
    std::vector<Place> larger(std::max(kPlacesMin, ring.size() * 2));
    for (std::uint64_t number = first; number != end(); ++number) larger[number & (larger.size() - 1)] = at(number);
    ring.swap(larger);
  }
  const std::uint64_t number = end();
  ++count;
  bytes += place.bytes;
  at(number) = place;
  return number;
}

RedisConnection::Place RedisConnection::Queue::pop() noexcept {
  ASSERT(count > 0);
  const Place place = at(first);
  ++first;
  --count;
  bytes -= place.bytes;
  return place;
}

// ---- Commands.

bool RedisConnection::takes(std::size_t bytes) const noexcept {
  if (state_ != State::open && !hopeful_) return false;
  const RedisBounds& bounds = context_.options.bounds;
  return !pushes_ && count() < bounds.calls && waiting_.bytes + held_.bytes + bytes <= bounds.queue_bytes;
}

void RedisConnection::add(RedisCall* call, std::string_view command, bool now) {
  (now ? link_.output() : held_commands_).append(command);
  Queue& queue = now ? waiting_ : held_;
  const std::uint64_t place =
      queue.push({.call = call, .bytes = static_cast<std::uint32_t>(command.size()), .at_ms = context_.loop.now_ms()});
  if (!call) return;
  call->connection_ = this;
  call->sequence_ = place;
  call->held_ = !now;
}

bool RedisConnection::enqueue(RedisCall& call, std::string_view command) {
  ASSERT(!call.waiting());
  if (call.direct_ ? !usable() : !takes(command.size())) return false;
  add(&call, command, goes_now(call));
  return true;
}

bool RedisConnection::enqueue_asking(RedisCall& call, std::string_view command) {
  ASSERT(!call.waiting());
  if (!takes(command.size())) return false;
  static constexpr std::string_view kAsking = "*1\r\n$6\r\nASKING\r\n";
  add(nullptr, kAsking, goes_now(call));
  add(&call, command, goes_now(call));
  return true;
}

void RedisConnection::leave(RedisCall& call) noexcept {
  Place& place = (call.held_ ? held_ : waiting_).at(call.sequence_);
  ASSERT(place.call == &call);
  place.call = nullptr;
  call.connection_ = nullptr;
  call.deadline_.disarm();
}

// One of our own commands and its answer. Who waits goes on from the loop, not from within the callback.
class RedisConnection::Asking {
 public:
  Asking(RedisConnection& connection, std::string command, std::chrono::milliseconds timeout)
      : connection_(connection), command_(std::move(command)), timeout_(timeout) {
    call_.direct_ = true;
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    if (!connection_.enqueue(call_, command_)) return false;
    loop::Loop& loop = connection_.context_.loop;
    loop.timers().arm(call_.deadline_, loop.now_ms() + timeout_.count());
    return true;
  }
  Result<Reply> await_resume() {
    if (fate_ == RedisFate::answered) return std::move(reply_);
    const bool late = fate_ == RedisFate::unknown && connection_.usable();
    return std::unexpected(connection_.unavailable(late ? "did not answer in time" : connection_.why_));
  }

 private:
  void on_answer(RedisFate fate, Reply reply) {
    fate_ = fate;
    reply_ = std::move(reply);
    loop::Loop& loop = connection_.context_.loop;
    loop.send(loop.core(), loop::make_mail([this] { waiting_.resume(); }));
  }
  RedisConnection& connection_;
  std::string command_;
  std::chrono::milliseconds timeout_;
  std::coroutine_handle<> waiting_;
  RedisFate fate_ = RedisFate::never_sent;
  Reply reply_;
  RedisCallOf<Asking, &Asking::on_answer> call_{*this};
};

Task<Result<Reply>> RedisConnection::ask(std::vector<std::string> words, std::chrono::milliseconds timeout) {
  const std::vector<std::string_view> views(words.begin(), words.end());
  std::string command;
  append_command(command, views);
  Asking asking(*this, std::move(command), timeout);
  auto answer = co_await asking;
  co_return answer;
}

// ---- Opening.

base::Error RedisConnection::unavailable(std::string_view why) const {
  return redis_away(fmt::format("{}: {}", endpoint_.text(), why));
}

// A worker that takes long is not waited for: what it finds then is nobody's.
Task<Result<std::vector<loop::Address>>> RedisConnection::look_up(RedisEndpoint endpoint, std::int64_t deadline_ms) {
  if (is_address(endpoint.host)) co_return loop::resolve_all_tcp(endpoint.host, endpoint.port);
  auto shared = std::make_shared<LookUp>();
  shared->waiting = &changed_;
  const bool taken = context_.workers.submit([shared, endpoint, &loop = context_.loop] {
    auto found = loop::resolve_all_tcp(endpoint.host, endpoint.port);
    loop.post(loop::make_mail([shared, found = std::move(found)]() mutable {
      shared->found = std::move(found);
      if (shared->waiting) shared->waiting->tell();
    }));
  });
  bool in_time = taken;
  while (in_time && !shared->found && state_ == State::opening) in_time = co_await changed_.until(deadline_ms);
  shared->waiting = nullptr;
  if (shared->found) co_return std::move(*shared->found);
  co_return std::unexpected(unavailable(state_ != State::opening ? std::string_view(why_)
                                        : taken                  ? "its name could not be looked up in time"
                                                                 : "too many names are being looked up"));
}

Task<Result<void>> RedisConnection::connect(loop::Address address, std::int64_t deadline_ms) {
  std::unique_ptr<TlsStream> tls;
  if (context_.tls) tls = std::make_unique<TlsStream>(context_.tls, endpoint_.host);
  auto begun = link_.open(address, std::move(tls));
  if (!begun) co_return begun;
  while (!link_.is_open() && !link_.is_closed()) {
    const bool in_time = co_await changed_.until(deadline_ms);
    if (in_time) continue;
    link_.close("no connection in time");
    deadline_ms = kNoDeadline;
  }
  if (link_.is_open()) co_return Result<void>();
  co_return std::unexpected(unavailable(state_ == State::opening ? link_.why() : why_));
}

Task<Result<void>> RedisConnection::open(RedisEndpoint endpoint, RedisUser user) {
  ASSERT(state_ == State::closed && link_.is_closed() && waiting_.count == 0);
  endpoint_ = endpoint;
  if (context_.stopping) co_return std::unexpected(unavailable("the client stops"));
  state_ = State::opening;
  pushes_ = false;
  why_.clear();
  reader_.reset();
  const std::int64_t deadline_ms = context_.loop.now_ms() + context_.options.times.connect.count();
  auto addresses = co_await look_up(std::move(endpoint), deadline_ms);
  Result<void> connected;
  if (!addresses) connected = std::unexpected(unavailable(addresses.error().message));
  for (std::size_t i = 0; addresses && i < addresses->size() && !link_.is_open() && state_ == State::opening; ++i)
    connected = co_await connect((*addresses)[i], deadline_ms);
  if (connected && state_ == State::opening && link_.is_open()) {
    state_ = State::signed_in;
    heard_ms_ = context_.loop.now_ms();
    connected = co_await sign_in(std::move(user));
  }
  if (connected && !usable()) connected = std::unexpected(unavailable(why_));
  if (!connected) lose(connected.error().message);
  co_return connected;
}

base::Error RedisConnection::refused(std::string_view what, ReplyView error) const {
  base::Error refusal = redis_away(fmt::format("{} refuses {}: {}", endpoint_.text(), what, error.text()));
  if (!is_passing_refusal(error)) refusal.code = Errc::invalid;
  return refusal;
}

Task<Result<void>> RedisConnection::sign_in(RedisUser user) {
  const std::chrono::milliseconds timeout = context_.options.times.connect;
  if (!user.password.empty()) {
    std::vector<std::string> words{"AUTH", user.password};
    if (!user.name.empty()) words.insert(words.begin() + 1, user.name);
    auto answer = co_await ask(std::move(words), timeout);
    if (!answer) co_return std::unexpected(answer.error());
    if (answer->is_error()) co_return std::unexpected(refused("the user or the password", *answer));
  }
  if (user.database != 0) {
    auto answer = co_await ask({"SELECT", std::to_string(user.database)}, timeout);
    if (!answer) co_return std::unexpected(answer.error());
    if (answer->is_error()) co_return std::unexpected(refused(fmt::format("database {}", user.database), *answer));
  }
  // The name is for people who look at CLIENT LIST; a user who may not set it goes without.
  auto named = co_await ask({"CLIENT", "SETNAME", context_.options.client_name}, timeout);
  if (!named) co_return std::unexpected(named.error());
  co_return Result<void>();
}

void RedisConnection::begin() {
  ASSERT(state_ == State::signed_in && waiting_.count == 0);
  state_ = State::open;
  std::swap(waiting_, held_);
  flushed_to_ = waiting_.first;
  if (!held_commands_.empty()) link_.output().append(held_commands_);
  held_commands_.clear();
  if (held_commands_.capacity() > kHeldKeptBytes) held_commands_.shrink_to_fit();
  for (std::uint64_t number = waiting_.first; number != waiting_.end(); ++number) {
    Place& place = waiting_.at(number);
    place.at_ms = context_.loop.now_ms();
    if (place.call) place.call->held_ = false;
  }
  context_.loop.timers().arm(tick_, context_.loop.now_ms() + context_.options.times.ping.count());
}

void RedisConnection::begin_pushes() {
  ASSERT(held_.count == 0);
  begin();
  pushes_ = true;
}

// ---- Answers.

void RedisConnection::on_link_bytes(std::span<const std::byte> bytes) {
  heard_ms_ = context_.loop.now_ms();
  if (!usable()) return;
  reader_.feed(bytes);
  while (usable()) {
    Reply reply;
    const ReplyReader::Step step = reader_.next(reply);
    if (step == ReplyReader::Step::need_more) return;
    if (step == ReplyReader::Step::broken) return lose(fmt::format("what it sent cannot be read: {}", reader_.why()));
    take(std::move(reply));
  }
}

void RedisConnection::take(Reply reply) {
  if (pushes_) return owner_->on_push(std::move(reply));
  if (waiting_.count == 0) return lose("it answered what nobody had asked");
  RedisCall* call = waiting_.pop().call;
  if (!call) return;
  call->connection_ = nullptr;
  if (call->direct_ || !owner_) return call->finish(RedisFate::answered, std::move(reply));
  owner_->on_answer(*call, std::move(reply));
}

void RedisConnection::finish(RedisCall& call, RedisFate fate, Reply reply) {
  if (fate != RedisFate::answered) ++context_.counters.failures;
  call.finish(fate, std::move(reply));
}

// Where nothing is asked a PING is, and who owes an answer for too long is gone. (It may take long over a large one, and is heard meanwhile.)
void RedisConnection::on_tick() {
  const std::int64_t now_ms = context_.loop.now_ms();
  const std::int64_t ping_ms = context_.options.times.ping.count(), silence_ms = context_.options.times.silence.count();
  // Our own thread stood still: nobody has listened.
  if (now_ms - tick_.due_ms() >= ping_ms) heard_ms_ = now_ms;
  const std::int64_t owed_ms = waiting_.count > 0 ? std::max(waiting_.at(waiting_.first).at_ms, heard_ms_) : now_ms;
  if (now_ms - (pushes_ ? heard_ms_ : owed_ms) >= silence_ms) return lose("it does not answer any more");
  static constexpr std::string_view kPing = "*1\r\n$4\r\nPING\r\n";
  if (pushes_) {
    link_.output().append(kPing);  // answered by a push
  } else if (waiting_.count == 0) {
    add(nullptr, kPing, true);
  }
  context_.loop.timers().arm(tick_, now_ms + ping_ms);
}

// ---- The end.

// Handlers may make new calls, which are held or refused, but never come into this queue.
void RedisConnection::fail_all(Queue& queue, std::uint64_t sent_to) {
  while (queue.count > 0) {
    const bool sent = queue.first < sent_to;
    RedisCall* call = queue.pop().call;
    if (!call) continue;
    call->connection_ = nullptr;
    if (!call->direct_) ++context_.counters.failures;
    call->finish(sent ? RedisFate::unknown : RedisFate::never_sent, {});
  }
}

void RedisConnection::lose(std::string_view why) {
  if (state_ == State::closed || state_ == State::lost) return;
  state_ = State::lost;
  why_ = why;
  tick_.disarm();
  link_.close(why);
  changed_.tell();
  fail_all(waiting_, flushed_to_);
}

void RedisConnection::on_link_closed() {
  // While it is being opened one address after the other is tried.
  if (state_ == State::opening) return changed_.tell();
  lose(std::string(link_.why()));
  changed_.tell();
}

Task<void> RedisConnection::until_lost() {
  while (state_ == State::open) co_await changed_.until(kNoDeadline);
}

Task<void> RedisConnection::close() {
  lose("closed");
  while (!link_.is_closed()) co_await changed_.until(kNoDeadline);
  state_ = State::closed;
}

void RedisConnection::set_hopeful(bool hopeful) {
  hopeful_ = hopeful;
  if (hopeful || state_ == State::open) return;
  held_commands_.clear();
  fail_all(held_, 0);
}

}  // namespace ringline::backend
