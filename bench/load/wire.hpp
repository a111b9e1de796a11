// Wire: one WebSocket to a server: connect, upgrade, then frames. What they say is its owner's. One that was closed can be opened again.
//
// Bytes are taken from the ring's buffer where they lie; only a frame that is cut by its end is copied. One send is in flight; what is said
// meanwhile is put together and goes out in one send after it. Lifetimes as in loop/ring.hpp: the socket is closed when no op is in the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "frames.hpp"
#include "ringline/loop/loop.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/loop/tcp.hpp"

namespace ringline::bench {

class Wire;

// What the wires of a thread share: the ring, scratch, and which of them have something to send at the end of the turn.
class Wires final : public loop::TurnHook {
 public:
  explicit Wires(loop::Loop& loop) : loop_(loop) { loop.add_hook(*this); }

  // Completions handled so far: turns in which it does not move were idle.
  std::uint64_t activity() const noexcept { return activity_; }
  void on_turn_end() override;  // flushes
  bool has_unsent() const noexcept { return !dirty_.empty(); }

 private:
  friend class Wire;
  loop::Ring& ring() noexcept { return loop_.ring(); }

  loop::Loop& loop_;
  std::vector<Wire*> dirty_;
  std::string pieces_;  // scratch: a cut frame with what follows it
  std::uint64_t activity_ = 0;
};

class WireOwner {
 public:
  virtual void on_open() = 0;  // the upgrade was taken
  virtual void on_text(std::string_view payload, std::int64_t now_ns) = 0;
  virtual void on_lost(std::string why) = 0;  // not by `close`; `on_closed` follows
  virtual void on_closed() = 0;               // the kernel has let go of it

 protected:
  ~WireOwner() = default;
};

class Wire {
 public:
  Wire(Wires& wires, WireOwner& owner) noexcept : wires_(wires), owner_(owner) {}

  // `request`: the HTTP request of the upgrade.
  void open(loop::Fd socket, const loop::Address& address, std::string request);
  // Puts a frame in line; it leaves at the end of the turn.
  void say(Opcode opcode, std::string_view payload);
  void close();
  // To be called by the owner where he does not like what was said.
  void fail(std::string why);

 private:
  friend class Wires;
  enum class State : std::uint8_t {
    idle,
    connecting,  // TCP
    upgrading,   // the HTTP request is sent
    open,
    closing,  // shut down; ops are still in the kernel
    closed,
  };

  void on_connect(loop::Completion completion);
  void on_receive(loop::Completion completion);
  void on_send(loop::Completion completion);
  void flush();
  void take(std::string_view bytes);
  std::string_view take_response(std::string_view bytes);
  void take_frames(std::string_view bytes);
  void on_frame(const Frame& frame, std::int64_t now_ns);
  void finish_closing();

  Wires& wires_;
  WireOwner& owner_;
  State state_ = State::idle;
  bool dirty_ = false;  // in the list of those to flush
  loop::Fd socket_;
  std::size_t sent_ = 0;  // of `flying_`
  std::string waiting_;   // said, not given to the kernel; until it is connected: the request
  std::string flying_;    // the kernel's
  std::string partial_;   // a frame that is not all there
  loop::OpOf<Wire, &Wire::on_connect> connect_{*this};
  loop::OpOf<Wire, &Wire::on_receive> receive_{*this};
  loop::OpOf<Wire, &Wire::on_send> send_{*this};
};

}  // namespace ringline::bench
