// Roamer: one of several people who chat through whatever host they find. Where a connection is lost he goes to another host, says where he was in each
// room, and sends again under the same clientId what has no answer. What he is told goes to the witness.
//
// Invariant: what is in his outbox is awaited on this connection, or waits for its time in `again_`, or for him to be there.
#pragma once

#include <deque>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "heard.hpp"
#include "options.hpp"
#include "wire.hpp"
#include "witness.hpp"

namespace ringline::bench {

inline constexpr std::size_t kOutboxMax = 4096;  // sends of one person without an answer; further ones are skipped

class Roamers;

class Roamer final : public WireOwner {
 public:
  Roamer(Roamers& all, std::uint32_t number, std::uint32_t host);

  bool there() const noexcept { return state_ == State::there; }
  bool closed() const noexcept { return state_ == State::away; }
  // False: too much is without an answer.
  bool send(std::uint32_t room, std::int64_t intended_ns);
  void leave();
  // What is due: he comes back, gives up a host that does not answer, sends again.
  void tick(std::int64_t now_ns);

 private:
  enum class State : std::uint8_t {
    away,
    arriving,  // until he is signed in and, the first time, in all rooms
    there,
    going,  // until the kernel has let go of the connection
  };

  void on_open() override;
  void on_text(std::string_view payload, std::int64_t now_ns) override;
  void on_lost(std::string why) override;
  void on_closed() override;
  void set_out(std::int64_t now_ns);
  void say(std::string_view payload) { wire_.say(Opcode::text, payload); }
  void on_signed_in();
  void join_next();
  void on_answer(const Heard& heard, std::int64_t now_ns);
  void on_send_answer(std::uint32_t counter, const Heard& heard, std::int64_t now_ns);
  void on_resumed(const Heard& heard);
  void ask(std::uint32_t counter);
  std::string claim() const;

  Roamers& all_;
  std::uint32_t number_;
  std::uint32_t host_;
  State state_ = State::away;
  bool connected_ = false;  // `connect` was answered
  bool ready_ = false;      // `ready` has come
  bool met_ = false;        // he was there on this connection: the next attempt need not wait
  std::uint32_t joined_ = 0;
  std::int64_t due_ns_ = 0;  // away: when he sets out; arriving: until when
  std::string token_;
  std::map<std::uint32_t, bool> outbox_;                       // counter -> an answer is awaited on this connection
  std::vector<std::pair<std::int64_t, std::uint32_t>> again_;  // when, counter
  Wire wire_;
};

class Roamers {
 public:
  Roamers(const Options& options, loop::Loop& loop, std::vector<loop::Address> addresses, std::uint32_t run);

  void tick(std::int64_t now_ns);
  // The next of them sends to a room by chance. False: it was skipped.
  bool send(std::int64_t intended_ns);
  void move_one();
  bool all_there() const noexcept;
  // Everybody has seen something of each room: from there on nothing may be missing.
  bool all_placed() const;
  std::string unrest() const;
  void close_all();
  bool all_closed() const noexcept;

  Witness& witness() noexcept { return witness_; }
  const Witness& witness() const noexcept { return witness_; }
  const Wires& wires() const noexcept { return wires_; }
  const std::vector<std::uint64_t>& rooms() const noexcept { return rooms_; }
  std::uint64_t arrivals() const noexcept { return arrivals_; }
  const std::string& last_trouble() const noexcept { return last_trouble_; }  // of who could not come

 private:
  friend class Roamer;
  std::uint32_t chance(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  std::uint32_t another_host(std::uint32_t than);
  std::optional<std::uint32_t> room_of(std::uint64_t id) const;
  void on_event(std::uint32_t person, const Heard& heard, std::string_view payload, std::int64_t now_ns);

  const Options& options_;
  std::vector<loop::Address> addresses_;
  std::uint32_t run_;
  std::mt19937_64 random_;
  Wires wires_;
  Witness witness_;
  Ear ear_;
  std::vector<std::uint64_t> rooms_;  // ids; 0: not known yet
  std::unordered_map<std::uint64_t, std::uint32_t> numbers_;
  std::deque<Roamer> people_;
  std::uint64_t round_ = 0;
  std::uint64_t arrivals_ = 0;
  bool closing_ = false;
  std::string text_;     // scratch
  std::string payload_;  // scratch
  std::string last_trouble_;
};

}  // namespace ringline::bench
