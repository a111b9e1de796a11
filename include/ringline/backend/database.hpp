// Database: the Store port on an engine. One object a process; each core has a client of it.
//
// SQLite: one thread writes: what waits for it is taken together into one transaction, a savepoint each, and synced once, so a thousand sign-ins at once
// cost a few syncs and not a thousand. A few threads read, each on a connection of its own (WAL: readers and the writer do not wait for each other).
// PostgreSQL: one thread with a loop of its own (offload) and a few connections; a call has one of them for one transaction. While the server is away calls
// answer `unavailable` at once, and each connection is tried again, waiting longer from time to time.
//
// Lifetimes: a call's answer is posted to its client's loop, where a waiter takes it that has not given up meanwhile (`timeout`; the job itself runs to its
// end). A client may be destroyed while jobs of it run, and must be before its loop is; then answers are dropped. The database goes last, and finishes
// what is queued.
//
// Ephemeral rooms: their messages are counted and their seqs taken, but no content is stored: `history` has none, `events_after` answers not_found where one
// would be. Of a send with a clientId the bare key (sender, clientId, id, seq, time) is kept for 25 h, so that nothing is taken twice; what
// find_by_client_id gives back for it has no text. Who was away finds them unread, though nobody can show them to him any more, until he marks the room read.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ringline/base/limits.hpp"
#include "ringline/base/result.hpp"
#include "ringline/chat/blobs.hpp"
#include "ringline/chat/store.hpp"
#include "ringline/loop/loop.hpp"

namespace ringline::backend {

// The public room that the first migration makes.
inline constexpr base::RoomId kLobby{1};

// What an event should have done in the database and could not. (The event itself is kept, so that no seq is missing; unless it was of a room that was
// not there.)
struct DeadLetter {
  chat::Event event;
  std::int64_t refused_ms = 0;
  std::string reason;
};

// For the command import (import.hpp).
struct ImportUser;
struct ImportRoom;
struct Imported;
struct ImportedUser;
struct ImportedRoom;
struct ImportedMessage;
struct ImportRefusal;

class Database {
 public:
  virtual ~Database() = default;

  // `links`: for the files in what is read; null: they come without links. Outlives the client.
  virtual std::unique_ptr<chat::Store> client(loop::Loop& loop, const chat::FileLinks* links = nullptr) = 0;
  // False after a write that the disk did not take, until one is taken again; or while the server is away.
  virtual bool healthy() const noexcept = 0;
  // From any thread: what is kept for the next use goes.
  virtual void rest() = 0;
  // From any thread, now and then: what is done behind goes on where it is due.
  virtual void tend() = 0;
  // Messages whose words the index of texts has not.
  virtual std::uint64_t texts_waiting() const noexcept = 0;
  // As chat::Store's; INT64_MAX: always.
  virtual std::int64_t safe_before_ms() const noexcept = 0;
  // Whether the cores' journals let go of what is safe: not while older ones are still to be removed.
  virtual void keep_journals(bool keep) noexcept = 0;
  // How often the database turned out to lack what it had: a standby took over that had not got the last of it, or a backup was restored. What the journals
  // keep is to be taken in again then; until that is said to be done nothing counts as safe, and all but `ingest` is answered `unavailable`.
  virtual std::uint64_t rewinds() const noexcept = 0;
  virtual void retaken(std::uint64_t rewinds) noexcept = 0;
  // What a thread with descriptors of its own has to keep to be able to call (loop/thread.hpp).
  virtual std::vector<loop::Fd> descriptors() const = 0;
  // The number of this host among several that share the database; 0: it stands alone. Another may have taken it, when this one was not heard of: no id may be
  // made with it any more.
  virtual unsigned host() const noexcept { return 0; }
  virtual bool host_taken() const noexcept { return false; }

  // For start-up: these block.
  virtual base::Result<std::uint64_t> highest_id() = 0;  // at least that of all that was ever stored here
  virtual base::Result<void> bump_epochs() = 0;          // of every room: relaxed mode, after an unclean stop
  // Of journals: events that are missing before one that is there are lost; the room gets a new epoch. `others`: other hosts may have them; what does not
  // follow is left to those.
  virtual base::Result<void> ingest(std::vector<chat::Event> events, bool others = false) = 0;

  // For the command: these block; a server may be at work on the database meanwhile. A letter is known by its event's room, seq and id.
  // In that order, at most `limit` behind `after`.
  virtual base::Result<std::vector<DeadLetter>> dead_letters(const chat::Event& after, std::size_t limit) = 0;
  // What it should have done is done now, and it is gone: empty. Or it is still refused: the reason. not_found: it went meanwhile.
  virtual base::Result<std::string> retry_dead_letter(const chat::Event& event) = 0;
  virtual base::Result<void> drop_dead_letter(const chat::Event& event) = 0;

  // For the command import: these block, a transaction each; nothing else is at work on the database.
  virtual base::Result<Imported> imported() = 0;
  virtual base::Result<std::vector<ImportedMessage>> imported_messages(base::RoomId room) = 0;
  virtual base::Result<std::vector<ImportedUser>> import_users(std::vector<ImportUser> users) = 0;
  virtual base::Result<std::vector<ImportedRoom>> import_rooms(std::vector<ImportRoom> rooms) = 0;
  // Behind what the room has, in this order; who had read all has read these too. `join`: senders become members.
  virtual base::Result<std::vector<ImportRefusal>> import_messages(base::RoomId room,
                                                                   std::vector<chat::Message> messages, bool join) = 0;
};

struct SqliteOptions {
  unsigned readers = 2;
  std::chrono::milliseconds timeout = base::limits::kStoreTimeout;
};
// Makes the file if it is missing, brings its schema up to date. Refused with a message for people: a file of something else, of a newer Ringline,
// damaged, or in a place that cannot be written.
base::Result<std::unique_ptr<Database>> open_sqlite(std::string path, SqliteOptions options = {});

// A host's number among those that share a database. Nobody else gets it while its holder is heard of, and for kPostgresLease after that; who was never here
// gets one that nobody had, as long as there is one.
struct HostNumber {
  unsigned number = 0;  // 0: any
  std::string holder;   // who holds it from now on
  std::string former;   // who held it for this host when it ran last: that need not be waited for
};

struct PostgresOptions {
  unsigned connections = base::limits::kPostgresConnections;
  std::chrono::milliseconds timeout = base::limits::kStoreTimeout;
  std::chrono::milliseconds start_wait = base::limits::kPostgresStartWait;  // for a server that is not there yet
  // Who holds the database, while this one is open and for kPostgresLease after it was last heard of: another is refused, as each host numbers the events
  // of all rooms itself. The same one may come back at once. Empty: nobody does.
  std::string holder = {};
  // In place of `holder`, for one of several hosts: a bus gives the events their order.
  std::optional<HostNumber> host = std::nullopt;
  // As `url`, of servers that follow it: history, search and what others missed are read there, where they have all that was seen before. Empty: none.
  std::string replica_url = {};
  unsigned replica_connections = base::limits::kPostgresReplicaConnections;
};
// `url`: postgresql://…, with several hosts where one may take over from another (libpq, "Connection URIs"); each is tried in turn. Brings the schema up
// to date, in the first schema of the search path. Refused with a message for people: what cannot be reached within `start_wait`, or was made by a newer
// Ringline that this one may not work beside.
base::Result<std::unique_ptr<Database>> open_postgres(std::string url, PostgresOptions options = {});

}  // namespace ringline::backend
