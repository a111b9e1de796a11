// Connection: one socket, from accept to the last completion; or an Engine.IO session that has no socket while it polls.
//
// LIFETIME. `close_now` shuts the socket down, which makes the receive and the send complete; each completion calls `join`, and when neither is in the
// kernel the descriptor is closed and the connection put on the server's list of the dead, which is freed at the end of the turn. Nothing else frees a
// connection, and nobody outside net has a pointer to one but its speaker, which it owns.
//
// Polite closing (`close`): the close frame is queued behind what is urgent, sent, the peer given kLinger to answer it, then close_now.
//
// Reading stops (`paused_`) while too many commands or too much output wait. What was received before the kernel heard of it stays in `unread`, so no
// more than limits::kCommandsInFlight are ever under way. `leave` gives the socket away: to another core or the thread of transfers (hand_over.hpp), or to
// the polling session that it upgrades (connection_engineio.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/outbox.hpp"
#include "ringline/chat/session.hpp"
#include "ringline/loop/ring.hpp"
#include "ringline/loop/timers.hpp"
#include "ringline/net/server.hpp"
#include "ringline/net/speaker.hpp"
#include "ringline/protocol/engineio.hpp"
#include "ringline/protocol/http.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::net {

struct HttpState;  // http_state.hpp: while a connection speaks HTTP
class Connection;

// Operations and the timer of a connection are bases of it, so that they need no pointers back: there may be a million connections. A tag tells them
// apart.
template <class Tag>
class ConnectionOp : public loop::Op {
 protected:
  ConnectionOp() noexcept;
};
class ConnectionTimer : public loop::Timer {
 protected:
  ConnectionTimer() noexcept;
};
struct Receiving {};
struct Sending {};
struct Polling;  // polling.hpp: while an Engine.IO session has no socket of its own

class Connection final : public Transport,
                         private ConnectionOp<Receiving>,
                         private ConnectionOp<Sending>,
                         private ConnectionTimer {
 public:
  Connection(Server::Impl& server, loop::Fd socket, base::ConnectionId id);
  ~Connection();

  void start();  // first receive, first timer
  // Likewise, of a socket that came from another core with a request and what was read behind it.
  void start_with(protocol::Request request, std::string input);
  void flush();  // at the end of the turn: one send, if none is under way
  void respond(HttpResponse response);
  void close_now();
  Speaker* speaker() noexcept { return speaker_.get(); }
  // Whether it is an Engine.IO session that lives and has this secret in its sid.
  bool is_session(std::uint64_t secret) const noexcept {
    return kind_ == Kind::engineio && secret_ == secret && (state_ == State::open || state_ == State::closing);
  }

  // Transport
  base::ConnectionId id() const noexcept override { return id_; }
  loop::Loop& loop() noexcept override;
  std::string& output() override;
  std::size_t output_bytes() const noexcept override { return outbox_ ? outbox_->urgent_bytes() : 0; }
  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) override;
  bool has_room() const noexcept override { return state_ == State::open && !full_; }
  bool is_open() const noexcept override { return state_ == State::open; }
  void close(std::uint16_t code, std::string_view reason) override;
  std::string address() const override;
  void forget_address() noexcept override;
  void expect_within(std::chrono::milliseconds time) override;
  void expect_nothing() noexcept override;
  void command_taken() override;
  void command_answered() override;
  void close_slow() override;
  bool deflates() const noexcept override { return deflates_; }

 private:
  template <class Tag>
  friend class ConnectionOp;
  friend class ConnectionTimer;
  enum class Kind : std::uint8_t {
    http,
    websocket,
    engineio,  // over its own socket, or polling (`polling_`)
    probe,     // a WebSocket that is to take over from polling
  };
  enum class State : std::uint8_t {
    open,
    closing,  // a close frame is queued or sent; input is read and thrown away
    leaving,  // the socket goes elsewhere once the receive is cancelled and the output sent
    joining,  // shut down; waits for its operations to complete
    dead,     // on the server's list
  };
  // What the timer is for. `live`: the next ping, or the end of the time for its answer, if it is armed.
  enum class Wait : std::uint8_t { head, body, idle, answer, live, linger };
  struct Aside;

  loop::Op& receive_op() noexcept { return static_cast<ConnectionOp<Receiving>&>(*this); }
  loop::Op& send_op() noexcept { return static_cast<ConnectionOp<Sending>&>(*this); }
  const loop::Op& send_op() const noexcept { return static_cast<const ConnectionOp<Sending>&>(*this); }
  loop::Timer& timer() noexcept { return static_cast<ConnectionTimer&>(*this); }
  void on_complete(Receiving, loop::Completion completion) { on_receive(completion); }
  void on_complete(Sending, loop::Completion completion) { on_sent(completion); }
  void on_receive(loop::Completion completion);
  void on_sent(loop::Completion completion);
  void on_due();
  void on_late();
  void take_bytes(std::string_view bytes);
  void on_input_end();
  void join();

  // HTTP (connection_http.cpp)
  void take_http(std::string_view bytes);
  void next_request();
  bool may_read_request() const noexcept;
  void refuse_http(int status, std::string_view why);
  void close_http();
  void take_request(protocol::Request request, bool from_other_core);
  void upgrade(const Door& door, const protocol::Request& request);
  bool accept_upgrade(const Door& door, const protocol::Request& request, bool may_deflate);
  void leave(protocol::Request request, unsigned core);
  void leave_for_transfer(HttpResponse response);
  void begin_leaving();
  void leave_when_quiet();

  // Engine.IO (connection_engineio.cpp)
  void answer_engineio(const Door& door, protocol::Request request);
  void respond_engineio(int status, std::string_view content_type, std::string body);
  void refuse_engineio(protocol::engineio::RequestError error);
  void preflight(const protocol::Request& request);
  protocol::engineio::Open open_packet(std::string_view sid, bool upgradable) const;
  void start_session(const Door& door, const protocol::Request& request);
  void open_websocket(const Door& door, const protocol::Request& request);
  void open_polling(const Door& door, const protocol::Request& request);
  void take_poll(Connection& from);
  void flush_poll();
  void answer_poll(std::string payload);
  void request_gone();
  void take_post(Connection& from, std::string payload);
  void take_payload(std::string_view payload);
  void answer_post();
  void take_engineio(std::string_view text);
  void break_off(std::string_view why);
  void end_by_client();
  void close_polling();
  void end_polling();
  void probe(const Door& door, const protocol::Request& request, Connection& session);
  void take_probe(std::string_view packet);
  void begin_upgrade();
  void probe_gone();
  void adopt(loop::Fd socket, std::string input);
  std::string sid() const;

  // WebSocket (connection_websocket.cpp)
  void take_frames(std::string_view bytes);
  void take_frame(const protocol::FrameEvent& event);
  void take_message(const protocol::FrameEvent& event);
  void take_compressed(const protocol::FrameEvent& event);
  void fail(std::uint16_t code, std::string_view why);
  void note_broken(std::uint16_t code, std::string_view why);
  void send_close_frame(std::uint16_t code, std::string_view reason);
  void hang_up();
  void start_living(const Door& door);
  std::int64_t next_beat_ms() const noexcept;
  void beat();
  void no_pong();
  void on_pong();

  void mark_dirty();
  void wait_for(Wait what, std::chrono::milliseconds time);
  void wait_until(std::int64_t due_ms) noexcept;
  Aside& aside();
  void tidy_aside() noexcept;
  std::string take_unread();
  const Door& door() const noexcept;
  void set_door(const Door& door) noexcept;
  void receive();
  void bound_output();
  bool stalled() const noexcept;
  void stop_reading();
  bool may_read() const noexcept;
  void read_again();
  void after_output();

  // What few connections have at a time: those that come in, and those that do not read.
  struct Aside {
    explicit Aside(Connection& connection) noexcept : late(connection) {}
    std::string address;
    std::string unread;  // frames, or packets of a payload, that came while reading was stopped
    loop::TimerOf<Connection, &Connection::on_late> late;  // the end of what the speaker expects
  };

  Server::Impl& server_;
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<HttpState> http_;
  std::unique_ptr<Polling> polling_;
  std::unique_ptr<Speaker> speaker_;
  std::unique_ptr<Aside> aside_;
  protocol::FrameReader frames_;
  base::ConnectionId id_;
  std::uint64_t secret_ =
      0;  // the part of an Engine.IO sid that cannot be guessed; of a probe: the session that it upgrades
  loop::Fd socket_;
  std::uint16_t in_flight_ = 0;  // commands without an answer
  Kind kind_ = Kind::http;
  State state_ = State::open;
  Wait wait_ = Wait::head;
  std::uint8_t door_ = 0;      // which of them it came in by; not yet known of HTTP
  bool pong_due_ : 1 = false;  // a ping was sent, and the timer is for its answer
  bool dirty_ : 1 = false;
  bool full_ : 1 = false;         // refused room events; the speaker is told when there is room
  bool paused_ : 1 = false;       // does not read: too many replies wait
  bool input_ended_ : 1 = false;  // a close frame came, or what cannot be read on
  bool peer_closed_ : 1 = false;  // a close frame came: ours ends the connection
  bool inflates_ : 1 = false;     // permessage-deflate was agreed upon
  bool deflates_ : 1 = false;     // and with the whole window
};

template <class Tag>
ConnectionOp<Tag>::ConnectionOp() noexcept
    : Op([](Op& self, loop::Completion completion) {
        static_cast<Connection&>(static_cast<ConnectionOp&>(self)).on_complete(Tag{}, completion);
      }) {}
inline ConnectionTimer::ConnectionTimer() noexcept
    : Timer([](Timer& self) { static_cast<Connection&>(static_cast<ConnectionTimer&>(self)).on_due(); }) {}

}  // namespace ringline::net
