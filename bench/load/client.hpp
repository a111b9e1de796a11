// Client: one connection of the load tool: connect, upgrade, sign in, join, then send and receive. One that was closed can be opened again: it then signs
// in with the token it was given, and resumes from where it was if it is asked to.
//
// Bytes are taken from the ring's buffer where they lie; only a frame that is cut by its end is copied. One send is in flight; what is said
// meanwhile is put together and goes out in one send after it. Lifetimes as in loop/ring.hpp: the socket is closed when no op is in the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "frames.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::bench {

class Crowd;

class Client {
 public:
  enum class State : std::uint8_t {
    idle,
    connecting,  // TCP
    upgrading,   // the HTTP request is sent
    signing_in,  // waits for the answer to connect
    joining,     // waits for the answer to join
    resuming,    // instead: takes what it missed, until `resumed`
    joined,
    closing,  // shut down; ops are still in the kernel
    closed,
  };

  Client(Crowd& crowd, std::uint32_t index) noexcept : crowd_(crowd), index_(index) {}

  std::uint32_t index() const noexcept { return index_; }
  State state() const noexcept { return state_; }

  // `resume`: JSON of where it was, or empty to join.
  void open(loop::Fd socket, const loop::Address& address, std::string resume);
  // Room events are taken: it is in the room, or on its way back into it.
  bool listens() const noexcept { return state_ == State::joined || state_ == State::resuming || !resume_.empty(); }
  // Puts a text frame in line; it leaves with the next `flush`.
  void say(std::string_view payload);
  // Says a message and remembers when it should have been sent, until its answer comes; `id` 0: no answer is awaited.
  void say_message(std::string_view payload, std::uint32_t id, std::int64_t intended_ns);
  std::uint32_t next_id() noexcept { return next_id_++; }
  void flush();
  void close();

 private:
  struct Awaited {
    std::uint32_t id;
    std::int64_t intended_ns;
  };

  void on_connect(loop::Completion completion);
  void on_receive(loop::Completion completion);
  void on_send(loop::Completion completion);
  void queue(Opcode opcode, std::string_view payload);
  void take(std::string_view bytes);
  std::string_view take_response(std::string_view bytes);
  void take_frames(std::string_view bytes);
  void on_frame(const Frame& frame, std::int64_t now_ns);
  void on_text(std::string_view payload, std::int64_t now_ns);
  void on_answer(std::uint32_t id, bool ok, std::string_view payload, std::int64_t now_ns);
  void sign_in();
  void join();
  bool took_before_joining(std::string_view payload);
  void fail(std::string why);
  void finish_closing();

  Crowd& crowd_;
  std::uint32_t index_;
  std::uint32_t next_id_;
  State state_ = State::idle;
  bool dirty_ = false;  // in the crowd's list of those to flush
  loop::Fd socket_;
  std::size_t sent_ = 0;  // of `flying_`
  std::string waiting_;   // said, not given to the kernel
  std::string flying_;    // the kernel's
  std::string partial_;   // a frame that is not all there
  std::string token_;     // of its user, where it is to come back
  std::string resume_;    // not empty until it is back
  std::vector<Awaited> awaited_;
  loop::OpOf<Client, &Client::on_connect> connect_{*this};
  loop::OpOf<Client, &Client::on_receive> receive_{*this};
  loop::OpOf<Client, &Client::on_send> send_{*this};
};

}  // namespace ringline::bench
