// Crowd: all connections and their rooms. Connection i is in room i / room_size.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "client.hpp"
#include "dialect.hpp"
#include "ledger.hpp"
#include "options.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::bench {

class Crowd {
 public:
  Crowd(const Options& options, loop::Loop& loop, const loop::Address& address, std::uint32_t run);

  // Opens what is to be opened, at most `concurrency` at once. To be called until `all_joined` or `failed() > 0`.
  void open_some();
  // From here on a connection that closes is to be opened again, and its closing is no failure: the server is being restarted, or it was sent away.
  void let_go(bool on) noexcept { letting_go_ = on; }
  // What comes back resumes instead of joining.
  void set_resuming(bool on) noexcept { resuming_ = on; }
  void send_away(std::uint32_t index);
  // The next of those that do not send: goes, and is opened again by `open_some`.
  void send_next_away();
  unsigned open() const noexcept { return open_; }
  unsigned sent_away() const noexcept { return sent_away_; }
  unsigned cut() const noexcept { return cut_; }  // were joined and closed by the server while letting go
  unsigned tried_again() const noexcept { return tried_again_; }  // were refused or cut while coming back
  unsigned resumed() const noexcept { return resumed_; }
  unsigned incomplete() const noexcept { return incomplete_; }  // were told to reload
  bool all_joined() const noexcept { return joined_ == options_.connections; }
  unsigned joined() const noexcept { return joined_; }
  unsigned failed() const noexcept { return failed_; }
  const std::string& first_failure() const noexcept { return first_failure_; }

  // The next message of the round: room after room, in each its senders in turn.
  void send_next(std::int64_t intended_ns);
  void send_from(std::uint32_t sender, std::int64_t intended_ns);
  unsigned senders() const noexcept;
  std::uint32_t sender(unsigned number) const noexcept;  // of all rooms
  // Each answer to a send is followed by the next send; or instead of messages, pages of history are asked for.
  void set_closed_loop(bool on) noexcept { closed_loop_ = on; }
  void set_asking_history(bool on) noexcept { asking_history_ = on; }

  void close_all();
  bool all_closed() const noexcept { return open_ == 0; }

  Ledger& ledger() noexcept { return ledger_; }
  const Dialect& dialect() const noexcept { return dialect_; }
  const Wires& wires() const noexcept { return wires_; }

 private:
  friend class Client;
  void on_joined(Client& client, const Said& answer);
  void on_failed(Client& client, std::string why);
  void on_resumed(bool complete);
  void on_closed(Client& client);
  std::string claim(std::uint32_t index);
  void on_event(Client& client, std::string_view payload, std::int64_t now_ns);
  void on_send_answer(Client& client, bool ok, std::string_view payload, std::int64_t intended_ns, std::int64_t now_ns);
  bool open_one(Client& client);
  void sample(std::string_view payload);

  const Options& options_;
  const loop::Address& address_;
  Wires wires_;
  Dialect dialect_;
  Ledger ledger_;
  std::deque<Client> clients_;
  std::vector<std::string> room_ids_;
  std::deque<std::uint32_t> to_open_;
  std::vector<Place> joined_at_;  // where connections are to come back
  std::string text_;              // scratch
  std::string payload_;           // scratch
  std::string first_failure_;
  std::uint64_t round_ = 0;
  std::uint64_t until_sample_ = 1;
  unsigned setting_up_ = 0;
  unsigned open_ = 0;
  unsigned joined_ = 0;
  unsigned failed_ = 0;
  unsigned sent_away_ = 0;
  unsigned cut_ = 0;
  unsigned tried_again_ = 0;
  unsigned resumed_ = 0;
  unsigned incomplete_ = 0;
  std::uint32_t next_away_ = 0;
  bool closed_loop_ = false;
  bool asking_history_ = false;
  bool letting_go_ = false;
  bool resuming_ = false;
  bool closing_ = false;
};

}  // namespace ringline::bench
