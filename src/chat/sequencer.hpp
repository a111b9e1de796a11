// The sequencer: gives an event its seq, appends it to the log, and when it is committed makes it known: tail, members, answer, store.
//
// A room's state changes at commit only. Until then the room remembers whose membership is changing, and what those do next waits.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "chat/call.hpp"
#include "chat/delivery.hpp"
#include "chat/rooms.hpp"
#include "ringline/chat/shard.hpp"

namespace ringline::chat {

class Sequencer {
 public:
  explicit Sequencer(Shard::Parts& parts) : p_(parts) {}

  // What the origin does at commit (ok) or when the commit failed: it answers. Runs when the event has taken effect, before it is delivered.
  using Then = std::move_only_function<void(HomeRoom&, bool ok)>;

  struct Draft {
    HomeRoom& room;
    EventKind kind;
    const Person& actor;
    UserCard subject = {};  // whose membership changes; null: nobody's
  };
  // Writes the event's own part by `part(writer, id, seq, at_ms)` and appends it. False: the log refused it, nothing happened.
  template <class Part>
  bool sequence(const Draft& draft, Part part, Then then);
  // The same for a message: the answer is made from the event itself. `write` writes the message object.
  template <class Write>
  bool sequence_message(HomeRoom& room, const Person& sender, std::string_view client_id, std::uint64_t client_key,
                        const ReplyTo& to, std::int64_t arrived_ns, Write write);

  // A send with this key that is committed or about to be: answered with that message (now or at its commit), true.
  bool answer_duplicate(HomeRoom& room, UserId sender, std::string_view client_id, std::uint64_t client_key,
                        const ReplyTo& to);

  bool idle() const noexcept { return pending_.empty(); }
  void on_committed(std::uint64_t last);
  void on_failed(std::uint64_t first, std::uint64_t last);

 private:
  struct Pending {
    std::uint64_t ticket = 0;
    HomeRoom* room = nullptr;
    TailEntry entry;
    UserId subject;
    UserCard card;  // the subject's
    ReplyTo to;     // of a message
    std::int64_t arrived_ns = 0;
    std::vector<ReplyTo> duplicates;
    Then then;
  };

  void begin_body(HomeRoom& room, const Person& actor, Event& event);
  bool append();  // the last of pending_, which goes if the log refuses it
  void fetch(const Pending& pending) const noexcept;
  void commit(Pending& pending, std::int64_t now_ns);
  void settle(HomeRoom& room, UserId subject);
  void answer_message(const Pending& pending);
  void post_deliveries();

  Shard::Parts& p_;
  std::deque<Pending> pending_;
  std::vector<std::vector<Delivered>> outgoing_;  // by core, of the commit that is being told
  std::vector<std::move_only_function<void()>> ready_;
};

// The answer to a send, in Parts::body: {"message":…} or {"message":…,"duplicate":true}.
std::string_view message_answer(Shard::Parts& p, std::string_view message, bool duplicate);

}  // namespace ringline::chat
