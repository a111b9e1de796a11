#include "client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "crowd.hpp"

namespace ringline::bench {
namespace {

constexpr std::size_t kAwaitedMax = 4096;  // answers; a server so far behind is not waited for one by one
constexpr std::size_t kShownBytes = 300;   // of what a server said, in an error

}  // namespace

void Client::open(loop::Fd socket, const loop::Address& address, std::string resume) {
  ASSERT(state_ == State::idle || state_ == State::closed);
  resume_ = token_.empty() ? std::string() : std::move(resume);
  awaited_.clear();
  state_ = State::connecting;
  next_id_ = kFirstSendId;
  wire_.open(socket, address, crowd_.dialect().upgrade(index_ / crowd_.options_.room_size));
}

void Client::on_open() {
  state_ = State::signing_in;
  if (!crowd_.dialect().greets()) sign_in();
}

void Client::say(std::string_view payload) {
  wire_.say(crowd_.dialect().binary() ? Opcode::binary : Opcode::text, payload);
}

void Client::say_message(std::string_view payload, std::uint32_t id, std::int64_t intended_ns) {
  if (id != 0 && awaited_.size() < kAwaitedMax) awaited_.push_back({id, intended_ns});
  say(payload);
}

void Client::on_text(std::string_view payload, std::int64_t now_ns) {
  const Said said = crowd_.dialect().read(payload);
  switch (said.kind) {
    case Kind::event:
      if (state_ < State::joined && took_before_joining(payload)) return;
      return crowd_.on_event(*this, payload, now_ns);
    case Kind::answer:
      return on_answer(said.id, said.ok, payload, now_ns);
    case Kind::greeting:
      return sign_in();
    case Kind::connected:
      return on_answer(kConnectId, true, payload, now_ns);
    case Kind::ping:
      return say(crowd_.dialect().pong());
    case Kind::refused:
    case Kind::unknown:
      break;
  }
  wire_.fail(fmt::format("the server said: {}", payload.substr(0, kShownBytes)));
}

void Client::sign_in() {
  if (state_ != State::signing_in) return;
  if (!crowd_.dialect().signs_in()) return join();
  std::string payload;
  crowd_.dialect().connect(payload, index_, token_, resume_);
  say(payload);
}

void Client::join() {
  state_ = State::joining;
  std::string payload;
  crowd_.dialect().join(payload, index_ / crowd_.options_.room_size);
  if (!payload.empty()) say(payload);
  if (crowd_.dialect().joins()) return;
  state_ = State::joined;
  crowd_.on_joined(*this, {.kind = Kind::answer, .id = kJoinId, .ok = true, .body = {}});
}

// The token to come back with, and the end of what was missed. `ready` shows each room's last message, which is not a delivery.
bool Client::took_before_joining(std::string_view payload) {
  if (Dialect::is_ready(payload)) {
    if (crowd_.options_.returning() && token_.empty()) token_ = Dialect::token_in(payload);
    return true;
  }
  const auto complete = Dialect::resumed_in(payload);
  if (state_ != State::resuming || !complete) return false;
  resume_.clear();
  state_ = State::joined;
  crowd_.on_resumed(*complete);
  return true;
}

void Client::on_answer(std::uint32_t id, bool ok, std::string_view payload, std::int64_t now_ns) {
  if (id < kFirstSendId) {
    if (!ok)
      return wire_.fail(
          fmt::format("{} was answered: {}", id == kConnectId ? "connect" : "join", payload.substr(0, kShownBytes)));
    if (id == kConnectId && state_ == State::signing_in) {
      if (resume_.empty()) return join();
      state_ = State::resuming;
      return;
    }
    if (id == kJoinId && state_ == State::joining) {
      state_ = State::joined;
      return crowd_.on_joined(*this, crowd_.dialect().read(payload));
    }
    return wire_.fail(fmt::format("an answer that was not asked for: {}", payload.substr(0, kShownBytes)));
  }
  const auto found = std::ranges::find(awaited_, id, &Awaited::id);
  if (found == awaited_.end()) return;
  const std::int64_t intended_ns = found->intended_ns;
  awaited_.erase(found);
  crowd_.on_send_answer(*this, ok, payload, intended_ns, now_ns);
}

// The end.

void Client::on_lost(std::string why) {
  const char* when = state_ == State::joined ? "joined" : "being set up";
  crowd_.on_failed(*this, fmt::format("connection {} ({}): {}", index_, when, why));
  state_ = State::closing;
}

void Client::close() {
  if (state_ == State::idle || state_ >= State::closing) return;
  state_ = State::closing;
  wire_.close();
}

void Client::on_closed() {
  state_ = State::closed;
  crowd_.on_closed(*this);
}

}  // namespace ringline::bench
