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

class Crowd final : public loop::TurnHook {
 public:
  Crowd(const Options& options, loop::Loop& loop, const loop::Address& address, std::uint32_t run);

  // Opens what is not open, at most `concurrency` at once. To be called until `all_joined` or `failed() > 0`.
  void open_some();
  bool all_joined() const noexcept { return joined_ == options_.connections; }
  unsigned joined() const noexcept { return joined_; }
  unsigned failed() const noexcept { return failed_; }
  const std::string& first_failure() const noexcept { return first_failure_; }

  // The next message of the round: room after room, in each its senders in turn.
  void send_next(std::int64_t intended_ns);
  void send_from(std::uint32_t sender, std::int64_t intended_ns);
  unsigned senders() const noexcept;
  std::uint32_t sender(unsigned number) const noexcept;  // of all rooms
  // Called with each answer to a send, in closed-loop runs.
  void set_closed_loop(bool on) noexcept { closed_loop_ = on; }

  void close_all();
  bool all_closed() const noexcept { return open_ == 0; }

  Ledger& ledger() noexcept { return ledger_; }
  const Dialect& dialect() const noexcept { return dialect_; }
  // Completions handled so far: turns in which it does not move were idle.
  std::uint64_t activity() const noexcept { return activity_; }

  void on_turn_end() override;  // flushes

 private:
  friend class Client;
  loop::Ring& ring() noexcept { return loop_.ring(); }
  void mark_dirty(Client& client) { dirty_.push_back(&client); }
  void on_joined(Client& client, const Said& answer);
  void on_failed(Client& client, std::string why);
  void on_closed() noexcept { --open_; }
  void on_event(Client& client, std::string_view payload, std::int64_t now_ns);
  void on_send_answer(Client& client, bool ok, std::string_view payload, std::int64_t intended_ns, std::int64_t now_ns);
  bool open_one(Client& client);
  void sample(std::string_view payload);

  const Options& options_;
  loop::Loop& loop_;
  const loop::Address& address_;
  Dialect dialect_;
  Ledger ledger_;
  std::deque<Client> clients_;
  std::vector<std::string> room_ids_;
  std::vector<Client*> dirty_;
  std::string text_;           // scratch
  std::string payload_;        // scratch
  std::string joined_pieces_;  // scratch: a cut frame with what follows it
  std::string first_failure_;
  std::uint64_t round_ = 0;
  std::uint64_t activity_ = 0;
  std::uint64_t until_sample_ = 1;
  unsigned opened_ = 0;
  unsigned setting_up_ = 0;
  unsigned open_ = 0;
  unsigned joined_ = 0;
  unsigned failed_ = 0;
  bool closed_loop_ = false;
  bool closing_ = false;
};

}  // namespace ringline::bench
