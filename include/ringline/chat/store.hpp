// Port: the database, off the hot path: SQLite embedded, PostgreSQL with several hosts (backend/database.hpp).
//
// Every call is a coroutine: it starts on a core, works elsewhere, and resumes on that core. Every call has a deadline (limits::kStoreTimeout) and answers
// `unavailable` after it. Unique names (users, public rooms, direct rooms) have their one authority here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ringline/base/result.hpp"
#include "ringline/base/task.hpp"
#include "ringline/chat/event.hpp"
#include "ringline/chat/objects.hpp"

namespace ringline::chat {

struct Account {
  User user;
  std::string password_hash;  // empty: a guest
  bool banned = false;
};

struct SessionRow {
  SessionId id;
  UserId user;
  std::uint64_t generation = 0;  // of its refresh token: how often it was rotated
  std::int64_t rotated_ms = 0;
  std::int64_t created_ms = 0;
  std::int64_t last_used_ms = 0;
  std::int64_t expires_ms = 0;  // slides
  std::string user_agent;
  std::string address;
  bool remembered = false;  // from a cache, the database being away: the session may have been rotated since
};

// A room with all that its home core needs to be its sequencer.
struct StoredMember {
  Member member;
  User user;
};
struct StoredRoom {
  Room room;  // last_seq is ingested_seq here
  std::vector<StoredMember> members;
  std::optional<Message> last_message;
};

struct RoomPlace {
  std::uint64_t epoch = 1;
  std::uint64_t seq = 0;  // ingested_seq
};

struct HistoryQuery {
  enum class From : std::uint8_t { newest, before, after, around, around_id };
  RoomId room;
  From from = From::newest;
  std::uint64_t position = 0;  // a seq, or an id with around_id
  std::size_t limit = 50;
  std::uint64_t stored_seq = 0;  // known to be in the store: what has less does not answer
};
struct HistoryPage {
  std::vector<Message> messages;  // oldest first
  bool has_before = false;
  bool has_after = false;
};

// How a send is known: by its clientId, or, where it came without one, by its id.
struct SendKey {
  UserId sender;
  std::string client_id;
  EventId id;
};

// Messages that have all of some words, in any of some rooms.
struct SearchQuery {
  std::vector<std::string> words;  // each as base::words_of gives it; one at least
  std::vector<RoomId> rooms;
  UserId from_user;          // 0: whoever wrote it
  std::uint64_t cursor = 0;  // SearchPage::next of the page before; 0: the newest
  std::size_t limit = 50;
  std::uint64_t indexed = 0;  // SearchPage::indexed that was seen: an answer of a replica that has less is not taken
};
struct SearchPage {
  std::vector<Message> messages;  // newest first
  // Where the next page begins; 0: there is none. A page may hold less than was asked for, or nothing, and have a next one: its time was over.
  std::uint64_t next = 0;
  std::uint64_t indexed = 0;  // so many messages had their words taken in
};

struct StoredEvent {
  std::uint64_t seq = 0;
  EventKind kind = EventKind::message_created;
  std::string body;  // as Event::body
};

struct RoomPage {
  std::vector<Room> rooms;
  std::vector<std::uint64_t> member_counts;
  std::optional<std::string> next_cursor;
};

struct FileQuery {
  UserId owner;  // or
  RoomId room;
  std::string cursor;
  std::size_t limit = 50;
};
struct FilePage {
  std::vector<File> files;
  std::optional<std::string> next_cursor;
};

// Guests who cannot come back: no session, not seen for long, and nothing of theirs is kept.
struct IdleGuests {
  std::uint64_t removed = 0;
  std::vector<std::pair<UserId, RoomId>> memberships;  // of those that are in rooms, and are removed when they are not
};

class Store {
 public:
  virtual ~Store() = default;

  // Accounts. create_account: `conflict` when the username is taken (regardless of case). create_guest: a name that is taken gets -2, -3, …; the account
  // that was made comes back. promote_guest keeps the id.
  virtual base::Task<base::Result<Account>> create_account(Account account) = 0;
  virtual base::Task<base::Result<Account>> create_guest(Account account) = 0;
  virtual base::Task<base::Result<Account>> promote_guest(UserId guest, Account account) = 0;
  virtual base::Task<base::Result<Account>> find_account(UserId id) = 0;                 // not_found
  virtual base::Task<base::Result<Account>> find_account_by_name(std::string name) = 0;  // not_found
  virtual base::Task<base::Result<void>> set_password_hash(UserId id, std::string hash) = 0;
  virtual base::Task<base::Result<void>> set_last_seen(UserId id, std::int64_t at_ms) = 0;

  // Takes at most `limit` idle guests: nobody who wrote a message, made a room or is in a direct room.
  virtual base::Task<base::Result<IdleGuests>> remove_idle_guests(std::int64_t not_seen_since_ms,
                                                                  std::size_t limit) = 0;

  // Sessions.
  virtual base::Task<base::Result<void>> create_session(SessionRow session) = 0;
  virtual base::Task<base::Result<SessionRow>> find_session(SessionId id) = 0;  // not_found: ended or expired
  // Those of them that have ended or expired.
  virtual base::Task<base::Result<std::vector<SessionId>>> ended_sessions(std::vector<SessionId> ids) = 0;
  virtual base::Task<base::Result<std::vector<SessionRow>>> sessions_of(UserId user) = 0;
  // From `generation` to the next, if it is still that: `conflict` otherwise.
  virtual base::Task<base::Result<SessionRow>> rotate_session(SessionId id, std::uint64_t generation,
                                                              std::int64_t now_ms, std::int64_t expires_ms) = 0;
  virtual base::Task<base::Result<void>> end_session(SessionId id) = 0;

  // Rooms. create_room takes the name or the pair (direct rooms: `direct_key`, "LOWER_ID:HIGHER_ID") and writes the room with its first members, at seq
  // 0; what happens then comes by events. `conflict`: a public room of that name is there. A direct room that exists is answered as it is.
  virtual base::Task<base::Result<StoredRoom>> create_room(Room room, std::vector<Member> members,
                                                           std::string direct_key) = 0;
  virtual base::Task<base::Result<StoredRoom>> load_room(RoomId id) = 0;             // not_found, also when deleted
  virtual base::Task<base::Result<RoomId>> find_room_by_name(std::string name) = 0;  // a public one; not_found
  virtual base::Task<base::Result<RoomPage>> list_public_rooms(std::string query, std::string cursor,
                                                               std::size_t limit) = 0;  // newest first
  virtual base::Task<base::Result<std::vector<RoomId>>> rooms_of(UserId user) = 0;
  virtual base::Task<base::Result<std::uint64_t>> rooms_made_by(UserId user) = 0;

  // Read marks. A sender's moves to his message when that is taken in; `set_marks` raises those that are given, each where its room is in that epoch and the
  // store has its events up to there: what is behind the room's mark, or ahead of the store, is passed over.
  virtual base::Task<base::Result<void>> set_marks(std::vector<ReadMark> marks) = 0;
  virtual base::Task<base::Result<std::vector<ReadMark>>> marks_of(UserId user) = 0;  // of each room that he is in
  // Messages after the seq `after`, up to `up_to`, which the store has.
  virtual base::Task<base::Result<std::uint64_t>> count_messages(RoomId room, std::uint64_t after,
                                                                 std::uint64_t up_to) = 0;

  // Messages and events. `ingest` takes events of any rooms, per room in seq order, in one transaction with each room's ingested_seq; what is there already is
  // passed over. It is durable when it answers. Conflict: nothing was taken, since a room (the error's field) is in another epoch than its events. A
  // store of several hosts also says so of an event at whose seq it has another.
  virtual base::Task<base::Result<void>> ingest(std::vector<Event> events) = 0;
  // Raises the room's epoch to `epoch` if it is the one before: from then on no event of the old one is taken in. Where the room is now, whoever raised it.
  virtual base::Task<base::Result<RoomPlace>> begin_epoch(RoomId room, std::uint64_t epoch) = 0;
  virtual base::Task<base::Result<HistoryPage>> history(HistoryQuery query) = 0;
  // What followed `after`, in seq order. Without a hole up to the room's ingested_seq. `epoch`: the room's, known to be in the store; 0: it is not known.
  virtual base::Task<base::Result<std::vector<StoredEvent>>> events_after(RoomId room, std::uint64_t after,
                                                                          std::size_t limit, std::uint64_t epoch) = 0;
  base::Task<base::Result<std::vector<StoredEvent>>> events_after(RoomId room, std::uint64_t after, std::size_t limit) {
    return events_after(room, after, limit, 0);
  }
  // What was said a moment ago may not be found yet: words are taken in behind the messages.
  virtual base::Task<base::Result<SearchPage>> search_messages(SearchQuery query) = 0;
  virtual base::Task<base::Result<std::optional<Message>>> find_by_client_id(RoomId room, UserId sender,
                                                                             std::string client_id) = 0;
  // Where the room has each of these sends, in the order asked for; 0: nowhere.
  virtual base::Task<base::Result<std::vector<std::uint64_t>>> find_sends(RoomId room, std::vector<SendKey> sends) = 0;
  // client ids used in the room since `since_ms`, newest first, as (sender, clientId) hashes of chat::client_key.
  virtual base::Task<base::Result<std::vector<std::uint64_t>>> recent_client_keys(RoomId room, std::int64_t since_ms,
                                                                                  std::size_t limit) = 0;

  // Files. create_file: rate_limited where so many of the owner's wait for their bytes already. find_file: not_found, also of one that is gone.
  virtual base::Task<base::Result<void>> create_file(File file, std::size_t waiting_max) = 0;
  virtual base::Task<base::Result<File>> find_file(FileId id) = 0;
  // From waiting to ready; of one that is ready already, nothing.
  virtual base::Task<base::Result<File>> complete_file(FileId id, std::int64_t expires_ms) = 0;
  // For a message in that room: the owner's, ready, and of no other room. not_found, conflict.
  virtual base::Task<base::Result<File>> attach_file(FileId id, UserId owner, RoomId room) = 0;
  virtual base::Task<base::Result<FilePage>> list_files(FileQuery query) = 0;  // those that are ready, newest first
  // The owner's file, which is ready, is shown to everybody from now on, and the one before it is gone. not_found
  virtual base::Task<base::Result<Account>> set_avatar(UserId user, FileId file, std::string url,
                                                       std::int64_t now_ms) = 0;
  // Gone from now on; its bytes are still to be removed.
  virtual base::Task<base::Result<void>> drop_file(FileId id, std::int64_t now_ms) = 0;
  // Those whose time is over are gone too; given again and again until they are forgotten.
  virtual base::Task<base::Result<std::vector<FileId>>> take_expired_files(std::int64_t now_ms, std::size_t limit) = 0;
  // Its bytes are removed. What is known of it stays as long as a message may name it.
  virtual base::Task<base::Result<void>> forget_file(FileId id) = 0;

  virtual bool healthy() const noexcept = 0;
  // What was ingested before this moment (base::monotonic_ms) is not lost with a server of the database either: the log may let go of it.
  // Negative: of nothing, whatever it costs.
  virtual std::int64_t safe_before_ms() const noexcept = 0;
};

// The key under which a send is remembered within its room.
std::uint64_t client_key(UserId sender, std::string_view client_id) noexcept;

}  // namespace ringline::chat
