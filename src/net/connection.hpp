// Connection: one socket, from accept to the last completion.
//
// LIFETIME. `close_now` shuts the socket down, which makes the receive and the send complete; each completion calls `join`, and when neither is in the
// kernel the descriptor is closed and the connection put on the server's list of the dead, which is freed at the end of the turn. Nothing else frees a
// connection, and nobody outside net has a pointer to one.
//
// Polite closing (`close`): the close frame is queued behind what is urgent, sent, the peer given kLinger to answer it, then close_now.
//
// Reading stops (`paused_`) while too many commands or too much output wait. What was received before the kernel heard of it stays in `unread_`, so no
// more than limits::kCommandsInFlight are ever under way. `leave` gives the socket to another core (hand_over.hpp).
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
#include "ringline/protocol/http.hpp"
#include "ringline/protocol/websocket.hpp"

namespace ringline::net {

struct HttpState;  // http_state.hpp: while a connection speaks HTTP

class Connection final : public chat::Outlet {
 public:
  Connection(Server::Impl& server, loop::Fd socket, base::ConnectionId id);
  ~Connection();

  void start();  // first receive, first timer
  // Likewise, of a socket that came from another core with a request and what was read behind it.
  void start_with(protocol::Request request, std::string input);
  void flush();  // at the end of the turn: one send, if none is under way
  void respond(HttpResponse response);
  void close_now();
  bool is_websocket() const noexcept { return kind_ != Kind::http; }
  chat::Session& session() noexcept { return session_; }

  // chat::Outlet
  void reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body) override;
  void signed_in(const chat::ReplyTag& tag) override;
  void refused(const chat::ReplyTag& tag, const base::Error& error, std::optional<chat::CloseCode> close_with) override;
  void send_event(std::string_view name, std::string_view body) override;
  bool send_shared(const base::ChunkRef& chunk, std::uint32_t from, std::uint32_t to) override;
  bool has_room() const noexcept override { return state_ == State::open && !full_; }
  void close(chat::CloseCode code, std::string_view reason) override;
  chat::Wire wire() const noexcept override {
    return kind_ == Kind::socketio ? chat::Wire::socketio : chat::Wire::plain;
  }
  std::string address() const override;

 private:
  enum class Kind : std::uint8_t { http, plain, socketio };
  enum class State : std::uint8_t {
    open,
    closing,  // a close frame is queued or sent; input is read and thrown away
    leaving,  // goes to another core once its receive is cancelled and its output sent
    joining,  // shut down; waits for its operations to complete
    dead,     // on the server's list
  };
  enum class Wait : std::uint8_t { head, body, idle, answer, connect, ping, pong, linger };  // what the timer is for

  void on_receive(loop::Completion completion);
  void on_sent(loop::Completion completion);
  void on_due();
  void take_bytes(std::string_view bytes);
  void on_input_end();
  void join();

  // HTTP (connection_http.cpp)
  void take_http(std::string_view bytes);
  void next_request();
  bool may_read_request() const noexcept;
  void refuse_http(int status, std::string_view why);
  void take_request(protocol::Request request, bool from_other_core);
  void answer_engineio(const protocol::Request& request);
  void upgrade(const protocol::Request& request);
  void leave(protocol::Request request, unsigned core);
  void leave_when_quiet();

  // WebSocket (connection_websocket.cpp)
  void take_frames(std::string_view bytes);
  void take_frame(const protocol::FrameEvent& event);
  void take_message(std::string_view text, bool binary);
  void take_plain(std::string_view text);
  void take_socketio(std::string_view text);
  void take_socketio_packet(std::string_view text);
  void take_connect(const chat::ReplyTag& tag, const base::json::Value* data);
  void take_command(const chat::ReplyTag& tag, std::string_view name, const base::json::Value* data);
  void append_reply(const chat::ReplyTag& tag, std::string_view cmd, bool ok, std::string_view body);
  void answer_failed(const chat::ReplyTag& tag, std::string_view cmd, const base::Error& error);
  void send_close_frame(std::uint16_t code, std::string_view reason);
  void ping();
  void no_pong();
  void close_slow();

  std::string& urgent();  // to append to; marks the connection for this turn's flush
  void mark_dirty();
  void wait_for(Wait what, std::chrono::milliseconds time);
  void receive();
  void bound_output();
  bool stalled() const noexcept;
  void stop_reading();
  bool may_read() const noexcept;
  void read_again();
  void after_output();

  Server::Impl& server_;
  loop::OpOf<Connection, &Connection::on_receive> receive_{*this};
  loop::OpOf<Connection, &Connection::on_sent> send_{*this};
  loop::TimerOf<Connection, &Connection::on_due> timer_{*this};
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<HttpState> http_;
  std::unique_ptr<std::string> peer_;    // the client's address, until it is signed in
  std::unique_ptr<std::string> unread_;  // frames that came while reading was stopped
  protocol::FrameReader frames_;
  chat::Session session_;
  std::int64_t progress_ms_ = 0;  // when the kernel last took something, or a send was begun
  loop::Fd socket_;
  std::uint16_t in_flight_ = 0;  // commands without an answer
  Kind kind_ = Kind::http;
  State state_ = State::open;
  Wait wait_ = Wait::head;
  bool dirty_ = false;
  bool full_ = false;         // refused room events; chat is told when there is room
  bool paused_ = false;       // does not read: too many replies wait
  bool input_ended_ = false;  // a close frame came, or what cannot be read on
  bool peer_closed_ = false;  // a close frame came: ours ends the connection
};

}  // namespace ringline::net
