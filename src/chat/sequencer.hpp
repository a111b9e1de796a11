// The sequencer: gives an event its seq, appends it to the log, and when it is committed makes it known: tail, members, answer, store.
//
// A room's state changes at commit only. Until then the room remembers whose membership is changing, and what those do next waits.
// Where this host is one of several the seq comes from the bus (streams.hpp), and what others made is appended here likewise.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "chat/call.hpp"
#include "chat/delivery.hpp"
#include "chat/rooms.hpp"
#include "ringline/chat/bus.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

class Sequencer {
 public:
  explicit Sequencer(Shard::Parts& parts) : p_(parts) {}

  enum class Outcome : std::uint8_t {
    committed,
    failed,     // nothing happened, or the commit failed
    overtaken,  // nothing happened, since another host changed the rights of who is concerned; they are known here now: who asked decides anew
  };
  // What the origin does then: it answers. Runs when the event has taken effect, before it is delivered.
  using Then = std::move_only_function<void(HomeRoom&, Outcome)>;

  struct Draft {
    HomeRoom& room;
    EventKind kind;
    const Person& actor;
    UserCard subject = {};  // whose membership changes; null: nobody's
  };
  // Writes the event's own part by `part(writer, event)` and appends it. False: the log refused it, nothing happened.
  template <class Part>
  bool sequence(const Draft& draft, Part part, Then then);
  // The same for a message: the answer is made from the event itself. `write` writes the message object.
  template <class Write>
  bool sequence_message(HomeRoom& room, const Person& sender, std::string_view client_id, std::uint64_t client_key,
                        const ReplyTo& to, std::int64_t arrived_ns, Write write);

  // A send with this key that is committed or about to be: answered with that message (now or at its commit), true.
  bool answer_duplicate(HomeRoom& room, UserId sender, std::string_view client_id, std::uint64_t client_key,
                        const ReplyTo& to);

  // Who made an event here and waits for it.
  struct Maker {
    UserCard subject;
    ReplyTo to;  // of a message
    std::int64_t arrived_ns = 0;
    std::vector<ReplyTo> duplicates;
    Then then;
    bool asks() const noexcept { return to.command != nullptr; }
  };
  // Appends an event that has its seq, the room's next: of another host, or of ours come back. A message without a seq: it is pending, and is told as such
  // at its commit. False: the log refused it, and `maker` is as it was; else it is taken.
  bool append(HomeRoom& room, RoomEvent entry, Maker& maker);
  // An event of ours that is not to be any more. The room's `changing` is settled.
  void fail(HomeRoom& room, EventKind kind, Maker maker, Outcome outcome, const base::Error& error);
  void run_ready();  // what waited for a membership that is settled
  // Runs when what is being committed or has failed is told.
  void after_commit(std::move_only_function<void()> job) { ready_.push_back(std::move(job)); }

  bool idle() const noexcept { return pending_.empty(); }
  void on_committed(std::uint64_t last);
  void on_failed(std::uint64_t first, std::uint64_t last);

 private:
  struct Pending {
    std::uint64_t ticket = 0;
    HomeRoom* room = nullptr;
    RoomEvent entry;
    Maker maker;
  };

  void begin_body(HomeRoom& room, const Person& actor, Event& event);
  bool submit();  // the last of pending_, which goes if it is refused, or to the bus
  bool append_last();
  void fetch(const Pending& pending) const noexcept;
  void commit(Pending& pending, std::int64_t now_ns);
  void commit_pending(Pending& pending);
  void settle(HomeRoom& room, UserId subject);
  void answer_message(const Pending& pending);
  void post_deliveries();

  Shard::Parts& p_;
  std::deque<Pending> pending_;
  std::vector<std::vector<Delivered>> outgoing_;  // by core, of the commit that is being told
  std::vector<std::move_only_function<void()>> ready_;
};

// The answer to a send, in Parts::body: {"message":…}, with "duplicate":true or "pending":true where it is.
std::string_view message_answer(Shard::Parts& p, std::string_view message, bool duplicate, bool pending = false);
// Whether an event with the same key is really that send: keys are hashes.
bool is_send(Shard::Parts& p, const RoomEvent& entry, UserId sender, std::string_view client_id);

}  // namespace ringline::chat
