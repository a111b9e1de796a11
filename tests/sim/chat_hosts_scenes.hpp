// Single scenes of chat_hosts_test.cpp: what is drawn there is played here in a given order, with one person at one host or two. `Round` is that file's.
// Each scene gives what was wrong; empty: nothing.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "ringline/base/limits.hpp"
#include "ringline/chat/event.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat::test {

template <class Round>
class Scenes {
 public:
  explicit Scenes(Round& round) : r_(round), ann_(*round.people_[0]) {}

  // More is pending than a core had room for once. What is sent when the bus is back stands behind all of it, and is answered in time; they go many in one
  // call, in the order in which they were made.
  std::string long_outage() {
    constexpr unsigned kCount = 9600;
    fall_behind(kCount);
    const unsigned appends = r_.server_.appends;
    r_.server_.start(100);
    r_.await([&] { return bus(0).is_there() && bus(1).is_there(); }, "it is not back");
    r_.send_new(ann_);
    const std::int64_t sent_ns = r_.world_.now_ns();
    answered();
    const std::int64_t took_ms = (r_.world_.now_ns() - sent_ns) / 1'000'000;
    if (took_ms > base::limits::kBusTimeout.count() + 2 * Shard::kTickMs)
      r_.fail("the answer took " + std::to_string(took_ms) + " ms");
    rest_in_order(kCount + 1);
    const unsigned calls = r_.server_.appends - appends;
    if (calls > kCount / 8) r_.fail(std::to_string(calls) + " calls for them");
    return r_.wrong_;
  }

  // The host ends before they are taken: when it starts again it does not ask the store for each.
  std::string start_after_outage() {
    constexpr unsigned kCount = 1600;
    fall_behind(kCount);
    r_.kill(0);
    r_.server_.start(100);
    const unsigned before = r_.db_.calls;
    r_.start(0);
    r_.await([&] { return !r_.slots_[0].recovery; }, "it does not recover");
    const unsigned calls = r_.db_.calls - before;
    if (calls > 100 + kCount / 100) r_.fail(std::to_string(calls) + " calls of the store");
    rest_in_order(kCount);
    return r_.wrong_;
  }

  // What the bus has of one room is away, as a server of several.
  std::string one_room_away() {
    come_in();
    for (int tries = 0; tries < 100 && ann_.points.size() < 2; ++tries) {
      r_.join(ann_);
      r_.await([&] { return ann_.requests.empty(); }, "there is no answer");
    }
    r_.server_.away = ann_.points.begin()->first;
    for (int messages = 0; messages < 20; ++messages) r_.send_new(ann_);
    answered();
    unsigned pending = 0;
    for (const auto& [key, place] : r_.acked_) {
      pending += place.seq == 0;
      if ((place.seq == 0) != (place.room == r_.server_.away))
        r_.fail(key + " is answered with seq " + std::to_string(place.seq));
    }
    if (pending == 0 || pending == r_.acked_.size()) r_.fail("all were sent to one room");
    r_.server_.away = {};
    if (r_.wrong_.empty()) r_.come_to_rest();
    if (r_.wrong_.empty()) r_.check();
    return r_.wrong_;
  }

  // Subscriptions alone are lost, and made again.
  std::string session_ends_unheard() {
    come_in();
    r_.rest(2000);  // what follows from her coming
    for (unsigned core = 0; core < cores(); ++core) bus(core).go_deaf();
    r_.db_.sessions.erase(ann_.session->session);
    r_.rest(1000);
    if (ann_.gone) r_.fail("it is known at once");
    for (unsigned core = 0; core < cores(); ++core) bus(core).subscribe_again();
    r_.await([&] { return ann_.gone; }, "she stays");
    return r_.wrong_;
  }

  // Somebody is at two hosts, and one of them ends.
  std::string alone_again() {
    constexpr std::int64_t kSaidAgainMs = 100'000;  // Abroad::kSayAgainMs
    r_.settings_.rate_limit_messages = 100;
    r_.start(1);
    come_in();
    const unsigned other = 1 - ann_.host;
    auto& again = *r_.people_[1];
    again.token = ann_.token;
    while (again.host != other) {
      r_.drop(again);
      r_.connect(again);
    }
    r_.await([&] { return again.ready; }, "she is not let in twice");
    r_.rest(1000);
    if (!is_counted()) r_.fail("what she sends is not counted for both");
    r_.kill(other);
    r_.server_.online[ann_.id].erase(other);  // as limits::kPresenceAge after it
    r_.rest(kSaidAgainMs + 1000);
    if (is_counted()) r_.fail("what she sends is counted for both for ever");
    return r_.wrong_;
  }

 private:
  unsigned cores() { return r_.slots_[0].host->cores(); }
  auto& bus(unsigned core) { return r_.slots_[0].host->bus(core); }
  void answered() {
    r_.await([&] { return ann_.outbox.empty(); }, "a message is refused, or not answered");
  }

  void come_in() {
    r_.start(0);
    while (!ann_.session) r_.connect(ann_);
    r_.await([&] { return ann_.ready; }, "she is not let in");
    r_.join(ann_);
    r_.await([&] { return !ann_.points.empty(); }, "she cannot join");
  }

  // While the bus is away a room gets `count` messages.
  void fall_behind(unsigned count) {
    constexpr unsigned kAtOnce = 16;
    r_.roomy_ = true;
    come_in();
    r_.server_.stop();
    for (unsigned sent = 0; sent < count && r_.wrong_.empty(); sent += kAtOnce) {
      for (unsigned i = 0; i < kAtOnce; ++i) r_.send_new(ann_);
      answered();
    }
  }

  bool is_counted() {
    const unsigned before = r_.server_.counts;
    r_.send_new(ann_);
    answered();
    return r_.server_.counts > before;
  }

  // Of one person, who sent none twice: all of them, in the order of their ids.
  void rest_in_order(std::size_t count) {
    if (r_.wrong_.empty()) r_.come_to_rest();
    if (r_.wrong_.empty()) r_.check();
    std::size_t messages = 0;
    for (const auto& [id, row] : r_.db_.rooms) {
      base::EventId before;
      for (const Event& event : row.log) {
        if (event.kind != EventKind::message_created) continue;
        ++messages;
        if (event.id < before) r_.fail("message " + event.id.text() + " stands behind " + before.text());
        before = event.id;
      }
    }
    if (r_.wrong_.empty() && messages != count) r_.fail(std::to_string(messages) + " messages");
  }

  Round& r_;
  std::remove_reference_t<decltype(*std::declval<Round&>().people_[0])>& ann_;
};

}  // namespace ringline::chat::test
