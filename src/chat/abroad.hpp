// Abroad: the users whose home is this core, where this host is one of several. They may have connections at others too: there they are told what concerns them,
// they are online as long as they are anywhere, and what they send is counted once for all.
//
// Who is at one host only costs the bus nothing while he chats: his sends are counted here. As soon as he is at two, each send is counted there, and what he sent
// here before is taken along.
#pragma once

#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "chat/people.hpp"
#include "ringline/base/task.hpp"

namespace ringline::chat {

class Abroad {
 public:
  static constexpr std::int64_t kSayAgainMs = 100'000;  // who is here, long before limits::kPresenceAge is over
  static constexpr std::size_t kSaidAtOnce = 256;       // in one tick
  static constexpr std::size_t kCheckedAtOnce = 256;    // users, of whose sessions the store is asked

  explicit Abroad(Shard::Parts& parts) : p_(parts) {}

  bool on() const noexcept;
  void loaded(UserId user);
  void unloaded(UserId user);
  // He came or went here. Shows his presence when it is known how he is altogether.
  void changed(HomeUser& user);
  void session_ended(UserId user, SessionId session);
  // Whether what other hosts tell of him comes here. If not, a session may have ended without this host's knowledge.
  bool hears(UserId user) const noexcept;
  void on_back();
  void on_following(UserId user);
  void profile_changed(const User& user);
  // By an event that was made at this host.
  void joined(UserId user, RoomId room, std::uint64_t seq);
  void left(UserId user, RoomId room);
  // He has read up to there, at this host.
  void read(const ReadMark& mark);
  // Whether his sends are counted over all hosts now.
  bool counts(UserId user) const;
  base::Task<std::uint32_t> take_send(UserId user);

  void on_user(UserId user, std::string_view what, std::string_view body);
  void on_tick(std::int64_t now_ms);

 private:
  base::Task<void> share(UserId user, bool tell);
  base::Task<void> read_notes(UserId user);
  base::Task<void> check_sessions(std::vector<UserId> users);
  void check_some();

  Shard::Parts& p_;
  std::vector<UserId> to_say_;
  std::set<UserId> to_check_;  // HomeUser::doubted
  bool checking_ = false;
  std::int64_t said_ms_ = 0;
  bool again_ = false;  // all is told and asked anew
};

}  // namespace ringline::chat
