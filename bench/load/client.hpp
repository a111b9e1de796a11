// Client: one connection of the load tool: connect, upgrade, sign in, join, then send and receive. One that was closed can be opened again: it then signs
// in with the token it was given, and resumes from where it was if it is asked to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire.hpp"

namespace ringline::bench {

class Crowd;

class Client final : public WireOwner {
 public:
  enum class State : std::uint8_t {
    idle,
    connecting,  // TCP and HTTP
    signing_in,  // waits for the answer to connect
    joining,     // waits for the answer to join
    resuming,    // instead: takes what it missed, until `resumed`
    joined,
    closing,  // ops are still in the kernel
    closed,
  };

  Client(Crowd& crowd, Wires& wires, std::uint32_t index) noexcept
      : crowd_(crowd), index_(index), wire_(wires, *this) {}

  std::uint32_t index() const noexcept { return index_; }
  State state() const noexcept { return state_; }

  // `resume`: JSON of where it was, or empty to join.
  void open(loop::Fd socket, const loop::Address& address, std::string resume);
  // Room events are taken: it is in the room, or on its way back into it.
  bool listens() const noexcept { return state_ == State::joined || state_ == State::resuming || !resume_.empty(); }
  // Says a message and remembers when it should have been sent, until its answer comes; `id` 0: no answer is awaited.
  void say_message(std::string_view payload, std::uint32_t id, std::int64_t intended_ns);
  std::uint32_t next_id() noexcept { return next_id_++; }
  void close();

 private:
  struct Awaited {
    std::uint32_t id;
    std::int64_t intended_ns;
  };

  void on_open() override;
  void on_text(std::string_view payload, std::int64_t now_ns) override;
  void on_lost(std::string why) override;
  void on_closed() override;
  void say(std::string_view payload);
  void on_answer(std::uint32_t id, bool ok, std::string_view payload, std::int64_t now_ns);
  void sign_in();
  void join();
  bool took_before_joining(std::string_view payload);

  Crowd& crowd_;
  std::uint32_t index_;
  std::uint32_t next_id_;
  State state_ = State::idle;
  std::string token_;   // of its user, where it is to come back
  std::string resume_;  // not empty until it is back
  std::vector<Awaited> awaited_;
  Wire wire_;
};

}  // namespace ringline::bench
